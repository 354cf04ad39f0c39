// Package durable changes the disk in the few ways that runfold needs. A crash at any moment leaves the old
// state or the new one.
//
// The whole vocabulary is Create (must not exist), Replace (atomic overwrite), Exchange, Move and Remove. Each
// doc comment lists the calls that the function makes, and a test compares them with what strace sees. Each
// function opens a directory before it changes a name in it: see Dir.
package durable

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"syscall"
	"time"
)

// ErrUnsynced reports a file that is complete and visible under its name, but whose name may not survive a
// crash.
var ErrUnsynced = errors.New("its name may not be durable")

// Create writes a new file and makes it durable. It fails with fs.ErrExist if name exists. Of several
// concurrent callers exactly one succeeds: this is our commit primitive (docs/durability.md, P3).
//
// On success the content and the directory entry are on stable storage. On error name is absent or
// complete, never partial. A failed sync is not retried (S3). If the sync of the directory failed, the error
// is ErrUnsynced and the file stays.
//
//	openat dir; openat temp O_EXCL; write; fsync temp; linkat temp name; unlinkat temp; fsync dir; statfs dir
//
// Where hard links are missing (see IsLinkless), the file is made under its own name with O_EXCL. There is still one winner,
// but the file may stay incomplete: after a crash between open and fsync, or if it could be neither written nor
// removed. A reader finds that by the checksum in the file.
func Create(fsys FS, name string, data []byte, perm fs.FileMode) error {
	// The directory is open before its change. An error of writing the change back is told to those who had
	// the directory open at that time, and the sync at the end is to hear of it (S2).
	dir, err := fsys.OpenDir(filepath.Dir(name))
	if err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	defer dir.Close()
	temp, err := writeTemp(fsys, name, data, perm)
	if err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	// The bytes are synced now, so a reader that finds the name finds all of the content, after a crash too (S1).
	// link(2) never replaces a name: of several callers that reach this line one succeeds (P3).
	err = fsys.Link(temp, name)
	if err != nil {
		err = settleLink(fsys, temp, name, err)
	}
	// The temporary name is removed after the doubt is settled, which compares the two files. An error of the
	// removal is dropped: a sweep removes the file later.
	fsys.Remove(temp)
	if err != nil && IsLinkless(fsys, filepath.Dir(name), err) {
		// O_EXCL also has one winner. But the name is visible before the content is: see the comment of Create.
		goesWithout(fsys, HardLinks, name, err)
		err = writeNew(fsys, name, data, perm)
	}
	if err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	// The name is visible to others, who may build on it already. So a failed sync does not take the file away,
	// and is not tried again: the second answer would not be believable (S3). The caller must leave open what
	// happened (R11).
	if err := Sync(fsys, dir, filepath.Dir(name)); err != nil {
		return fmt.Errorf("create %s: %w: %w", name, ErrUnsynced, err)
	}
	return nil
}

// settleLink finds out what a failed link did (R1). It returns nil if name is our own file, else an error.
func settleLink(fsys FS, temp, name string, cause error) error {
	there, err := fsys.Stat(name)
	if err != nil {
		return cause // no file is there, or nobody can tell: the caller reports the first error
	}
	// A retransmitted request answers EEXIST although the first one made the link. The content alone would not
	// show whose file it is, as two callers may write the same bytes. The inode shows it.
	if own, err := fsys.Stat(temp); err == nil && SameFile(own, there) {
		return nil
	}
	// On some network file systems a loser sees EPERM instead of EEXIST. Without this line the loser would
	// take the way without hard links.
	if IsLinkless(fsys, filepath.Dir(name), cause) {
		return fs.ErrExist
	}
	return cause
}

// Replace writes name anew, atomically: a reader sees the old content or the new one, before a crash and
// after it.
//
// On success the new content is on stable storage. On error name is as it was, or new and complete.
//
//	openat dir; openat temp O_EXCL; write; fsync temp; renameat temp name; fsync dir; statfs dir
func Replace(fsys FS, name string, data []byte, perm fs.FileMode) error {
	dir, err := fsys.OpenDir(filepath.Dir(name))
	if err != nil {
		return fmt.Errorf("replace %s: %w", name, err)
	}
	defer dir.Close()
	// The bytes are synced before the rename. Else a crash could leave the new name with an empty file (S1).
	temp, err := writeTemp(fsys, name, data, perm)
	if err != nil {
		return fmt.Errorf("replace %s: %w", name, err)
	}
	return replaceBy(fsys, dir, name, temp, time.Now().Add(Patience))
}

