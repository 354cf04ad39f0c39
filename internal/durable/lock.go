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

// lockTries bounds how often a lock file is opened again that was deleted between open and lock.
const lockTries = 10

// TryLock takes the lock of a file, or fails with ErrLocked at once. It never waits in the kernel. It makes the file
// if that is absent, with perm less the umask. Then body becomes the content of the file, for people to read. A system with
// mandatory locks (Windows, SMB) may refuse this write; the lock holds all the same.
//
//	openat name O_CREAT|O_RDWR; flock; openat name O_TRUNC; write body
//
// Nobody deletes the file: two processes could then hold the lock, each on an inode of its own. A name that is not a
// regular file is ErrLink. An error that matches errors.ErrUnsupported means that the file system has no locks.
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

// tryLock takes the lock without writing a body. create is os.O_CREATE or 0. It opens for writing, because NFS needs that
// for an exclusive lock.
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
		// The file may have been deleted between open and lock. The next process would make a new one and lock
		// that, so our lock of the old inode would exclude nobody.
		if info, same := samePath(fl, name); same {
			return &Lock{flock: fl, name: name, info: info}, nil
		}
		fl.Close()
	}
	return nil, fmt.Errorf("%s: was deleted %d times while it was being locked: find out what deletes it", name, lockTries)
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

// lockError makes an error match errors.ErrUnsupported if it means that there are no locks here.
func lockError(name string, err error) error {
	if errors.Is(err, syscall.ENOSYS) || errors.Is(err, syscall.EOPNOTSUPP) {
		return fmt.Errorf("%s: %w: %w", name, errors.ErrUnsupported, err)
	}
	return err
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
// that tries in this moment gets ErrLocked. It makes and deletes nothing. A missing file is fs.ErrNotExist.
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
