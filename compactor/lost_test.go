package compactor_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/lock"
	"github.com/runfold/runfold/internal/durable/durabletest"
)

// losing is a Locker whose lock is lost when lose is called.
type losing struct {
	lock.Without
	lost chan struct{}
}

func newLosing() *losing { return &losing{lost: make(chan struct{})} }

func (l *losing) Lock(context.Context) (lock.Held, error) { return l, nil }
func (l *losing) Lost() <-chan struct{}                   { return l.lost }
func (*losing) Cause() error                              { return errors.New("a test took it") }

func (l *losing) isLost() bool { return lock.Check(l) != nil }

// TestLockIsLost loses the lock before each change of the disk that a fold, an import, a change of columns, an erasure or a repair makes. A commit that has not begun is
// left out, one that has begun is made and published; and all is as it would be once the same is done again.
func TestLockIsLost(t *testing.T) {
	for name, s := range scenarios {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := s.prepare(t)
			left, made := 0, 0
			for k := 0; ; k += 1 + sparse {
				disk := loaded(t, root)
				l := newLosing()
				commits := 0
				fault := &durabletest.Fault{FS: disk, Hook: func(n int, op, name string) error {
					if n == k {
						close(l.lost)
					}
					if l.isLost() && (op == "link" || op == "create") && strings.Contains(name, "/manifests/") && strings.HasSuffix(name, ".json") {
						commits++
					}
					return nil
				}}
				err := s.do(compactor.Config{Root: root, FS: fault, Lock: l, KeepAge: -1, KeepGenerations: 1, DeadAfter: -1, ReapGrace: -1})
				switch {
				case errors.Is(err, compactor.ErrLockLost) && strings.Contains(err.Error(), "a test took it"):
					left++
				case err != nil:
					t.Fatalf("lost before change %d: %v, want ErrLockLost with its cause, or nil", k, err)
				default:
					made++
				}
				if commits > 1 || commits > 0 && k == 0 {
					t.Errorf("lost before change %d: %d commits after it", k, commits)
				}
				s.again(t, disk, root, "the lock was lost")
				if !l.isLost() {
					break
				}
			}
			if left == 0 && !s.temps || made == 0 {
				t.Errorf("a commit was left out %d times, and all was done %d times: is this test looking in the right place?", left, made)
			}
			t.Logf("figure: the lock was lost at %d places in %q", left+made-1, name)
		})
	}
}

// TestEraseLosesTheLock loses it before each change of an erasure. Nothing is erased then, or everything.
func TestEraseLosesTheLock(t *testing.T) {
	root := toErase(t, newDamagedRoot(t))
	none, all := 0, 0
	for k := 0; ; k += 1 + sparse {
		disk := loaded(t, root)
		l := newLosing()
		fault := &durabletest.Fault{FS: disk, Hook: func(n int, _, _ string) error {
			if n == k {
				close(l.lost)
			}
			return nil
		}}
		what := compactor.Erasure{RunID: "person", Apply: true}
		when := fmt.Sprintf("the lock was lost before change %d", k)
		done, err := compactor.Erase(context.Background(), compactor.Config{Root: root, FS: fault, Lock: l}, what)
		switch {
		case errors.Is(err, compactor.ErrLockLost) && done.Since == 0:
			none++
			if done, err = compactor.Erase(context.Background(), compactor.Config{Root: root, FS: disk, Lock: yes{}}, what); err != nil {
				t.Fatalf("%s: the next erasure: %v", when, err)
			}
		case err != nil:
			t.Fatalf("%s: %v, since generation %d", when, err, done.Since)
		default:
			all++
		}
		if !done.IsDone() {
			t.Errorf("%s: what is erased is still in %v", when, done.Holding)
		}
		isErasedOn(t, disk, root, when)
		if !l.isLost() {
			break
		}
	}
	if none < 3 || all < 3 {
		t.Errorf("nothing was erased %d times, and everything %d times: is this test looking in the right place?", none, all)
	}
	t.Logf("figure: the lock was lost at %d places of an erasure", none+all-1)
}
