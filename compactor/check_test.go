package compactor_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/intake"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

// planted is a root with two folds and a stream that is open at the end of the second.
func planted(t *testing.T) (cohort.Root, generation.Manifest) {
	t.Helper()
	root := newDamagedRoot(t)
	appendTo(t, root, "c", firstLines...)
	foldNow(t, compactor.Config{Root: root})
	w := openWriter(t, root, "c")
	t.Cleanup(func() { w.Close() })
	appendLines(t, w, secondLines...)
	foldNow(t, compactor.Config{Root: root})
	appendLines(t, w, `{"run_id":"z","stage":"S","v":9}`)
	h, err := newest(durable.OS, root)
	if err != nil {
		t.Fatal(err)
	}
	return root, h
}

// change rewrites a file in place, through every link to it.
func change(t *testing.T, name string, edit func([]byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, edit(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

func flip(at int) func([]byte) []byte {
	return func(b []byte) []byte {
		b = bytes.Clone(b)
		b[(at+len(b))%len(b)] ^= 0x10
		return b
	}
}

func cut(b []byte) []byte { return b[:len(b)/2] }

// onlyStream is the segment of the one stream that is left.
func onlyStream(t *testing.T, root cohort.Root) string {
	t.Helper()
	list := listed(t, root)
	if len(list) != 1 {
		t.Fatalf("streams %v, want one", list)
	}
	return root.Segment(list[0].Cohort, list[0].ID)
}

// TestCheckFindsDamage plants one kind of damage at a time. Check must name the place, on one line, and nothing that
// is in order.
func TestCheckFindsDamage(t *testing.T) {
	tests := map[string]struct {
		plant func(t *testing.T, root cohort.Root, h generation.Manifest)
		want  []string // parts of what is said, in any order
	}{
		"nothing": {func(*testing.T, cohort.Root, generation.Manifest) {}, nil},
		"manifest flipped": {func(t *testing.T, root cohort.Root, _ generation.Manifest) {
			change(t, root.Manifest(1), flip(-5))
		}, []string{"manifests/00000000000000000001.json: manifest"}},
		"index flipped": {func(t *testing.T, root cohort.Root, h generation.Manifest) {
			change(t, root.Data(h.Index.Name), flip(50))
		}, []string{"data/index-00000000000000000002-" + "TOKEN.parquet: checksum is"}},
		"index cut": {func(t *testing.T, root cohort.Root, h generation.Manifest) {
			change(t, root.Data(h.Index.Name), cut)
		}, []string{"TOKEN.parquet: ", "were committed"}},
		"index gone": {func(t *testing.T, root cohort.Root, h generation.Manifest) {
			remove(t, root.Data(h.Index.Name))
		}, []string{"TOKEN.parquet: open"}},
		"old index gone": {func(t *testing.T, root cohort.Root, _ generation.Manifest) {
			m, err := manifest(durable.OS, root, 1)
			if err != nil {
				t.Fatal(err)
			}
			remove(t, root.Data(m.Index.Name))
		}, []string{"data/index-00000000000000000001-"}},
		"snapshots flipped": {func(t *testing.T, root cohort.Root, h generation.Manifest) {
			change(t, root.Data(h.Snapshots[0].Name), func(b []byte) []byte { return bytes.Replace(b, []byte(`"v":2`), []byte(`"v":3`), 1) })
		}, []string{"TOKEN.json: checksum is"}},
		"snapshots without a key": {func(t *testing.T, root cohort.Root, h generation.Manifest) {
			change(t, root.Data(h.Snapshots[0].Name), func(b []byte) []byte { return bytes.Replace(b, []byte(`"a:S"`), []byte(`"q:S"`), 1) })
		}, []string{"TOKEN.json: checksum is"}},
		"index written over through its public name": {func(t *testing.T, root cohort.Root, _ generation.Manifest) {
			change(t, root.Index(), func([]byte) []byte { return []byte("garbage") })
		}, []string{"data/index-00000000000000000002-TOKEN.parquet: damaged: 7 bytes, not the "}},
		"published replaced": {func(t *testing.T, root cohort.Root, _ generation.Manifest) {
			put(t, root.Index(), []byte("theirs"))
		}, []string{"index.parquet: is not generation 2"}},
		"published gone": {func(t *testing.T, root cohort.Root, _ generation.Manifest) {
			remove(t, root.Snapshots())
		}, []string{"snapshot_index.json: is not generation 2"}},
		"folded record flipped": {func(t *testing.T, root cohort.Root, h generation.Manifest) {
			change(t, onlyStream(t, root), flip(int(h.Streams[len(h.Streams)-1].Offset)-5))
		}, []string{"has no entry that ends at offset"}},
		"stream cut below its watermark": {func(t *testing.T, root cohort.Root, _ generation.Manifest) {
			change(t, onlyStream(t, root), func(b []byte) []byte { return b[:300] })
		}, []string{"has no entry that ends at offset"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			root, h := planted(t)
			test.plant(t, root, h)
			got := strings.ReplaceAll(damage(t, root), string(h.Token), "TOKEN")
			for _, want := range test.want {
				if !strings.Contains(got, want) {
					t.Errorf("check says\n%s\nwant %q", got, want)
				}
			}
			if strings.Contains(got, "\n") || len(test.want) == 0 && got != "" {
				t.Errorf("check says, and one line is enough for what has one cause:\n%s", got)
			}
		})
	}
}

func remove(t *testing.T, name string) {
	t.Helper()
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
}

// TestFoldOverDamage folds a root with one kind of damage each: an error that names it, and nothing
// changed or deleted.
func TestFoldOverDamage(t *testing.T) {
	for name, plant := range map[string]func(t *testing.T, root cohort.Root, h generation.Manifest){
		"newest manifest": func(t *testing.T, root cohort.Root, _ generation.Manifest) { change(t, root.Manifest(2), flip(-5)) },
		"index flipped": func(t *testing.T, root cohort.Root, h generation.Manifest) {
			change(t, root.Data(h.Index.Name), flip(50))
		},
		"index cut":  func(t *testing.T, root cohort.Root, h generation.Manifest) { change(t, root.Data(h.Index.Name), cut) },
		"index gone": func(t *testing.T, root cohort.Root, h generation.Manifest) { remove(t, root.Data(h.Index.Name)) },
		"snapshots": func(t *testing.T, root cohort.Root, h generation.Manifest) {
			change(t, root.Data(h.Snapshots[0].Name), func(b []byte) []byte { return bytes.Replace(b, []byte(`"v":2`), []byte(`"v":3`), 1) })
		},
		"snapshots gone": func(t *testing.T, root cohort.Root, h generation.Manifest) { remove(t, root.Data(h.Snapshots[0].Name)) },
	} {
		t.Run(name, func(t *testing.T) {
			root, h := planted(t)
			plant(t, root, h)
			_, err := compactor.Fold(context.Background(), compactor.Config{Root: root, KeepAge: -1})
			if !errors.Is(err, generation.ErrCorrupt) || !strings.Contains(err.Error(), string(root)) {
				t.Errorf("Fold = %v, want ErrCorrupt with the path", err)
			}
			if gens, err := generations(durable.OS, root); err != nil || len(gens) != 2 {
				t.Errorf("generations %v, %v after a fold that failed; want 2", gens, err)
			}
			if n := streamsLeft(t, root); n != 1 {
				t.Errorf("%d streams, want the one that was there", n)
			}
		})
	}
}

// TestCheckDamageAtWatermark damages the last folded record of a sealed stream: that no entry ends where the fold ended follows from it.
func TestCheckDamageAtWatermark(t *testing.T) {
	root := newDamagedRoot(t)
	w := openWriter(t, root, "c")
	appendLines(t, w, firstLines...)
	foldNow(t, compactor.Config{Root: root})
	appendLines(t, w, `{"run_id":"z","stage":"S"}`)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	h, err := newest(durable.OS, root)
	if err != nil {
		t.Fatal(err)
	}
	change(t, onlyStream(t, root), flip(int(h.Streams[0].Offset)-5))
	if got := damage(t, root); strings.Contains(got, "\n") || !strings.Contains(got, " bytes at offset ") {
		t.Errorf("check says, and one line is enough:\n%s", got)
	}
}

// TestPublishDamaged publishes a generation whose data files are not what was committed: nothing stands under the public name.
func TestPublishDamaged(t *testing.T) {
	for name, plant := range map[string]func(t *testing.T, name string){
		"cut":  func(t *testing.T, name string) { change(t, name, cut) },
		"gone": remove,
	} {
		t.Run(name, func(t *testing.T) {
			root, m := planted(t)
			store, err := compactor.Config{Root: root}.Store()
			if err != nil {
				t.Fatal(err)
			}
			remove(t, root.Index())
			plant(t, root.Data(m.Index.Name))
			if err := store.Publish(m, false); !errors.Is(err, generation.ErrCorrupt) {
				t.Errorf("Publish = %v, want ErrCorrupt", err)
			}
			if _, err := os.Lstat(root.Index()); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("index.parquet is there: %v", err)
			}
		})
	}
}

// everything is what can be done with a root, by name.
func everything(cfg compactor.Config) map[string]func() error {
	ctx := context.Background()
	return map[string]func() error{
		"Fold":       func() error { _, err := compactor.Fold(ctx, cfg); return err },
		"ReadStatus": func() error { _, err := audit.ReadStatus(ctx, cfg); return err },
		"Check":      func() error { _, err := audit.Check(ctx, cfg, func(audit.Problem) {}); return err },
		"Previous": func() error {
			_, _, err := compactor.Previous(ctx, cfg, compactor.Query{Cohort: "c", RunID: "r", Stage: "S"})
			return err
		},
		"Import": func() error { _, err := intake.Import(ctx, cfg, intake.Source{}); return err },
		"Repair": func() error { _, err := audit.Repair(ctx, cfg, audit.RepairOptions{}); return err },
		"Runs": func() error {
			for _, err := range compactor.Runs(ctx, cfg, true) {
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// TestRootID shows that nothing is done with another root than the one that was meant.
func TestRootID(t *testing.T) {
	root := newRoot(t)
	id := openRoot(t, root).Settings.RootID
	for name, do := range everything(compactor.Config{Root: root, RootID: "01JQ4Z0000000000000000000R"}) {
		if err := do(); !errors.Is(err, journal.ErrOtherRoot) || !strings.Contains(err.Error(), id) {
			t.Errorf("%s of another root = %v, want ErrOtherRoot with the id that was found", name, err)
		}
	}
	if _, err := os.Lstat(root.CompactLock()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a root that was refused has a lock file: %v", err)
	}
	for name, do := range everything(compactor.Config{Root: root, RootID: id}) {
		if err := do(); err != nil {
			t.Errorf("%s of the root that was meant = %v", name, err)
		}
	}
}

// TestNothingIsARoot shows that no root is made here: a mistyped path is an error and stays absent.
func TestNothingIsARoot(t *testing.T) {
	dir := cohort.Root(filepath.Join(t.TempDir(), "typo"))
	for name, do := range everything(compactor.Config{Root: dir}) {
		if err := do(); !errors.Is(err, journal.ErrNoRoot) || !strings.Contains(err.Error(), string(dir)) {
			t.Errorf("%s of a missing root = %v, want ErrNoRoot with the path", name, err)
		}
	}
	if _, err := os.Lstat(string(dir)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the mistyped path is there now: %v", err)
	}
}
