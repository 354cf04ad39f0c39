package compactor_test

import (
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

// TestRepairDeadAgain declares a writer dead, and declares it again when its stream is in reaped/, is in quarantine/, and is
// deleted. The result is the same each time.
func TestRepairDeadAgain(t *testing.T) {
	type step func(t *testing.T, root cohort.Root, s journal.Stream, segment string)
	fold := func(cfg compactor.Config, lines ...string) step {
		return func(t *testing.T, root cohort.Root, _ journal.Stream, _ string) {
			for range 4 {
				appendTo(t, root, "other", lines...)
				cfg.Root = root
				if _, err := compactor.Fold(t.Context(), cfg); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	gone := compactor.Config{DeadAfter: -1, ReapGrace: -1}
	swept := compactor.Config{DeadAfter: -1, ReapGrace: -1, KeepAge: -1, KeepGenerations: 1}
	declare := func(t *testing.T, root cohort.Root, s journal.Stream, _ string) { declareDead(t, root, s) }
	flipped := func(t *testing.T, _ cohort.Root, _ journal.Stream, segment string) { flipEntryOf(t, segment, 1) }
	cutOff := func(t *testing.T, _ cohort.Root, _ journal.Stream, segment string) {
		change(t, segment, func(b []byte) []byte { return b[:len(b)-20] })
	}
	const other, replaces = `{"run_id":"x","stage":"S","v":1}`, `{"run_id":"b","stage":"S","v":2}`
	for name, test := range map[string]struct {
		steps []step
		where string // where the stream is then
	}{
		"it was reaped":                         {[]step{declare}, "reaped/c/ULID"},
		"a fold had reaped it":                  {[]step{fold(compactor.Config{DeadAfter: -1}, other)}, "reaped/c/ULID"},
		"it was damaged and put aside":          {[]step{flipped, declare, fold(gone, other)}, "quarantine/c/ULID"},
		"it was put aside, nothing else tells":  {[]step{flipped, declare, fold(swept, replaces)}, "quarantine/c/ULID"},
		"it is cut off and put aside":           {[]step{fold(compactor.Config{}, other), cutOff, declare}, "quarantine/c/ULID"},
		"it was deleted":                        {[]step{declare, fold(gone, other)}, ""},
		"it was deleted, a row tells":           {[]step{declare, fold(swept, other)}, ""},
		"it was deleted, an old manifest tells": {[]step{declare, fold(gone, replaces, `{"run_id":"a","stage":"S","v":2}`)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			root := newDamagedRoot(t)
			segment := abandoned(t, root, "c", firstLines...)
			s, err := streamAt(filepath.Dir(segment))
			if err != nil {
				t.Fatal(err)
			}
			for _, step := range test.steps {
				step(t, root, s, segment)
			}
			where := ""
			for _, dir := range []string{root.Stream(s.Cohort, s.ID), root.Reaped(s.Cohort, s.ID), root.Quarantined(s.Cohort, s.ID)} {
				if _, err := durable.OS.Stat(dir); err == nil {
					where += strings.ReplaceAll(root.Rel(dir), string(s.ID), "ULID")
				}
			}
			if where != test.where {
				t.Fatalf("the stream is in %q, want %q", where, test.where)
			}
			before := rows(t, root)
			for range 2 {
				declareDead(t, root, s)
			}
			if diff := cmp.Diff(before, rows(t, root)); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
		})
	}
}

func declareDead(t *testing.T, root cohort.Root, s journal.Stream) {
	t.Helper()
	if _, err := audit.Repair(t.Context(), compactor.Config{Root: root}, audit.RepairOptions{Apply: true, Dead: []journal.Stream{s}}); err != nil {
		t.Fatalf("Repair with a dead stream: %v", err)
	}
}

// TestRepairDeadUnknown declares a stream dead that the root does not know. This is an error, and nothing is changed, also not
// for the other streams that were declared dead.
func TestRepairDeadUnknown(t *testing.T) {
	root := prepared(t)
	there, err := streamAt(filepath.Dir(abandoned(t, root, "c", firstLines...)))
	if err != nil {
		t.Fatal(err)
	}
	for _, unknown := range []journal.Stream{{Cohort: "c", ID: "01JE0000000000000000000001"}, {Cohort: "d", ID: there.ID}} {
		for _, apply := range []bool{false, true} {
			before := tree(t, root)
			_, err := audit.Repair(t.Context(), compactor.Config{Root: root}, audit.RepairOptions{Apply: apply, Dead: []journal.Stream{there, unknown}})
			if !errors.Is(err, audit.ErrNoStream) || !strings.Contains(err.Error(), unknown.String()) {
				t.Errorf("Repair with %v = %v, want ErrNoStream with its name", unknown, err)
			}
			if diff := cmp.Diff(slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(tree(t, root)))); diff != "" {
				t.Errorf("the repair changed (-before +after):\n%s", diff)
			}
		}
	}
}
