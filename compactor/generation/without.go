package generation

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/runfold/runfold/internal/durable"
)

// ErrNotPublished reports that a commit stands, and that a public file could not be replaced, because a program on this machine has
// it open. It is so on SMB. The public name may be gone. The next fold publishes it.
var ErrNotPublished = errors.New("the generation is committed, and not all public files show it")

// FreeSpace is what Without.What says where statfs gives no figure.
const FreeSpace = "the free space"

// Without tells that the file system does not have something that is optional. The work went on by the way that needs less. It
// is told once by each Store.
type Without struct {
	What string // "hard links", "the sync of a directory" or FreeSpace
	Path string // where it was missed, relative to the root
	Err  error
}

func (n Without) String() string {
	instead := "the write finds out whether there is room"
	switch durable.Optional(n.What) {
	case durable.HardLinks:
		instead = "files are made under their own names, and copied"
	case durable.DirSync:
		instead = "after a power loss a new name may be missing, unless the file system keeps it by itself"
	}
	return fmt.Sprintf("%s is not available here, and the work goes on without it: %s: %v: %s", n.What, n.Path, n.Err, instead)
}

// withoutOnce makes a function that tells once of each thing that is missing. Draft.Write calls it from two goroutines.
func (s *Store) withoutOnce() func(what, path string, err error) {
	var mu sync.Mutex // guards told, and the calls of Notify
	told := map[string]bool{}
	return func(what, path string, err error) {
		mu.Lock()
		defer mu.Unlock()
		if !told[what] {
			told[what] = true
			s.notify(Without{what, s.Root.Rel(path), err})
		}
	}
}

// free is how much can be written below dir, 0 if that is not known.
func (s *Store) free(dir string) (n int64, known bool) {
	n, err := s.Free(dir)
	if err == nil {
		return n, true
	}
	if runtime.GOOS != "windows" { // where nobody asks
		s.without(FreeSpace, dir, err)
	}
	return 0, false
}

// replaceAll puts the data files in the place of the public names. A name that is in use keeps none of the others from being
// replaced, and all together are waited for no longer than one.
func (s *Store) replaceAll(names []Public) error {
	until := time.Now().Add(durable.Patience)
	var inUse error
	for _, p := range names {
		err := durable.ReplaceWithUntil(s.FS, p.Name, s.Root.Data(p.Data.Name), s.Settings.FileMode.FS()&^readOnly, until)
		switch {
		case errors.Is(err, durable.ErrInUse):
			inUse = errors.Join(inUse, err)
		case err != nil:
			return err
		}
	}
	if inUse != nil {
		return fmt.Errorf("%w: %w", ErrNotPublished, inUse)
	}
	return nil
}

// publishTries bounds how often a public name is replaced that does not show what was put there; racedTries, which takes eight seconds, where it
// shows what another compactor may have put there.
const (
	publishTries = 3
	racedTries   = 13
)

// unlike is the error about public names that do not show m although m was put there, time and again.
func (s *Store) unlike(m Manifest) error {
	old, err := s.Unpublished(m)
	if err != nil || len(old) == 0 {
		return err
	}
	// The copy is not what was committed. Perhaps the data file is not, either.
	if err := s.CheckFile(old[0].Data); err != nil {
		return s.damagedData(m, old[0].Data, err)
	}
	// The client of SMB opens a name through a handle that some program has on it, also when another machine has put a new file there.
	if about, err := s.FS.Statfs(string(s.Root)); err == nil && about.IsSMB() {
		return fmt.Errorf("%w: %s: %w, and this machine goes on reading what it was", ErrNotPublished, old[0].Name, durable.ErrInUse)
	}
	return fmt.Errorf("%s: holds other bytes than those that were put there: find out who writes there, or check the disk", old[0].Name)
}
