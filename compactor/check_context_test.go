package compactor_test

import (
	"context"
	"errors"
	"io/fs"
	"sync/atomic"
	"testing"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/internal/durable"
)

// looking counts each look at the disk, and asks hook before it.
type looking struct {
	durable.FS
	n    *atomic.Int64
	hook func(n int64)
}

func (l looking) look() { l.hook(l.n.Add(1)) }

func (l looking) ReadDir(name string) ([]fs.DirEntry, error) {
	l.look()
	return l.FS.ReadDir(name)
}

func (l looking) Stat(name string) (fs.FileInfo, error) {
	l.look()
	return l.FS.Stat(name)
}

func (l looking) Open(name string) (durable.ReadFile, error) {
	l.look()
	f, err := l.FS.Open(name)
	if err != nil {
		return nil, err
	}
	return lookingFile{f, l}, nil
}

type lookingFile struct {
	durable.ReadFile
	l looking
}

func (f lookingFile) Read(p []byte) (int, error) {
	f.l.look()
	return f.ReadFile.Read(p)
}

func (f lookingFile) ReadAt(p []byte, off int64) (int, error) {
	f.l.look()
	return f.ReadFile.ReadAt(p, off)
}

// TestCheckEndsWithItsContext ends the context before each look at the disk in turn. After that Check does not look any more. It
// does not call a file damaged that it could not read, and says why it ended.
func TestCheckEndsWithItsContext(t *testing.T) {
	root := prepared(t)
	foldNow(t, compactor.Config{Root: root})
	appendTo(t, root, "d", thirdLines...)
	for k := int64(1); ; k++ {
		ctx, cancel := context.WithCancel(t.Context())
		var looks atomic.Int64
		seen := looking{durable.OS, &looks, func(n int64) {
			if n == k {
				cancel()
			}
		}}
		audit, err := audit.Check(ctx, compactor.Config{Root: root, FS: seen}, func(p audit.Problem) { t.Errorf("context ended before look %d: check finds %v", k, p) })
		if ctx.Err() == nil {
			cancel()
			if err != nil {
				t.Errorf("check of a whole root: %v", err)
			}
			if k < 50 {
				t.Errorf("only %d looks: is this test looking in the right place?", k)
			}
			return
		}
		if !errors.Is(err, context.Canceled) || audit.Problems > 0 {
			t.Errorf("context ended before look %d: %d problems, %v", k, audit.Problems, err)
		}
		if n := looks.Load(); n != k {
			t.Errorf("context ended before look %d: check looked %d times more", k, n-k)
		}
	}
}

// TestCheckEndsWithinItsFindings ends the context in the function that Check calls with a problem.
func TestCheckEndsWithinItsFindings(t *testing.T) {
	root, _ := planted(t)
	for g := range 2 {
		change(t, root.Manifest(cohort.Generation(g+1)), flip(-5))
	}
	ctx, cancel := context.WithCancel(t.Context())
	told := 0
	_, err := audit.Check(ctx, compactor.Config{Root: root}, func(audit.Problem) {
		told++
		cancel()
	})
	if told != 1 || !errors.Is(err, context.Canceled) {
		t.Errorf("%d problems were told after the end of the context, %v", told-1, err)
	}
}
