package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"sync"
	"syscall"

	"github.com/gofrs/flock"
)

// ErrLocked reports that another process, or another part of this one, holds a lock.
var ErrLocked = errors.New("locked by another process")

// ErrNoLock reports that nobody can say who holds a lock: there are no locks here, or this process may not open the file, or
// the name vanishes. The work must go on without the lock.
var ErrNoLock = errors.New("no lock is to be had here")

// Lock is a held lock. It lasts until Unlock, or until the process ends, in whatever way. Locks save work and are
// courtesy: nothing is correct because of one (docs/durability.md, R10).
type Lock struct {
	flock *flock.Flock // the reference keeps the descriptor: a collected Flock frees the lock
	name  string
	info  fs.FileInfo // of the file that is locked
	once  sync.Once   // for Unlock: a second one must not touch the next holder's file
}

// held has the paths that this process holds.
var held sync.Map

// lockTries bounds how often a lock file is opened again that was deleted between open and lock, or whose call was interrupted.
const lockTries = 10

// TryLock takes the lock of a file, or fails with ErrLocked at once. It never waits in the kernel. It makes the file
// if that is absent, with perm less the umask. Then body becomes the content of the file, for people to read. A system with
// mandatory locks (Windows, SMB) may refuse this write; the lock holds all the same. The same goes for a file of another user that
// may only be read.
//
//	openat name O_CREAT|O_RDWR, or where that is refused O_RDONLY; flock; openat name O_TRUNC; write body
//
// Nobody deletes the file: two processes could then hold the lock, each on an inode of its own. A name that is a link or a pipe is
// ErrLink. Every other error matches ErrNoLock, whatever the file system said: a lock is courtesy, and EIO of a lock is no more
// than a lock that is not there.
func TryLock(name, body string, perm fs.FileMode) (*Lock, error) {
	// Two flocks of one process exclude each other only where locks belong to descriptors. So this process also
	// keeps its own list.
	if _, taken := held.LoadOrStore(name, true); taken {
		return nil, fmt.Errorf("%s: %w", name, ErrLocked)
	}
	l, err := tryLock(name, os.O_CREATE, perm)
	if err != nil {
		held.Delete(name)
		return nil, err
	}
	HoldMode(name, perm) // only its owner can: it was made just now, or by this user before
	if runtime.GOOS != "windows" {
		os.WriteFile(name, []byte(body), perm) // an error is dropped: the text is for people, and nothing depends on it
	}
	return l, nil
}

// tryLock takes the lock without writing a body. create is os.O_CREATE or 0.
func tryLock(name string, create int, perm fs.FileMode) (*Lock, error) {
	switch err := Regular(OS, name); {
	case errors.Is(err, ErrLink):
		return nil, err // opening a link would make or lock a file elsewhere
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrNoLock, err)
	}
	err := fmt.Errorf("%s: was deleted %d times while it was being locked: find out what deletes it", name, lockTries)
	for range lockTries {
		fl, lerr := lockFile(name, create, perm)
		switch {
		// The file was deleted between open and lock, or is deleted while another machine has it open (gluster, sshfs, SMB).
		// The next round makes a new one.
		case errors.Is(lerr, fs.ErrNotExist) && create != 0, errors.Is(lerr, errStale), errors.Is(lerr, syscall.EINTR):
			err = lerr
			continue
		case errors.Is(lerr, ErrLocked):
			return nil, lerr
		case lerr != nil:
			return nil, fmt.Errorf("%w: %w", ErrNoLock, lerr)
		}
		// The file may have been deleted between open and lock. The next process would make a new one and lock
		// that, so our lock of the old inode would exclude nobody.
		if info, same := samePath(fl, name); same {
			return &Lock{flock: fl, name: name, info: info}, nil
		}
		fl.Close()
	}
	return nil, fmt.Errorf("%w: %w", ErrNoLock, err)
}

