package generation

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/runfold/runfold/cohort"
)

// Commit is what the manifest of a generation says of the commit that made it. What it does not say is absent, and not guessed.
type Commit struct {
	Generation cohort.Generation `json:"generation"`
	CreatedAt  string            `json:"created_at,omitempty"` // by the wall clock of that machine
	Verb       Verb              `json:"verb,omitempty"`       // empty: an older version made it, which did not say
	User       string            `json:"user,omitempty"`
	Host       string            `json:"host,omitempty"`
	PID        int               `json:"pid,omitempty"`
	Program    string            `json:"program,omitempty"`
	Lock       *Lock             `json:"lock,omitempty"` // that it was made by, if it says so
	Rows       int64             `json:"rows"`
	// Changed is nil where nobody knows it: after a repair, and in generations of older versions.
	Changed *Changed `json:"changed"`
	// Grown is how many rows there are more than in the parent. It is nil where the parent is no longer kept. In generations of older
	// versions no row ever left the index, so there it is the number of new keys.
	Grown        *int64             `json:"grown"`
	RepairedFrom *cohort.Generation `json:"repaired_from,omitempty"`
	// Void generations are not of the history of the newest one: a repair went back before them, or a compactor that slept made them too
	// late. It also stands where what links a generation to the newest one is gone.
	Void bool `json:"void"`
	// Unreadable says why the manifest cannot be read. Then nothing else is known but the number.
	Unreadable string `json:"unreadable,omitempty"`
	// Err is the error of that.
	Err error `json:"-"`
}

// History yields the commits of the generations that are kept, newest first. It reads manifests and nothing else, writes nothing and
// takes no lock; others may fold and sweep meanwhile. A generation that is swept meanwhile is left out. A manifest that cannot be read is
// yielded with its Err. An error of the iteration ends it; it means that nothing could be listed.
func (s *Store) History() iter.Seq2[Commit, error] {
	return func(yield func(Commit, error) bool) {
		for k, err := range s.kept() {
			if !yield(k.Commit, err) || err != nil {
				return
			}
		}
	}
}

// kept is a generation with its commit.
type kept struct {
	Commit
	m Manifest
}

// kept yields all generations that are kept, newest first. Each manifest is yielded when its parent was read, too.
func (s *Store) kept() iter.Seq2[kept, error] {
	return func(yield func(kept, error) bool) {
		gens, err := s.List()
		if err != nil {
			yield(kept{}, err)
			return
		}
		var line lineage
		var child *kept
		for _, g := range slices.Backward(gens) {
			m, err := s.Read(g)
			if err != nil {
				line.unread()
			}
			if errors.Is(err, fs.ErrNotExist) {
				continue // swept since the listing
			}
			k := kept{Commit{Generation: g, Err: err}, m}
			if err != nil {
				k.Unreadable = err.Error()
			} else {
				k.Commit = m.commit(line.isVoid(&m))
			}
			if child != nil {
				child.grownFrom(k)
				if !yield(*child, nil) {
					return
				}
			}
			child = &k
		}
		if child != nil {
			child.grownFrom(kept{})
			yield(*child, nil)
		}
	}
}

// grownFrom counts the rows against the generation before, if that is the parent.
func (k *kept) grownFrom(before kept) {
	first := k.Generation == 1 && k.m.Parent == ""
	if k.Err == nil && k.RepairedFrom == nil && (first || before.Err == nil && before.m.IsParentOf(&k.m)) {
		k.Grown = new(k.Rows - before.Rows)
	}
}

func (m *Manifest) commit(void bool) Commit {
	return Commit{
		Generation: m.Generation, CreatedAt: m.CreatedAt, Verb: m.Verb, User: m.User, Host: m.Host, PID: m.PID, Program: m.Program, Lock: m.Lock,
		Rows: m.Index.Rows, Changed: m.Changed, RepairedFrom: m.RepairedFrom, Void: void,
	}
}

// NotKeptError reports a generation that is not there, or no longer. Before and After are the nearest ones that are kept, 0 if there is none.
type NotKeptError struct {
	Generation    cohort.Generation // that was asked for; 0: the one of a time
	Time          time.Time
	Before, After Commit
	Void          bool // it is there, and void
}

func (e *NotKeptError) Error() string {
	text := fmt.Sprintf("generation %d is not kept", e.Generation)
	switch {
	case e.Void:
		text = fmt.Sprintf("generation %d is void: it is not of the history of the newest one", e.Generation)
	case e.Generation == 0:
		text = fmt.Sprintf("no generation is kept that was committed at or before %s", cohort.FormatTime(e.Time))
	}
	before, after := e.Before.Generation, e.After.Generation
	switch {
	case before > 0 && after > 0:
		text += fmt.Sprintf(": the nearest ones that are kept are %d of %s and %d of %s", before, e.Before.CreatedAt, after, e.After.CreatedAt)
	case before > 0:
		text += fmt.Sprintf(": the newest one is %d of %s", before, e.Before.CreatedAt)
	case after > 0:
		text += fmt.Sprintf(": the oldest one that is kept is %d of %s", after, e.After.CreatedAt)
	default:
		text += ": the root was never folded"
	}
	return text
}

