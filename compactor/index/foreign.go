package index

import (
	"io"
	"iter"
	"regexp"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/runfold/runfold/internal/jsonscan"
)

// pandasIndex is the name that pandas gives to a row index without one.
var pandasIndex = regexp.MustCompile(`^__index_level_\d+__$`)

// ForeignRows yields the rows of any parquet file as JSON objects, columns in the order of the file.
// NULL and what is not a number are left out, within lists they are null. A timestamp or a date
// becomes RFC 3339 in UTC (one without a zone is taken as UTC), a decimal its digits, bytes a string if
// they are UTF-8 and else base64, a list an array, a struct an object, a map an object by the text of
// its keys. Doubles always have a '.' or an exponent. pandas' unnamed index is left out.
//
// The bytes are the caller's. It ends after the first error. Damage is found as far as the file's writer
// left checksums; a damaged file with LZ4 pages may take all memory, see checkCodec.
func ForeignRows(r io.ReaderAt, size int64) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		f, err := openParquet(strict{r, size}, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
		if err != nil {
			yield(nil, err)
			return
		}
		root, err := foreignRoot(f)
		if err != nil {
			yield(nil, err)
			return
		}
		if len(root.children) == 0 {
			return // whatever number of rows it claims
		}
		for _, g := range f.RowGroups() {
			a, err := newAssembler(g)
			for n := g.NumRows(); n > 0 && err == nil; n-- {
				var row []byte
				if row, err = a.row(root); err == nil && !yield(row, nil) {
					a.close()
					return
				}
			}
			a.close()
			if err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

// foreign is a node of the schema of a foreign file.
type foreign struct {
	name        string
	form        form
	optional    bool
	repeated    bool
	wraps       bool // of the child of a list: its only child is the element
	definition  int  // the level from which on the node is there
	repetition  int  // the level at which its elements follow the first
	children    []*foreign
	first, last int // the leaves below are those from first on, before last
	write       func([]byte, parquet.Value) []byte
}

// form is how a node stands in JSON.
type form int

const (
	formLeaf form = iota
	formObject
	formList
	formMap
)

func foreignRoot(f *parquet.File) (root *foreign, err error) {
	defer guard(&err)
	elements := []format.SchemaElement(f.Metadata().Schema)
	return newForeign(f.Root(), &elements), nil
}

// newForeign describes a column and all below it. elements are the schema from this column on, in the
// order of the file; those that were described are taken off.
func newForeign(c *parquet.Column, elements *[]format.SchemaElement) *foreign {
	element := (*elements)[0]
	*elements = (*elements)[1:]
	n := &foreign{
		name:       c.Name(),
		optional:   c.Optional(),
		repeated:   c.Repeated(),
		definition: c.MaxDefinitionLevel(),
		repetition: c.MaxRepetitionLevel(),
	}
	if c.Leaf() {
		n.first, n.last = c.Index(), c.Index()+1
		n.write = leafWriter(c.Type(), element)
		return n
	}
	for _, child := range c.Columns() {
		f := newForeign(child, elements)
		if f.first < f.last && !pandasIndex.MatchString(f.name) {
			n.children = append(n.children, f)
		}
	}
	if k := len(n.children); k > 0 {
		n.first, n.last = n.children[0].first, n.children[k-1].last
	}
	n.form = n.formOf(c.Type().LogicalType())
	return n
}

// formOf reads the logical type of a group. A list or a map that is not built as one is an object.
func (n *foreign) formOf(t *format.LogicalType) form {
	if t == nil || len(n.children) != 1 || !n.children[0].repeated {
		return formObject
	}
	item := n.children[0]
	switch t.Value.(type) {
	case *format.ListType:
		item.wraps = len(item.children) == 1 && item.name != "array" && item.name != n.name+"_tuple"
		return formList
	case *format.MapType:
		if len(item.children) == 2 {
			return formMap
		}
	}
	return formObject
}

// assembler puts the rows of one row group together from the values of its columns, which carry
// levels: how deep the value is there (definition) and at which list it goes on (repetition).
type assembler struct{ leaves []*chunk }

func newAssembler(g parquet.RowGroup) (*assembler, error) {
	a := new(assembler)
	for _, c := range g.ColumnChunks() {
		ch, err := openChunk(c)
		if err != nil {
			return a, err
		}
		a.leaves = append(a.leaves, ch)
	}
	return a, nil
}

func (a *assembler) close() {
	for _, c := range a.leaves {
		c.close()
	}
}

// row is the next row as an object. A type that does not fit its values makes the library panic.
func (a *assembler) row(root *foreign) (b []byte, err error) {
	defer guard(&err)
	b, err = a.object([]byte{'{'}, root.children)
	return append(b, '}'), err
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
		return append(b, "null"...), a.skip(n)
	}
	return a.present(b, n)
}

// present appends the value of a node that is there; only a leaf may still be null.
func (a *assembler) present(b []byte, n *foreign) ([]byte, error) {
	switch n.form {
	case formLeaf:
		v, err := a.leaves[n.first].next()
		if err != nil {
			return nil, err
		}
		if v.IsNull() {
			return append(b, "null"...), nil
		}
		return n.write(b, v), nil
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
		return a.skip(n)
	}
	for i := 0; ; i++ {
		if err := do(i); err != nil {
			return err
		}
		more, err := a.leaves[n.first].repeats(n.repetition)
		if err != nil || !more {
			return err
		}
	}
}

// skip reads over the one value that each leaf below a null or empty node has.
func (a *assembler) skip(n *foreign) error {
	for _, leaf := range a.leaves[n.first:n.last] {
		if _, err := leaf.next(); err != nil {
			return err
		}
	}
	return nil
}
