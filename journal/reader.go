package journal

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
)

// ErrCorrupt is matched by every *CorruptError.
var ErrCorrupt = errors.New("stream is damaged")

// CorruptError tells of a place in a stream that holds no valid entry although the stream goes on
// behind it.
type CorruptError struct {
	Path   string
	Offset int64 // of the first byte that is wrong
	Length int64 // how many bytes were passed over
	Err    error
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("%s: %d bytes at offset %d: %v", e.Path, e.Length, e.Offset, e.Err)
}

func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }
func (e *CorruptError) Unwrap() error        { return e.Err }

// Reader reads one stream. It is used by one goroutine; any number of Readers may read a stream while
// its writer goes on.
type Reader struct {
	stream Stream
	root   cohort.Root
	path   string

	w    *window
	pos  Position
	size int64

	records int  // since the start of the segment; counts only if whole
	whole   bool // read from the start, so that records can be compared with the seal
	ended   int8 // whether the stream ends with a seal: 0 unknown, 1 yes, -1 no
	torn    int64
}

// Open opens a stream at a position that an earlier Reader reached. A stream whose segment does not
// exist yet is empty; one whose directory is gone is fs.ErrNotExist. It never writes.
func Open(fsys durable.FS, root cohort.Root, s Stream, from Position) (*Reader, error) {
	return OpenSegment(fsys, root, root.Segment(s.Cohort, s.ID), s, from)
}

// OpenSegment is Open for a segment that lies elsewhere: in quarantine, or in a copy.
func OpenSegment(fsys durable.FS, root cohort.Root, path string, s Stream, from Position) (*Reader, error) {
	r := &Reader{stream: s, root: root, path: path, pos: from, whole: from == Position{}}
	info, err := fsys.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, r.absent(fsys, from)
	}
	if err != nil {
		return nil, fmt.Errorf("open stream %v: %w", s, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("open stream %v: %s is not a regular file", s, path)
	}
	f, err := fsys.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open stream %v: %w", s, err)
	}
	if info, err = f.Stat(); err != nil {
		f.Close()
		return nil, fmt.Errorf("open stream %v: %w", s, err)
	}
	r.size = info.Size()
	r.w = &window{f: f, size: r.size}
	if r.size < from.Offset {
		f.Close()
		return nil, &CorruptError{path, r.size, from.Offset - r.size,
			fmt.Errorf("shorter than what was read before: it was cut off")}
	}
	return r, nil
}

// absent decides what a missing segment means: its writer is between mkdir and open, or the stream is
// gone.
func (r *Reader) absent(fsys durable.FS, from Position) error {
	if _, err := fsys.Stat(r.root.Stream(r.stream.Cohort, r.stream.ID)); err != nil {
		return fmt.Errorf("open stream %v: %w", r.stream, err)
	}
	if from != (Position{}) {
		return &CorruptError{r.path, 0, from.Offset, errors.New("segment is gone although it was read before")}
	}
	return nil
}

// Next returns the next record. Headers and seals are passed over.
//
// io.EOF is the end, or a tail that is no valid entry: that is "not yet", as a reader may see the size
// of a growing file before its bytes; see Torn. A *CorruptError tells of a place that was passed over,
// and Next may be called again to read on behind it; it is given only when the stream ends with a
// seal, so that nothing can still be coming. Any other error ends the reading at Position.
func (r *Reader) Next() (cohort.Record, error) {
	for {
		f, err := r.frame()
		if err != nil {
			return cohort.Record{}, err
		}
		rec, ok, err := r.accept(f)
		if ok || err != nil {
			return rec, err
		}
	}
}

// Position is behind the last entry that Next has dealt with.
func (r *Reader) Position() Position { return r.pos }

// Torn is, after io.EOF, how many bytes stand behind Position.
func (r *Reader) Torn() int64 { return r.torn }

// Size is that of the segment when it was opened; later bytes are for the next Reader.
func (r *Reader) Size() int64 { return r.size }

// Close closes the file.
func (r *Reader) Close() error {
	if r.w == nil {
		return nil
	}
	return r.w.f.Close()
}

// sized is a frame and the bytes that its entry takes.
type sized struct {
	frame
	size int64
	at   int64
}

// frame returns the next valid frame and moves behind it, or says why there is none.
func (r *Reader) frame() (sized, error) {
	if r.w == nil || r.pos.Offset == r.size {
		return sized{}, io.EOF
	}
	f, err := r.parse(r.pos.Offset)
	if err == nil && r.pos.Sealed {
		err = errors.New("stands behind the seal")
	}
	if err == nil && f.seq != r.pos.Seq+1 {
		err = fmt.Errorf("entry %d follows on entry %d", f.seq, r.pos.Seq)
	}
	switch {
	case err == nil:
		r.move(f)
		return f, nil
	case errors.Is(err, cohort.ErrNewer):
		return sized{}, fmt.Errorf("stream %v at offset %d: %w", r.stream, r.pos.Offset, err)
	case isRead(err):
		return sized{}, err
	}
	return sized{}, r.invalid(err)
}

func (r *Reader) move(f sized) {
	r.pos = Position{Offset: f.at + f.size, Seq: f.seq, CRC: f.crc, Sealed: f.kind == kindSeal}
}

// parse reads the entry at an offset.
func (r *Reader) parse(off int64) (sized, error) {
	head, err := r.w.at(off, 10)
	if err != nil {
		return sized{}, err
	}
	length, width, err := parseLength(head)
	if err != nil {
		return sized{}, err
	}
	if off+int64(width+length) > r.size {
		return sized{}, errShort
	}
	b, err := r.w.at(off, width+length)
	if err != nil {
		return sized{}, err
	}
	f, err := parseFrame(b[width:], r.stream.ID)
	return sized{f, int64(width + length), off}, err
}

