package index

import (
	"encoding/binary"
	"iter"

	"github.com/runfold/runfold/internal/jsonscan"
)

// Group is a row group, for a Choice.
type Group struct {
	file   *File
	number int
}

// Bounds are what the footer says of one column of a row group.
type Bounds struct {
	Rows, Nulls int64
	// Min and Max are the smallest and the largest value. Both are NULL if there is none, or if the footer does not say it.
	Min, Max Value
}

// Bounds of a column that the file does not have are those of NULLs. Those of the values of _extra say nothing.
func (g Group) Bounds(column string) Bounds {
	meta := g.file.file.Metadata().RowGroups[g.number]
	b := Bounds{Rows: meta.NumRows, Nulls: meta.NumRows}
	place, ok := g.file.layout.place[column]
	if !ok {
		return b
	}
	s := meta.Columns[place].MetaData.Statistics
	b.Nulls = s.NullCount
	kind := g.file.layout.kindOf(column)
	from, ok := boundOf(kind, s.MinValue)
	to, too := boundOf(kind, s.MaxValue)
	if ok && too {
		b.Min, b.Max = from, to
	}
	return b
}

// kindOf is the kind of a column that exists.
func (l *layout) kindOf(column string) Kind {
	switch k := Kind(l.kindAt(l.place[column])); {
	case k != 0:
		return k
	case column == columnSeq, column == columnTimestamp, column == columnStamp, column == columnDigest:
		return Int
	}
	return String
}

// boundOf reads a value of the footer's statistics. An empty text there may be none, so it says nothing.
func boundOf(k Kind, b []byte) (Value, bool) {
	switch {
	case k == Bool && len(b) == 1:
		return Value{Kind: k, bits: uint64(b[0])}, true
	case (k == Int || k == Double) && len(b) == 8:
		return Value{Kind: k, bits: binary.LittleEndian.Uint64(b)}, true
	case k == String && len(b) > 0:
		return Value{Kind: k, text: b}, true
	}
	return Value{}, false
}

// MayHold tells whether a fixed column of text may hold one of the texts, which are sorted. Besides the bounds it asks the bloom
// filter, where the column has one and the texts are few.
func (g Group) MayHold(column string, texts []string) (bool, error) {
	if _, ok := g.file.layout.place[column]; !ok || g.file.layout.kindOf(column) != String {
		return true, nil
	}
	return mayHold(g.file, g.number, column, texts)
}

// Kind is the kind of a column; ok is false if the file has none of this name.
func (f *File) Kind(column string) (k Kind, ok bool) {
	if _, ok := f.layout.place[column]; !ok {
		return 0, false
	}
	return f.layout.kindOf(column), true
}

// IsFixed tells whether every index has a column of this name, beside those that records bring.
func IsFixed(column string) bool { return isFixed(column) }

// Member is a value of _extra.
type Member struct {
	Name  []byte
	Token []byte // JSON
}

// EachExtra yields the members of a value of the column _extra.
func EachExtra(text []byte) iter.Seq2[Member, error] {
	return func(yield func(Member, error) bool) {
		if !isObject(text) {
			yield(Member{}, damaged("%s is not a JSON object", columnExtra))
			return
		}
		for m := range jsonscan.EachMember(text) {
			if !yield(Member{m.Name, m.Value}, nil) {
				return
			}
		}
	}
}

// ExtraName is how the name of a member stands in a value of _extra, with what is around it. A value that does not have these bytes has
// no such member.
func ExtraName(name string) []byte { return append(jsonscan.Quote(name), ':') }

// Groups are the row groups, in their order.
func (f *File) Groups() []Group {
	groups := make([]Group, len(f.file.Metadata().RowGroups))
	for i := range groups {
		groups[i] = Group{f, i}
	}
	return groups
}

// FileColumn is a column of a file, fixed or dynamic, as readers of Parquet find it.
type FileColumn struct {
	Column
	Time bool // it counts microseconds from 1970 on, in UTC
}

// Columns are all columns in the order of the file. The id of a fixed column is 0 in a file of version 1, as that of every other one is.
func (f *File) Columns() (all []FileColumn) {
	for i, name := range f.layout.names() {
		c := FileColumn{Column{Name: name, Kind: f.layout.kindOf(name)}, name == columnTimestamp}
		switch {
		case f.layout.kindAt(i) != 0:
			c.ID = f.layout.dynamic[i-len(firstColumns)].ID
		case f.layout.version >= withDigest:
			c.ID = int32(fieldIDs[name])
		}
		all = append(all, c)
	}
	return all
}
