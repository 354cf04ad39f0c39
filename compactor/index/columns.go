package index

import (
	"fmt"
	"slices"
	"strings"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/jsonscan"
)

// Columns is what a root wants of its dynamic columns, beside those that records bring. The zero value is what most roots
// have. It stands in manifests.
type Columns struct {
	// Declared columns always exist, have the type that they say, and never go by themselves.
	Declared Schema `json:"declared,omitempty"`
	// Gone are the columns that went last, at most MostColumns. One that comes again has the type that it had.
	Gone Schema `json:"gone,omitempty"`
	// Max bounds the dynamic columns. If zero, DefaultColumns.
	Max int `json:"max,omitempty"`
	// NextID is the field id of the next column. If zero, the first one.
	NextID int32 `json:"next_id,omitempty"`
}

// Validate refuses what no root may have. A declared column may have a name that is that of a fixed column since (see wasFree): it
// goes with the next Apply.
func (c Columns) Validate() error {
	if c.Max < 0 || c.Max > MostColumns {
		return fmt.Errorf("%d columns are not within 1 and %d", c.Max, MostColumns)
	}
	if len(c.Declared) > c.Limit() {
		return fmt.Errorf("%d columns are declared, and the root may have %d", len(c.Declared), c.Limit())
	}
	for _, d := range c.Declared {
		if err := mayStay(d); err != nil {
			return err
		}
	}
	return nil
}

// mayBe refuses a column that nobody may declare.
func mayBe(c Column) error {
	if isFixed(c.Name) {
		return fmt.Errorf("column name %q is not allowed: it is that of a fixed column", c.Name)
	}
	return mayStay(c)
}

// mayStay refuses a type that the name of a column does not allow.
func mayStay(c Column) error {
	if err := c.validate(); err != nil {
		return err
	}
	if want := ruledKind(c.Name, c.Kind); want != c.Kind {
		return fmt.Errorf("column %q must be %v: its name begins with %q", c.Name, want, c.Name[:strings.IndexByte(c.Name, '.')+1])
	}
	return nil
}

// Limit is how many dynamic columns the root may have.
func (c Columns) Limit() int {
	if c.Max == 0 {
		return DefaultColumns
	}
	return c.Max
}

// IsFull tells whether a schema has as many columns as the root may have.
func (c Columns) IsFull(s Schema) bool { return len(s) >= c.Limit() }

// Is tells whether a column is declared.
func (c Columns) Is(name string) bool { return find(c.Declared, name) >= 0 }

func find(s Schema, name string) int {
	return slices.IndexFunc(s, func(c Column) bool { return c.Name == name })
}

// Apply is s with the columns that are declared, the kinds that names ask for, and an id for each column, and c with the
// ids that are given away. unused are columns that may go if there is no room left: those that no row has a value in.
func (c Columns) Apply(s Schema, unused []string) (Schema, Columns) {
	isTaken := func(col Column) bool { return isFixed(col.Name) } // see wasFree
	s = slices.DeleteFunc(slices.Clone(s), isTaken)
	if slices.ContainsFunc(c.Declared, isTaken) {
		c.Declared = slices.DeleteFunc(slices.Clone(c.Declared), isTaken)
	}
	for i := range s {
		s[i].Kind = ruledKind(s[i].Name, s[i].Kind)
	}
	for _, d := range c.Declared {
		if i := find(s, d.Name); i >= 0 {
			s[i].Kind, s[i].Made = d.Kind, d.Made
			continue
		}
		var id int32
		if i := find(c.Gone, d.Name); i >= 0 {
			id = c.Gone[i].ID
		}
		s = append(s, Column{d.Name, d.Kind, id, d.Made})
	}
	if c.IsFull(s) {
		s, c = c.without(s, unused)
	}
	there := make(map[string]bool, len(s))
	for i := range s {
		if s[i].ID == 0 {
			s[i].ID, c = c.give()
		}
		c.NextID = max(c.NextID, s[i].ID+1)
		there[s[i].Name] = true
	}
	c.Gone = slices.DeleteFunc(slices.Clone(c.Gone), func(g Column) bool { return there[g.Name] || isTaken(g) })
	if len(c.Gone) == 0 {
		c.Gone = nil
	}
	return s, c
}

