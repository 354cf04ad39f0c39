package index

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/jsonscan"
)

// Content is all that a row says of its record, so not what folds have made of it. Its fields have one form, whichever of them stand in columns and whichever in _extra. So rows of
// files with other columns can be compared.
type Content struct {
	Identity
	Fields []Field
}

// Field is one value of a row, under the name of its column. A value that a column holds has the spelling that Rows gives it; one of
// _extra has its own bytes.
type Field struct {
	Name  string
	Value []byte
}

// Contents yields the rows that have one of these seqs, which must be sorted, in their order. It reads only the row groups that may
// have one. The bytes are the caller's. It ends after the first error.
func (f *File) Contents(seqs []cohort.Seq) iter.Seq2[Content, error] {
	places, _ := f.places(f.layout.names())
	fixed := f.identityPlaces()
	return func(yield func(Content, error) bool) {
		for i, g := range f.file.RowGroups() {
			if !f.mayHaveSeq(i, seqs) {
				continue
			}
			err := each(g, places, func(r parquet.Row) error {
				if _, wanted := slices.BinarySearch(seqs, cohort.Seq(r[f.layout.place[columnSeq]].Int64())); !wanted {
					return nil
				}
				c, err := f.content(r, fixed)
				if err == nil && !yield(c, nil) {
					return errStopped
				}
				return err
			})
			if err == errStopped {
				return
			}
			if err != nil {
				yield(Content{}, err)
				return
			}
		}
	}
}

// mayHaveSeq tells from the statistics of a row group whether one of the sorted seqs may stand there.
func (f *File) mayHaveSeq(group int, seqs []cohort.Seq) bool {
	lowest, ok := f.lowestSeq(group)
	highest, too := f.highestSeq(group)
	if !ok || !too {
		return len(seqs) > 0
	}
	at, _ := slices.BinarySearch(seqs, lowest)
	return at < len(seqs) && seqs[at] <= highest
}

// content takes a whole row apart. places are the identityPlaces.
func (f *File) content(r parquet.Row, places []int) (Content, error) {
	c := Content{Identity: f.identityIn(r, places)}
	for i, col := range f.layout.dynamic {
		if v := r[len(firstColumns)+i]; !v.IsNull() && !col.Made {
			c.Fields = append(c.Fields, Field{col.Name, appendValue(nil, v)})
		}
	}
	last := r[f.layout.place[columnExtra]]
	if last.IsNull() {
		return c, nil
	}
	err := c.addExtras(last.ByteArray(), asItIs)
	return c, err
}

func asItIs(json []byte) []byte { return json }

// addExtra adds a member of _extra. The exact token of what a text column holds takes the place of the text, which is among the first held fields.
func (c *Content) addExtra(held int, m Field, canonical func([]byte) []byte) {
	if isBeside(jsonscan.String, jsonscan.KindOf(m.Value), m.Value) {
		for i, has := range c.Fields[:held] {
			if has.Name == m.Name && has.Value[0] == '"' && bytes.Equal(canonical(jsonscan.TextBytes(has.Value)), m.Value) {
				c.Fields[i].Value = m.Value
				return
			}
		}
	}
	c.Fields = append(c.Fields, m)
}

// Sum is a checksum of what a row, or a line, says: equal for two of the same content, and for no others that anybody will meet.
type Sum [16]byte

// Sum covers all but what each write has anew: seq, stamp, record id, digest and stream. Values are the same if a column of some type holds both as
// the same value: 1, 1.0 and 1e0 are.
func (c Content) Sum() Sum {
	h := sha256.New()
	known := []byte{0}
	if !c.Time.IsZero() {
		known = binary.LittleEndian.AppendUint64([]byte{1}, uint64(c.Time.UnixMicro()))
	}
	for _, part := range [...][]byte{[]byte(c.Key), []byte(c.Cohort), []byte(c.RunID), []byte(c.Stage), known} {
		addPart(h, part)
	}
	for _, f := range inOneForm(c.Fields) {
		addPart(h, []byte(f.Name))
		addPart(h, f.Value)
	}
	return Sum(h.Sum(nil))
}

// addPart keeps parts apart by their lengths.
func addPart(h io.Writer, part []byte) {
	h.Write(binary.AppendUvarint(nil, uint64(len(part)))) // a hash returns no error
	h.Write(part)
}

// inOneForm are fields in an order and a spelling that do not depend on which columns there were.
func inOneForm(fields []Field) []Field {
	out := make([]Field, len(fields))
	for i, f := range fields {
		out[i] = Field{f.Name, OneSpelling(f.Value)}
	}
	slices.SortFunc(out, func(a, b Field) int {
		if n := strings.Compare(a.Name, b.Name); n != 0 {
			return n
		}
		return bytes.Compare(a.Value, b.Value)
	})
	return out
}

// OneSpelling is the one spelling of all tokens that some column holds as the same value.
func OneSpelling(value []byte) []byte {
	switch jsonscan.KindOf(value) {
	case jsonscan.Int:
		if n, err := strconv.ParseInt(string(value), 10, 64); err == nil {
			return strconv.AppendInt(nil, n, 10)
		}
	case jsonscan.Double:
		if f, err := strconv.ParseFloat(string(value), 64); err == nil {
			if f == 0 {
				f = 0 // and not -0, of which an integer column makes it, too
			}
			return token(parquet.DoubleValue(f))
		}
	case jsonscan.String:
		if text := jsonscan.Text(value); !strings.ContainsRune(text, utf8.RuneError) {
			return jsonscan.Quote(text)
		}
	}
	return value
}

// Sum covers all of the line but its seq. of is its row: where nobody knows the time of the row, a line of an older program has one that was made up, which
// does not count.
func (s Snapshot) Sum(of Identity) Sum {
	h := sha256.New()
	p := s.parts()
	for _, part := range [...][]byte{[]byte(p.runID), []byte(p.stage), []byte(p.timeOf(of)), p.members} {
		addPart(h, part)
	}
	return Sum(h.Sum(nil))
}

// Timestamp is the timestamp of the line, empty if it has none, or one that was made up (see Sum).
func (s Snapshot) Timestamp(of Identity) string { return s.parts().timeOf(of) }

// Members are the user's members of the line.
func (s Snapshot) Members() (members []Field) {
	for m := range jsonscan.EachMember(s.parts().object()) {
		members = append(members, Field{string(m.Name), m.Value})
	}
	return members
}

// Object are the user's members of the line, as a JSON object.
func (s Snapshot) Object() []byte { return s.parts().object() }

// parts are what a line says beside its seq.
type parts struct {
	runID     string
	stage     string
	timestamp string // empty: it has none
	members   []byte // the user's, each with a comma before it, and the end of the object
}

func (s Snapshot) parts() (p parts) {
	c := cut{rest: s.Value}
	c.literal(`{"run_id":`)
	p.runID = c.text()
	c.literal(`,"stage":`)
	p.stage = c.text()
	if bytes.HasPrefix(c.rest, []byte(`,"timestamp":`)) {
		c.literal(`,"timestamp":`)
		p.timestamp = c.text()
	}
	c.literal(`,"snapshot_seq":`)
	c.number()
	p.members = c.rest
	return p
}

// timeOf is the timestamp of the line, empty if it was made up.
func (p parts) timeOf(of Identity) string {
	if t, ok := cohort.ParseTime(p.timestamp); of.Time.IsZero() && ok && !t.IsZero() {
		return ""
	}
	return p.timestamp
}

// object has the user's members alone.
func (p parts) object() []byte {
	return append([]byte{'{'}, bytes.TrimPrefix(p.members, []byte(","))...)
}
