package index

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/jsonscan"
)

const (
	// maxColumns bounds the dynamic columns; what comes later goes to _extra.
	maxColumns = 500
	// maxName bounds the name of a dynamic column in bytes: it stands in every row group's footer.
	maxName = 255
)

// Column is a dynamic column of the index: one that stands there because records have such a field.
type Column struct {
	Name string
	Kind Kind
}

type columnJSON struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// Kind is the type of a column.
type Kind uint8

// The kinds of columns.
const (
	Bool   = Kind(jsonscan.Bool)
	Int    = Kind(jsonscan.Int)
	Double = Kind(jsonscan.Double)
	String = Kind(jsonscan.String)
)

// String is the name of the kind in manifests and in the footer of the index: bool, int64, double or string.
func (k Kind) String() string { return jsonscan.Kind(k).String() }

// columnKinds are the kinds a column may have. Their names are part of the format.
var columnKinds = [...]Kind{Bool, Int, Double, String}

// MarshalJSON writes {"name":"metrics.auc","type":"double"}. A column that no index may have is an
// error.
func (c Column) MarshalJSON() ([]byte, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	name := jsonscan.Quote(c.Name)
	return fmt.Appendf(nil, `{"name":%s,"type":"%s"}`, name, c.Kind), nil
}

// UnmarshalJSON reads what MarshalJSON writes and refuses unknown members and types.
func (c *Column) UnmarshalJSON(data []byte) error {
	var j columnJSON
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&j); err != nil {
		return err
	}
	for _, k := range columnKinds {
		if k.String() == j.Type {
			*c = Column{j.Name, k}
			return c.validate()
		}
	}
	return fmt.Errorf("column %q has the type %q: it must be bool, int64, double or string", j.Name, j.Type)
}

func (c Column) validate() error {
	if !slices.Contains(columnKinds[:], c.Kind) {
		return fmt.Errorf("column %q is of kind %d, which no column has", c.Name, c.Kind)
	}
	if !columnName(c.Name) {
		return fmt.Errorf("column name %q is not allowed", c.Name)
	}
	return nil
}

// columnName tells whether a dynamic column may have this name.
func columnName(s string) bool {
	control := func(r rune) bool { return r < ' ' || r == 0x7f }
	return s != "" && len(s) <= maxName && strings.IndexFunc(s, control) < 0 && !isFixed(s)
}

// Schema is the dynamic columns in the order of first sight.
type Schema []Column

// UnmarshalJSON reads a list of columns and refuses names that stand twice.
func (s *Schema) UnmarshalJSON(data []byte) error {
	var columns []Column
	if err := json.Unmarshal(data, &columns); err != nil {
		return err
	}
	if len(columns) > maxColumns {
		return fmt.Errorf("%d columns are more than %d", len(columns), maxColumns)
	}
	seen := map[string]bool{}
	for _, c := range columns {
		if seen[c.Name] {
			return fmt.Errorf("column %q stands twice", c.Name)
		}
		seen[c.Name] = true
	}
	*s = columns
	return nil
}

// marshalSchema is the list that UnmarshalJSON reads.
func marshalSchema(s Schema) ([]byte, error) { return json.Marshal(append(Schema{}, s...)) }

// Equal tells whether both have the same columns in the same order.
func (s Schema) Equal(t Schema) bool { return slices.Equal(s, t) }

// Extend is the schema after recs were seen in this order. It does not change s. The first kind that
// is seen under a name stays, except that int64 becomes double when a double comes; a value that no
// column can hold (see canHold) makes none. From 500 columns on no name is added.
//
// The result depends only on the order of the records, not on how they are split into calls.
func (s Schema) Extend(recs []cohort.Record) Schema {
	shapes := NewShapes(s)
	shaper, e := shapes.Shaper(), shapes.Extender()
	for _, r := range recs {
		shape, _ := shaper.Of(r)
		e.Add(shape)
	}
	return e.Schema()
}

// widens tells whether every row of s can be converted to t: t has all columns of s in the same
// order, each of its kind or widened.
func (s Schema) widens(t Schema) error {
	if len(t) < len(s) {
		return errors.New("the new schema lacks columns of the old one")
	}
	for i, c := range s {
		wide := c.Kind == Int && t[i].Kind == Double
		if c.Name != t[i].Name || c.Kind != t[i].Kind && !wide {
			return fmt.Errorf("column %q of %s cannot become %q of %s", c.Name, c.Kind, t[i].Name, t[i].Kind)
		}
	}
	return nil
}
