package history

import (
	"syscall"
	"testing"

	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
)

// TestAwayAnywhere lets the storage go away at each call of a comparison and of a restore that only reads. All say so: try again. Nobody calls it damage.
func TestAwayAnywhere(t *testing.T) {
	root, _ := prepared(t)
	disk := durabletest.New()
	if err := disk.Load(string(root)); err != nil {
		t.Fatal(err)
	}
	for what, look := range map[string]func(compactor.Config) error{
		"diff": func(cfg compactor.Config) error {
			store, err := cfg.Store()
			if err == nil {
				_, err = Compare(t.Context(), store, 1, 0, DiffOptions{Limit: 3})
			}
			return err
		},
		"restore": func(cfg compactor.Config) error {
			_, err := Restore(t.Context(), cfg, 1, RestoreOptions{Limit: 3})
			return err
		},
	} {
		calls := 0
		count := &durabletest.Late{FS: disk, Hook: func(n int, _ string) error { calls = n + 1; return nil }}
		if err := look(compactor.Config{Root: root, FS: count}); err != nil || calls < 10 {
			t.Fatalf("%s makes %d calls: %v", what, calls, err)
		}
		for _, cause := range []error{syscall.EIO, syscall.ESTALE, syscall.ENOTCONN} {
			for k := range calls {
				late := &durabletest.Late{FS: disk, Hook: func(n int, _ string) error {
					if n < k {
						return nil
					}
					return cause
				}}
				if err := look(compactor.Config{Root: root, FS: late}); !durable.IsAway(err) || generation.IsDamage(err) {
					t.Errorf("%s, call %d and all after it say %v: %v", what, k, cause, err)
				}
			}
		}
	}
}
