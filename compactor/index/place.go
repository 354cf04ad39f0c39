package index

import (
	"bytes"
	"encoding/json"
	"iter"
	"math"
	"slices"
	"strconv"

	"github.com/parquet-go/parquet-go"

	"github.com/runfold/runfold/internal/jsonscan"
)

// Place is where a row stands in one File, and its fixed columns.
type Place struct {
	Identity
	group int
	row   int64
}

// PlacesOf finds all rows of these runs, by their run_id, in their order. It reads one column of those row groups in which one of the
// runs may stand, as their bounds and bloom filters tell, and the fixed columns where one does. It does not
// look at all rows.
func (f *File) PlacesOf(runIDs []string) ([]Place, error) {
	sorted := slices.Compact(slices.Sorted(slices.Values(runIDs)))
	want := make(map[string]bool, len(sorted))
	for _, id := range sorted {
		want[id] = true
	}
	var all []Place
	for i, g := range f.file.RowGroups() {
		may, err := mayHold(f, i, columnRunID, sorted)
		if err != nil {
			return nil, err
		}
		if !may {
			continue
		}
		rows, err := f.rowsWith(g, want)
		if err != nil {
			return nil, err
		}
		err = eachOf(g, f.identityPlaces(), rows, func(row int64, r parquet.Row) error {
			all = append(all, Place{f.identityOf(r), i, row})
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// rowsWith are the numbers of the rows of a group that belong to one of the runs.
func (f *File) rowsWith(g parquet.RowGroup, runs map[string]bool) (rows []int64, err error) {
	row := int64(-1)
	err = each(g, []int{f.layout.place[columnRunID]}, func(r parquet.Row) error {
		row++
		if runs[string(r[0].ByteArray())] {
			rows = append(rows, row)
		}
		return nil
	})
	return rows, err
}

// eachOf is each for the rows with these numbers only, which ascend. It reads no further than the last of them.
func eachOf(g parquet.RowGroup, places []int, rows []int64, do func(row int64, r parquet.Row) error) error {
	if len(rows) == 0 {
		return nil
	}
	s, err := scan(g, places)
	if err != nil {
		return err
	}
	defer s.close()
	at := int64(0)
	for _, row := range rows {
		if err := s.skip(row - at); err != nil {
			return err
		}
		at = row + 1
		r, err := s.next()
		if err != nil {
			return err
		}
		if err := do(row, r); err != nil {
			return err
		}
	}
	return nil
}

// Fields are the values that a row has in dynamic columns and in _extra, as JSON by name, in the spelling of FlatFields. Where a text column holds a value whose exact
// token stands in _extra, that token counts. The object "snapshot" of a record is not in the index.
func (f *File) Fields(p Place) (map[string]json.RawMessage, error) {
	out := map[string]json.RawMessage{}
	places := make([]int, 0, len(f.layout.dynamic)+1)
	for i := range f.layout.dynamic {
		places = append(places, len(firstColumns)+i)
	}
	places = append(places, f.layout.place[columnExtra])
	err := eachOf(f.file.RowGroups()[p.group], places, []int64{p.row}, func(_ int64, r parquet.Row) error {
		for i, c := range f.layout.dynamic {
			if !r[i].IsNull() {
				out[c.Name] = oneSpelling(appendValue(nil, r[i]))
			}
		}
		extra := r[len(r)-1]
		if extra.IsNull() {
			return nil
		}
		if !isObject(extra.ByteArray()) {
			return damaged("%s of %q is not a JSON object", columnExtra, p.Key)
		}
		for m := range jsonscan.EachMember(extra.ByteArray()) {
			out[string(m.Name)] = oneSpelling(bytes.Clone(m.Value))
		}
		return nil
	})
	return out, err
}

// FlatFields are the values of a record by the names that they have in the index: top-level members by their name, and members of
// metrics, params and tags as metrics.auc. Nulls are absent, and of a name that stands twice the last one counts. What stands in a fixed
// column, such as run_id and timestamp, is not in it. The object "snapshot" is, if there is one. Values may alias the record.
//
// Equal numbers have one spelling, and so have equal texts: 1, 1.0 and 1e0 are one number, as a column of doubles keeps no more.
func FlatFields(members iter.Seq2[[]byte, []byte]) map[string]json.RawMessage {
	out := map[string]json.RawMessage{}
	set := func(name string, value []byte) {
		if jsonscan.KindOf(value) == jsonscan.Null {
			delete(out, name)
		} else {
			out[name] = oneSpelling(value)
		}
	}
	for name, value := range members {
		switch name := string(name); {
		case isOwned(name):
		case isGroup(name) && len(value) > 2 && jsonscan.KindOf(value) == jsonscan.Object:
			for m := range jsonscan.EachMember(value) {
				set(name+"."+string(m.Name), m.Value)
			}
		default:
			set(name, value)
		}
	}
	return out
}

// oneSpelling is one spelling of a value. An integer that no
// double holds keeps its digits.
func oneSpelling(value []byte) []byte {
	kind := jsonscan.KindOf(value)
	if kind != jsonscan.Int && kind != jsonscan.Double {
		if kind == jsonscan.String && !jsonscan.LoneSurrogate(value) {
			return jsonscan.Quote(jsonscan.Text(value))
		}
		return value
	}
	f, err := strconv.ParseFloat(string(value), 64)
	if err != nil {
		return value
	}
	if n, err := strconv.ParseInt(string(value), 10, 64); kind == jsonscan.Int && (err != nil || math.Abs(f) >= 1<<63 || int64(f) != n) {
		return value
	}
	return strconv.AppendFloat(nil, f+0, 'g', -1, 64)
}
