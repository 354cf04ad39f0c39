package index

import (
	"io"
	"iter"

	"github.com/parquet-go/parquet-go"

	"github.com/runfold/runfold/internal/jsonscan"
)

// ForeignRow is one row of a foreign Parquet file.
type ForeignRow struct {
	JSON      []byte // an object
	NonFinite int    // how many NaN and infinities it has; they are treated as NULL
}

// ForeignRows yields the rows of any parquet file as JSON objects, columns in the order of the file.
// NULL and what is not a number are left out, within lists they are null. A timestamp becomes RFC 3339 in UTC, and one
// without a zone the same without the zone; a date has no time, a time of day is hours, minutes and seconds, an interval
// an ISO 8601 duration, a decimal its digits, bytes a string if
// they are UTF-8 and else base64, a list an array, a struct an object, a map an object by the text of
// its keys. Doubles always have a '.' or an exponent. pandas' unnamed index is left out.
//
// The bytes are the caller's. It ends after the first error. That is [ErrUnsupported] for what this program cannot
// read: encrypted columns, a codec, an encoding or a type that it does not know, a file of another kind; it says
// which, and as a rule before the first row. It is [ErrDamaged] for what no writer means; that is found as far as the
// file's writer left checksums, and where counts and levels contradict each other. Memory is bounded by what
// the pages of one row group side by side, and their dictionaries, have uncompressed.
func ForeignRows(r io.ReaderAt, size int64) iter.Seq2[ForeignRow, error] {
	return func(yield func(ForeignRow, error) bool) {
		f, err := openForeign(strict{r, size}, size)
		if err != nil {
			yield(ForeignRow{}, err)
			return
		}
		if len(f.root.children) == 0 {
			return // whatever number of rows it claims
		}
		codecs := new(codecs)
		defer codecs.close()
		for i := range f.groups {
			a := newAssembler(f, &f.groups[i], codecs)
			for n := f.groups[i].NumRows; n > 0 && err == nil; n-- {
				var row []byte
				a.nonFinite = 0
				if row, err = a.row(); err == nil && !yield(ForeignRow{row, a.nonFinite}, nil) {
					return
				}
			}
			if err == nil {
				err = a.end()
			}
			if err != nil {
				yield(ForeignRow{}, err)
				return
			}
		}
	}
}

// assembler puts the rows of one row group together from the values of its columns, which carry
// levels: how deep the value is there (definition) and at which list it goes on (repetition).
type assembler struct {
	root      *foreign
	leaves    []*leafReader
	nonFinite int // of the row
}

func newAssembler(f *foreignFile, g *foreignGroup, codecs *codecs) *assembler {
	a := &assembler{root: f.root}
	for i := range g.Columns {
		a.leaves = append(a.leaves, f.openLeaf(&g.Columns[i], f.leaves[i], codecs))
	}
	return a
}

// row is the next row as an object. In each column, the first value of a row repeats nothing: else its values stand in
// another row than those beside them.
func (a *assembler) row() (b []byte, err error) {
	defer guard(&err)
	for _, top := range a.root.children {
		for _, l := range a.leaves[top.first:top.last] {
			v, err := l.peek()
			if err != nil {
				return nil, err
			}
			if v.RepetitionLevel() != 0 {
				return nil, l.failed(damaged("a row begins within a list"))
			}
		}
	}
	b, err = a.object([]byte{'{'}, a.root.children)
	return append(b, '}'), err
}

// end makes sure that no column goes on: then its values would stand in the wrong rows.
func (a *assembler) end() error {
	for _, top := range a.root.children {
		for _, l := range a.leaves[top.first:top.last] {
			if l.more() {
				return l.failed(damaged("a column has more values than its row group has rows"))
			}
		}
	}
	return nil
}

