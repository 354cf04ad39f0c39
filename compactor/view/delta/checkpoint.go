package delta

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/parquet-go/parquet-go"

	"github.com/runfold/runfold/internal/durable"
)

// lastCheckpoint is the hint in _last_checkpoint. Part of the format of Delta.
type lastCheckpoint struct {
	Version int64 `json:"version"`
	Size    int   `json:"size"` // number of actions
}

func contains(sorted []int64, v int64) bool {
	_, is := slices.BinarySearch(sorted, v)
	return is
}

// keepCheckpoints writes a checkpoint if one is due, and makes _last_checkpoint name the newest one. What a publisher that was killed left
// undone is done by the next one.
func (p *publisher) keepCheckpoints() error {
	v := p.head.state.Version
	last := p.head.checkpoint(v)
	if last < v && (v > 0 && v%checkpointEvery == 0 || v-max(last, 0) > checkpointEvery) || !p.head.isWhole() {
		return p.writeCheckpoint()
	}
	if last < 0 {
		return nil
	}
	var hint lastCheckpoint
	data, err := durable.Read(p.FS, p.lastCheckpoint(), 1<<20)
	if err == nil && json.Unmarshal(data, &hint) == nil && contains(p.head.checkpoints, hint.Version) && hint.Version >= last {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return p.writeCheckpoint()
}

// writeCheckpoint writes all of the log up to the newest version, and the hint. Several publishers write equal checkpoints, except for
// what is on its way out.
func (p *publisher) writeCheckpoint() error {
	rows, err := p.checkpointRows()
	if err != nil {
		return err
	}
	data, err := encodeCheckpoint(rows)
	if err != nil {
		return err
	}
	v, perm := p.head.state.Version, p.Settings.FileMode.FS()
	if err := durable.Replace(p.FS, p.checkpoint(v), data, perm); err != nil {
		return fmt.Errorf("write a checkpoint of the Delta table: %w", err)
	}
	p.head.checkpoints = append(p.head.checkpoints, v)
	slices.Sort(p.head.checkpoints)
	hint, err := json.Marshal(lastCheckpoint{v, len(rows)})
	if err != nil {
		return err
	}
	return durable.Replace(p.FS, p.lastCheckpoint(), append(hint, '\n'), perm)
}

// checkpointRows are the actions that stand. The newest version shows p.newest, so all of them follow from that.
func (p *publisher) checkpointRows() ([]action, error) {
	data, err := p.Data(p.newest)
	if err != nil {
		return nil, err
	}
	defer data.Close()
	s := p.head.state
	columns := shapeOf(data.Index, s.Mapped)
	rows := []action{{Protocol: columns.protocol()}, {MetaData: p.metaData(columns)}, {Txn: s.txn()}, {Add: s.add(statsOf(data.Index, columns))}}
	entries, err := p.FS.ReadDir(p.dir())
	if err != nil {
		return nil, err
	}
	// Files of earlier versions are to be known as such, so that a VACUUM leaves them for its time. Their true time of removal is earlier.
	for _, e := range entries {
		if g, ok := generationOf(e.Name()); ok && e.Name() != s.File && g <= s.Generation {
			rows = append(rows, action{Remove: &remove{Path: e.Name(), DeletionTimestamp: s.Time, DataChange: true}})
		}
	}
	return rows, nil
}

func encodeCheckpoint(rows []action) (data []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("write a checkpoint: internal error: %v", r)
		}
	}()
	var b bytes.Buffer
	// PLAIN, because Spark reads empty texts from the library's default, DELTA_LENGTH_BYTE_ARRAY, in columns with NULLs.
	w := parquet.NewGenericWriter[action](&b, parquet.Compression(&parquet.Snappy), parquet.DefaultEncodingFor(parquet.ByteArray, &parquet.Plain))
	if _, err := w.Write(rows); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// isReadable tells whether a checkpoint, of any writer, is a whole Parquet file.
func isReadable(data []byte) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	f, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return err
	}
	for _, g := range f.RowGroups() {
		if err := readRows(g); err != nil {
			return err
		}
	}
	return nil
}

func readRows(g parquet.RowGroup) error {
	rows := g.Rows()
	defer rows.Close()
	buf := make([]parquet.Row, 64)
	for {
		_, err := rows.ReadRows(buf)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
