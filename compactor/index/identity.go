package index

import (
	"encoding/binary"
	"iter"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/runfold/runfold/cohort"
)

// Identity is the fixed columns of a row.
type Identity struct {
	Key     cohort.Key
	Cohort  cohort.ID
	RunID   string
	Stage   string
	Seq     cohort.Seq
	Time    time.Time // UTC, in microseconds; the zero time if it is not known
	Version cohort.Version
	Stream  cohort.StreamID // empty for an imported row
	Writer  string          // who appended it, as journal.Header.Writer says it; empty if that is not known
}

var identityColumns = []string{columnKey, columnCohort, columnRunID, columnPhase, columnSeq, columnTimestamp, columnStamp, columnRecordID, columnStream, columnDigest, columnWriter}

// identityPlaces are the places of identityColumns. What comes last is absent from earlier versions, where a dynamic column may have its name.
func (f *File) identityPlaces() []int {
	names := identityColumns
	if f.layout.version < withWriter {
		names = names[:len(names)-1]
	}
	places, _ := f.places(names)
	return places
}

// Identities yields the fixed columns of every row in the order of the file, which is by seq. It ends
// after the first error.
func (f *File) Identities() iter.Seq2[Identity, error] {
	places := f.identityPlaces()
	return func(yield func(Identity, error) bool) {
		for r, err := range f.rows(places) {
			if err != nil {
				yield(Identity{}, err)
				return
			}
			if !yield(f.identityOf(r), nil) {
				return
			}
		}
	}
}

// IdentitiesFrom yields what Identities yields of the rows with this seq or a higher one. It reads only the row groups that have
// such rows, as their statistics tell: of a large index, what the last fold added.
func (f *File) IdentitiesFrom(seq cohort.Seq) iter.Seq2[Identity, error] {
	places := f.identityPlaces()
	return func(yield func(Identity, error) bool) {
		for i, g := range f.file.RowGroups() {
			if highest, ok := f.highestSeq(i); ok && highest < seq {
				continue
			}
			err := each(g, places, func(r parquet.Row) error {
				if h := f.identityOf(r); h.Seq >= seq && !yield(h, nil) {
					return errStopped
				}
				return nil
			})
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

// highestSeq is the highest seq in a row group, if its statistics say it.
func (f *File) highestSeq(group int) (cohort.Seq, bool) {
	stats := f.file.Metadata().RowGroups[group].Columns[f.layout.place[columnSeq]].MetaData.Statistics
	if len(stats.MaxValue) != 8 {
		return 0, false
	}
	return cohort.Seq(binary.LittleEndian.Uint64(stats.MaxValue)), true
}

// lowestSeq is the lowest seq in a row group, if its statistics say it.
func (f *File) lowestSeq(group int) (cohort.Seq, bool) {
	stats := f.file.Metadata().RowGroups[group].Columns[f.layout.place[columnSeq]].MetaData.Statistics
	if len(stats.MinValue) != 8 {
		return 0, false
	}
	return cohort.Seq(binary.LittleEndian.Uint64(stats.MinValue)), true
}

// identityOf is an Identity of this file, without a time that version 1 had to invent.
func (f *File) identityOf(r parquet.Row) Identity {
	id := identityOf(r)
	if isMadeUp(f.layout.version, id.Stream == "", id.Version.Stamp, id.Time.UnixMicro()) {
		id.Time = time.Time{}
	}
	return id
}

func identityOf(r parquet.Row) Identity {
	h := Identity{
		Key:     cohort.Key(r[0].ByteArray()),
		Cohort:  cohort.ID(r[1].ByteArray()),
		RunID:   string(r[2].ByteArray()),
		Stage:   string(r[3].ByteArray()),
		Seq:     cohort.Seq(r[4].Int64()),
		Version: cohort.Version{Stamp: cohort.Stamp(r[6].Int64()), RecordID: string(r[7].ByteArray())},
	}
	if !r[5].IsNull() {
		h.Time = time.UnixMicro(r[5].Int64()).UTC()
	}
	if !r[8].IsNull() {
		h.Stream = cohort.StreamID(r[8].ByteArray())
	}
	if len(r) > 9 && !r[9].IsNull() { // not in version 1
		h.Version.Digest = cohort.Digest(r[9].Int64())
	}
	if len(r) > 10 && !r[10].IsNull() { // not in version 2
		h.Writer = string(r[10].ByteArray())
	}
	return h
}

// rows yields some columns of every row of the file. A row is valid until the next one.
func (f *File) rows(places []int) iter.Seq2[parquet.Row, error] {
	return func(yield func(parquet.Row, error) bool) {
		for _, g := range f.file.RowGroups() {
			err := each(g, places, func(r parquet.Row) error {
				if !yield(r, nil) {
					return errStopped
				}
				return nil
			})
			if err == errStopped {
				return
			}
			if err != nil {
				yield(nil, err)
				return
			}
		}
	}
}
