package compactor_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/internal/durable"
)

// TestFoldOverFlips flips bytes of the index one at a time, wherever they lie: pages, filters, the page index, the footer.
// A fold that brings new records must not commit what came of it, whatever it met on the way.
func TestFoldOverFlips(t *testing.T) {
	root, h := planted(t)
	name := root.Data(h.Index.Name)
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	step := 29
	if testing.Short() {
		step = 499
	}
	for i := 0; i < len(whole); i += step {
		change(t, name, func([]byte) []byte {
			b := bytes.Clone(whole)
			b[i] ^= 1 << (i % 8)
			return b
		})
		_, err := compactor.Fold(context.Background(), compactor.Config{Root: root, KeepAge: -1})
		if !errors.Is(err, generation.ErrCorrupt) || !strings.Contains(err.Error(), name+": damaged: its bytes are not those that were committed") {
			t.Errorf("Fold over byte %d flipped = %v, want ErrCorrupt with the path and the reason", i, err)
		}
	}
	if gens, err := generations(durable.OS, root); err != nil || len(gens) != 2 {
		t.Errorf("generations %v, %v after folds that failed; want 2", gens, err)
	}
	if n := streamsLeft(t, root); n != 1 {
		t.Errorf("%d streams, want the one that was there", n)
	}
	change(t, name, func([]byte) []byte { return whole })
	if _, err := compactor.Fold(context.Background(), compactor.Config{Root: root, KeepAge: -1}); err != nil {
		t.Errorf("Fold of the whole index again = %v", err)
	}
}

// TestFoldOverWithdrawnFlips flips bytes of the withdrawn rows, their snapshots and the actions. A fold decides from them, also over rows of
// which it brings no record.
func TestFoldOverWithdrawnFlips(t *testing.T) {
	root := newRoot(t)
	appendTo(t, root, "c", firstActs...)
	foldNow(t, compactor.Config{Root: root})
	appendTo(t, root, "c", secondActs...)
	m := newestOn(t, root)
	for _, f := range m.Withdrawn.Files() {
		name := root.Data(f.Name)
		whole := read(t, name)
		step := max(1, len(whole)/40)
		if testing.Short() {
			step = max(1, len(whole)/4)
		}
		for i := 0; i < len(whole); i += step {
			change(t, name, func([]byte) []byte {
				b := bytes.Clone(whole)
				b[i] ^= 1 << (i % 8)
				return b
			})
			_, err := compactor.Fold(context.Background(), compactor.Config{Root: root, KeepAge: -1})
			if !errors.Is(err, generation.ErrCorrupt) || !strings.Contains(err.Error(), name) {
				t.Errorf("%s: Fold over byte %d flipped = %v, want ErrCorrupt with the path", f.Name, i, err)
			}
		}
		change(t, name, func([]byte) []byte { return whole })
	}
	if gens, err := generations(durable.OS, root); err != nil || len(gens) != 1 {
		t.Errorf("generations %v, %v after folds that failed; want 1", gens, err)
	}
	foldNow(t, compactor.Config{Root: root, KeepAge: -1})
	if diff := cmp.Diff(actedRows, values(t, root)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}
