package compactor_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
)

// TestFoldPanicsWhileItWrites: a bug of ours while the next index is written is an internal error with its stack, and no
// damage, which would send people to repair.
func TestFoldPanicsWhileItWrites(t *testing.T) {
	root := newRoot(t)
	rnd := rand.New(rand.NewPCG(1, 1))
	w := openWriter(t, root, "c")
	for n := range 100 { // more bytes than are buffered
		text := ""
		for range 200 {
			text += fmt.Sprintf("%016x", rnd.Uint64())
		}
		appendLines(t, w, fmt.Sprintf(`{"run_id":"r%d","stage":"S","text":"%s"}`, n, text))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	fsys := &durabletest.Fault{FS: durable.OS, Hook: func(_ int, op, name string) error {
		if op == "write" && strings.Contains(name, "/.index-") {
			panic("a bug")
		}
		return nil
	}}
	_, err := compactor.Fold(context.Background(), compactor.Config{Root: root, FS: fsys})
	if err == nil || generation.IsDamage(err) {
		t.Fatalf("Fold = %v, want an internal error and no damage", err)
	}
	for _, want := range []string{"internal error: this is a bug in runfold", "report it", "a bug\n", "goroutine", "(*newFile).Write"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("Fold = %v, want %q in it", err, want)
		}
	}
	foldNow(t, compactor.Config{Root: root})
}