// ClocksDisagree tells that wall clocks went back between two commits, so that the generation of a time is not certain. The order of
// generations is that of their numbers.
type ClocksDisagree struct {
	Earlier, Later cohort.Generation // Earlier was committed first, and its machine's clock said a later time
}

func (n ClocksDisagree) String() string {
	return fmt.Sprintf("generation %d was committed before %d, although the clock of its machine said a later time: the order is that of the numbers",
		n.Earlier, n.Later)
}

// At is the manifest of the newest kept generation that was committed at or before a time, by the wall clocks of the machines that
// committed. A void generation is never the answer. If there is none, the error is a *NotKeptError. A manifest that cannot be
// read and may be the answer is its error. If clocks disagree about the answer, that is told as a notice. next is the generation that is kept after it, 0 if it is the newest: those between
// are no longer kept.
func (s *Store) At(t time.Time) (m Manifest, next cohort.Generation, err error) {
	var found, above kept
	var unknown error // of a manifest that may be the answer
	for k, err := range s.kept() {
		if err != nil {
			return Manifest{}, 0, err
		}
		made, ok := cohort.ParseTime(k.CreatedAt)
		switch later := made.After(t); {
		case k.Err != nil && found.Generation == 0:
			unknown = k.Err
		case k.Err != nil || k.Void || !ok:
		case found.Generation == 0 && later:
			above, unknown = k, nil // what came after it is later, too
		case found.Generation == 0 && unknown != nil:
			return Manifest{}, 0, unknown
		case found.Generation == 0:
			found = k
		case later:
			s.notify(ClocksDisagree{k.Generation, found.Generation})
			return found.m, above.Generation, nil
		}
	}
	if unknown != nil {
		return Manifest{}, 0, unknown
	}
	if found.Generation == 0 {
		return Manifest{}, 0, &NotKeptError{Time: t, After: above.Commit}
	}
	return found.m, above.Generation, nil
}

// WhatChanged says what a commit did to the rows.
func (c Commit) WhatChanged() string {
	var parts []string
	if c.Void {
		parts = append(parts, "void")
	}
	if c.RepairedFrom != nil {
		parts = append(parts, fmt.Sprintf("went back to generation %d", *c.RepairedFrom))
	}
	switch {
	case c.Changed != nil && *c.Changed == Changed{}:
		parts = append(parts, "no row changed")
	case c.Changed != nil:
		for _, p := range []struct {
			n    int64
			what string
		}{
			{c.Changed.Added, "added"}, {c.Changed.Replaced, "replaced"}, {c.Changed.Imported, "of these imported"},
			{c.Changed.Withdrawn, "withdrawn"}, {c.Changed.Returned, "returned"}, {c.Changed.Raised, "appended again"},
			{c.Changed.Erased, "erased"},
		} {
			if p.n > 0 {
				parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
			}
		}
	case c.Grown != nil:
		parts = append(parts, fmt.Sprintf("%d added, and what was replaced is not known", *c.Grown))
	default:
		parts = append(parts, "what changed is not known")
	}
	return strings.Join(parts, ", ")
}

// Kept reads the manifest of a generation that may be swept or void: then the error is a *NotKeptError, which names the nearest
// ones.
func (s *Store) Kept(g cohort.Generation) (Manifest, error) {
	e := &NotKeptError{Generation: g}
	for k, err := range s.kept() {
		switch of := k.Generation; {
		case err != nil:
			return Manifest{}, err
		case of == g && k.Err != nil:
			return Manifest{}, k.Err
		case of == g && !k.Void:
			return k.m, nil
		case of == g:
			e.Void = true
		case k.Err != nil || k.Void:
		case of > g:
			e.After = k.Commit
		case e.Before.Generation == 0:
			e.Before = k.Commit
		}
	}
	return Manifest{}, e
}

// WhyGone says what an error of reading older generations means: ErrConflict comes of a data file that is gone, because a newer generation
// stands. If one of gens was swept meanwhile, that is its NotKeptError. If all are still kept, the file is missing, which is
// ErrCorrupt: a sweep removes the manifest first (R23). Every other error stays. 0 among gens is passed over.
func (s *Store) WhyGone(err error, gens ...cohort.Generation) error {
	if !errors.Is(err, ErrConflict) {
		return err
	}
	for _, g := range gens {
		if g == 0 {
			continue
		}
		m, kerr := s.Kept(g)
		if kerr != nil {
			return kerr
		}
		for _, d := range m.Files() {
			if _, serr := s.FS.Stat(s.Root.Data(d.Name)); errors.Is(serr, fs.ErrNotExist) {
				return fmt.Errorf("%s: %w: it is missing, and generation %d is kept", s.Root.Data(d.Name), ErrCorrupt, g)
			}
		}
	}
	return err
}
