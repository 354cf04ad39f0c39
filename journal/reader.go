package journal

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
)

// ErrCorrupt is matched by every *CorruptError.
var ErrCorrupt = errors.New("stream is damaged")

// CorruptError reports a place in a stream that holds no valid entry although the stream goes on
// after it.
type CorruptError struct {
	Path   string
	Offset int64 // of the first byte that is wrong
	Length int64 // how many bytes were passed over
	Err    error
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("%s: %d bytes at offset %d: %v", e.Path, e.Length, e.Offset, e.Err)
}

func (*CorruptError) Is(target error) bool { return target == ErrCorrupt }
func (e *CorruptError) Unwrap() error      { return e.Err }

// Reader reads one stream, from the place and the position that [Root.Open] was given. One goroutine uses it; any number
// of Readers may read a stream while its writer goes on.
type Reader struct {
	fsys   durable.FS
	stream Stream
	path   string
	rootID string // of the root that the stream must belong to; empty: any root
	dead   bool   // nothing more can be added: bytes that are no entry are damage, or a torn tail
	young  bool   // the segment may not exist yet
	reuse  bool   // see ReuseMemory

	head     *Header // nil: not read yet
	headless bool    // it cannot be read

	w      *window // nil if there is no segment yet
	pos    Position
	size   int64
	ref    Ref           // of the last record
	parser cohort.Parser // of records in memory that is used again
	ends   ending
	torn   int64
	sums   *sums // nil until damage is found
	solid  int64 // before this offset stands a byte that is not zero; see onlyZeros
	late   int   // see cameLate
	summed int64 // how many bytes went into checksums; a test makes sure that they are few
}

