package index

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"iter"

	"github.com/runfold/runfold/cohort"
)

// near is how close LinesFrom comes to the first line by bisection: the rest is read. Tests make it smaller.
const near = 256 << 10

// How much is read at once: to find where a line begins, and of the lines. A caller may read many files side by side.
const (
	probeBytes = 16 << 10
	lineBytes  = 64 << 10
)

func linesAt(r io.ReaderAt, size, from int64, bytes int) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(io.NewSectionReader(r, from, size-from), bytes)}
}

// LinesFrom yields the entries of a snapshot_index.json of ours, of size bytes, that have this seq or a higher one, in their order. It finds the
// first one by bisection, as lines stand in the order of their seqs: of a large file it reads little more than what it yields. The value of an
// entry is valid until the next one. It ends after the first error.
func LinesFrom(r io.ReaderAt, size int64, seq cohort.Seq) iter.Seq2[Snapshot, error] {
	return linesFrom(r, size, seq, near)
}

func linesFrom(r io.ReaderAt, size int64, seq cohort.Seq, near int64) iter.Seq2[Snapshot, error] {
	return func(yield func(Snapshot, error) bool) {
		from, err := seek(r, size, seq, near)
		if err != nil {
			yield(Snapshot{}, err)
			return
		}
		lines := linesAt(r, size, from, lineBytes)
		if from > 0 {
			lines.n = 1 // the head was passed over
		}
		for {
			l, err := lines.next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err == nil && l.seq < seq {
				continue
			}
			if err == nil && !json.Valid(l.value) {
				err = lines.damaged("value is not JSON")
			}
			if !yield(Snapshot{l.key, l.seq, l.value}, err) || err != nil {
				return
			}
		}
	}
}

// seek returns an offset at which a line begins, or 0. All lines before it have lower seqs.
func seek(r io.ReaderAt, size int64, seq cohort.Seq, near int64) (from int64, err error) {
	for low, high := int64(0), size; high-low > near; {
		middle := low + (high-low)/2
		lines := linesAt(r, size, middle, probeBytes)
		cutOff, err := lines.read()
		if err != nil {
			return 0, err
		}
		begin := middle + int64(len(cutOff)) + 1
		if begin >= high {
			high = middle
			continue
		}
		text, err := lines.read()
		if err != nil {
			return 0, err
		}
		if string(text) == "}" {
			high = middle
			continue
		}
		text, _ = withoutComma(text)
		l, ok := parseLine(text)
		switch {
		case !ok:
			return 0, damaged("snapshots, offset %d: key and fields are not in the form that we write", begin)
		case l.seq < seq:
			low, from = begin, begin
		default:
			high = middle
		}
	}
	return from, nil
}
