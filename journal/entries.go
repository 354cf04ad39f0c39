package journal

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
)

// Entry is one entry of a stream as it stands in its segment.
type Entry struct {
	Offset   int64
	Size     int64  // including the length before the frame
	Kind     string // header, record, action or seal
	Seq      uint64 // its number in the stream; the header has 1
	Stamp    cohort.Stamp
	RecordID string
	Written  time.Time // of a record or an action: when it was appended; the zero time if nobody knows it
	Payload  []byte    // JSON; valid until the next entry
}

// Entries yields every entry of the segment at path, headers and seals too. The file may lie in a root, in
// quarantine/ or in a copy. s is the stream as which it was written, because the checksums cover its ID. An error reports
// bytes that are not an entry. It matches ErrCorrupt if the iteration goes on after them. Entries only reads.
func Entries(path string, s Stream) iter.Seq2[Entry, error] { return entries(durable.OS, path, s) }

func entries(fsys durable.FS, path string, s Stream) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		r, err := open(&Reader{fsys: fsys, stream: s, path: path})
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
				err = fmt.Errorf("%s: %d bytes at offset %d are not an entry, perhaps not yet", path, r.torn, r.pos.Offset)
			}
			var e Entry
			if err == nil {
				e = Entry{Offset: f.at, Size: f.size, Kind: f.kind.String(), Seq: f.seq, Stamp: f.stamp, RecordID: f.recordID, Payload: f.payload}
				if f.hasID() {
					e.Written = f.writtenAt()
				}
			}
			if !yield(e, err) || err != nil && !errors.Is(err, ErrCorrupt) {
				return
			}
		}
	}
}
