package index

import (
	"regexp"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// pandasIndex is the name that pandas gives to a row index without one.
var pandasIndex = regexp.MustCompile(`^__index_level_\d+__$`)

// foreign is a node of the schema of a foreign file.
type foreign struct {
	name        string
	path        string // the names from the top on
	form        form
	optional    bool
	repeated    bool
	wraps       bool // of the child of a list: its only child is the element
	definition  int  // the level from which on the node is there
	repetition  int  // the level at which its elements follow the first
	children    []*foreign
	first, last int // the leaves below are those from first on, before last

	// Of a leaf.
	physical format.Type
	length   int  // of one value, if it is fixed
	null     bool // no value but NULL: writers do not agree what the values would be
	write    func([]byte, parquet.Value) []byte
}

// form is how a node stands in JSON.
type form int

const (
	formLeaf form = iota
	formObject
	formList
	formMap
)

// maxForeignDepth bounds how deep a schema may nest. A level is a byte.
const maxForeignDepth = 100

// schemaReader makes a tree of a schema, which stands in the footer as a list, parents first.
type schemaReader struct {
	elements []schemaElement
	leaves   []*foreign
}

// foreignSchema returns the root and the leaves in the order of a row group's columns.
func foreignSchema(elements []schemaElement) (root *foreign, leaves []*foreign, err error) {
	if len(elements) == 0 {
		return nil, nil, damaged("the footer has no schema")
	}
	r := schemaReader{elements: elements[1:]}
	root = &foreign{form: formObject}
	if root.children, err = r.childrenOf(root, elements[0].NumChildren, 0); err != nil {
		return nil, nil, err
	}
	if len(r.elements) > 0 {
		return nil, nil, damaged("the schema has %d elements that belong to nothing", len(r.elements))
	}
	named := root.children[:0]
	for _, c := range root.children {
		if !pandasIndex.MatchString(c.name) {
			named = append(named, c)
		}
	}
	root.children = named
	return root, r.leaves, nil
}

// childrenOf reads the next n elements with all below them. Groups without a leaf are left out.
func (r *schemaReader) childrenOf(parent *foreign, n int32, depth int) ([]*foreign, error) {
	var children []*foreign
	names := map[string]bool{}
	for range n {
		c, err := r.node(parent, depth+1)
		if err != nil {
			return nil, err
		}
		if names[c.name] {
			return nil, unsupported("two columns have the name %q", c.path)
		}
		names[c.name] = true
		if c.first < c.last {
			children = append(children, c)
		}
	}
	return children, nil
}

// node reads the next element with all below it.
func (r *schemaReader) node(parent *foreign, depth int) (*foreign, error) {
	if len(r.elements) == 0 || depth > maxForeignDepth {
		return nil, damaged("the schema ends too early, or nests deeper than %d", maxForeignDepth)
	}
	e := r.elements[0]
	r.elements = r.elements[1:]
	n := &foreign{name: e.Name, path: e.Name, definition: parent.definition, repetition: parent.repetition, first: len(r.leaves)}
	if parent.path != "" {
		n.path = parent.path + "." + e.Name
	}
	switch e.Repetition.V {
	case format.Optional:
		n.optional = true
		n.definition++
	case format.Repeated:
		n.repeated = true
		n.definition++
		n.repetition++
	}
	var err error
	if e.NumChildren > 0 || !e.Type.Valid {
		n.form = formObject
		if n.children, err = r.childrenOf(n, e.NumChildren, depth); err != nil {
			return nil, err
		}
		if e.LogicalType.V.Variant.Valid {
			return nil, unsupported("column %q is of type VARIANT", n.path)
		}
		n.form = n.formOf(e)
	} else {
		if err := n.leaf(e); err != nil {
			return nil, err
		}
		r.leaves = append(r.leaves, n)
	}
	n.last = len(r.leaves)
	return n, nil
}

// leaf describes a column.
func (n *foreign) leaf(e schemaElement) (err error) {
	n.physical = e.Type.V
	switch n.physical {
	case format.Boolean, format.ByteArray:
	case format.Int32, format.Float:
		n.length = 4
	case format.Int64, format.Double:
		n.length = 8
	case format.Int96:
		n.length = 12
	case format.FixedLenByteArray:
		if n.length = int(e.TypeLength); n.length <= 0 {
			return damaged("values of column %q have a fixed length of %d", n.path, n.length)
		}
	default:
		return unsupported("column %q is of the physical type %d", n.path, int32(n.physical))
	}
	n.null = e.LogicalType.V.Null.Valid
	n.write, err = leafWriter(n, e)
	return err
}

// The converted types of groups, which came before logical types.
const (
	convertedMap         = 1
	convertedMapKeyValue = 2
	convertedList        = 3
)

// formOf reads the type of a group. A list or a map that is not built as one is an object.
func (n *foreign) formOf(e schemaElement) form {
	if len(n.children) != 1 || !n.children[0].repeated {
		return formObject
	}
	item := n.children[0]
	l, c := e.LogicalType.V, e.ConvertedType
	switch {
	case l.List.Valid, c.Valid && c.V == convertedList:
		// The rules for lists of older writers, from the format's page on logical types.
		item.wraps = len(item.children) == 1 && !item.children[0].repeated && item.name != "array" && item.name != n.name+"_tuple"
		return formList
	case l.Map.Valid, c.Valid && (c.V == convertedMap || c.V == convertedMapKeyValue):
		switch len(item.children) {
		case 1: // of keys without values: a set
			item.wraps = true
			return formList
		case 2:
			return formMap
		}
	}
	return formObject
}