// invalid decides what bytes at the position that are no next entry mean: not yet, or damage that is
// passed over.
func (r *Reader) invalid(cause error) error {
	if !r.endsSealed() {
		r.torn = r.size - r.pos.Offset
		return io.EOF
	}
	start := r.pos
	next, err := r.search(start.Offset + 1)
	if err != nil {
		return err
	}
	damage := &CorruptError{Path: r.path, Offset: start.Offset, Err: cause}
	if next == nil || start.Sealed {
		r.pos.Offset, r.pos.Sealed = r.size, true
		damage.Length = r.size - start.Offset
		return damage
	}
	r.pos.Offset, r.pos.Seq = next.at, next.seq-1
	damage.Length = next.at - start.Offset
	if lost := next.seq - 1 - start.Seq; lost > 0 {
		damage.Err = fmt.Errorf("%w (entries %d to %d)", cause, start.Seq+1, next.seq-1)
	}
	return damage
}

// search finds the first valid frame at or behind an offset whose seq is later than what was read.
func (r *Reader) search(off int64) (*sized, error) {
	for ; off < r.size; off++ {
		ok, err := r.plausible(off)
		var f sized
		if ok {
			f, err = r.parse(off)
		}
		if err != nil && isRead(err) {
			return nil, err
		}
		if !ok {
			continue
		}
		if err == nil && f.seq > r.pos.Seq {
			return &f, nil
		}
	}
	return nil, nil
}

// plausible tells whether an entry of ours could begin at an offset. It spares the checksum at all
// but a few of them.
func (r *Reader) plausible(off int64) (bool, error) {
	b, err := r.w.at(off, binary.MaxVarintLen64+frameHead)
	if err != nil {
		return false, err
	}
	_, width, err := parseLength(b)
	if err != nil || len(b) < width+minFrame {
		return false, nil
	}
	k := kind(b[width+5])
	return b[width+4] == frameVersion && kindHeader <= k && k <= kindSeal, nil
}

// endsSealed tells whether a valid seal stands at the very end of the segment: then the writer has
// finished and whatever is invalid before it is damage.
func (r *Reader) endsSealed() bool {
	if r.ended == 0 {
		r.ended = -1
		for off := max(r.pos.Offset, r.size-maxSeal); off < r.size; off++ {
			f, err := r.parse(off)
			if err == nil && f.kind == kindSeal && f.at+f.size == r.size {
				r.ended = 1
			}
		}
		if r.pos.Sealed {
			r.ended = 1
		}
	}
	return r.ended == 1
}

// maxSeal is more than an entry that holds a seal takes.
const maxSeal = 128

// accept turns a frame into a record; ok is false for those that are none.
func (r *Reader) accept(f sized) (rec cohort.Record, ok bool, err error) {
	switch f.kind {
	case kindHeader:
		err = r.checkHeader(f)
	case kindSeal:
		err = r.checkSeal(f)
	case kindRecord:
		r.records++
		rec, err = r.record(f)
		ok = err == nil
	}
	if err != nil {
		err = &CorruptError{r.path, f.at, f.size, err}
	}
	return rec, ok, err
}

func (r *Reader) record(f sized) (cohort.Record, error) {
	payload := append([]byte(nil), f.payload...) // the window moves on
	rec, err := cohort.ParseRecord(payload, maxFrame)
	if err == nil {
		err = rec.Validate()
	}
	if err != nil {
		return cohort.Record{}, fmt.Errorf("entry %d holds no record: %w", f.seq, err)
	}
	rec.Cohort, rec.Stream, rec.Stamp, rec.ID = r.stream.Cohort, r.stream.ID, f.stamp, f.recordID
	return rec, nil
}

// checkHeader refuses a stream that was moved here from another cohort.
func (r *Reader) checkHeader(f sized) error {
	var h header
	if err := json.Unmarshal(f.payload, &h); err != nil {
		return fmt.Errorf("header: %w", err)
	}
	if h.Cohort != r.stream.Cohort {
		return fmt.Errorf("was written for cohort %q", h.Cohort)
	}
	return nil
}

func (r *Reader) checkSeal(f sized) error {
	var s seal
	if err := json.Unmarshal(f.payload, &s); err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	if r.whole && s.Records != r.records && r.ended == 0 { // damage before the seal was told already
		return fmt.Errorf("seal counts %d records, %d are there", s.Records, r.records)
	}
	return nil
}

// readError is an error of the file system, not of the bytes.
type readError struct{ error }

func (e readError) Unwrap() error { return e.error }

func isRead(err error) bool {
	var r readError
	return errors.As(err, &r)
}

// window is the part of a segment that lies in memory. It grows to the entry that it must hold, which
// is bounded by maxFrame, never to the file.
type window struct {
	f    durable.ReadFile
	size int64
	off  int64
	buf  []byte
}

// step is how much is read at once.
const step = 256 << 10

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
	if cap(w.buf) < n {
		w.buf = make([]byte, n)
	}
	w.buf = w.buf[:n]
	w.off = off
	got, err := w.f.ReadAt(w.buf, off)
	if got < n { // the file shrank, or a network file system shows its size before its bytes
		w.buf = w.buf[:0]
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return readError{fmt.Errorf("read segment at offset %d: %w", off, err)}
	}
	return nil
}
