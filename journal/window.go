package journal

import (
	"errors"
	"fmt"
	"io"

	"github.com/runfold/runfold/internal/durable"
)

// readError is an error of the file system, not of the bytes.
type readError struct{ error }

func (e readError) Unwrap() error { return e.error }

// errShrank is a readError: the segment is shorter than it was when it was opened.
var errShrank = errors.New("the segment has become shorter")

func isRead(err error) bool {
	if err == nil {
		return false
	}
	var r readError
	return errors.As(err, &r)
}

// window is the part of a segment that is in memory. It is as large as the longest entry, which
// is bounded by maxFrame. It does not grow with the file.
type window struct {
	f    durable.ReadFile
	size int64
	off  int64
	buf  []byte
}

// step is how much is read at once.
const step = 64 << 10

// at returns up to n bytes at an offset, fewer only at the end of the segment. They stay valid until
// the next call.
func (w *window) at(off int64, n int) ([]byte, error) {
	n = int(min(int64(n), w.size-off))
	if off < w.off || off+int64(n) > w.off+int64(len(w.buf)) {
		if err := w.load(off, max(n, step)); err != nil {
			return nil, err
		}
	}
	i := int(off - w.off)
	return w.buf[i : i+n], nil
}

func (w *window) load(off int64, n int) error {
	n = int(min(int64(n), w.size-off))
	if cap(w.buf) < n || n <= step && cap(w.buf) > 4*step { // the second: the memory of a long entry is released
		w.buf = make([]byte, n)
	}
	w.buf = w.buf[:n]
	w.off = off
	err := w.read(w.buf, off)
	if err != nil {
		w.buf = w.buf[:0]
	}
	return err
}

// read fills b from an offset on.
func (w *window) read(b []byte, off int64) error {
	got, err := w.f.ReadAt(b, off)
	if got == len(b) {
		return nil
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // a network file system may show the size of a file before its bytes
		if info, serr := w.f.Stat(); serr == nil && info.Size() < w.size {
			err = errShrank
		}
	}
	return readError{fmt.Errorf("read segment at offset %d: %w", off, err)}
}

// copy fills b from an offset on if it all lies in the window.
func (w *window) copy(b []byte, off int64) bool {
	if off < w.off || off+int64(len(b)) > w.off+int64(len(w.buf)) {
		return false
	}
	copy(b, w.buf[off-w.off:])
	return true
}

// loaded is how many bytes from an offset on are in memory.
func (w *window) loaded(off int64) int {
	if off < w.off {
		return 0
	}
	return int(max(w.off+int64(len(w.buf))-off, 0))
}

// forget makes the next call read again.
func (w *window) forget() { w.buf = w.buf[:0] }