// open opens the segment of a new Reader, whose other fields are set.
func open(r *Reader) (*Reader, error) {
	info, err := r.fsys.Stat(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, r.absent(err)
	}
	if err != nil {
		return nil, fmt.Errorf("open stream %v: %w", r.stream, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("open stream %v: %s is not a regular file", r.stream, r.path)
	}
	f, err := r.fsys.Open(r.path)
	if err != nil {
		return nil, fmt.Errorf("open stream %v: %w", r.stream, err)
	}
	if info, err = f.Stat(); err != nil {
		f.Close()
		return nil, fmt.Errorf("open stream %v: %w", r.stream, err)
	}
	r.size = info.Size()
	r.w = &window{f: f, size: r.size}
	if r.size < r.pos.Offset {
		f.Close()
		return nil, &CorruptError{r.path, r.size, r.pos.Offset - r.size,
			fmt.Errorf("shorter than what was read before: %w", errCutOff)}
	}
	if err := r.holdsPosition(); err != nil {
		f.Close()
		return nil, err
	}
	return r, nil
}

// absent decides what a missing segment means: either its writer is between mkdir and open, or the stream was moved or
// removed.
func (r *Reader) absent(cause error) error {
	if r.young {
		_, cause = r.fsys.Stat(filepath.Dir(r.path))
	}
	switch {
	case cause != nil:
		return fmt.Errorf("open stream %v: %w", r.stream, cause)
	case r.pos != Position{}:
		return &CorruptError{r.path, 0, r.pos.Offset, fmt.Errorf("segment is gone although it was read before: %w", errCutOff)}
	}
	return nil
}

// ReuseMemory makes the Reader return each record in the same memory. A record is then valid until the next call of Next or
// Reread; cohort.Record.Clone makes a copy that stays. This saves a copy of each record, for a program that reads millions of
// records and keeps few. Call it before the first Next.
func (r *Reader) ReuseMemory() { r.reuse = true }

// Next returns the next record, with its Cohort, Stream, Stamp and ID. It passes over headers and seals. A record whose Action is set
// is no run.
//
//	io.EOF           the end, zeros up to the end, or bytes that are not an entry, perhaps not yet: Torn counts them
//	*CorruptError    a damaged place that was passed over: Next may be called again, and reads on after it
//	any other error  the reading ends at Position: a newer version (cohort.ErrNewer), a stream of another
//	                 cohort or root (IsMisfit), an error of the file system
//
// A reader may see the size of a growing file before its bytes. So bytes that are not an entry are damage only where nothing
// more can be added: in a stream that ends with a seal, or that lies in reaped/ (docs/durability.md, R8). A Reader sees only
// what the stream had when it was opened. To read more, open the stream again at Position.
func (r *Reader) Next() (cohort.Record, error) {
	for {
		before := r.pos
		f, err := r.frame()
		if err != nil {
			return cohort.Record{}, err
		}
		rec, ok, err := r.accept(f)
		r.ref = Ref{f.at, f.crc}
		if isMoved(err) || isRead(err) || errors.Is(err, cohort.ErrNewer) {
			r.pos = before
		} else if err != nil {
			err = &CorruptError{r.path, f.at, f.size, err}
		}
		if ok || err != nil {
			return rec, err
		}
	}
}

// Ref is the place of one record in its stream, in 16 bytes. [Reader.Reread] reads the record there again.
type Ref struct {
	Offset int64  // of its entry, in bytes from the start of the segment
	CRC    uint32 // of its frame: Reread refuses another record at this place
}

// Ref is the place of the record that Next returned last.
func (r *Reader) Ref() Ref { return r.ref }

// Reread returns the record at a Ref that a Reader of this stream gave before. It does not change the Position. A program that
// needs more records than fit into memory keeps their Refs, and reads again what it needs. Actions are not read again. If the bytes are no longer
// that record, the error is a *CorruptError.
func (r *Reader) Reread(at Ref) (cohort.Record, error) {
	f, err := sized{}, errShort
	if r.w != nil && at.Offset < r.size {
		f, err = r.parse(at.Offset)
	}
	if r.shrank(err) {
		f, err = r.parse(at.Offset)
	}
	if err == nil && (f.kind != kindRecord || f.crc != at.CRC) {
		err = errors.New("is not the record that was read before")
	}
	var rec cohort.Record
	if err == nil {
		if !r.reuse {
			r.parser = cohort.Parser{}
		}
		rec, err = r.parser.ParseAgain(r.payload(f))
	}
	switch {
	case isRead(err):
		return cohort.Record{}, err
	case err != nil:
		return cohort.Record{}, &CorruptError{r.path, at.Offset, f.size, err}
	}
	r.own(&rec, f)
	return rec, nil
}

// Position is the place after the last entry that Next has read or passed over. Another Reader of this stream can go on there.
func (r *Reader) Position() Position { return r.pos }

// Torn is, after io.EOF, how many bytes follow after Position, up to the last one that is not zero. They are an entry that is being
// written, a part of an entry whose writer died, or damage. Which of these, a Reader can tell only when nothing more can be added.
// Zeros at the end do not count: a writer puts them there ahead of its entries.
func (r *Reader) Torn() int64 { return r.torn }

// Sync makes durable what was read: a writer syncs only after it has written, and a Reader may be faster. It is not done for the
// names that lead to the segment. See durable.ReadFile for where it has no effect.
func (r *Reader) Sync() error {
	if r.w == nil {
		return nil
	}
	return r.w.f.Sync()
}

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

// frame returns the next valid frame and moves the position after it. If there is none, the error says why.
func (r *Reader) frame() (sized, error) {
	f, err := r.tryFrame()
	for r.shrank(err) {
		f, err = r.tryFrame()
	}
	return f, err
}

func (r *Reader) tryFrame() (sized, error) {
	if r.w == nil || r.pos.Offset == r.size {
		return sized{}, io.EOF
	}
	if end, err := r.onlyZeros(); end || err != nil {
		return sized{}, cmp.Or(err, io.EOF)
	}
	f, err := r.next()
	switch {
	case err == nil:
		r.move(f)
		return f, nil
	case errors.Is(err, cohort.ErrNewer):
		return sized{}, fmt.Errorf("stream %v at offset %d: %w", r.stream, r.pos.Offset, err)
	case isRead(err):
		return sized{}, err
	}
	if err = r.invalid(err); err == errLate {
		return r.tryFrame()
	}
	return sized{}, err
}

// next is the entry at the position, if it is valid there.
func (r *Reader) next() (sized, error) {
	if r.sums != nil { // in a damaged stream a length may be any number: the checksum is compared before the bytes are read
		f, err := r.weigh(r.pos.Offset)
		if err == nil {
			err = r.mayFollow(f.seq)
		}
		if err != nil && !errors.Is(err, cohort.ErrNewer) { // whether it is a newer frame, parse decides, by its checksum
			return sized{}, err
		}
	}
	f, err := r.parse(r.pos.Offset)
	if err == nil || errors.Is(err, cohort.ErrNewer) && r.pos.Sealed {
		err = r.mayFollow(f.seq)
	}
	return f, err
}

// mayFollow returns an error unless an entry with this number may come next.
func (r *Reader) mayFollow(seq uint64) error {
	switch {
	case r.pos.Sealed:
		return errors.New("stands after the seal")
	case seq != r.pos.Seq+1:
		return fmt.Errorf("entry %d follows entry %d", seq, r.pos.Seq)
	}
	return nil
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
	r.summed += int64(length)
	f, err := parseFrame(b[width:], r.stream.ID)
	return sized{f, int64(width + length), off}, err
}

// weigh finds the same errors as parse, but does not read all of the entry. It returns what the head of the frame holds.
func (r *Reader) weigh(off int64) (frame, error) {
	b, err := r.w.at(off, binary.MaxVarintLen64+frameHead)
	if err != nil {
		return frame{}, err
	}
	length, width, err := parseLength(b)
	if err != nil {
		return frame{}, err
	}
	if off+int64(width+length) > r.size {
		return frame{}, errShort
	}
	b = b[width:]
	if !r.sums.fits(off+int64(width), int64(length), binary.LittleEndian.Uint32(b)) {
		return frame{}, errChecksum
	}
	f, _, err := parseHead(b, length)
	return f, err
}

// invalid decides what it means that the bytes at the position are not the next entry. Either the entry is not complete yet,
// or the bytes are damage and are passed over.
func (r *Reader) invalid(cause error) error {
	sealed, err := r.endsSealed()
	if err != nil {
		return err
	}
	if !sealed && !r.dead {
		return r.tail()
	}
	start := r.pos
	next := sized{at: r.size}
	if !start.Sealed { // after a seal nothing is valid
		if next, err = r.search(); err != nil {
			return err
		}
		if next.seq == 0 && !sealed {
			return r.tail()
		}
		if !sealed && r.cameLate() {
			return errLate
		}
	}
	r.pos.Offset = next.at
	switch {
	case next.seq == 0:
		r.pos.Sealed = true
	case next.seq > start.Seq+1:
		r.pos.Seq = next.seq - 1
		cause = fmt.Errorf("%w (entries %d to %d)", cause, start.Seq+1, next.seq-1)
	}
	return &CorruptError{r.path, start.Offset, next.at - start.Offset, cause}
}

// tail ends the reading before bytes that are not an entry.
func (r *Reader) tail() error {
	end, err := r.lastByte()
	if err != nil {
		return err
	}
	r.torn = max(end-r.pos.Offset, 0)
	return io.EOF
}

// endsSealed tells whether the segment ends with a valid seal. Then the writer has finished, and all invalid bytes before
// the seal are damage. The seal is searched for once.
func (r *Reader) endsSealed() (bool, error) {
	if r.pos.Sealed {
		r.ends = endsSealed
	}
	for off := max(r.pos.Offset, r.size-maxSeal); off < r.size && r.ends == endsUnknown; off++ {
		f, err := r.parse(off)
		if isRead(err) {
			return false, err
		}
		if err == nil && f.kind == kindSeal && f.at+f.size == r.size {
			r.ends = endsSealed
		}
	}
	if r.ends == endsUnknown {
		r.ends = endsOpen // a later call, at a later position, would find no seal either
	}
	return r.ends == endsSealed, nil
}

// ending is what is known of the end of the segment.
type ending int

const (
	endsUnknown ending = iota
	endsSealed
	endsOpen
)

// maxSeal is more bytes than the entry of a seal takes.
const maxSeal = 128

// search finds the first valid frame from the position on whose seq is higher than that of the last entry. A frame that only a
// newer program can read counts as well: it is never passed over. If there is no such frame, search returns the end of the
// segment with seq 0. No byte is summed more than a few times, even if the bytes look like many entries, or like long ones.
func (r *Reader) search() (sized, error) {
	for off := r.pos.Offset; off < r.size; off++ {
		b, err := r.w.at(off, binary.MaxVarintLen64+frameHead)
		if err != nil {
			return sized{}, err
		}
		if !plausible(b, r.pos.Seq) {
			continue
		}
		if r.sums == nil {
			r.sums = newSums(r.w, r.stream.ID, r.pos.Offset)
		}
		_, err = r.weigh(off)
		if err == nil || errors.Is(err, cohort.ErrNewer) {
			var f sized
			if f, err = r.parse(off); err == nil || errors.Is(err, cohort.ErrNewer) {
				return f, nil
			}
		}
		if isRead(err) {
			return sized{}, err
		}
	}
	return sized{at: r.size}, nil
}

// maxNewerSeq bounds the seq of a newer frame within damage. No segment has so many entries. The bytes of a text give a larger
// seq; without this bound nearly every letter would look like the version of a newer program. Of random bytes one in 2^64
// places passes this bound and the checksum.
const maxNewerSeq = 1 << 32

// plausible tells whether b can be the beginning of an entry of ours, or of a newer program, with a seq above seq. So the
// checksum is needed at few offsets only.
func plausible(b []byte, seq uint64) bool {
	length, width, err := parseLength(b)
	if err != nil || len(b) < width+minFrame {
		return false
	}
	b = b[width:]
	if isNewer(b) {
		return seqOf(b) > seq && seqOf(b) < maxNewerSeq
	}
	f, _, err := parseHead(b, length)
	return err == nil && f.seq > seq
}

// movedError reports a stream that lies in the directory of another cohort, or in another root. This is not
// damage that can be passed over: none of its records belongs there.
type movedError struct{ what, name string }

func (e movedError) Error() string {
	return fmt.Sprintf("stream was written for another %s: %q", e.what, e.name)
}

var errCutOff = errors.New("it was cut off")

// IsMisfit tells whether an error of Open or Next means that no Reader can read the stream there. The stream lies in a cohort or
// root that it was not written for, or it ends before the position that was given. Somebody has moved, copied or cut off its
// directory.
func IsMisfit(err error) bool { return isMoved(err) || IsCutOff(err) }

// IsCutOff tells whether an error of Open means that the stream is shorter than the position that was given, or that its segment
// is gone. On a storage that other machines change this may be an old state, which a later Open does not see any more.
func IsCutOff(err error) bool { return errors.Is(err, errCutOff) }

func isMoved(err error) bool {
	if err == nil {
		return false // before errors.As, which would allocate memory
	}
	var m movedError
	return errors.As(err, &m)
}

// accept turns a frame into a record. ok is false for headers and seals.
func (r *Reader) accept(f sized) (rec cohort.Record, ok bool, err error) {
	switch f.kind {
	case kindHeader:
		err = r.checkHeader(f)
	case kindSeal:
		err = checkSeal(f)
	case kindRecord:
		rec, err = r.record(f)
		ok = err == nil
	case kindAction:
		rec, err = r.action(f)
		ok = err == nil
	}
	return rec, ok, err
}

// checkHeader returns an error unless the header names this cohort and, if the stream was opened in a root, that root.
func (r *Reader) checkHeader(f sized) error {
	var h Header
	if err := json.Unmarshal(f.payload, &h); err != nil {
		return fmt.Errorf("header: %w", err)
	}
	if h.Cohort != r.stream.Cohort {
		return fmt.Errorf("read stream %v: %w", r.stream, movedError{"cohort", string(h.Cohort)})
	}
	if r.rootID != "" && h.RootID != r.rootID {
		return fmt.Errorf("read stream %v: %w", r.stream, movedError{"root", h.RootID})
	}
	r.head = &h
	return nil
}

func (r *Reader) record(f sized) (cohort.Record, error) {
	rec, err := r.parseRecord(f)
	if err == nil {
		err = rec.ValidateStored()
	}
	if err != nil {
		return cohort.Record{}, fmt.Errorf("entry %d holds no record: %w", f.seq, err)
	}
	r.own(&rec, f)
	return rec, nil
}

// action reads an action. One that only a newer program knows ends the reading, as a newer frame does.
func (r *Reader) action(f sized) (cohort.Record, error) {
	rec, err := cohort.ParseAction(bytes.Clone(f.payload))
	if err != nil {
		return cohort.Record{}, fmt.Errorf("entry %d holds no action: %w", f.seq, err)
	}
	r.own(&rec, f)
	return rec, nil
}

func (r *Reader) parseRecord(f sized) (cohort.Record, error) {
	if !r.reuse {
		return cohort.ParseRecord(r.payload(f), maxFrame)
	}
	return r.parser.Parse(f.payload, maxFrame)
}

// payload is the JSON of a record.
func (r *Reader) payload(f sized) []byte {
	if r.reuse {
		return f.payload
	}
	return bytes.Clone(f.payload) // the bytes of the window change with the next read
}

// own sets the fields of a record that come from its stream and frame.
func (r *Reader) own(rec *cohort.Record, f sized) {
	rec.Cohort, rec.Stream, rec.Stamp, rec.ID, rec.Written = r.stream.Cohort, r.stream.ID, f.stamp, f.recordID, f.writtenAt()
}

// checkSeal compares the seal's count with its own seq. Before the seal there are the header and the records.
func checkSeal(f sized) error {
	var s seal
	if err := json.Unmarshal(f.payload, &s); err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	if before := f.seq - 2; s.Records != before {
		return fmt.Errorf("seal counts %d records, its number says %d", s.Records, before)
	}
	return nil
}