// ReplaceWith makes name show the content of src, a file that is durable and never changes. It makes a hard
// link, or a copy where links are missing or do harm (SMB: see Statfs.IsSMB).
//
// On success name is durable. On error name is as it was, or new and complete. A reader of name sees a whole
// file at all times (P4).
//
// SMB makes an exception: what a program on this machine has open cannot be replaced there, and the attempt takes the name
// away. Then it tries again until the name stands, for Patience at most, and the error is ErrInUse. Meanwhile
// readers find no file.
//
//	openat dir; statfs dir; linkat src temp; renameat temp name; fsync dir; statfs dir
func ReplaceWith(fsys FS, name, src string, perm fs.FileMode) error {
	return ReplaceWithUntil(fsys, name, src, perm, time.Now().Add(Patience))
}

// ReplaceWithUntil is ReplaceWith, which gives up waiting at that time.
func ReplaceWithUntil(fsys FS, name, src string, perm fs.FileMode, until time.Time) error {
	dir, err := fsys.OpenDir(filepath.Dir(name))
	if err != nil {
		return fmt.Errorf("replace %s: %w", name, err)
	}
	defer dir.Close()
	temp, err := tempName(name)
	if err != nil {
		return fmt.Errorf("replace %s: %w", name, err)
	}
	// link(2) cannot replace name. So the link gets a temporary name first, and the rename takes the place of
	// the old file in one step.
	err = linkOrCopy(fsys, temp, src, perm) // a copy is synced before the rename, like any new file (S1)
	if err != nil {
		fsys.Remove(temp) // a link that reports an error may have been made
		return fmt.Errorf("replace %s: %w", name, err)
	}
	return replaceBy(fsys, dir, name, temp, until)
}

// replaceBy renames temp, whose bytes are durable, to name, and makes that durable. temp is gone afterwards.
func replaceBy(fsys FS, dir Dir, name, temp string, until time.Time) error {
	err := renameOver(fsys, temp, name, until)
	// temp is removed in any case. If both names are links to one file, rename(2) does nothing and reports
	// success, so temp would stay. An error of the removal is dropped: a sweep removes the file later.
	fsys.Remove(temp)
	// Without this sync a crash shows the old file again, although the caller was told that the new one is there (S2).
	if err == nil {
		err = Sync(fsys, dir, filepath.Dir(name))
	}
	if err != nil {
		return fmt.Errorf("replace %s: %w", name, err)
	}
	return nil
}

// MoveOver renames temp, whose bytes are durable, to name, which it replaces, and makes that durable. temp must lie beside name, and is gone afterwards.
//
//	openat dir; renameat temp name; fsync dir; statfs dir
func MoveOver(fsys FS, temp, name string) error {
	dir, err := fsys.OpenDir(filepath.Dir(name))
	if err != nil {
		return fmt.Errorf("replace %s: %w", name, err)
	}
	defer dir.Close()
	return replaceBy(fsys, dir, name, temp, time.Now().Add(Patience))
}

// Move renames a file or directory to a name that must not exist, and makes that durable.
//
// On error the file or directory has its old name or its new one. It does not exclude other makers of the new
// name: callers use names that nobody else chooses, such as the ULID of a stream.
//
//	openat dir of new; openat dir of old; renameat old new; fsync, statfs dir of new; fsync, statfs dir of old
func Move(fsys FS, old, new string) error {
	// rename(2) replaces a file that has the new name. This look refuses it, but it is no lock: another process
	// may make the name after it.
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
	// The new name is synced first. In the other order the disk could know that the old name is gone, and not
	// know the new one yet, on a file system that keeps the halves of a rename apart.
	if err == nil {
		err = Sync(fsys, to, filepath.Dir(new))
	}
	if err == nil && across {
		err = Sync(fsys, from, filepath.Dir(old))
	}
	return err
}