// object appends those children of an object that are not null.
func (a *assembler) object(b []byte, children []*foreign) ([]byte, error) {
	start := len(b)
	for _, n := range children {
		before := len(b)
		if before > start {
			b = append(b, ',')
		}
		b = append(append(b, jsonscan.Quote(n.name)...), ':')
		at := len(b)
		var err error
		if b, err = a.value(b, n); err != nil {
			return nil, err
		}
		if string(b[at:]) == "null" {
			b = b[:before]
		}
	}
	return b, nil
}

// value appends the value of a node, or null.
func (a *assembler) value(b []byte, n *foreign) ([]byte, error) {
	if n.repeated { // without a list around it
		return a.list(b, n, func(b []byte) ([]byte, error) { return a.present(b, n) })
	}
	v, err := a.leaves[n.first].peek()
	if err != nil {
		return nil, err
	}
	if n.optional && v.DefinitionLevel() < n.definition {
		return append(b, "null"...), a.skip(n, v.DefinitionLevel())
	}
	return a.present(b, n)
}

// present appends the value of a node that is there.
func (a *assembler) present(b []byte, n *foreign) ([]byte, error) {
	switch n.form {
	case formLeaf:
		v, err := a.leaves[n.first].next()
		if err != nil {
			return nil, err
		}
		if v.DefinitionLevel() != n.definition {
			return nil, a.leaves[n.first].failed(errLevels)
		}
		at := len(b)
		b = n.write(b, v)
		if string(b[at:]) == "null" && v.Kind() != parquet.ByteArray { // which is JSON, where null is a value
			a.nonFinite++
		}
		return b, nil
	case formList:
		item := n.children[0]
		return a.list(b, item, func(b []byte) ([]byte, error) {
			if item.wraps {
				return a.value(b, item.children[0])
			}
			return a.present(b, item)
		})
	case formMap:
		return a.mapping(b, n.children[0])
	}
	b, err := a.object(append(b, '{'), n.children)
	return append(b, '}'), err
}

// list appends the elements of a repeated node, each written by element.
func (a *assembler) list(b []byte, n *foreign, element func([]byte) ([]byte, error)) ([]byte, error) {
	b = append(b, '[')
	err := a.repeat(n, func(i int) (err error) {
		if i > 0 {
			b = append(b, ',')
		}
		b, err = element(b)
		return err
	})
	return append(b, ']'), err
}

// mapping appends a map as an object.
func (a *assembler) mapping(b []byte, n *foreign) ([]byte, error) {
	b = append(b, '{')
	err := a.repeat(n, func(i int) (err error) {
		if i > 0 {
			b = append(b, ',')
		}
		at := len(b)
		if b, err = a.value(b, n.children[0]); err != nil {
			return err
		}
		if b[at] != '"' {
			b = append(b[:at], jsonscan.Quote(string(b[at:]))...)
		}
		b, err = a.value(append(b, ':'), n.children[1])
		return err
	})
	return append(b, '}'), err
}

// repeat calls do for each element of a repeated node.
func (a *assembler) repeat(n *foreign, do func(i int) error) error {
	head, err := a.leaves[n.first].peek()
	if err != nil {
		return err
	}
	if head.DefinitionLevel() < n.definition {
		return a.skip(n, head.DefinitionLevel())
	}
	for i := 0; ; i++ {
		if err := do(i); err != nil {
			return err
		}
		if !a.leaves[n.first].more() {
			return nil
		}
		next, err := a.leaves[n.first].peek()
		if err != nil || next.RepetitionLevel() != n.repetition {
			return err
		}
	}
}

var errLevels = damaged("what is there in one column is missing in another of the same group")

// skip reads over the one value that each leaf below a null or empty node has. They all end at the same level.
func (a *assembler) skip(n *foreign, level int) error {
	for _, leaf := range a.leaves[n.first:n.last] {
		v, err := leaf.next()
		if err != nil {
			return err
		}
		if v.DefinitionLevel() != level {
			return leaf.failed(errLevels)
		}
	}
	return nil
}
