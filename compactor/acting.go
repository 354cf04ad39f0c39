package compactor

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
)

// acting is the actions that may decide over the keys of one batch.
type acting struct {
	*cohort.InForce
	fresh   map[cohort.Version]bool // those that this batch brings
	highest cohort.Stamp            // of these
}

// actingOn gathers the actions of the runs of these keys: those in force, and those that come now. It is nil where there are
// none, so that a fold in a root without withdrawals does not look.
func actingOn(form cohort.KeyForm, old *generation.Data, fresh []cohort.Record, keys []cohort.Key) (*acting, error) {
	if len(fresh) == 0 && old.Withdrawn == nil {
		return nil, nil
	}
	force, err := inForceOn(form, old, slices.Values(keys))
	if err != nil {
		return nil, err
	}
	a := &acting{InForce: force, fresh: map[cohort.Version]bool{}}
	for _, r := range fresh {
		a.Add(r)
		a.fresh[r.Version()], a.highest = true, max(a.highest, r.Stamp)
	}
	return a, nil
}

// inForceOn are the actions in force on the runs of these keys.
func inForceOn(form cohort.KeyForm, d *generation.Data, keys iter.Seq[cohort.Key]) (*cohort.InForce, error) {
	runs := map[string]bool{}
	for k := range keys {
		if runID, _, _, ok := form.Split(k); ok {
			runs[runID] = true
		}
	}
	force := cohort.NewInForce(form)
	for r, err := range d.Actions() {
		if err != nil {
			return nil, err
		}
		if runs[r.RunID] {
			force.Add(r)
		}
	}
	return force, nil
}

// isOut tells whether the highest record of a key is withdrawn, and which withdrawals that come now are refused.
func (a *acting) isOut(key cohort.Key, row cohort.Version, id cohort.ID) (out bool, refused []cohort.Record) {
	v := a.Decide(key, row, id)
	refused = slices.DeleteFunc(v.Refused, func(r cohort.Record) bool { return !a.fresh[r.Version()] })
	return v.Withdrawn, refused
}

// aimedAt are the keys of rows that the actions of a batch may move, beside those of its records.
func aimedAt(form cohort.KeyForm, old *generation.Data, fresh []cohort.Record) (keys []cohort.Key, err error) {
	var runs []string // of which not the whole key is named
	for _, r := range fresh {
		if aim := form.AimOf(r); aim.IsWhole(form) {
			keys = append(keys, aim.Key(form, r.Cohort))
		} else {
			runs = append(runs, aim.RunID)
		}
	}
	some, err := old.KeysOfRuns(runs)
	return append(keys, some...), err
}

// Withdrawing counts what actions did to rows.
type Withdrawing struct {
	Withdrawn int       `json:"withdrawn,omitempty"`  // rows that left the index
	Returned  int       `json:"returned,omitempty"`   // rows that came back into it
	StayedOut int       `json:"stayed_out,omitempty"` // records that were folded into withdrawn rows, because an action is later than they are
	Refused   int       `json:"refused,omitempty"`    // withdrawals of protected rows
	RefusedOf []Refusal `json:"refused_of,omitempty"` // of up to three rows
}

// Refusal is a withdrawal that a protection did not let through.
type Refusal struct {
	Key      cohort.Key `json:"key"`
	RecordID string     `json:"record_id"` // of the withdrawal
}

// maxRefusals bounds the examples.
const maxRefusals = 3

func (w *Withdrawing) refuse(key cohort.Key, all []cohort.Record) {
	for _, r := range all {
		w.Refused++
		if len(w.RefusedOf) < maxRefusals {
			w.RefusedOf = append(w.RefusedOf, Refusal{key, r.ID})
		}
	}
}

func (w *Withdrawing) plus(more Withdrawing) {
	w.Withdrawn += more.Withdrawn
	w.Returned += more.Returned
	w.StayedOut += more.StayedOut
	w.Refused += more.Refused
	w.RefusedOf = append(slices.Clip(w.RefusedOf), more.RefusedOf...)
	w.RefusedOf = w.RefusedOf[:min(len(w.RefusedOf), maxRefusals)]
}

// RefusedWithdrawals tells that withdrawals had no effect because their runs were protected before.
type RefusedWithdrawals struct {
	Count int
	Of    []Refusal
}

func (n RefusedWithdrawals) String() string {
	var keys []string
	for _, r := range n.Of {
		keys = append(keys, fmt.Sprintf("%q", string(r.Key)))
	}
	return fmt.Sprintf("%d withdrawals had no effect: the rows are protected (%s): compactd unprotect first, then withdraw again", n.Count, strings.Join(keys, ", "))
}

// sides are the changes of the two pairs of files.
type sides struct {
	puts, raised       []index.Put  // of the index; puts in seq order, N is the candidate's n
	putsOut, raisedOut []index.Put  // the same among the withdrawn rows
	leave, leaveOut    []cohort.Key // rows that a put in the other pair takes the place of
	withdraw, ret      []index.Put  // rows that move out of the index, and back
}

// isEmpty tells whether no row changes.
func (s *sides) isEmpty() bool { return s.indexStays() && s.outStays() }

func (s *sides) indexStays() bool {
	return len(s.puts)+len(s.raised)+len(s.leave)+len(s.withdraw)+len(s.ret) == 0
}

func (s *sides) outStays() bool {
	return len(s.putsOut)+len(s.raisedOut)+len(s.leaveOut)+len(s.withdraw)+len(s.ret) == 0
}

// ofIndex and ofWithdrawn are the sides as a draft takes them. found and out are what the pairs have.
func (s *sides) ofIndex(found, out map[cohort.Key]index.Found) generation.Side {
	return generation.Side{
		Puts: s.puts, Raised: s.raised, In: s.ret, Out: slices.Concat(s.leave, keysOf(s.withdraw)),
		Found: withMoved(found, s.ret, out), Stays: s.indexStays(),
	}
}

func (s *sides) ofWithdrawn(found, out map[cohort.Key]index.Found) generation.Side {
	return generation.Side{
		Puts: s.putsOut, Raised: s.raisedOut, In: s.withdraw, Out: slices.Concat(s.leaveOut, keysOf(s.ret)),
		Found: withMoved(out, s.withdraw, found), Stays: s.outStays(),
	}
}

func keysOf(puts []index.Put) []cohort.Key {
	keys := make([]cohort.Key, len(puts))
	for i, p := range puts {
		keys[i] = p.Key
	}
	return keys
}

// withMoved is what a pair has, and what the other pair has of the rows that come from there. No key stands in both.
func withMoved(own map[cohort.Key]index.Found, in []index.Put, other map[cohort.Key]index.Found) map[cohort.Key]index.Found {
	if len(in) == 0 {
		return own
	}
	all := make(map[cohort.Key]index.Found, len(own)+len(in))
	maps.Copy(all, own)
	for _, p := range in {
		all[p.Key] = other[p.Key]
	}
	return all
}
