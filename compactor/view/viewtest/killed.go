package viewtest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"sync"
	"testing"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/compactor/view"
)

// errKilled is what every call of a publisher returns from the moment on at which it is killed.
var errKilled = errors.New("viewtest: killed")

// scenario is a view of one generation that becomes another.
type scenario struct {
	name          string
	before, after root
	how           view.How
	empty         bool // the view held nothing before
}

// scenarios go all ways of a change.
func scenarios(t *testing.T) (all []scenario) {
	t.Helper()
	add := func(name string, how view.How, empty bool, first, then func(root)) {
		r := newRoot(t, cohort.Settings{})
		first(r)
		s := scenario{name: name, before: r.copied(), how: how, empty: empty}
		then(r)
		s.after = r
		all = append(all, s)
	}
	two := folds(`{"run_id":"a","stage":"T","n":1}`, `{"run_id":"b","stage":"T","n":2}`, `{"run_id":"w","stage":"T","n":2}`)
	add("the first", view.Whole, true, two, func(root) {})
	add("new rows, a new column, a withdrawn row", view.Since, false, two, func(r root) {
		act(cohort.Withdraw, "w")(r)
		r.fold(`{"run_id":"a","stage":"T","n":3,"fresh":"x"}`, `{"run_id":"c","stage":"T"}`)
	})
	add("erased", view.Compared, false, two, func(r root) {
		r.fold(`{"run_id":"b","stage":"T","n":3}`)
		if _, err := compactor.Erase(context.Background(), r.config(), compactor.Erasure{RunID: "a", Apply: true}); err != nil {
			r.Fatal(err)
		}
	})
	add("retyped and dropped columns", view.Whole, false, two, func(r root) {
		r.fold(`{"run_id":"c","stage":"T","lr":1}`)
		if _, err := compactor.Erase(context.Background(), r.config(), compactor.Erasure{RunID: "b", Apply: true}); err != nil {
			r.Fatal(err)
		}
		columns(compactor.ColumnChange{Declare: []index.Column{{Name: "n", Kind: index.String}}, Drop: []string{"lr"}})(r)
	})
	return all
}

// testKilled kills a publisher before and after each call that it makes. The view is a whole generation then, the one before or the one
// after, and the next sync goes on.
func testKilled(t *testing.T, place func(testing.TB) Place) {
	for _, s := range scenarios(t) {
		t.Run(s.name, func(t *testing.T) {
			for k := 1; ; k += stride() {
				p := place(t)
				if !s.empty {
					s.before.sync(p)
				}
				calls, at := 0, ""
				report, err := s.publish(t, p, func(call string) error {
					if calls++; calls < k {
						return nil
					}
					if at == "" {
						at = call
					}
					return errKilled
				})
				s.isOne(t, p, fmt.Sprintf("killed at step %d, %s", k, at))
				s.after.sync(p)
				if t.Failed() {
					t.Fatalf("killed at step %d, %s", k, at)
				}
				if at == "" {
					if err != nil || report.How != s.how {
						t.Errorf("%+v, %v, want %q", report, err, s.how)
					}
					t.Logf("figure: %d steps of a sync, %s, each killed", k-1, s.name)
					return
				}
			}
		})
	}
}

// publish syncs through step.
func (s scenario) publish(t *testing.T, p Place, step Step) (view.Report, error) {
	t.Helper()
	v := p.Open(t, step)
	defer v.Close() // as the end of a process does
	return view.Sync(context.Background(), s.after.store(), v, view.Options{})
}

// isOne fails the test if the view is neither the generation before nor the one after, as it says which.
func (s scenario) isOne(t *testing.T, p Place, when string) cohort.Generation {
	t.Helper()
	v := p.Open(t, free)
	defer v.Close()
	state, err := v.State(context.Background(), s.after.id())
	for errors.Is(err, view.ErrBusy) { // a server on busy cores may not have noticed yet that the publisher is gone
		state, err = v.State(context.Background(), s.after.id())
	}
	if err != nil {
		t.Fatalf("%s: State: %v", when, err)
	}
	want := s.before.want()
	switch {
	case state.IsNone() && s.empty:
		want = Cells{}
	case state.Generation == s.after.newest().Generation && state.Token == s.after.newest().Token:
		want = s.after.want()
	case s.empty || state.Generation != s.before.newest().Generation:
		t.Fatalf("%s: the view states %+v", when, state)
	}
	if diff := differences(alike(p, want), alike(p, p.Cells(t, s.after.id()))); diff != "" {
		t.Errorf("%s: the view states generation %d, and is not:\n%s", when, state.Generation, diff)
	}
	return state.Generation
}