// Remove removes a file or an empty directory and makes that durable. A name that is absent already is no
// error; then nothing is synced.
//
//	openat dir; unlinkat name; fsync dir; statfs dir
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
		err = Sync(fsys, dir, filepath.Dir(name))
	}
	return err
}

// RemoveAll removes a tree, children first. It never follows a symbolic link. A tree that is absent already is
// no error. On error some of it may be left. It syncs nothing: it is for what nobody needs, and what a
// crash brings back is removed again (S4).
func RemoveAll(fsys FS, name string) error {
	err := removeTree(fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func removeTree(fsys FS, name string) error {
	// Stat is lstat: a link to a directory is not a directory here, so the link is removed and its target is
	// not touched (P13).
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
			if err != nil && !errors.Is(err, fs.ErrNotExist) { // another compactor may remove the same tree
				return err
			}
		}
	}
	return fsys.Remove(name)
}

// MkdirAll makes a directory and its missing parents, durably: each directory that got a new entry is
// synced. An existing directory is left as it is, and its parent is not synced. If another process has just made
// the directory, it may not be durable yet: MkdirWithin syncs the parents as well (R14). The parents may be links to
// directories; name itself may not: see ErrLink. The umask applies to perm, except to the set-group-id bit.
//
//	for each missing one from the top: openat parent; mkdirat; fsync, statfs parent
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
	if errors.Is(err, fs.ErrExist) { // another process was faster, and may have made a file
		if info, err = fsys.Stat(name); err == nil {
			err = mustBeDir(name, info)
		}
	}
	if err != nil {
		return err
	}
	// The sync is needed if another process made the directory, too: that one may die before its own sync (R14).
	return Sync(fsys, dir, parent)
}

// IsReadOnly tells whether a call failed because the file system is mounted read-only.
func IsReadOnly(err error) bool { return errors.Is(err, syscall.EROFS) }

// IsFull tells whether a call failed because the disk or the quota is full. The call may succeed later.
func IsFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, errQuota)
}

// IsStale tells whether a call failed because the file was replaced or removed on another machine while it
// was open here.
func IsStale(err error) bool { return errors.Is(err, errStale) }

// readTries bounds how often Read opens a file that is being replaced.
const readTries = 5

// readAtOnce bounds what Read allocates because Stat says so.
const readAtOnce = 1 << 20

// Read returns a whole file of at most limit bytes. A larger file is an error.
func Read(fsys FS, name string, limit int64) ([]byte, error) {
	var err error
	for range readTries {
		var data []byte
		data, err = readOnce(fsys, name, limit)
		if err == nil {
			return data, nil
		}
		// While a file is replaced on another machine, an open may fail with ESTALE, or find no file although
		// the name exists. Another try finds the new file.
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
	var data bytes.Buffer
	if info, err := f.Stat(); err == nil {
		data.Grow(int(min(max(info.Size(), 0), limit, readAtOnce)) + bytes.MinRead) // or it is copied time and again while it grows
	}
	if _, err := data.ReadFrom(io.LimitReader(f, limit)); err != nil {
		return nil, err
	}
	// One more byte shows whether the file ends here. Its size in Stat may be an old one on a network file system.
	switch n, err := f.Read(make([]byte, 1)); {
	case n > 0:
		return nil, fmt.Errorf("%s is larger than %d bytes", name, limit)
	case err != nil && err != io.EOF:
		return nil, err
	}
	return data.Bytes(), nil
}

// tempName is a name beside name that no other process uses. It lies in the same directory: a rename and a
// link stay within one file system there.
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
	w, err := fsys.Create(name, perm) // O_EXCL: a file that we did not make is not written, and not removed below
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return finish(fsys, w, name, err)
}

// finish syncs and closes a file that was written. It removes the file if one of these, or the writing, failed.
func finish(fsys FS, w WriteFile, name string, err error) error {
	// A failed sync is not tried again: the kernel may have dropped the pages, and the next sync would report
	// success (S3). The file is removed; another try makes a new one.
	if err == nil {
		err = w.Sync()
	}
	// close(2) may report an error of writing, too.
	if cerr := w.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		fsys.Remove(name) // if this fails too, a sweep removes the file later
	}
	return err
}

// copyFile copies src to a new file and syncs that.
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
