package index

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/runfold/runfold/internal/jsonscan"
)

const (
	// DefaultColumns bounds the dynamic columns of a root without a limit of its own. Values of later names go to _extra.
	DefaultColumns = 500
	// MostColumns is the highest limit that a root may set, because each column costs space in every row group's footer.
	MostColumns = 2000
	// maxName bounds the name of a dynamic column in bytes: it stands in every row group's footer.
	maxName = 255
)

// Column is a dynamic column of the index: it exists because records have such a field, or because it was declared.
type Column struct {
	Name string
	Kind Kind
	ID   int32 // the Parquet field id, which no other column of the root ever has; 0 in files of version 1
	// Made tells that folds make its values, and no record does: see Segments. A field of its name stays in _extra.
	Made bool
}

type columnJSON struct {
	Name string `json:"name"`
	Type string `json:"type"`
	ID   int32  `json:"id"`
	Made bool   `json:"made"`
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

// MarshalJSON writes {"name":"metrics.auc","type":"double","id":101}. A column that no index may have is an
// error.
func (c Column) MarshalJSON() ([]byte, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	b := fmt.Appendf(nil, `{"name":%s,"type":"%s"`, jsonscan.Quote(c.Name), c.Kind)
	if c.ID != 0 {
		b = fmt.Appendf(b, `,"id":%d`, c.ID)
	}
	if c.Made {
		b = append(b, `,"made":true`...)
	}
	return append(b, '}'), nil
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
			*c = Column{j.Name, k, j.ID, j.Made}
			return c.validate()
		}
	}
	return fmt.Errorf("column %q has the type %q: it must be bool, int64, double or string", j.Name, j.Type)
}

func (c Column) validate() error {
	if !slices.Contains(columnKinds[:], c.Kind) {
		return fmt.Errorf("column %q is of kind %d, which no column has", c.Name, c.Kind)
	}
	if !columnName(c.Name) && !wasFree(c.Name) {
		return fmt.Errorf("column name %q is not allowed", c.Name)
	}
	if c.Made && (c.Name != columnSegment || c.Kind != Int) {
		return fmt.Errorf("column %q is not one that folds make", c.Name)
	}
	if c.ID != 0 && c.ID < firstID {
		return fmt.Errorf("column %q has the id %d: it must be %d or above", c.Name, c.ID, firstID)
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
	if len(columns) > MostColumns {
		return fmt.Errorf("%d columns are more than %d", len(columns), MostColumns)
	}
	names, ids := map[string]bool{}, map[int32]bool{}
	for _, c := range columns {
		if names[c.Name] || c.ID != 0 && ids[c.ID] {
			return fmt.Errorf("column %q, or its id %d, stands twice", c.Name, c.ID)
		}
		names[c.Name], ids[c.ID] = true, true
	}
	*s = columns
	return nil
}

// marshalSchema is the list that UnmarshalJSON reads.
func marshalSchema(s Schema) ([]byte, error) { return json.Marshal(append(Schema{}, s...)) }

// Equal tells whether both have the same columns in the same order.
func (s Schema) Equal(t Schema) bool { return slices.Equal(s, t) }
