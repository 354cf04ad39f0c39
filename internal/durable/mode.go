package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Exact is a bit of a mode that is given to Create, Mkdir and TryLock: the mode holds against the umask. It never reaches a disk: no
// system but Plan 9 knows it. A root whose modes were given has it (cohort.Given), and its default modes have not: these go on
// meaning "by umask".
//
// Where a default ACL of the directory decides what a new file may, the umask has no say, and Exact changes nothing either: an
// administrator has said who may read there.
const Exact = fs.ModeExclusive

// wantedMode is the mode that a new file or directory is to have, as os.Chmod takes it, if is was made of perm. ok is false if it is
// what it should be.
func wantedMode(is, perm fs.FileMode) (want fs.FileMode, ok bool) {
	want = is & (fs.ModePerm | fs.ModeSetgid)
	if perm&Exact != 0 {
		want |= perm.Perm()
	}
	if is.IsDir() {
		want |= perm & fs.ModeSetgid
	}
	return want, want != is&(fs.ModePerm|fs.ModeSetgid)
}

// holdMode gives a file that this process has just made the mode that perm wants. An error is dropped: some file systems have no
// modes, and the file serves its maker all the same. ModeHeld tells of it.
func holdMode(f *os.File, perm fs.FileMode) {
	if perm&(Exact|fs.ModeSetgid) == 0 {
		return
	}
	info, err := f.Stat()
	if err != nil {
		return
	}
	if perm&Exact != 0 && hasDefaultACL(filepath.Dir(f.Name())) {
		perm &^= Exact
	}
	if want, differs := wantedMode(info.Mode(), perm); differs {
		f.Chmod(want)
	}
}

// HoldMode is for a file or directory that this process has just made by a library: it gets the mode that perm wants. A link in its
// place is not followed.
func HoldMode(name string, perm fs.FileMode) {
	if perm&(Exact|fs.ModeSetgid) == 0 {
		return
	}
	if f, err := openNoFollow(name); err == nil {
		holdMode(f, perm)
		f.Close() // nothing was written through it
	}
}

// ModeError tells of a file or directory of ours that others may not use as the root's settings say.
type ModeError struct {
	Path     string
	Is, Want fs.FileMode
}

func (e *ModeError) Error() string {
	return fmt.Sprintf("%s has mode %04o and not %04o, which the root's settings say: others of its group may not be able to read, fold or move it: chmod %o %s",
		e.Path, e.Is, e.Want, e.Want, e.Path)
}

// ModeHeld returns a *ModeError if a file or directory of ours, which was made with perm, lacks permissions that perm has. It looks only
// at modes that hold against the umask. An absent name passes.
func ModeHeld(fsys FS, name string, perm fs.FileMode) error {
	if perm&Exact == 0 || !hasModes {
		return nil
	}
	info, err := fsys.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if perm.Perm()&^info.Mode().Perm() == 0 || hasDefaultACL(filepath.Dir(name)) {
		return nil
	}
	return &ModeError{name, info.Mode().Perm(), perm.Perm()}
}
