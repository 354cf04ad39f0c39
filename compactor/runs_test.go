package compactor_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/compactor"
)

// runTexts are the runs of a root, one a line.
func runTexts(t *testing.T, cfg compactor.Config, unfolded bool) (out []string) {
	t.Helper()
	for r, err := range compactor.Runs(t.Context(), cfg, unfolded) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%d %s/%s", r.Seq, r.Cohort, r.Key))
	}
	return out
}

// TestRunsReadYourWrites: with unfolded, the rows are those that a fold makes of the root, before it and after it.
func TestRunsReadYourWrites(t *testing.T) {
	root := newRoot(t)
	cfg := compactor.Config{Root: root}
	if got := runTexts(t, cfg, true); got != nil {
		t.Errorf("runs of an empty root: %q", got)
	}
	for _, lines := range [][]string{firstLines, secondLines, thirdLines} {
		appendTo(t, root, "c", lines...)
		before, folded := runTexts(t, cfg, true), runTexts(t, cfg, false)
		appendTo(t, root, "d", lines[0]) // another cohort takes the run over
		want := runTexts(t, cfg, true)
		foldNow(t, cfg)
		if diff := cmp.Diff(runTexts(t, cfg, false), want); diff != "" {
			t.Errorf("runs (-folded +unfolded before it):\n%s", diff)
		}
		if slices.Equal(before, folded) || slices.Equal(before, want) {
			t.Errorf("runs are %q, whatever was appended", before)
		}
	}
	w := openWriter(t, root, "c") // a live stream, in part folded
	defer w.Close()
	appendLines(t, w, `{"run_id":"live","stage":"S","v":1}`)
	foldNow(t, cfg)
	appendLines(t, w, `{"run_id":"live","stage":"S","v":2}`, `{"run_id":"live","stage":"S","v":3}`)
	var last compactor.Run
	n := 0
	for r, err := range compactor.Runs(t.Context(), cfg, true) {
		if err != nil {
			t.Fatal(err)
		}
		if r.RunID == "live" {
			n, last = n+1, r
		}
	}
	if n != 1 || !strings.Contains(string(last.Record), `"v":3`) {
		t.Errorf("%d rows of the run, the last one with the record %s; want one with the last write", n, last.Record)
	}
}

// TestRunsOverDamage: what cannot be read in one stream is told and keeps nothing back, and nothing is written.
func TestRunsOverDamage(t *testing.T) {
	root := newDamagedRoot(t)
	appendTo(t, root, "c", firstLines[0], `{"run_id":"lost","stage":"S"}`, firstLines[1])
	flipEntry(t, root, 2)
	appendTo(t, root, "d", secondLines[1])
	st := listed(t, root)[0]
	if err := os.CopyFS(root.Stream("e", st.ID), os.DirFS(root.Stream(st.Cohort, st.ID))); err != nil {
		t.Fatal(err)
	}
	before := tree(t, root)
	said := &notices{}
	got := runTexts(t, compactor.Config{Root: root, Notify: said.add}, true)
	if diff := cmp.Diff([]string{"1 c/a:S", "2 c/b:S", "3 d/c:S"}, got); diff != "" {
		t.Errorf("runs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, tree(t, root)); diff != "" {
		t.Errorf("reading wrote (-before +after):\n%s", diff)
	}
	if !strings.Contains(said.text(), "was written for another cohort") {
		t.Errorf("said %q, want the stream that lies in another cohort", said.text())
	}
}

// TestRunsWhileOthersFold lets another compactor fold and reap before each look at the disk in turn. Every acknowledged
// record is seen once.
func TestRunsWhileOthersFold(t *testing.T) {
	t.Parallel()
	root := prepared(t)
	abandoned(t, root, "d", `{"run_id":"dead","stage":"S","v":1}`)
	foldNow(t, compactor.Config{Root: root, DeadAfter: time.Hour})
	abandoned(t, root, "d", `{"run_id":"fresh","stage":"S","v":1}`)
	appendTo(t, root, "c", `{"run_id":"e","stage":"S","v":3}`)
	want := []string{"a:S", "b:S", "c:S", "dead:S", "e:S", "fresh:S"}
	for k := 0; ; k++ {
		if k%sparse != 0 {
			continue
		}
		disk := loaded(t, root)
		n, met := 0, false
		fsys := watched{disk, k, new(sync.Mutex), &n, func() {
			met = true
			for range 2 {
				foldNow(t, compactor.Config{Root: root, FS: disk, Lock: yes{}, BatchBytes: 1, KeepAge: -1, KeepGenerations: 1, DeadAfter: -1, ReapGrace: -1})
			}
		}}
		var got []string
		for r, err := range compactor.Runs(t.Context(), compactor.Config{Root: root, FS: fsys}, true) {
			if err != nil {
				t.Fatalf("folds before look %d: %v", k, err)
			}
			got = append(got, string(r.Key))
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("folds before look %d: runs (-want +got):\n%s", k, diff)
		}
		if !met {
			t.Logf("figure: %d interleavings of a reader of unfolded records with whole folds", k)
			if k < 20 {
				t.Errorf("only %d looks at the disk", k)
			}
			return
		}
	}
}
