package journal

import (
	"bytes"
	"errors"
	"fmt"
)

// What a Reader does about the zeros that a writer puts ahead of its entries (see spare). They are the end of the stream, and no bytes
// of it. When a stream gets its seal, they are cut off under the eyes of those who read.

// onlyZeros tells whether only zeros follow after the position. After a seal zeros are damage, like all else.
func (r *Reader) onlyZeros() (bool, error) {
	if r.pos.Sealed || r.pos.Offset < r.solid {
		return false, nil
	}
	for off := r.pos.Offset; off < r.size; {
		b, err := r.w.at(off, 1)
		if err != nil {
			return false, err
		}
		if b[0] != 0 { // nearly always: here an entry begins
			return false, nil
		}
		if b, err = r.w.at(off, r.w.loaded(off)); err != nil {
			return false, err
		}
		if n := lastOf(b); n > 0 {
			r.solid = off + int64(n)
			return false, nil
		}
		off += int64(len(b))
	}
	r.torn = 0
	return true, nil
}

// lastByte is where the last byte ends that is not zero: the size of the segment without the zeros at its end.
func (r *Reader) lastByte() (int64, error) {
	for end := r.size; end > 0; {
		begin := max(end-step, 0)
		b, err := r.w.at(begin, int(end-begin))
		if err != nil {
			return 0, err
		}
		if n := lastOf(b); n > 0 {
			return begin + int64(n), nil
		}
		end = begin
	}
	return 0, nil
}

// lastOf is the length of b without the zeros at its end.
func lastOf(b []byte) int {
	const block = 4 << 10
	for len(b) >= block && bytes.Equal(b[len(b)-block:], noughts[:block]) {
		b = b[:len(b)-block]
	}
	for len(b) > 0 && b[len(b)-1] == 0 {
		b = b[:len(b)-1]
	}
	return len(b)
}

// noughts are what fill writes. Nobody changes them.
var noughts [64 << 10]byte

// holdsPosition returns an error if only zeros stand where the stream was read before. A power loss takes what was not synced: of a stream
// with zeros ahead it leaves these. No entry ends with a zero.
func (r *Reader) holdsPosition() error {
	if r.pos.Offset == 0 || r.pos.Offset == r.size {
		return nil
	}
	b, err := r.w.at(r.pos.Offset-1, 1)
	if err != nil || b[0] != 0 { // whatever is wrong, the first Next will say it
		return nil
	}
	end, err := r.lastByte()
	if err != nil || end >= r.pos.Offset {
		return nil
	}
	return &CorruptError{r.path, end, r.pos.Offset - end, fmt.Errorf("only zeros where it was read before: %w", errCutOff)}
}

// shrank prepares for another try after a read that met the end of the file before the end of the segment. Then the writer has cut
// off its zeros, to seal the stream. The Reader goes on as if it had opened the segment now. It is false if that is no explanation.
func (r *Reader) shrank(err error) bool {
	if err == nil || !errors.Is(err, errShrank) {
		return false
	}
	info, serr := r.w.f.Stat()
	if serr != nil || info.Size() >= r.size || info.Size() < r.pos.Offset {
		return false
	}
	r.size = info.Size()
	r.w = &window{f: r.w.f, size: r.size}
	r.sums, r.ends, r.solid = nil, endsUnknown, 0
	return true
}

// mostLate bounds how often a Reader looks again. A writer that was taken for dead writes one group, and then finds out.
const mostLate = 2

// errLate tells that the bytes at the position are an entry by now.
var errLate = errors.New("came late")

// cameLate reads the bytes at the position again, after a valid entry was found farther behind. A writer that was taken for dead may be
// writing over its zeros just now, from the front. A reader that sees an entry behind others sees these as well, unless they are damaged.
func (r *Reader) cameLate() bool {
	if r.late == mostLate {
		return false
	}
	r.late++
	r.w.forget()
	f, err := r.parse(r.pos.Offset)
	if err != nil || f.seq != r.pos.Seq+1 {
		return false
	}
	r.sums = nil
	return true
}

// EndsAt tells whether a stream ends at an offset: only zeros stand behind it, which a writer puts ahead of its entries. It looks at
// nothing before the offset.
func (r Root) EndsAt(p Place, offset int64) (bool, error) {
	in, err := r.Open(p, Position{})
	if err != nil {
		return false, err
	}
	defer in.Close()
	if in.w == nil || in.size < offset {
		return false, nil
	}
	in.pos.Offset = offset
	ends, err := in.onlyZeros()
	for in.shrank(err) {
		ends, err = in.onlyZeros()
	}
	return ends, err
}
