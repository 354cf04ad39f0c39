package index

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strconv"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/bloom"
	"github.com/parquet-go/parquet-go/bloom/xxhash"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/jsonscan"
)

// Found is what the index holds under a key.
type Found struct {
	cohort.Version
	cohort.Facets // from the columns of these names; as their JSON token if not strings
	Seq           cohort.Seq

	group int // the row group it stands in
}

var (
	// facetColumns need not exist.
	facetColumns = []string{"target", "view", "symbol", "model_family"}
	// foundColumns are what Find reads of each row that it finds. Those after the fourth need not exist.
	foundColumns = slices.Concat([]string{columnStamp, columnRecordID, columnSeq, columnCohort, columnDigest}, facetColumns)
)

// facetsMayBeExtra tells whether _extra may hold a facet: one whose column is not of texts, which hold every scalar, or that has no
// column where records have many.
func (f *File) facetsMayBeExtra() bool {
	return slices.ContainsFunc(facetColumns, func(name string) bool {
		place, ok := f.layout.place[name]
		return ok && f.layout.kindAt(place) != jsonscan.String || !ok && len(f.layout.dynamic) >= maxAdded
	})
}

// Find looks up keys; those that the index does not hold are absent from the result. It is exact: it reads
// the _key column of each row group in which one of the keys may stand.
//
// Whether one may is told by the group's smallest and largest key, and, of few keys, by its bloom filter. Of
// thousands of keys some are false positives in every filter, so of many it is not asked. A damaged filter could
// hide a row: the caller makes sure that the file is what was written.
func (f *File) Find(keys []cohort.Key) (map[cohort.Key]Found, error) {
	sorted := slices.Compact(slices.Sorted(slices.Values(keys)))
	want := make(map[string]bool, len(sorted))
	for _, k := range sorted {
		want[string(k)] = true
	}
	found := map[cohort.Key]Found{}
	for i, g := range f.file.RowGroups() {
		may, err := mayHold(f, i, columnKey, sorted)
		if err != nil {
			return nil, err
		}
		if !may {
			continue
		}
		if err := f.findInGroup(i, g, want, found); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// fewKeys is up to how many keys a bloom filter is asked: with one false positive in 770, it excludes a group
// that holds none of them more often than not.
const fewKeys = 500

// mayHold tells whether one of the sorted texts may stand in a column of a row group.
func mayHold[T ~string](f *File, group int, column string, sorted []T) (bool, error) {
	meta := &f.file.Metadata().RowGroups[group].Columns[f.layout.place[column]].MetaData
	if s := meta.Statistics; len(s.MinValue) > 0 && len(s.MaxValue) > 0 {
		first, _ := slices.BinarySearch(sorted, T(s.MinValue))
		last, found := slices.BinarySearch(sorted, T(s.MaxValue))
		if found {
			last++
		}
		sorted = sorted[first:max(first, last)]
	}
	if len(sorted) == 0 || len(sorted) > fewKeys || meta.BloomFilterLength == 0 {
		return len(sorted) > 0, nil
	}
	filter, err := f.bloom(meta.BloomFilterOffset, int64(meta.BloomFilterLength))
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(sorted, func(text T) bool { return filter.Check(xxhash.Sum64([]byte(text))) }), nil
}

// bloom reads a filter whole. The library's own would read 32 bytes of the file for each key.
func (f *File) bloom(offset, length int64) (bloom.SplitBlockFilter, error) {
	if offset < 4 || length <= 0 || offset > f.size-length {
		return nil, damaged("bloom filter at %d with %d bytes in a file of %d", offset, length, f.size)
	}
	section := make([]byte, length)
	if err := readFull(f.source, section, offset); err != nil {
		return nil, err
	}
	var h format.BloomFilterHeader
	r := bytes.NewReader(section)
	if err := decodeThrift(r, &h); err != nil {
		return nil, err
	}
	bits := section[len(section)-r.Len():]
	if int64(h.NumBytes) != int64(len(bits)) || len(bits) == 0 || len(bits)%bloom.BlockSize != 0 {
		return nil, damaged("bloom filter at %d says %d bytes and has %d", offset, h.NumBytes, len(bits))
	}
	if highByteFirst {
		swapWords(bits)
	}
	return bloom.MakeSplitBlockFilter(bits), nil
}

func decodeThrift(r *bytes.Reader, v any) (err error) {
	defer guard(&err)
	if err := thrift.NewDecoder(new(thrift.CompactProtocol).NewReader(r)).Decode(v); err != nil {
		return libraryError("bloom filter", err)
	}
	return nil
}

func (f *File) findInGroup(group int, g parquet.RowGroup, want map[string]bool, found map[cohort.Key]Found) error {
	type hit struct {
		row int64
		key cohort.Key
	}
	var hits []hit
	row := int64(0)
	err := each(g, []int{f.layout.place[columnKey]}, func(r parquet.Row) error {
		if key := r[0].ByteArray(); want[string(key)] {
			hits = append(hits, hit{row, cohort.Key(key)})
		}
		row++
		return nil
	})
	if err != nil || len(hits) == 0 {
		return err
	}
	names := foundColumns
	if f.layout.isFoxml() {
		names = slices.Clone(names)
		names[slices.Index(names, columnView)] = columnMode
	}
	if f.facetsMayBeExtra() {
		names = slices.Concat(names, []string{columnExtra})
	}
	places, columns := f.places(names)
	row = 0
	return each(g, places, func(r parquet.Row) error {
		if len(hits) > 0 && hits[0].row == row {
			if _, ok := found[hits[0].key]; ok {
				return damaged("key %q stands twice", hits[0].key)
			}
			found[hits[0].key] = foundOf(r, columns, group, f.layout.isFoxml())
			hits = hits[1:]
		}
		row++
		return nil
	})
}

// places are the places of those of the named columns that exist, and their names.
func (f *File) places(names []string) (places []int, exist []string) {
	for _, name := range names {
		if p, ok := f.layout.place[name]; ok {
			places, exist = append(places, p), append(exist, name)
		}
	}
	return places, exist
}

func foundOf(r parquet.Row, columns []string, group int, foxml bool) Found {
	f := Found{
		Version: cohort.Version{Stamp: cohort.Stamp(r[0].Int64()), RecordID: string(r[1].ByteArray())},
		Facets:  cohort.Facets{Cohort: cohort.ID(r[3].ByteArray())},
		Seq:     cohort.Seq(r[2].Int64()),
		group:   group,
	}
	for i, name := range columns[4:] {
		v := r[4+i]
		switch {
		case v.IsNull():
		case name == columnDigest:
			f.Digest = cohort.Digest(v.Int64())
		case name == columnExtra:
			f.addExtra(v.ByteArray(), foxml)
		default:
			f.set(name, scalarText(v))
		}
	}
	return f
}

func (f *Found) set(facet, text string) {
	switch facet {
	case "target":
		f.Target = text
	case columnView, columnMode:
		f.View = text
	case "symbol":
		f.Symbol = text
	case "model_family":
		f.ModelFamily = text
	}
}

// addExtra takes the facets that no column holds. Where a text column has one, too, this is its exact token.
func (f *Found) addExtra(obj []byte, foxml bool) {
	if !isObject(obj) {
		return // who reads the row itself reports it
	}
	for m := range jsonscan.EachMember(obj) {
		switch string(m.Name) {
		case columnMode: // in other roots it is a field like any other, and here the column has it
		case columnView:
			if !foxml {
				f.View = jsonscan.ScalarText(m.Value)
			}
		default:
			f.set(string(m.Name), jsonscan.ScalarText(m.Value))
		}
	}
}

// scalarText is a dynamic value as text: what cohort.Record holds for the same field.
func scalarText(v parquet.Value) string {
	switch {
	case v.IsNull():
		return ""
	case v.Kind() == parquet.Boolean:
		return strconv.FormatBool(v.Boolean())
	case v.Kind() == parquet.Int64:
		return strconv.FormatInt(v.Int64(), 10)
	case v.Kind() == parquet.Double:
		return string(appendDouble(nil, v.Double(), 64))
	}
	return string(v.ByteArray())
}

// each calls do with every row of a group, of which only the columns at places are read. The row is
// valid during the call.
func each(g parquet.RowGroup, places []int, do func(parquet.Row) error) error {
	s, err := scan(g, places)
	if err != nil {
		return err
	}
	defer s.close()
	for {
		r, err := s.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = do(r)
		}
		if err != nil {
			return err
		}
	}
}
