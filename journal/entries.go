package journal

import (
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
)

// Entry is one entry of a stream as it stands in its segment.
type Entry struct {
	Offset   int64
	Size     int64  // with the length in front
	Kind     string // header, record or seal
	Seq      uint64
	Stamp    cohort.Stamp
	RecordID string
	Payload  []byte // JSON; valid until the next entry
}

// Entries yields every entry of the segment at path, headers and seals too, wherever the file lies. An
// error stands for bytes that are no entry; the iteration goes on behind them where it can.
func Entries(fsys durable.FS, path string, s Stream) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		r, err := OpenSegment(fsys, "", path, s, Position{})
		if err != nil {
			yield(Entry{}, err)
			return
		}
		defer r.Close()
		for {
			f, err := r.frame()
			if err == io.EOF && r.torn == 0 {
				return
			}
			if err == io.EOF {
				err = fmt.Errorf("%s: %d bytes at offset %d are no entry (yet)", path, r.torn, r.pos.Offset)
			}
			var e Entry
			if err == nil {
				e = Entry{f.at, f.size, f.kind.String(), f.seq, f.stamp, f.recordID, f.payload}
			}
			if !yield(e, err) || err != nil && !errors.Is(err, ErrCorrupt) {
				return
			}
		}
	}
}
