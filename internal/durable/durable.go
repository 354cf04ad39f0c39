// Package durable changes the disk in the few ways that runfold needs, each so that a crash at any
// moment leaves the old state or the new one.
//
// The whole vocabulary is Create (must not exist), Replace (atomic overwrite), Move and Remove. Each
// doc comment lists the calls it makes, and a test compares them with what strace sees. A directory is open
// before a name in it is changed: see Dir.
package durable

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"syscall"
)

// ErrUnsynced reports a file that stands complete under its name, for all to see, although nobody knows
// whether the name would survive a crash.
var ErrUnsynced = errors.New("its name may not be durable")

// Create writes a new file and makes it durable. It fails with fs.ErrExist if name exists, and of
// several concurrent callers exactly one succeeds: this is our commit primitive.
//
// On success the content and the directory entry are on stable storage. On error name is absent, or
// complete; never partial. A failed sync is not retried (docs/durability.md, S3); if it is that of the
// directory, the error is ErrUnsynced.
//
//	openat dir; openat temp O_EXCL; write; fsync temp; linkat temp name; unlinkat temp; fsync dir
//
// Where hard links are missing, the file is made under its own name with O_EXCL: still one winner, but
// a crash between open and fsync can leave it incomplete. Its checksum tells.
func Create(fsys FS, name string, data []byte, perm fs.FileMode) error {
	dir, err := fsys.OpenDir(filepath.Dir(name))
	if err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	defer dir.Close()
	temp, err := writeTemp(fsys, name, data, perm)
	if err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	err = fsys.Link(temp, name)
	if err != nil {
		err = settleLink(fsys, temp, name, err)
	}
	fsys.Remove(temp) // whatever it says: a sweep removes what stays
	if hasNoHardLinks(err) {
		err = writeNew(fsys, name, data, perm)
	}
	if err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("create %s: %w: %w", name, ErrUnsynced, err)
	}
	return nil
}

// settleLink finds out what a failed link did. A retransmitted request answers EEXIST although the
// first one made the link: then name is our own file. A loser on some network file systems sees EPERM
// instead of EEXIST.
func settleLink(fsys FS, temp, name string, cause error) error {
	there, err := fsys.Stat(name)
	if err != nil {
		return cause
	}
	if own, err := fsys.Stat(temp); err == nil && SameFile(own, there) {
		return nil
	}
	if hasNoHardLinks(cause) {
		return fs.ErrExist
	}
	return cause
}

// Replace writes name anew, atomically: a reader sees the old content or the new one, and so does
// whoever looks after a crash.
//
// On success the new content is on stable storage. On error name is as it was, or new and complete.
//
//	openat dir; openat temp O_EXCL; write; fsync temp; renameat temp name; fsync dir
func Replace(fsys FS, name string, data []byte, perm fs.FileMode) error {
	dir, err := fsys.OpenDir(filepath.Dir(name))
	if err != nil {
		return fmt.Errorf("replace %s: %w", name, err)
	}
	defer dir.Close()
	temp, err := writeTemp(fsys, name, data, perm)
	if err != nil {
		return fmt.Errorf("replace %s: %w", name, err)
	}
	return replaceBy(fsys, dir, name, temp)
}

// ReplaceWith makes name show the content of src, a file that is durable and never changes, by a hard
// link, or by a copy where links are missing.
//
// On success name is durable. On error name is as it was, or new and complete.
//
//	openat dir; linkat src temp; renameat temp name; fsync dir
func ReplaceWith(fsys FS, name, src string, perm fs.FileMode) error {
	dir, err := fsys.OpenDir(filepath.Dir(name))
	if err != nil {
		return fmt.Errorf("replace %s: %w", name, err)
	}
	defer dir.Close()
	temp, err := tempName(name)
	if err != nil {
		return fmt.Errorf("replace %s: %w", name, err)
	}
	err = fsys.Link(src, temp)
	if hasNoHardLinks(err) {
		err = copyFile(fsys, temp, src, perm)
	}
	if err != nil {
		fsys.Remove(temp) // a link that reports an error may have been made
		return fmt.Errorf("replace %s: %w", name, err)
	}
	return replaceBy(fsys, dir, name, temp)
}

// replaceBy renames temp to name. When both are links to one file, rename(2) does nothing and says
// yes, so that temp stays: it is removed in any case.
func replaceBy(fsys FS, dir Dir, name, temp string) error {
	err := fsys.Rename(temp, name)
	if rerr := fsys.Remove(temp); err == nil && rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
		err = rerr
	}
	if err == nil {
		err = dir.Sync()
	}
	if err != nil {
		return fmt.Errorf("replace %s: %w", name, err)
	}
	return nil
}

// Move renames a file or directory to a name that must not exist, and makes that durable.
//
//	openat dir of new; openat dir of old; renameat old new; fsync dir of new; fsync dir of old
func Move(fsys FS, old, new string) error {
	if _, err := fsys.Stat(new); err == nil {
		return fmt.Errorf("move %s to %s: %w", old, new, fs.ErrExist)
	}
	if err := move(fsys, old, new); err != nil {
		return fmt.Errorf("move to %s: %w", new, err)
	}
	return nil
}

