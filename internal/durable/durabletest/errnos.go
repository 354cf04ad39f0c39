package durabletest

import (
	"fmt"
	"math"
	"sync"
	"syscall"

	"github.com/runfold/runfold/internal/durable"
)

// Outcome is what becomes of the work when calls of a kind fail.
type Outcome int

const (
	// GoesOn: the work is done, by the way that needs less, and that is told.
	GoesOn Outcome = iota
	// Told: what was to be tidied stays. That is told, or a later run does it. The work is done.
	Told
	// Fails: there is an error, nothing is acknowledged, and the exit code is 1. A call that only tidies may fail without that.
	Fails
	// Again: as Fails, with exit code 75.
	Again
)

func (o Outcome) String() string { return [...]string{"goes on", "told", "fails", "again"}[o] }

// Errno is one row of the table "errno x call" in docs/durability.md, "Storage that lies".
type Errno struct {
	Op   string // as in Fault: a Hook's, or a Look's
	Err  error
	Then Outcome
}

func (e Errno) String() string { return fmt.Sprintf("%s says %v", e.Op, e.Err) }

// Errnos is the table. A test that goes through it must find every row kept, at every call of that kind, once and for ever.
func Errnos() []Errno {
	var all []Errno
	add := func(then Outcome, op string, errs ...error) {
		for _, err := range errs {
			all = append(all, Errno{op, err, then})
		}
	}
	const full = syscall.ENOSPC

	add(GoesOn, "link", syscall.EPERM, syscall.EACCES, syscall.EXDEV, syscall.EMLINK, syscall.ENOTSUP, syscall.ENOSYS, full)
	add(Fails, "link", syscall.EIO, syscall.EROFS, syscall.ENOENT, syscall.ELOOP, syscall.ESTALE, syscall.ENOMEM, syscall.ENOTCONN)
	add(Again, "link", syscall.EDQUOT)

	add(GoesOn, "syncdir", syscall.EINVAL, syscall.ENOTSUP, syscall.ENOSYS)
	add(Fails, "syncdir", syscall.EIO, syscall.EROFS, syscall.EBADF, syscall.EACCES, syscall.ESTALE, syscall.ENOTCONN)
	add(Again, "syncdir", full, syscall.EDQUOT)

	add(GoesOn, "statfs", syscall.EIO, syscall.ENOSYS, syscall.EACCES, syscall.EOVERFLOW, syscall.ENOTCONN, syscall.ESTALE, syscall.EINVAL,
		syscall.EPERM, syscall.ENOENT)

	add(Fails, "fsync", syscall.EIO, syscall.EINVAL, syscall.ENOTSUP, syscall.EROFS, syscall.EBADF, syscall.ESTALE)
	add(Again, "fsync", full, syscall.EDQUOT)
	add(Fails, "write", syscall.EIO, syscall.EFBIG, syscall.EPERM, syscall.EINVAL, syscall.ESTALE)
	add(Again, "write", full, syscall.EDQUOT)
	add(Fails, "create", syscall.EIO, syscall.EACCES, syscall.EROFS, syscall.EMFILE, syscall.ENFILE, syscall.ENOENT, syscall.EPERM, syscall.ESTALE)
	add(Again, "create", full, syscall.EDQUOT)
	add(Fails, "open", syscall.EIO, syscall.EACCES, syscall.EMFILE, syscall.ENFILE, syscall.EPERM, syscall.ENOMEM, syscall.ENOTCONN)
	add(Fails, "rename", syscall.EACCES, syscall.EBUSY, syscall.ETXTBSY, syscall.EIO, syscall.EROFS, syscall.EXDEV, syscall.EPERM, syscall.ENOTEMPTY, syscall.ESTALE)
	add(Again, "rename", full, syscall.EDQUOT)
	add(Told, "remove", syscall.EIO, syscall.EACCES, syscall.EPERM, syscall.EBUSY, syscall.EROFS, syscall.ETXTBSY, syscall.ESTALE)
	return all
}

// Every is where a fault happens: at every call of its kind.
const Every = -1

// Inject is a Fault over fsys whose calls fail as the row says: the n-th of them, counted from 0, or all if n is Every. met is how many
// calls of the kind there were until now.
func (e Errno) Inject(fsys durable.FS, n int) (fault *Fault, met func() int) {
	var mu sync.Mutex // guards calls
	calls := 0
	fail := func(op string) error {
		if op != e.Op {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		calls++
		if n == Every || calls-1 == n {
			return e.Err
		}
		return nil
	}
	fault = &Fault{
		FS:   fsys,
		Hook: func(_ int, op, _ string) error { return fail(op) },
		Look: func(op, _ string) error { return fail(op) },
	}
	return fault, func() int {
		mu.Lock()
		defer mu.Unlock()
		return calls
	}
}

// Lies is a file system whose statfs answers what those of FUSE and of SMB answer.
type Lies struct {
	durable.FS
	About durable.Statfs
}

// Statfs answers About.
func (l Lies) Statfs(string) (durable.Statfs, error) { return l.About, nil }

// LyingStatfs are answers of statfs that must never count as a full disk.
func LyingStatfs() map[string]durable.Statfs {
	return map[string]durable.Statfs{
		"all is 0":               {},
		"nothing is free":        {BlockSize: 4096, Blocks: 1 << 20},
		"more is free than is":   {BlockSize: 4096, Blocks: 1, FreeBlocks: 1 << 20},
		"the product overflows":  {BlockSize: 1 << 20, Blocks: math.MaxUint64, FreeBlocks: math.MaxUint64},
		"the product is 1 << 63": {BlockSize: 1 << 20, Blocks: 1 << 43, FreeBlocks: 1 << 43},
		"blocks have no size":    {Blocks: 1 << 20, FreeBlocks: 1 << 20},
		"SMB has no inodes":      {Type: 0xFE534D42, BlockSize: 1024, Blocks: 1 << 30, FreeBlocks: 1 << 29},
	}
}
