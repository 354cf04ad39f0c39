package generation

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/journal"
)

// Watermark says how far one stream has been folded. Damaged is set when bytes of the stream were passed
// over. Such a stream is moved to quarantine/ and not deleted.
//
// The other fields are for streams without a seal, whose writer may be dead. All times are the file system's.
type Watermark struct {
	Stream journal.Stream
	journal.Position
	Damaged bool
	Torn    int64        // bytes after the position that are not an entry, perhaps not yet
	Grown   cohort.Stamp // when a compactor first saw the stream end where it ends; 0: not known
	Reaped  cohort.Stamp // when it was first read to its end in reaped/; 0: it was not moved there
	// Stuck tells that its directory could not be moved to reaped/, for want of permission, and that a fold has told of it. A stream with
	// a seal may have it, too.
	Stuck bool
	// Synced is the offset up to which the stream is known to be durable, where it has no seal: a power loss takes nothing before it.
	// It is 0 in generations of before this field.
	Synced int64
	// Shortened tells that it was folded further once, and that a power loss took the rest: the index may have rows of records that it does not have.
	// If the bytes come back, they are read again.
	Shortened bool
}

// MayEndAt tells whether a power loss explains that the stream ends at a position before that of the watermark. Then what is
// missing is only what its writer had not synced when it was folded. All of it is folded, and none of it was acknowledged: a
// writer syncs before it acknowledges, and before it writes more.
func (w Watermark) MayEndAt(end journal.Position) bool {
	if w.Sealed { // the seal is written after all else is synced
		return !w.Damaged && end.Seq+1 == w.Seq
	}
	return end.Seq < w.Seq && end.Offset >= w.Synced
}

// Size is the size that the segment had when it was last read to its end.
func (w Watermark) Size() int64 { return w.Offset + w.Torn }

// Marks are the watermarks of the streams that a generation has read.
func (m *Manifest) Marks() map[journal.Stream]Watermark {
	marks := make(map[journal.Stream]Watermark, len(m.Streams))
	for _, w := range m.Streams {
		marks[w.Stream] = w
	}
	return marks
}

// watermarkJSON is a Watermark in the form of the file.
type watermarkJSON struct {
	Stream string `json:"stream"`
	journal.Position
	Damaged   bool         `json:"damaged,omitempty"`
	Torn      int64        `json:"torn,omitempty"`
	Grown     cohort.Stamp `json:"grown,omitempty"`
	Reaped    cohort.Stamp `json:"reaped,omitempty"`
	Stuck     bool         `json:"stuck,omitempty"`
	Synced    int64        `json:"synced,omitempty"`
	Shortened bool         `json:"shortened,omitempty"`
}

// MarshalJSON writes the stream as "cohort/ULID".
func (w Watermark) MarshalJSON() ([]byte, error) {
	return json.Marshal(watermarkJSON{w.Stream.String(), w.Position, w.Damaged, w.Torn, w.Grown, w.Reaped, w.Stuck, w.Synced, w.Shortened})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (w *Watermark) UnmarshalJSON(data []byte) error {
	var file watermarkJSON
	if err := json.Unmarshal(data, &file); err != nil {
		return err
	}
	name, stream, _ := strings.Cut(file.Stream, "/")
	id, err := cohort.ParseID(name)
	if err != nil {
		return err
	}
	s, err := cohort.ParseStreamID(stream)
	if err == nil && (file.Offset < 0 || file.Torn < 0 || file.Grown < 0 || file.Reaped < 0 || file.Synced < 0 || file.Synced > file.Offset) {
		err = fmt.Errorf("watermark of %s is negative", file.Stream)
	}
	*w = Watermark{journal.Stream{Cohort: id, ID: s}, file.Position, file.Damaged, file.Torn, file.Grown, file.Reaped, file.Stuck, file.Synced, file.Shortened}
	return err
}
