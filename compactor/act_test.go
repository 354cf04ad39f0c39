package compactor_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/internal/durable"
)

// standingAll are all rows of a root, where they stand and why, as text.
func standingAll(t *testing.T, root cohort.Root) (rows []compactor.Standing, text string) {
	t.Helper()
	rows, err := compactor.Standings(t.Context(), compactor.Config{Root: root}, compactor.AllRows, compactor.AllRows)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, r := range rows {
		where := "in"
		if r.Withdrawn {
			where = "out for " + r.Reason()
		}
		if r.Protected {
			where += " protected"
		}
		out = append(out, fmt.Sprintf("%s %s", r.Key, where))
	}
	return rows, strings.Join(out, "; ")
}

// TestAct: rows of two cohorts are taken out and brought back, each by an action that names its whole key.
func TestAct(t *testing.T) {
	root := newRoot(t)
	appendTo(t, root, "c", `{"run_id":"a","stage":"S"}`, `{"run_id":"a","stage":"T"}`)
	appendTo(t, root, "d", `{"run_id":"b","stage":"S"}`)
	cfg := compactor.Config{Root: root}
	if _, text := standingAll(t, root); text != "" {
		t.Errorf("before the first fold there is %s", text)
	}
	foldNow(t, cfg)
	rows, _ := standingAll(t, root)
	did, err := compactor.ActAndFold(t.Context(), cfg, cohort.Withdraw, "why", []compactor.Standing{rows[1], rows[2]})
	if err != nil || did.Done != 2 || !did.Folded || len(did.Again) != 0 || did.Report.Withdrawn != 2 {
		t.Fatalf("%+v, %v", did, err)
	}
	if _, text := standingAll(t, root); text != "a:S in; a:T out for why; b:S out for why" {
		t.Errorf("withdrawn: %s", text)
	}
	rows, _ = standingAll(t, root)
	if did, err = compactor.ActAndFold(t.Context(), cfg, cohort.Undo, "", rows[1:2]); err != nil || did.Done != 1 {
		t.Fatalf("%+v, %v", did, err)
	}
	if did, err = compactor.ActAndFold(t.Context(), cfg, cohort.Protect, "", rows[:1]); err != nil || did.Done != 1 {
		t.Fatalf("%+v, %v", did, err)
	}
	if _, text := standingAll(t, root); text != "a:S in protected; a:T in; b:S out for why" {
		t.Errorf("undone: %s", text)
	}
	protected, err := compactor.Protected(t.Context(), cfg)
	if err != nil || len(protected) != 1 || protected[0].Key != "a:S" {
		t.Errorf("protected: %v, %v", protected, err)
	}
}

// TestActAgain: a run that is appended after somebody has looked at its row, and before the withdrawal, stands as it was appended: nobody has
// judged it.
func TestActAgain(t *testing.T) {
	root := newRoot(t)
	appendTo(t, root, "c", `{"run_id":"a","stage":"S","metrics":{"auc":9}}`, `{"run_id":"b","stage":"S","metrics":{"auc":9}}`)
	cfg := compactor.Config{Root: root}
	foldNow(t, cfg)
	rows, _ := standingAll(t, root)
	appendTo(t, root, "d", `{"run_id":"a","stage":"S","metrics":{"auc":0.9}}`) // in another cohort, too
	appendTo(t, root, "c", `{"run_id":"a","stage":"S","metrics":{"auc":0.8}}`)
	passTick(t, root)
	did, err := compactor.ActAndFold(t.Context(), cfg, cohort.Withdraw, "", rows)
	if err != nil || did.Done != 2 || len(did.Again) != 1 || did.Again[0].Key != "a:S" {
		t.Fatalf("%+v, %v", did, err)
	}
	if _, text := standingAll(t, root); text != "a:S in; b:S out for " {
		t.Errorf("%s", text)
	}
}

// passTick returns when the clock of the storage has gone on by a tick, which is some milliseconds. Streams that begin within one tick have stamps that may
// overtake each other.
func passTick(t *testing.T, root cohort.Root) {
	t.Helper()
	var first time.Time
	for {
		dir, err := os.MkdirTemp(string(root), ".doctor-")
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(dir)
		if err = errors.Join(err, os.Remove(dir)); err != nil {
			t.Fatal(err)
		}
		switch now := info.ModTime(); {
		case first.IsZero():
			first = now
		case now.After(first):
			return
		}
	}
}

// TestActLocked: while another compactor is at work, the actions are durable, and its next fold shows them.
func TestActLocked(t *testing.T) {
	root := newRoot(t)
	appendTo(t, root, "c", `{"run_id":"a","stage":"S"}`)
	cfg := compactor.Config{Root: root}
	foldNow(t, cfg)
	rows, _ := standingAll(t, root)
	lock, err := durable.TryLock(root.CompactLock(), "host elsewhere\n", 0o666)
	if err != nil {
		t.Fatal(err)
	}
	did, err := compactor.ActAndFold(t.Context(), cfg, cohort.Withdraw, "", rows)
	if did.Done != 1 || did.Folded || !errors.Is(err, compactor.ErrLocked) {
		t.Fatalf("%+v, %v", did, err)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	foldNow(t, cfg)
	if _, text := standingAll(t, root); text != "a:S out for " {
		t.Errorf("%s", text)
	}
}

// TestActPart: if one cohort cannot be appended to, what is durable is counted, and the call can be repeated.
func TestActPart(t *testing.T) {
	root := newRoot(t)
	appendTo(t, root, "c", `{"run_id":"a","stage":"S"}`)
	appendTo(t, root, "d", `{"run_id":"b","stage":"S"}`)
	cfg := compactor.Config{Root: root}
	foldNow(t, cfg)
	rows, _ := standingAll(t, root)
	away, dir := filepath.Join(t.TempDir(), "away"), root.Cohort("d")
	if err := os.Rename(dir, away); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	did, err := compactor.ActAndFold(t.Context(), cfg, cohort.Withdraw, "", rows)
	if did.Done != 1 || did.Folded || err == nil {
		t.Fatalf("%+v, %v", did, err)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(away, dir); err != nil {
		t.Fatal(err)
	}
	if did, err = compactor.ActAndFold(t.Context(), cfg, cohort.Withdraw, "", rows); err != nil || did.Done != 2 || len(did.Again) != 0 {
		t.Fatalf("%+v, %v", did, err)
	}
	if _, text := standingAll(t, root); text != "a:S out for ; b:S out for " {
		t.Errorf("%s", text)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if n, err := compactor.Act(ctx, cfg, cohort.Undo, "", rows); n != 0 || err == nil {
		t.Errorf("canceled: %d, %v", n, err)
	}
}
