package generation

import (
	"bytes"
	"fmt"
	"iter"
	"slices"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/durable"
)

// Row is all that a generation says of a key: its row, and the object of its key in the snapshots.
type Row struct {
	index.Typed
	Snapshot []byte // valid until the next row
}

// Clone is a row that stays.
func (r Row) Clone() Row {
	r.Values, r.Extra, r.Snapshot = slices.Clone(r.Values), bytes.Clone(r.Extra), bytes.Clone(r.Snapshot)
	return r
}

// maxLines bounds how many snapshots files RowsFrom keeps open.
const maxLines = 64

// RowsFrom yields the rows with this seq or a higher one, in their order, with their snapshots. It reads little more than what it yields,
// and holds one row at a time. A snapshots file without the line of a row is ErrCorrupt; its checksum is not compared. A file
// that is swept meanwhile is ErrConflict. It ends after the first error.
func (d *Data) RowsFrom(seq cohort.Seq) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		if d.Index == nil {
			return
		}
		lines := lineFiles{data: d, open: map[cohort.ID]*lineFile{}}
		defer lines.close()
		for t, err := range d.Index.TypedFrom(seq) {
			if err != nil {
				yield(Row{}, d.blame(fmt.Errorf("read generation %d: %w", d.of.Generation, err)))
				return
			}
			line, err := lines.of(t.Identity)
			if err != nil {
				err = fmt.Errorf("read generation %d: %w", d.of.Generation, err)
			}
			if !yield(Row{t, line}, err) || err != nil {
				return
			}
		}
	}
}

// Lines yields all lines of the snapshots, file by file. It ends after the first error.
func (d *Data) Lines() iter.Seq2[index.Snapshot, error] {
	return func(yield func(index.Snapshot, error) bool) {
		for _, f := range d.of.Snapshots {
			r, err := d.Snapshots(f)
			if err != nil {
				yield(index.Snapshot{}, err)
				return
			}
			for line, err := range index.Snapshots(r) {
				if !yield(line, err) || err != nil {
					r.Close()
					return
				}
			}
			r.Close()
		}
	}
}

// lineFiles are the snapshots files of a generation, of which those that were used last are open.
type lineFiles struct {
	data *Data
	open map[cohort.ID]*lineFile
	uses int
}

// lineFile reads one file line by line.
type lineFile struct {
	file durable.ReadFile
	next func() (index.Snapshot, error, bool)
	stop func()
	used int
}

func (f *lineFile) close() {
	f.stop()
	f.file.Close() // it was only read
}

func (l *lineFiles) close() {
	for _, f := range l.open {
		f.close()
	}
}

// of is the line of a row. Rows are asked for in the order of their seqs.
func (l *lineFiles) of(row index.Identity) ([]byte, error) {
	id := row.Cohort
	if _, one := l.data.of.Snapshots.Of(""); one {
		id = ""
	}
	f, err := l.fileOf(id, row.Seq)
	if err != nil {
		return nil, err
	}
	for {
		line, err, ok := f.next()
		switch {
		case err != nil:
			return nil, err
		case !ok || line.Seq > row.Seq || line.Seq == row.Seq && line.Key != row.Key:
			return nil, fmt.Errorf("%w: the snapshots have no line of %q with snapshot_seq %d", ErrCorrupt, row.Key, row.Seq)
		case line.Seq == row.Seq:
			return line.Value, nil
		}
	}
}

// fileOf is the open file of a cohort, of which lines are read from seq on.
func (l *lineFiles) fileOf(id cohort.ID, seq cohort.Seq) (*lineFile, error) {
	l.uses++
	if f := l.open[id]; f != nil {
		f.used = l.uses
		return f, nil
	}
	want, ok := l.data.of.Snapshots.Of(id)
	if !ok {
		return nil, fmt.Errorf("%w: there are no snapshots of cohort %q", ErrCorrupt, id)
	}
	file, err := l.data.store.openFile(want.DataFile)
	if err != nil {
		return nil, l.data.store.dataError(l.data.of, err)
	}
	l.forgetOne()
	f := &lineFile{file: file, used: l.uses}
	f.next, f.stop = iter.Pull2(index.LinesFrom(file, want.Size, seq))
	l.open[id] = f
	return f, nil
}

// forgetOne closes the file that was not used for the longest time, if there are too many.
func (l *lineFiles) forgetOne() {
	if len(l.open) < maxLines {
		return
	}
	var oldest cohort.ID
	for id, f := range l.open {
		if o := l.open[oldest]; o == nil || f.used < o.used {
			oldest = id
		}
	}
	l.open[oldest].close()
	delete(l.open, oldest)
}
