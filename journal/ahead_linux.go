package journal

import (
	"io"
	"math"
	"os"
	"path/filepath"
	"syscall"

	"github.com/runfold/runfold/internal/durable"
)

// ownAccess is how the descriptor of the own segment is opened: to write as well where zeros may be written ahead.
func ownAccess(path string) int {
	if s, err := durable.OS.Statfs(filepath.Dir(path)); err != nil || !s.OverwritesInPlace() {
		return os.O_RDONLY
	}
	return os.O_RDWR
}

// spareOf is nil where no zeros are written ahead: the file system gains nothing by it or is not known, or the library is of a
// version that we do not know.
func spareOf(o *ownFile, seg segment) spare {
	if s, ok := seg.(*walSegment); !ok || !s.known || !o.writable {
		return nil
	}
	return o
}

func (o *ownFile) fill(from, to int64) error {
	for from < to {
		n, err := o.f.WriteAt(noughts[:min(to-from, int64(len(noughts)))], from)
		if err != nil {
			return err
		}
		if n == 0 {
			return io.ErrShortWrite
		}
		from += int64(n)
	}
	return nil
}

func (o *ownFile) cut(size int64) error { return o.f.Truncate(size) }

func (o *ownFile) sync() error { return o.f.Sync() }

func (o *ownFile) syncData() error {
	return os.NewSyscallError("fdatasync", again(func() error { return syscall.Fdatasync(int(o.f.Fd())) }))
}

// limit is what ulimit -f says. A write that passes it would end the process by a signal.
func (*ownFile) limit() int64 {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &l); err != nil || l.Cur > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(l.Cur)
}

// large is asked for once a stream has a group of many records, so that those with few never look at /sys.
func (o *ownFile) large() int64 {
	if o.bound == 0 {
		o.bound = largeGroup
		if durable.WithoutJournal(o.dev) {
			o.bound = largeWithoutJournal
		}
	}
	return o.bound
}
