package journal

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
)

// ErrNotExclusive reports a file system on which nothing decides who was first: it has no hard links, and a file that must not exist
// yet can be made twice. Two compactors would both commit one generation there. No root is made on it, and nothing is appended.
var ErrNotExclusive = errors.New("this file system has no hard links, and makes a file twice that must not exist")

// refuseKind refuses a root on a file system of a kind that was measured to be ErrNotExclusive. It costs two system calls on most
// storage, so that each Writer can ask.
func refuseKind(root cohort.Root) error {
	if kind := durable.FuseKind(string(root)); kind == "fuse.smbnetfs" {
		return fmt.Errorf("%s: smbnetfs: %w", root, ErrNotExclusive)
	}
	return nil
}

// refuseStorage tries in a directory whether anything decides who was first. It refuses only what it has seen. That is little: from
// one machine the kernel may hide what two machines would do, and compactd doctor lets two processes race. It is asked
// once, before a root is made, and not on a local disk, which has either.
func refuseStorage(fsys durable.FS, root cohort.Root) error {
	if err := refuseKind(root); err != nil || !durable.Remote(fsys, string(root)) {
		return err
	}
	var raw [8]byte
	rand.Read(raw[:])                                                         // it never fails
	dir := filepath.Join(string(root), ".doctor-"+hex.EncodeToString(raw[:])) // a name that a root may have: see describe
	if fsys.Mkdir(dir, 0o700) != nil {
		return nil // making the root will say why
	}
	defer durable.RemoveAll(fsys, dir)
	if hasLinks(fsys, dir) || !makesTwice(fsys, filepath.Join(dir, "once")) {
		return nil
	}
	return fmt.Errorf("%s: %w", root, ErrNotExclusive)
}

// hasLinks tells whether a second link of one name fails because the first one stands.
func hasLinks(fsys durable.FS, dir string) bool {
	source, name := filepath.Join(dir, "source"), filepath.Join(dir, "name")
	if !makes(fsys, source) {
		return false
	}
	return fsys.Link(source, name) == nil && errors.Is(fsys.Link(source, name), fs.ErrExist)
}

// makesTwice tells whether a name was made twice, each time as a file that must not exist.
func makesTwice(fsys durable.FS, name string) bool {
	fsys.Stat(name) // a client that remembers that nothing is there is the one that makes it twice
	if !makes(fsys, name) {
		return false
	}
	return makes(fsys, name)
}

func makes(fsys durable.FS, name string) bool {
	f, err := fsys.Create(name, 0o600)
	if err != nil {
		return false
	}
	f.Close()
	return true
}
