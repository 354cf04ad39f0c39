package index

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/parquet-go/parquet-go"

	"github.com/runfold/runfold/cohort"
)

// Moves are the rows that leave one pair of files, and those that come from another one as they are. A row that is withdrawn moves
// from the index to the withdrawn rows, and back when the withdrawal ends.
type Moves struct {
	// Out are the keys of old rows that are left out.
	Out []cohort.Key
	// In are rows of From, in the order of From. Each gets its Seq, which must be above those of all puts, and if it has a Record the stamp of
	// that. FromFound is what From.Find returned for at least their keys.
	In        []Put
	From      *File
	FromFound map[cohort.Key]Found
}

// SortMoves puts moved rows into the order in which the file has them from which they come, and gives them seqs from next on. It returns the
// seq after them.
func SortMoves(in []Put, found map[cohort.Key]Found, next cohort.Seq) cohort.Seq {
	slices.SortFunc(in, func(a, b Put) int { return cmp.Compare(found[a.Key].Seq, found[b.Key].Seq) })
	for i := range in {
		in[i].Seq = next
		next++
	}
	return next
}

// putMoved writes the rows that come from another file, after all others.
func (m *merger) putMoved(moves Moves) error {
	if len(moves.In) == 0 {
		return nil
	}
	in := make(map[string]Put, len(moves.In))
	groups := map[int]bool{}
	for _, p := range moves.In {
		in[string(p.Key)] = p
		f, ok := moves.FromFound[p.Key]
		if !ok {
			return damaged("row %q, which moves, was not looked for", p.Key)
		}
		groups[f.group] = true
	}
	from := moves.From
	c := newConverter(from.layout, m.encoder.layout)
	places, _ := from.places(from.layout.names())
	for i, g := range from.file.RowGroups() {
		if !groups[i] {
			continue
		}
		if err := m.moveGroup(c, g, places, in); err != nil {
			return fmt.Errorf("row group %d: %w", i, err)
		}
	}
	if len(in) > 0 {
		return damaged("%d rows that move were not found", len(in))
	}
	return nil
}

// moveGroup writes the rows of one row group that move.
func (m *merger) moveGroup(c *converter, g parquet.RowGroup, places []int, in map[string]Put) error {
	key := c.from.place[columnKey]
	return each(g, places, func(r parquet.Row) error {
		p, ok := in[string(r[key].ByteArray())]
		if !ok {
			return nil
		}
		delete(in, string(p.Key))
		return m.out.add(false, func(dst parquet.Row) (parquet.Row, error) {
			start := len(dst)
			dst, err := c.convert(dst, r)
			if err != nil {
				return dst, err
			}
			row := cells{c.to, dst[start:]}
			row.set(columnSeq, parquet.Int64Value(int64(p.Seq)))
			if p.Record != nil {
				row.set(columnStamp, parquet.Int64Value(int64(p.Record.Stamp)))
			}
			return dst, nil
		})
	})
}

// MovedLines are lines that come from another snapshots file.
type MovedLines struct {
	From io.Reader
	// Seqs are their new seqs, by key. They increase in the order of From, above all others.
	Seqs map[cohort.Key]cohort.Seq
}

// move writes the lines that come from another file, each with its new seq.
func (s *linesWriter) move(in MovedLines) error {
	if len(in.Seqs) == 0 {
		return nil
	}
	lines, n := newLineReader(in.From), 0
	for {
		l, err := lines.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		seq, ok := in.Seqs[l.key]
		if !ok {
			continue
		}
		s.buf = appendWithSeq(s.buf[:0], l, seq)
		if err := s.line(seq, s.buf); err != nil {
			return err
		}
		n++
	}
	if n != len(in.Seqs) {
		return damaged("snapshots: %d of %d entries that move were found", n, len(in.Seqs))
	}
	return nil
}

// appendWithSeq appends a line with another seq.
func appendWithSeq(b []byte, l line, seq cohort.Seq) []byte {
	b = append(b, l.text[:len(l.text)-len(l.tail)-len(l.seq.String())]...)
	return append(strconv.AppendUint(b, uint64(seq), 10), l.tail...)
}
