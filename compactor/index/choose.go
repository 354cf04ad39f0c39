package index

import (
	"context"
	"errors"
	"iter"
	"math"
	"slices"

	"github.com/parquet-go/parquet-go"
)

// Value is one value of a row. The zero Value is NULL.
type Value struct {
	// Kind is 0 for NULL.
	Kind Kind

	bits uint64
	text []byte
}

// Bool is the value of kind Bool.
func (v Value) Bool() bool { return v.bits != 0 }

// Int is the value of kind Int. That of the column timestamp counts microseconds from 1970 on.
func (v Value) Int() int64 { return int64(v.bits) }

// Double is the value of kind Double.
func (v Value) Double() float64 { return math.Float64frombits(v.bits) }

// Text is the value of kind String. Its bytes are valid as long as the Value, and must not be changed.
func (v Value) Text() []byte { return v.text }

// Choice says which rows Choose yields.
type Choice struct {
	// Columns are read of each row, fixed and dynamic ones. Others are not. One that the file does not have is NULL in each row.
	Columns []string
	// Group tells whether a row group may have a row that Row chooses; of the others nothing is read. If nil, each may.
	Group func(Group) (bool, error)
	// Row tells whether a row is chosen. It gets the values of Columns in their order, which are valid during the call.
	Row func(row []Value) (bool, error)
}

// Choose yields the fixed columns of the rows that c chooses, in the order of the file, which is by seq. It ends after the first
// error, also one of c.
//
// It reads c.Columns first, one row group after another, and the fixed columns only of row groups with a chosen row.
func (f *File) Choose(ctx context.Context, c Choice) iter.Seq2[Identity, error] {
	return func(yield func(Identity, error) bool) {
		for i := range f.file.RowGroups() {
			chosen, err := f.chooseIn(ctx, Group{f, i}, c)
			if err == nil && len(chosen) > 0 {
				err = eachOf(f.file.RowGroups()[i], f.identityPlaces(), chosen, func(_ int64, r parquet.Row) error {
					if !yield(f.identityOf(r), nil) {
						return errStopped
					}
					return nil
				})
			}
			if err == errStopped {
				return
			}
			if err != nil {
				yield(Identity{}, err)
				return
			}
		}
	}
}

// errStopped says that the reader of an iterator wants no more.
var errStopped = errors.New("stopped")

// chooseIn are the numbers of the chosen rows of a group.
func (f *File) chooseIn(ctx context.Context, g Group, c Choice) (chosen []int64, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if c.Group != nil {
		if may, err := c.Group(g); err != nil || !may {
			return nil, err
		}
	}
	places, exist := f.places(c.Columns)
	at := make([]int, len(exist))
	for i, name := range exist {
		at[i] = slices.Index(c.Columns, name)
	}
	row, values := int64(-1), make([]Value, len(c.Columns))
	err = each(f.file.RowGroups()[g.number], places, func(r parquet.Row) error {
		row++
		for i, v := range r {
			values[at[i]] = cellValue(v)
		}
		choose, err := c.Row(values)
		if choose {
			chosen = append(chosen, row)
		}
		return err
	})
	return chosen, err
}

// skip passes over rows, of which there are so many.
func (s *scanner) skip(rows int64) error {
	s.left -= rows
	for _, c := range s.chunks {
		for left := rows; left > 0; {
			if _, err := c.peek(); err != nil {
				return err
			}
			n := min(left, int64(c.n-c.at))
			c.at, left = c.at+int(n), left-n
		}
	}
	return nil
}

func cellValue(v parquet.Value) Value {
	switch {
	case v.IsNull():
		return Value{}
	case v.Kind() == parquet.Boolean && v.Boolean():
		return Value{Kind: Bool, bits: 1}
	case v.Kind() == parquet.Boolean:
		return Value{Kind: Bool}
	case v.Kind() == parquet.Int64:
		return Value{Kind: Int, bits: uint64(v.Int64())}
	case v.Kind() == parquet.Double:
		return Value{Kind: Double, bits: math.Float64bits(v.Double())}
	}
	return Value{Kind: String, text: v.ByteArray()}
}
