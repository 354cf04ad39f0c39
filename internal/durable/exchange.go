package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"
	"time"
)

// Exchange makes name show a copy of src, and gives what stood there the name aside, in one step. aside must not exist, and its directory must.
// Whatever others do to name meanwhile, what they wrote has one of the two names: also the bytes of a program that has the old file open and writes
// on. took tells whether aside has something; it has nothing where name did not exist.
//
// On success both names are durable. On error name is as it was, or new and complete; then what it was is under aside. Where a file system
// cannot exchange two names, the error matches errors.ErrUnsupported, and nothing has changed.
//
//	openat dir of name; openat dir of aside; copy src to aside, O_EXCL, fsync; renameat2 aside name RENAME_EXCHANGE; fsync, statfs dir of aside; fsync, statfs dir of name
func Exchange(fsys FS, name, src, aside string, perm fs.FileMode) (took bool, err error) {
	fail := func(err error) (bool, error) { return took, fmt.Errorf("exchange %s: %w", name, err) }
	to, err := fsys.OpenDir(filepath.Dir(name))
	if err != nil {
		return fail(err)
	}
	defer to.Close()
	from, err := fsys.OpenDir(filepath.Dir(aside))
	if err != nil {
		return fail(err)
	}
	defer from.Close()
	if err := copyFile(fsys, aside, src, perm); err != nil { // it is synced before others see it (S1)
		return fail(err)
	}
	copied, err := fsys.Stat(aside)
	if err != nil {
		return fail(err)
	}
	if took, err = exchange(fsys, name, aside, copied); err != nil {
		if !took {
			fsys.Remove(aside) // it is our copy; one that stays is no harm
		}
		return fail(err)
	}
	// What was taken away is durable first: a crash between the two must not take it from both names.
	if err := Sync(fsys, from, filepath.Dir(aside)); err != nil {
		return fail(err)
	}
	if err := Sync(fsys, to, filepath.Dir(name)); err != nil {
		return fail(err)
	}
	return took, nil
}

// exchange swaps the two names, or gives copied, which is aside, the name that does not exist. On error took tells that aside may be another file.
func exchange(fsys FS, name, aside string, copied fs.FileInfo) (took bool, err error) {
	for {
		err := fsys.Exchange(aside, name)
		now, serr := fsys.Stat(aside)
		switch {
		case serr == nil && !SameFile(copied, now): // it was done, whatever the call says (R1)
			return true, nil
		case serr != nil && err == nil:
			return true, nil
		case serr != nil:
			return true, err // nobody knows
		case err == nil: // name was a link to aside, which nobody else makes
			return false, fmt.Errorf("%s and %s are one file", name, aside)
		case isOneOf(err, unexchangeable):
			return false, fmt.Errorf("%w: %w", errors.ErrUnsupported, err)
		case !errors.Is(err, fs.ErrNotExist):
			return false, err
		}
		// link(2) replaces nothing: a program that makes the name at this moment is not overwritten.
		switch err := fsys.Link(aside, name); {
		case err == nil:
			fsys.Remove(aside)
			return false, nil
		case errors.Is(err, fs.ErrExist):
		case IsLinkless(fsys, filepath.Dir(name), err):
			return false, renameOver(fsys, aside, name, time.Now().Add(Patience))
		default:
			return false, err
		}
	}
}

// unexchangeable are errors with which a file system says that it cannot exchange two names.
var unexchangeable = []error{errors.ErrUnsupported, syscall.EINVAL, syscall.ENOSYS, syscall.EXDEV}