// lockFile opens the file and takes its lock.
func lockFile(name string, create int, perm fs.FileMode) (*flock.Flock, error) {
	// It opens for writing, because NFS needs that for an exclusive lock. Elsewhere a handle for reading does, and a file
	// that another user or the superuser has made gives no more.
	fl, err := flockWith(name, create|os.O_RDWR, perm)
	if errors.Is(err, fs.ErrPermission) || IsReadOnly(err) {
		if there, rerr := flockWith(name, os.O_RDONLY, perm); rerr == nil || errors.Is(rerr, ErrLocked) {
			return there, rerr
		}
	}
	return fl, err
}

func flockWith(name string, flag int, perm fs.FileMode) (*flock.Flock, error) {
	fl := flock.New(name, flock.SetFlag(flag), flock.SetPermissions(perm))
	ok, err := fl.TryLock()
	if ok {
		return fl, nil
	}
	fl.Close()
	var opening *fs.PathError
	switch {
	case errors.As(err, &opening):
		return nil, err
	// EACCES of the lock itself is how SMB says that somebody holds it. EACCES of the open is about the file.
	case err == nil, errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("%s: %w", name, ErrLocked)
	}
	return nil, &fs.PathError{Op: "flock", Path: name, Err: err}
}

// LocksRefused tells whether locks are refused as a whole beside name: also that of a file which nobody else can have. It is for a
// caller that met ErrLocked. A security policy answers EACCES to every lock, as SMB does to one that is held.
//
//	openat temp O_CREAT|O_RDWR; flock; unlinkat temp
func LocksRefused(name string) bool {
	temp, err := tempName(name)
	if err != nil {
		return false
	}
	fl, err := flockWith(temp, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err == nil {
		fl.Close()
	}
	os.Remove(temp) // if this fails, a sweep removes it later
	return errors.Is(err, ErrLocked)
}

// samePath tells whether the file that fl holds open is the one at name.
func samePath(fl *flock.Flock, name string) (fs.FileInfo, bool) {
	mine, err := fl.Stat()
	if err != nil {
		return nil, false
	}
	there, err := os.Lstat(name)
	return mine, err == nil && os.SameFile(mine, there)
}

// Held tells whether the lock file is still the one that was locked. It is false after somebody deleted or replaced
// the file.
func (l *Lock) Held() bool {
	there, err := os.Lstat(l.name)
	return err == nil && os.SameFile(l.info, there)
}

// Unlock empties the lock file and ends the lock. A second Unlock does nothing.
func (l *Lock) Unlock() (err error) {
	l.once.Do(func() {
		// The file is emptied while we hold the lock. After the unlock the text may already be that of the next
		// holder. An error is dropped, because nothing depends on the text.
		if l.Held() && runtime.GOOS != "windows" {
			os.Truncate(l.name, 0)
		}
		err = l.flock.Close()
		held.Delete(l.name)
	})
	return err
}

// maxBody bounds what is read of a lock file.
const maxBody = 4096

// LockHolder is the body of a lock file. It says who holds the lock, or who held it last and was killed. It is empty
// if nobody holds the lock, or if the file cannot be read (Windows locks the content as well).
func LockHolder(name string) string {
	if err := Regular(OS, name); err != nil {
		return ""
	}
	body, err := Read(OS, name, maxBody)
	if err != nil {
		return ""
	}
	return string(body)
}

// LockIsFree tells whether nobody holds the lock of an existing file. It takes the lock for a moment; another process
// that tries in this moment gets ErrLocked. It makes and deletes nothing. A missing file is fs.ErrNotExist. Where nobody can say
// it, the error matches ErrNoLock.
func LockIsFree(name string) (bool, error) {
	if _, err := os.Lstat(name); err != nil {
		return false, err
	}
	if _, taken := held.Load(name); taken {
		return false, nil
	}
	l, err := tryLock(name, 0, 0)
	if errors.Is(err, ErrLocked) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, l.flock.Close()
}
