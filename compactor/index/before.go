package index

import (
	"errors"
	"slices"

	"github.com/parquet-go/parquet-go"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/jsonscan"
)

// Lookup says which rows are looked for.
type Lookup struct {
	Cohort cohort.ID
	Stage  string
	RunID  string
	// Without are the keys of rows that are passed over.
	Without map[cohort.Key]bool
	// Key tells whether a row with this key is looked at. If nil, each.
	Key func(cohort.Key) bool
	// Fields are top-level fields, by name, and the texts that a row must have there: in the column, or in _extra. An
	// empty text is a field that it does not have.
	Fields map[string]string
}

// Before looks for the last row of a cohort and stage that stands before the last row of q's run in them, and belongs to
// another run. own tells whether the run has such a row; if it has none, the answer is the last row of another
// run. ok is false if there is no answer.
//
// Rows stand in seq order, so it reads from the last row group on and, as a rule, no more than the last ones. Groups that
// cannot hold what is still looked for are left out by their bounds and by the bloom filter of run_id.
func (f *File) Before(q Lookup) (h Identity, ok, own bool, err error) {
	s := newSieve(f, q)
	group, row := -1, int64(-1)
	for g := len(f.file.RowGroups()) - 1; g >= 0; g-- {
		may, err := s.mayMatter(g, !own && row >= 0)
		if err != nil {
			return Identity{}, false, false, err
		}
		if !may {
			continue
		}
		in, err := s.before(g)
		if err != nil {
			return Identity{}, false, false, err
		}
		switch {
		case !own && in.own:
			own, group, row = true, g, in.before
		case row < 0 && in.last >= 0:
			group, row = g, in.last
		}
		if own && row >= 0 {
			break
		}
	}
	if row < 0 {
		return Identity{}, false, own, nil
	}
	h, err = f.identityAt(group, row)
	return h, err == nil, own, err
}

// KeysOf are the keys of all rows of q's run, in their order; if RunID is empty, those of each run.
func (f *File) KeysOf(q Lookup) (keys []cohort.Key, err error) {
	if q.Key == nil {
		q.Key = func(cohort.Key) bool { return true } // so that keys are read
	}
	s := newSieve(f, q)
	for g := range f.file.RowGroups() {
		may, err := s.mayMatter(g, q.RunID != "")
		if err != nil {
			return nil, err
		}
		if !may {
			continue
		}
		err = s.each(g, func(_ int64, r parquet.Row) {
			if q.RunID == "" || string(r[2].ByteArray()) == q.RunID {
				keys = append(keys, cohort.Key(r[3].ByteArray()))
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// sieve passes the rows of a Lookup's cohort and stage, those of its run and of others.
type sieve struct {
	f      *File
	q      Lookup
	places []int // of cohort_id, phase and run_id, of _key if that is asked for, of fields, and of _extra if there are fields
	hasKey bool
	fields []string // those that have a column
}

func newSieve(f *File, q Lookup) *sieve {
	s := &sieve{f: f, q: q, hasKey: len(q.Without) > 0 || q.Key != nil}
	s.places, _ = f.places([]string{columnCohort, columnPhase, columnRunID})
	if s.hasKey {
		s.places = append(s.places, f.layout.place[columnKey])
	}
	for name := range q.Fields {
		if place, ok := f.layout.place[name]; ok && f.layout.kindAt(place) != 0 {
			s.places, s.fields = append(s.places, place), append(s.fields, name)
		}
	}
	if len(q.Fields) > 0 {
		s.places = append(s.places, f.layout.place[columnExtra])
	}
	return s
}

// mayMatter tells whether a group may hold a row of the cohort and stage; if only the run itself is still looked
// for, one of that run.
func (s *sieve) mayMatter(group int, onlyOwn bool) (bool, error) {
	for column, want := range map[string]string{columnCohort: string(s.q.Cohort), columnPhase: s.q.Stage, columnRunID: s.q.RunID} {
		if column == columnRunID && !onlyOwn {
			continue
		}
		if may, err := mayHold(s.f, group, column, []string{want}); err != nil || !may {
			return false, err
		}
	}
	return true, nil
}

// inGroup is what one row group has: the last row of another run, and if the run itself has a row, the last one of
// another run before that. -1 means that there is no such row.
type inGroup struct {
	last, before int64
	own          bool
}

func (s *sieve) before(group int) (inGroup, error) {
	in := inGroup{last: -1, before: -1}
	err := s.each(group, func(row int64, r parquet.Row) {
		if string(r[2].ByteArray()) == s.q.RunID {
			in.own, in.before = true, in.last
		} else {
			in.last = row
		}
	})
	return in, err
}

// each calls do with the number and the columns of each row of a group that passes.
func (s *sieve) each(group int, do func(row int64, r parquet.Row)) error {
	row := int64(-1)
	return each(s.f.file.RowGroups()[group], s.places, func(r parquet.Row) error {
		row++
		if s.passes(r) {
			do(row, r)
		}
		return nil
	})
}

func (s *sieve) passes(r parquet.Row) bool {
	if string(r[1].ByteArray()) != s.q.Stage || string(r[0].ByteArray()) != string(s.q.Cohort) {
		return false
	}
	if s.hasKey {
		key := cohort.Key(r[3].ByteArray())
		if s.q.Without[key] || s.q.Key != nil && !s.q.Key(key) {
			return false
		}
	}
	for name, want := range s.q.Fields {
		if s.text(r, name) != want {
			return false
		}
	}
	return true
}

// text is a field of a row: from _extra, where the exact token stands if the column holds it as text, or from its column.
func (s *sieve) text(r parquet.Row, name string) string {
	if extra := r[len(r)-1]; !extra.IsNull() && isObject(extra.ByteArray()) {
		for m := range jsonscan.EachMember(extra.ByteArray()) {
			if string(m.Name) == name {
				return jsonscan.ScalarText(m.Value)
			}
		}
	}
	if i := slices.Index(s.fields, name); i >= 0 {
		return scalarText(r[len(r)-1-len(s.fields)+i])
	}
	return ""
}

// identityAt reads the fixed columns of one row.
func (f *File) identityAt(group int, row int64) (h Identity, err error) {
	places := f.identityPlaces()
	found := errors.New("found")
	err = each(f.file.RowGroups()[group], places, func(r parquet.Row) error {
		if row == 0 {
			h = f.identityOf(r)
			return found
		}
		row--
		return nil
	})
	if err == found {
		return h, nil
	}
	return Identity{}, err
}
