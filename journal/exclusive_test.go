package journal_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
	"github.com/runfold/runfold/journal"
)

// plainShare is a share that may lack hard links, and may make a file twice that must not exist, as smbnetfs does.
type plainShare struct {
	*durabletest.Late
	links, exclusive bool
}

func (s plainShare) Link(old, new string) error {
	if !s.links {
		return &os.LinkError{Op: "link", Old: old, New: new, Err: syscall.EPERM}
	}
	return s.Late.Link(old, new)
}

func (s plainShare) Create(name string, perm fs.FileMode) (durable.WriteFile, error) {
	if !s.exclusive {
		os.Remove(name)
	}
	return s.Late.Create(name, perm)
}

// TestInitRefusesShare: where neither links nor exclusive creates decide who was first, no root is made, and nothing is left.
func TestInitRefusesShare(t *testing.T) {
	for _, test := range []struct {
		links, exclusive, refused bool
	}{
		{true, true, false},
		{true, false, false},
		{false, true, false},
		{false, false, true},
	} {
		dir := filepath.Join(t.TempDir(), "runs")
		share := plainShare{&durabletest.Late{FS: durable.OS}, test.links, test.exclusive}
		_, created, err := journal.InitRoot(cohort.Root(dir), cohort.Settings{}, journal.RootOptions{FS: share})
		if errors.Is(err, journal.ErrNotExclusive) != test.refused || created == test.refused {
			t.Errorf("links %v, exclusive %v: made %v, %v; want refused %v", test.links, test.exclusive, created, err, test.refused)
		}
		left, err := filepath.Glob(filepath.Join(dir, ".*"))
		if _, serr := os.Stat(filepath.Join(dir, "runfold.json")); err != nil || len(left) > 0 || (serr == nil) == test.refused {
			t.Errorf("links %v, exclusive %v: left %v, %v, settings %v", test.links, test.exclusive, left, err, serr)
		}
	}
}
