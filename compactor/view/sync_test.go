package view

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/journal"
)

// swept is a view that is changed while folds sweep each generation, so many times.
type swept struct {
	View
	left, begun int
}

func (*swept) Name() string { return "swept" }

func (*swept) State(context.Context, string) (State, error) { return State{}, nil }

func (s *swept) Begin(context.Context, string) (Tx, error) {
	s.begun++
	return &sweptTx{of: s}, nil
}

type sweptTx struct {
	Tx
	of *swept
}

func (*sweptTx) State() State { return State{} }

func (t *sweptTx) Apply(context.Context, Change) (Applied, error) {
	if t.of.left--; t.of.left >= 0 {
		return Applied{}, generation.ErrConflict
	}
	return Applied{Written: 1}, nil
}

func (*sweptTx) Commit(context.Context, State) error { return nil }

func (*sweptTx) Rollback() error { return nil }

// TestSwept begins again where a generation is swept before it was read, and gives up at some time.
func TestSwept(t *testing.T) {
	root := cohort.Root(filepath.Join(t.TempDir(), "runs"))
	if _, _, err := journal.InitRoot(root, cohort.Settings{}, journal.RootOptions{}); err != nil {
		t.Fatal(err)
	}
	store, err := generation.Open(root, journal.RootOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		times, tries, begun int
		ok                  bool
	}{{0, 0, 1, true}, {9, 0, 10, true}, {10, 0, 10, false}, {5, 3, 3, false}} {
		v := &swept{left: tt.times}
		_, err := Sync(t.Context(), store, v, Options{Tries: tt.tries})
		if v.begun != tt.begun || (err == nil) != tt.ok || err != nil && !errors.Is(err, generation.ErrConflict) {
			t.Errorf("swept %d times, %d tries: begun %d times, %v", tt.times, tt.tries, v.begun, err)
		}
	}
}