func move(fsys FS, old, new string) error {
	to, err := fsys.OpenDir(filepath.Dir(new))
	if err != nil {
		return err
	}
	defer to.Close()
	from, across := to, filepath.Dir(old) != filepath.Dir(new)
	if across {
		if from, err = fsys.OpenDir(filepath.Dir(old)); err != nil {
			return err
		}
		defer from.Close()
	}
	err = fsys.Rename(old, new)
	if err == nil {
		err = to.Sync()
	}
	if err == nil && across {
		err = from.Sync()
	}
	return err
}

// Remove removes a file or an empty directory and makes that durable. What is not there is removed.
//
//	openat dir; unlinkat name; fsync dir
func Remove(fsys FS, name string) error {
	dir, err := fsys.OpenDir(filepath.Dir(name))
	if err == nil {
		defer dir.Close()
		err = fsys.Remove(name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = dir.Sync()
	}
	return err
}

// RemoveAll removes a tree, children first. It never follows a symbolic link. What is not there is
// removed; on error some of it may be left. It syncs nothing: it is for what nobody needs, and what a
// crash brings back is removed again (docs/durability.md, S4).
func RemoveAll(fsys FS, name string) error {
	err := removeTree(fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func removeTree(fsys FS, name string) error {
	info, err := fsys.Stat(name)
	if err != nil {
		return err
	}
	if info.IsDir() {
		entries, err := fsys.ReadDir(name)
		if err != nil {
			return err
		}
		for _, e := range entries {
			err := removeTree(fsys, filepath.Join(name, e.Name()))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return fsys.Remove(name)
}

// MkdirAll makes a directory and its missing parents, durably: each directory that got a new entry is
// synced. An existing directory is left as it is, and not synced: if another process has only just made
// it, it may not be durable yet, and who needs that syncs its parents. Its parents may be links to directories;
// name itself may not: see ErrLink. The umask applies to perm; the set-group-id bit does not depend on it.
//
//	for each missing one from the top: openat parent; mkdirat; fsync parent
func MkdirAll(fsys FS, name string, perm fs.FileMode) error {
	info, err := fsys.Stat(name)
	switch {
	case err == nil:
		return mustBeDir(name, info)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	parent := filepath.Dir(name)
	if parent != name {
		if err := MkdirAll(fsys, parent, perm); err != nil && !errors.Is(err, ErrLink) {
			return err
		}
	}
	dir, err := fsys.OpenDir(parent)
	if err != nil {
		return err
	}
	defer dir.Close()
	err = fsys.Mkdir(name, perm)
	if errors.Is(err, fs.ErrExist) { // another maker was faster: was it a directory?
		if info, err = fsys.Stat(name); err == nil {
			err = mustBeDir(name, info)
		}
	}
	if err != nil {
		return err
	}
	return dir.Sync()
}

// IsReadOnly tells that a call failed because the file system is mounted for reading only.
func IsReadOnly(err error) bool { return errors.Is(err, syscall.EROFS) }

// IsFull tells that a call failed because the disk or the quota is full: it may succeed later.
func IsFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, errQuota)
}

// IsStale tells that a file was replaced or removed on another machine while it was open here.
func IsStale(err error) bool { return errors.Is(err, errStale) }

// readTries bounds how often Read opens a file that is being replaced.
const readTries = 5

// Read returns a whole file of at most limit bytes. While a file is replaced on another machine, an
// open may fail with ESTALE or see no file at all: it is tried again a few times.
func Read(fsys FS, name string, limit int64) ([]byte, error) {
	var err error
	for range readTries {
		var data []byte
		data, err = readOnce(fsys, name, limit)
		if err == nil {
			return data, nil
		}
		_, serr := fsys.Stat(name)
		if !errors.Is(err, errStale) && !(errors.Is(err, fs.ErrNotExist) && serr == nil) {
			return nil, err
		}
	}
	return nil, err
}

func readOnce(fsys FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return nil, err
	}
	switch n, err := f.Read(make([]byte, 1)); {
	case n > 0:
		return nil, fmt.Errorf("%s is larger than %d bytes", name, limit)
	case err != nil && err != io.EOF:
		return nil, err
	}
	return data, nil
}

// tempName is a name beside name that no other process uses.
func tempName(name string) (string, error) {
	var raw [tempHex / 2]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return "", err
	}
	return filepath.Join(filepath.Dir(name), "."+filepath.Base(name)+"."+hex.EncodeToString(raw[:])+".tmp"), nil
}

// writeTemp writes data to a temporary file beside name and syncs it.
func writeTemp(fsys FS, name string, data []byte, perm fs.FileMode) (string, error) {
	temp, err := tempName(name)
	if err != nil {
		return "", err
	}
	return temp, writeNew(fsys, temp, data, perm)
}

// writeNew makes a file, writes and syncs it, and removes it again on any error.
func writeNew(fsys FS, name string, data []byte, perm fs.FileMode) error {
	w, err := fsys.Create(name, perm)
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return finish(fsys, w, name, err)
}

// finish syncs and closes a file that was written, or removes it if that or the writing failed.
func finish(fsys FS, w WriteFile, name string, err error) error {
	if err == nil {
		err = w.Sync()
	}
	if cerr := w.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		fsys.Remove(name) // if it fails too, a sweep does it
	}
	return err
}

func copyFile(fsys FS, name, src string, perm fs.FileMode) error {
	r, err := fsys.Open(src)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := fsys.Create(name, perm)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return finish(fsys, w, name, err)
}