// without drops columns that are not declared.
func (c Columns) without(s Schema, names []string) (Schema, Columns) {
	kept := Schema{}
	for _, col := range s {
		if c.Is(col.Name) || !slices.Contains(names, col.Name) {
			kept = append(kept, col)
		} else {
			c.Gone = append(slices.Clip(c.Gone), col)
		}
	}
	// A root whose columns come and go would have a list without end, and a reader takes no such list.
	c.Gone = c.Gone[max(len(c.Gone)-MostColumns, 0):]
	return kept, c
}

func (c Columns) give() (int32, Columns) {
	id := max(c.NextID, firstID)
	c.NextID = id + 1
	return id, c
}

// Drop is s without a column, and c that remembers it. A declared one is declared no more. One that is gone already stays so: who was
// cut off after the commit does it again.
func (c Columns) Drop(s Schema, name string) (Schema, Columns, error) {
	switch {
	case find(s, name) >= 0:
	case find(c.Gone, name) >= 0:
		return s, c, nil
	default:
		return nil, c, fmt.Errorf("there is no column %q", name)
	}
	c.Declared = slices.DeleteFunc(slices.Clone(c.Declared), func(d Column) bool { return d.Name == name })
	s, c = c.without(s, []string{name})
	return s, c, nil
}

// Declare is c with a column declared, or of another type.
func (c Columns) Declare(col Column) (Columns, error) {
	if err := mayBe(col); err != nil {
		return c, err
	}
	c.Declared = slices.Clone(c.Declared)
	if i := find(c.Declared, col.Name); i >= 0 {
		c.Declared[i].Kind = col.Kind
	} else {
		c.Declared = append(c.Declared, Column{Name: col.Name, Kind: col.Kind, Made: col.Made})
	}
	return c, c.Validate()
}

// ParseColumn reads NAME:TYPE, such as symbol:string. The name may hold ':'.
func ParseColumn(text string) (Column, error) {
	i := strings.LastIndexByte(text, ':')
	if i < 0 {
		return Column{}, fmt.Errorf("%q is not NAME:TYPE, such as symbol:string", text)
	}
	for _, k := range columnKinds {
		if k.String() == text[i+1:] {
			c := Column{Name: text[:i], Kind: k}
			return c, mayBe(c)
		}
	}
	return Column{}, fmt.Errorf("%q: the type must be bool, int64, double or string", text)
}

// maxAdded bounds the columns that one record may add: one that makes names out of data does not take all of them.
const maxAdded = 200

// columnKind is the kind of the column that a value of kind k makes under a name, 0 if it makes none: metrics are
// doubles, tags are text, and all else is what was seen first.
func columnKind(name string, k jsonscan.Kind) jsonscan.Kind { return kindUnder(ruledByName(name), k) }

// kindUnder is columnKind for a name that asks for a kind, or for none.
func kindUnder(ruled, k jsonscan.Kind) jsonscan.Kind {
	switch {
	case k == jsonscan.Object, k == jsonscan.Array, k == jsonscan.Null:
		return 0
	case ruled == jsonscan.Double && !isNumber(k):
		return 0
	case ruled != 0:
		return ruled
	}
	return k
}

const (
	metricsPrefix = "metrics."
	tagsPrefix    = "tags."
)

// ruledKind is the kind that the name of a column asks for, or k.
func ruledKind(name string, k Kind) Kind {
	if ruled := ruledByName(name); ruled != 0 {
		return Kind(ruled)
	}
	return k
}

// ruledByName is the kind that the name of a column asks for, 0 if none.
func ruledByName(name string) jsonscan.Kind {
	switch {
	case strings.HasPrefix(name, metricsPrefix):
		return jsonscan.Double
	case strings.HasPrefix(name, tagsPrefix):
		return jsonscan.String
	}
	return 0
}

// Extend is the schema after recs were seen in this order, in a root that wants no columns of its own. It does not change s. The
// first kind that is seen under a name stays, except that int64 becomes double when a double comes; metrics are doubles and tags
// are text whatever comes. A value that no such column can hold (see canHold) makes none. A record adds at most 200
// columns, and from 500 columns on no name is added.
//
// The result depends only on the order of the records, not on how they are split into calls.
func (s Schema) Extend(recs []cohort.Record) Schema {
	shapes := NewShapes(s, Columns{}, nil)
	shaper, e := shapes.Shaper(), shapes.Extender()
	for _, r := range recs {
		shape, _ := shaper.Of(r)
		e.Add(shape)
	}
	schema, _ := e.Schema()
	return schema
}
