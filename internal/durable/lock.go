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

// Lock is a held lock. It lives until Unlock, or until the process ends however it ends.
type Lock struct {
	flock *flock.Flock // the reference keeps the descriptor: a collected Flock frees the lock
	name  string
	info  fs.FileInfo // of the file that is locked
	once  sync.Once   // Unlock: a second one must not touch the next holder's file
}

// held are the paths that this process holds: two Flocks of one process exclude each other only
// where locks belong to descriptors.
var held sync.Map

// lockTries bounds how often a lock file that is deleted under us is opened again.
const lockTries = 10

// TryLock takes the lock of a file, or fails with ErrLocked at once. The file is made if absent, with
// perm less the umask, and is never deleted: deleting it would let two hold it. Then body becomes its
// content, for people to read, where that can be done: a system with mandatory locks (Windows, SMB)
// may refuse the write, and the lock holds all the same.
//
//	openat name O_CREAT|O_RDWR; flock; openat name O_TRUNC; write body
//
// It never waits in the kernel. What is no regular file is refused (ErrLink). An error that matches errors.ErrUnsupported means that the file system
// has no locks.
func TryLock(name, body string, perm fs.FileMode) (*Lock, error) {
	if _, taken := held.LoadOrStore(name, true); taken {
		return nil, fmt.Errorf("%s: %w", name, ErrLocked)
	}
	l, err := tryLock(name, os.O_CREATE, perm)
	if err != nil {
		held.Delete(name)
		return nil, err
	}
	if runtime.GOOS != "windows" {
		os.WriteFile(name, []byte(body), perm) // only words: nothing depends on it
	}
	return l, nil
}

// tryLock opens for writing, as NFS wants it for an exclusive lock; create is os.O_CREATE or nothing.
func tryLock(name string, create int, perm fs.FileMode) (*Lock, error) {
	if err := Regular(OS, name); err != nil {
		return nil, err // opening a link would make or lock a file elsewhere
	}
	for range lockTries {
		fl := flock.New(name, flock.SetFlag(create|os.O_RDWR), flock.SetPermissions(perm))
		ok, err := fl.TryLock()
		for errors.Is(err, syscall.EINTR) {
			ok, err = fl.TryLock()
		}
		if err != nil {
			fl.Close()
			return nil, lockError(name, err)
		}
		if !ok {
			fl.Close()
			return nil, fmt.Errorf("%s: %w", name, ErrLocked)
		}
		if info, same := samePath(fl, name); same {
			return &Lock{flock: fl, name: name, info: info}, nil
		}
		fl.Close() // deleted between open and lock: that inode locks nothing
	}
	return nil, fmt.Errorf("%s: deleted again and again while it was locked", name)
}

func samePath(fl *flock.Flock, name string) (fs.FileInfo, bool) {
	mine, err := fl.Stat()
	if err != nil {
		return nil, false
	}
	there, err := os.Lstat(name)
	return mine, err == nil && os.SameFile(mine, there)
}

func lockError(name string, err error) error {
	if errors.Is(err, syscall.ENOSYS) || errors.Is(err, syscall.EOPNOTSUPP) {
		return fmt.Errorf("%s: %w: %w", name, errors.ErrUnsupported, err)
	}
	return err
}

// Held tells whether the lock file is still the one that was locked.
func (l *Lock) Held() bool {
	there, err := os.Lstat(l.name)
	return err == nil && os.SameFile(l.info, there)
}

// Unlock empties the lock file and ends the lock. A second Unlock does nothing.
func (l *Lock) Unlock() (err error) {
	l.once.Do(func() {
		if l.Held() && runtime.GOOS != "windows" {
			os.Truncate(l.name, 0) // only words: nothing depends on it
		}
		err = l.flock.Close()
		held.Delete(l.name)
	})
	return err
}

// maxBody bounds what is read of a lock file.
const maxBody = 4096

// LockHolder is the body of a lock file: who holds it, or held it last and was killed. It is empty if
// nobody holds it or if it cannot be read (Windows locks the content too).
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

// LockIsFree tells whether nobody holds the lock of an existing file, by taking it for a moment: who
// tries just then sees ErrLocked. It makes and deletes nothing; a missing file is fs.ErrNotExist.
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