// testInterleaved stops a publisher before and after each call, lets a second one do all that it wants, and lets the first go on. The
// second publishes the same generation, or a later one. The view never goes back, and is a whole generation.
func testInterleaved(t *testing.T, place func(testing.TB) Place) {
	for _, s := range scenarios(t) {
		later := s.after.copied()
		later.fold(`{"run_id":"later","stage":"T","n":9}`)
		for _, second := range []root{s.after, later} {
			t.Run(fmt.Sprintf("%s/%v", s.name, second.newest().Generation == later.newest().Generation), func(t *testing.T) {
				for k := 1; interleave(t, place, s, second, k); k += stride() {
				}
			})
		}
	}
}

// interleave stops at step k. It is false if there is no such step.
func interleave(t *testing.T, place func(testing.TB) Place, s scenario, second root, k int) bool {
	t.Helper()
	p := place(t)
	if !s.empty {
		s.before.sync(p)
	}
	calls, at, reached := 0, "", cohort.Generation(0)
	_, err := s.publish(t, p, func(call string) error {
		if calls++; calls != k {
			return nil
		}
		at = call
		v := p.Open(t, free)
		defer v.Close()
		report, err := view.Sync(context.Background(), second.store(), v, view.Options{})
		if err != nil && !errors.Is(err, view.ErrBusy) {
			t.Errorf("the second publisher: %v", err)
		}
		reached = report.To
		return nil
	})
	// Where the first one has another directory, that does not have what the second has published.
	if err != nil && !errors.Is(err, view.ErrBusy) && !errors.Is(err, view.ErrAhead) {
		t.Errorf("the first publisher: %v", err)
	}
	if at != "" {
		v := p.Open(t, free)
		defer v.Close()
		if state, err := v.State(context.Background(), second.id()); err != nil || state.Generation < reached {
			t.Errorf("the view went back from generation %d: %+v, %v", reached, state, err)
		}
	}
	root{t, second.dir}.sync(p)
	if t.Failed() {
		t.Fatalf("stopped at step %d, %s", k, at)
	}
	return at != ""
}

var every = flag.Int("every", 0, "go to one of so many `steps` of a publisher")

// stride leaves steps out where time is short. "make test-places" goes to all, where a step does not cost a server its time.
func stride() int {
	switch {
	case *every > 0:
		return *every
	case underRace:
		return 13
	case testing.Short():
		return 11
	}
	return 1
}

// testFoldedMeanwhile folds a root at each step of a publisher, and lets a second one publish that: it was found before what the first one
// finds, so neither may take the root for a restored one.
func testFoldedMeanwhile(t *testing.T, place func(testing.TB) Place) {
	for k := 1; ; k += 2 * stride() {
		r, p := newRoot(t, cohort.Settings{}), place(t)
		r.fold(`{"run_id":"a","stage":"T"}`)
		r.sync(p)
		r.fold(`{"run_id":"b","stage":"T"}`)
		calls, at := 0, ""
		step := func(call string) error {
			if calls++; calls != k {
				return nil
			}
			at = call
			r.fold(`{"run_id":"c","stage":"T"}`, `{"run_id":"a","stage":"T"}`)
			v := p.Open(t, free)
			defer v.Close()
			if _, err := view.Sync(context.Background(), r.store(), v, view.Options{}); err != nil && !errors.Is(err, view.ErrBusy) {
				t.Errorf("the second publisher at step %d, %s: %v", k, at, err)
			}
			return nil
		}
		if _, err := (scenario{after: r}).publish(t, p, step); err != nil && !errors.Is(err, view.ErrBusy) {
			t.Errorf("the first publisher, stopped at step %d, %s: %v", k, at, err)
		}
		r.sync(p)
		if at == "" || t.Failed() {
			return
		}
	}
}

// testAtOnce runs many publishers at once while a root is folded.
func testAtOnce(t *testing.T, place func(testing.TB) Place) {
	r, p := newRoot(t, cohort.Settings{}), place(t)
	r.fold(`{"run_id":"first","stage":"T"}`)
	r.sync(p)
	for round := range 5 {
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				v := p.Open(t, free)
				defer v.Close()
				if _, err := view.Sync(context.Background(), r.store(), v, view.Options{}); err != nil && !errors.Is(err, view.ErrBusy) {
					t.Errorf("Sync: %v", err)
				}
			})
		}
		r.fold(fmt.Sprintf(`{"run_id":"round-%d","stage":"T"}`, round), `{"run_id":"first","stage":"T"}`)
		all.Wait()
	}
	r.sync(p)
}
