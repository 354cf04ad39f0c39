package intake

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/intake/tracker"
	"github.com/runfold/runfold/journal"
)

// runsOf yields runs, and one error at the end if it is not nil.
func runsOf(err error, runs ...tracker.Run) tracker.Runs {
	return func(yield func(tracker.Run, error) bool) {
		for _, r := range runs {
			if !yield(r, nil) {
				return
			}
		}
		if err != nil {
			yield(tracker.Run{}, err)
		}
	}
}

var day = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// runOf is a run of an experiment that was changed so many seconds after its start.
func runOf(experiment, id string, changed int, tag string) tracker.Run {
	r := tracker.Run{Where: experiment + "/" + id, Experiment: experiment, ID: id, Status: tracker.Finished, Start: day, Changed: day.Add(time.Duration(changed) * time.Second)}
	r.Tags.Text("tag", tag)
	return r
}

// into imports runs into a root that is made if it is not there.
type into struct {
	*testing.T
	root cohort.Root
	told []string
}

func newInto(t *testing.T, s cohort.Settings) *into {
	root, _, err := journal.InitRoot(cohort.Root(filepath.Join(t.TempDir(), "runs")), s, journal.RootOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return &into{T: t, root: root.Dir}
}

func (i *into) take(src RunSource) RunReport {
	i.Helper()
	i.told = nil
	cfg := compactor.Config{Root: i.root, Notify: func(n compactor.Notice) { i.told = append(i.told, fmt.Sprint(n)) }}
	report, err := ImportRuns(context.Background(), cfg, src)
	if err != nil {
		i.Fatal(err)
	}
	return report
}

// has tells whether the root has a row of a key.
func (i *into) has(key cohort.Key) bool {
	i.Helper()
	for r, err := range compactor.Runs(context.Background(), compactor.Config{Root: i.root}, false) {
		if err != nil {
			i.Fatal(err)
		}
		if r.Key == key {
			return true
		}
	}
	return false
}

// TestLaterState replaces a row by a later state of its run: one of a later time, or of the same time and imported later. One of an earlier time stays
// behind. Runs of the same time, whose stamps follow one another, do not blur that.
func TestLaterState(t *testing.T) {
	i := newInto(t, cohort.Settings{})
	var others []tracker.Run
	for n := range 50 {
		others = append(others, runOf("x", fmt.Sprint("other", n), 5, "o"))
	}
	check := func(what string, taken, replaced, known, newer int, runs ...tracker.Run) {
		t.Helper()
		r := i.take(RunSource{Runs: runsOf(nil, runs...)})
		if r.Taken != taken || r.Replaced != replaced || r.Known != known || r.Newer != newer {
			t.Errorf("%s: %+v, want %d taken, %d replaced, %d known, %d newer", what, r, taken, replaced, known, newer)
		}
	}
	a := func(changed int, tag string) tracker.Run { return runOf("x", "a", changed, tag) }
	check("first", 51, 0, 0, 0, append(others, a(5, "one"))...)
	check("the same", 0, 0, 51, 0, append(others, a(5, "one"))...)
	check("the same, in another order", 0, 0, 51, 0, append([]tracker.Run{a(5, "one")}, others...)...)
	check("the same time", 1, 1, 0, 0, a(5, "two"))
	check("back at the same time", 1, 1, 0, 0, a(5, "one"))
	check("an earlier time", 0, 0, 0, 1, a(4, "old"))
	check("a later time, by a microsecond", 1, 1, 0, 0, tracker.Run{ID: "a", Experiment: "x", Start: day, Changed: day.Add(5*time.Second + time.Microsecond)})
	check("the time before that", 0, 0, 0, 1, a(5, "three"))
	check("no time at all", 1, 1, 0, 0, tracker.Run{ID: "a", Experiment: "x"})
}

// TestCopies takes a run that stands in two places once: its later state, and of equal ones the first.
func TestCopies(t *testing.T) {
	for _, c := range []struct{ first, second, taken int }{{5, 5, 1}, {5, 6, 1}, {6, 5, 1}} {
		i := newInto(t, cohort.Settings{})
		one, two := runOf("x", "a", c.first, "one"), runOf("x", "a", c.second, "two")
		src := RunSource{Runs: runsOf(nil, one, two)}
		if r := i.take(src); r.Taken != c.taken || r.Copies != 1 || r.Left != 0 {
			t.Errorf("%+v: %+v", c, r)
		}
		if r := i.take(src); r.Taken != 0 {
			t.Errorf("%+v again: %+v", c, r)
		}
		src.BatchBytes = 1 // each record is a commit
		if r := i.take(src); r.Taken != 0 {
			t.Errorf("%+v again, one by one: %+v", c, r)
		}
	}
}

// TestSameID does not let a run take the place of another one that happens to have its run_id.
func TestSameID(t *testing.T) {
	src := RunSource{Runs: runsOf(nil, runOf("x", "1", 5, "x"), runOf("y", "1", 6, "y"))}
	i := newInto(t, cohort.Settings{})
	r := i.take(src)
	if r.Taken != 1 || r.Left != 1 || !strings.Contains(r.Reasons[0].String(), "y/1 (1:RUN is that of x/1) left out: another run of this import has the same run_id and stage") {
		t.Errorf("%+v", r)
	}
	form, err := cohort.ParseKeyForm([]string{"run_id", "phase", "cohort_id"})
	if err != nil {
		t.Fatal(err)
	}
	if r := newInto(t, cohort.Settings{Key: form}).take(src); r.Taken != 2 || r.Left != 0 {
		t.Errorf("with a wide key: %+v", r)
	}
}

// TestBatches is several commits where the records are many, and the same rows.
func TestBatches(t *testing.T) {
	var runs []tracker.Run
	for n := range 20 {
		runs = append(runs, runOf("x", fmt.Sprint(n), n, "o"))
	}
	i := newInto(t, cohort.Settings{})
	if r := i.take(RunSource{Runs: runsOf(nil, runs...), BatchBytes: 1000}); r.Taken != 20 || len(r.Generations) < 2 {
		t.Errorf("%+v", r)
	}
	if r := i.take(RunSource{Runs: runsOf(nil, runs...)}); r.Taken != 0 || r.Known != 20 || len(r.Generations) != 0 {
		t.Errorf("again: %+v", r)
	}
	gone := errors.New("the disk is gone")
	cfg := compactor.Config{Root: i.root}
	r, err := ImportRuns(context.Background(), cfg, RunSource{Runs: runsOf(gone, runOf("x", "new", 1, "o")), BatchBytes: 1})
	if !errors.Is(err, gone) || r.Taken != 1 {
		t.Errorf("an error at the end: %v, %+v", err, r)
	}
	if r := i.take(RunSource{Runs: runsOf(nil, runOf("x", "dry", 1, "o")), DryRun: true}); r.Taken != 1 || len(r.Generations) != 0 || i.has("dry:RUN") || !i.has("new:RUN") {
		t.Errorf("dry run: %+v", r)
	}
}

// TestLargeRun has fewer steps where the record would be too large, and is left out where that does not help.
func TestLargeRun(t *testing.T) {
	large := runOf("x", "large", 1, "o")
	for n := range 20 {
		s := tracker.NewSeries(1000)
		for step := range 1000 {
			s.Add(tracker.Point{Step: fmt.Sprint(step), Value: "0.12345678"})
		}
		large.History = append(large.History, tracker.History{Name: fmt.Sprint("m", n), Series: s})
	}
	i := newInto(t, cohort.Settings{MaxRecord: 64 << 10})
	if r := i.take(RunSource{Runs: runsOf(nil, large, runOf("x", "text", 1, strings.Repeat("x", 65<<10)))}); r.Taken != 1 || r.StepsCut != 20 || r.Left != 1 {
		t.Errorf("%+v", r)
	}
}

// TestRunNotices says what happened in words.
func TestRunNotices(t *testing.T) {
	i := newInto(t, cohort.Settings{})
	torn := runOf("a b", "1", 1, "o")
	torn.Torn, torn.Other, torn.Zoned = "x.log", []string{"images"}, 2
	torn.Metrics.Float("nan", math.NaN())
	gone := runOf("a b", "2", 1, "o")
	gone.Deleted = true
	cut := runOf("plain", "3", 1, "o")
	s := tracker.NewSeries(2)
	for range 3 {
		s.Add(tracker.Point{Value: "1"})
	}
	cut.History = []tracker.History{{Name: "m", Series: s}}
	left := &tracker.LeftOutError{Where: "y", Reason: "is odd"}
	runs := func(yield func(tracker.Run, error) bool) {
		for r, err := range concat(runsOf(left, torn, gone, cut, cut), runsOf(left)) {
			if !yield(r, err) {
				return
			}
		}
	}
	i.take(RunSource{Runs: runs, Options: tracker.Options{Steps: 2}})
	want := `published generation 1 with 2 rows
y, y left out: is odd
"a b" becomes cohort a-b-c8687a08: a cohort has 1 to 200 characters of A-Za-z0-9._=- and no dot at its beginning
1 runs were deleted in the tracker, and not taken: --deleted takes them
1 runs stand in more than one place, such as plain/3: of each the later state counts, and of equal ones the first
x.log ends within an entry, and was read up to there: the run was killed, or goes on (import it again when it has ended)
1 metrics have more steps than were kept, such as in plain/3: at most 2 of each, evenly, with the first and the last; the last value is that of the tracker, and --steps N keeps more
2 timestamps have no zone: read as UTC; name another with --assume-zone
1 values are NaN or infinite: they were read as missing
not taken, and still in the tracker: images (1 runs)`
	if got := strings.Join(i.told, "\n"); got != want {
		t.Errorf("told\n%s\nwant\n%s", got, want)
	}
}

func concat(all ...tracker.Runs) iter.Seq2[tracker.Run, error] {
	return func(yield func(tracker.Run, error) bool) {
		for _, runs := range all {
			for r, err := range runs {
				if !yield(r, err) {
					return
				}
			}
		}
	}
}

// TestManyNames tells of many changed names in a bounded number of lines.
func TestManyNames(t *testing.T) {
	i := newInto(t, cohort.Settings{})
	var runs []tracker.Run
	for n := range 30 {
		runs = append(runs, runOf(fmt.Sprint("name ", n), fmt.Sprint(n), n, "o"), runOf(fmt.Sprint("plain", n), fmt.Sprint("p", n), n, "o"))
	}
	if r := i.take(RunSource{Runs: runsOf(nil, runs...)}); len(r.Experiments) != 60 {
		t.Errorf("%d experiments, want 60", len(r.Experiments))
	}
	if n := len(i.told); n != 22 || i.told[21] != "10 more names become cohorts of other names: --json lists them all" {
		t.Errorf("told %d lines: %q", n, i.told[n-1])
	}
}
