package index

import (
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/runfold/runfold/cohort"
)

const (
	// batchRows and batchBytes bound the rows that wait to be handed to the library.
	batchRows  = 64
	batchBytes = 1 << 20
	// cellBytes is what each value takes in the library's buffers, also a NULL. With 500 columns
	// that are nearly empty, this is most of the memory.
	cellBytes = 6
)

// writer writes the rows of one index in seq order and cuts them into row groups. It uses the
// library's row functions only, see Verify.
type writer struct {
	w      *parquet.GenericWriter[any]
	out    *sink
	layout *layout
	full   groupSize
	stats  Stats
	seq    int64 // of the last row

	batch []parquet.Row
	cells []parquet.Value // the memory of batch
	bytes []byte          // the memory of byte arrays in batch that are not ours

	rows, size int64 // of the row group so far, batch included
	first      int64 // the seq of its first row
	groups     []placed
}

func newWriter(w io.Writer, l *layout, full groupSize, meta Meta) (out *writer, err error) {
	defer guardWriting(&err)
	if _, err := cohort.ParseGeneration(meta.Generation.String()); err != nil {
		return nil, err
	}
	if _, err := cohort.ParseToken(string(meta.Token)); err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(l.dynamic, func(c Column) bool { return isFixed(c.Name) }); i >= 0 { // Columns.Apply takes it away
		return nil, fmt.Errorf("column %q is a fixed column and cannot be a dynamic one", l.dynamic[i].Name)
	}
	schema, err := marshalSchema(l.dynamic)
	if err != nil {
		return nil, err
	}
	out = &writer{out: &sink{to: targetOf(w)}, layout: l, full: full}
	if err := out.out.head(); err != nil {
		return nil, err
	}
	pw := parquet.NewGenericWriter[any](out.out, options(l)...)
	pw.SetKeyValueMetadata(metaVersion, strconv.Itoa(version))
	pw.SetKeyValueMetadata(metaGeneration, meta.Generation.String())
	pw.SetKeyValueMetadata(metaToken, string(meta.Token))
	pw.SetKeyValueMetadata(metaProgram, meta.Program)
	pw.SetKeyValueMetadata(metaSchema, string(schema))
	switch {
	case meta.Withdrawn:
		pw.SetKeyValueMetadata(metaWithdrawn, withdrawnItself)
	case meta.Beside:
		pw.SetKeyValueMetadata(metaWithdrawn, withdrawnBeside)
	}
	out.w = pw
	return out, nil
}

// add adds one row. fill appends it to its argument. The byte arrays of the row are copied, unless owned is true:
// then they must stay as they are after the call.
func (w *writer) add(owned bool, fill func(parquet.Row) (parquet.Row, error)) error {
	start := len(w.cells)
	cells, err := fill(w.cells)
	if err != nil {
		return err
	}
	w.cells = cells
	r := parquet.Row(w.cells[start:len(w.cells):len(w.cells)])
	if err := w.follow(r[w.layout.place[columnSeq]].Int64(), !owned); err != nil {
		return err
	}
	if w.rows == 0 {
		w.first = w.seq
	}
	w.size += w.take(r, owned)
	w.batch = append(w.batch, r)
	w.rows++
	w.stats.RowsWritten++
	if len(w.batch) == batchRows || len(w.bytes) >= batchBytes || w.isFull() {
		return w.flush()
	}
	return nil
}

// follow makes sure that seqs increase over the whole file. In an old file they increase already.
func (w *writer) follow(seq int64, old bool) error {
	switch {
	case seq > w.seq:
		w.seq = seq
		return nil
	case old:
		return damaged("%s %d follows %d", columnSeq, seq, w.seq)
	}
	return fmt.Errorf("%s %d follows %d", columnSeq, seq, w.seq)
}

// take copies the byte arrays of a row and returns how much memory the row counts for.
func (w *writer) take(r parquet.Row, owned bool) int64 {
	size := int64(len(r)) * cellBytes
	for i, v := range r {
		if v.IsNull() || v.Kind() != parquet.ByteArray {
			continue
		}
		text := v.ByteArray()
		size += int64(len(text))
		if owned {
			continue
		}
		from := len(w.bytes)
		w.bytes = append(w.bytes, text...) // an earlier batch may still use the old memory
		r[i] = parquet.ByteArrayValue(w.bytes[from:]).Level(0, v.DefinitionLevel(), i)
	}
	return size
}

// flush hands the batch to the library and closes the row group if it is full.
func (w *writer) flush() error {
	if err := w.hand(); err != nil {
		return err
	}
	if w.isFull() {
		return w.endGroup()
	}
	return nil
}

// hand hands the batch to the library.
func (w *writer) hand() (err error) {
	defer guardWriting(&err)
	if len(w.batch) == 0 {
		return nil
	}
	n, err := w.w.WriteRows(w.batch)
	if err != nil {
		return err
	}
	if n != len(w.batch) {
		return fmt.Errorf("wrote %d of %d rows: %w", n, len(w.batch), io.ErrShortWrite)
	}
	w.batch, w.cells, w.bytes = w.batch[:0], w.cells[:0], w.bytes[:0]
	return nil
}

// isFull tells whether the row group ends after the batch.
func (w *writer) isFull() bool { return w.rows >= w.full.rows || w.size >= w.full.bytes }

// endGroup makes the rows since the last group a row group, if there are any.
func (w *writer) endGroup() (err error) {
	defer guardWriting(&err)
	if err := w.hand(); err != nil || w.rows == 0 {
		return err
	}
	shift := w.out.begin(w.rows, cohort.Seq(w.first))
	w.rows, w.size = 0, 0
	if err := w.w.Flush(); err != nil {
		return err
	}
	w.groups = append(w.groups, placed{shift: shift})
	return w.out.end()
}

// close writes the footer and checks it: every column must have as many values as rows were added.
func (w *writer) close() (meta *format.FileMetaData, err error) {
	defer guardWriting(&err)
	if err := w.endGroup(); err != nil {
		return nil, err
	}
	w.out.keepFooter()
	if err := w.w.Close(); err != nil {
		return nil, err
	}
	if meta, err = w.splice(); err != nil {
		return nil, err
	}
	if err := checkCounts(meta); err != nil {
		return nil, internal("%v", err)
	}
	w.stats.Rows = w.stats.RowsCopied + w.stats.RowsWritten
	w.stats.GroupsWritten = len(meta.RowGroups) - w.stats.GroupsCopied
	if meta.NumRows != w.stats.Rows {
		return nil, internal("%d rows were written and %d arrived", w.stats.Rows, meta.NumRows)
	}
	return meta, nil
}
