package compactor

import (
	"bufio"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/durable"
)

// write folds a batch and makes the data files of the next generation durable. No manifest names them
// yet: a run that ends here leaves two files for a later sweep and nothing else.
//
// Where the batch changes no row (a seal, duplicates), the next generation keeps the data files of
// the one before and no byte of the index is copied. b is used up.
func (f *folder) write(prev head, b *batch) (head, error) {
	next, err := f.nextManifest(prev, b.marks)
	if err != nil {
		return head{}, err
	}
	old, err := f.openSummed(prev)
	if err != nil {
		return head{}, err
	}
	defer old.Close()
	keys := make([]cohort.Key, len(b.records))
	for i, r := range b.records {
		keys[i] = r.key
	}
	found, err := old.find(keys)
	if err != nil {
		return head{}, err
	}
	out := fold(b.records, found, prev.NextSeq)
	b.records = nil // a quarter of what a million records take, and puts say all from here on
	next.NextSeq, next.HighestStamp = out.nextSeq, max(prev.HighestStamp, out.highest)
	f.report.add(out)
	if len(out.puts) == 0 && len(out.raised) == 0 && prev.Generation > 0 {
		if len(keys) > 0 { // the index has decided
			err = old.check()
		}
		return next, err
	}
	schema := b.shapes.Extender()
	for _, p := range out.puts {
		schema.Add(b.refs[p.N].shape)
	}
	next.Schema = schema.Schema()
	rows, lines := f.loader(b, out.later), f.loader(b, out.later)
	defer rows.close()
	defer lines.close()
	err = f.writeData(&next, old, found, changes{
		puts: out.puts, raised: out.raised, bytes: b.bytes, rows: rows.load, lines: lines.load, cohort: b.cohort,
	})
	return next, err
}

// tellRewrite tells of the one thing that makes a commit write every row again.
func (f *folder) tellRewrite(prev, next head) {
	if prev.Index.Rows == 0 || prev.Schema.Equal(next.Schema) {
		return
	}
	n := Rewritten{Rows: prev.Index.Rows, New: len(next.Schema) - len(prev.Schema)}
	for i, c := range prev.Schema {
		if next.Schema[i] != c {
			n.Widened++
		}
	}
	f.report.Rewrites++
	f.notify(n)
}

func (r *Report) add(out folded) {
	r.Added += len(out.puts) - out.replaced
	r.Replaced += out.replaced
	r.Superseded += out.superseded
	r.Duplicates += out.duplicates
	r.Repeated += out.repeats
	r.Narrow += out.narrow
}

// nextManifest is the child of prev, with what is known before the fold.
func (f *folder) nextManifest(prev head, marks []Watermark) (head, error) {
	token, err := newToken()
	if err != nil {
		return head{}, err
	}
	next := prev
	next.made = nil
	next.Version, next.Generation, next.Token = manifestVersion, prev.Generation+1, token
	next.RootID, next.Parent = f.settings.RootID, prev.digest
	next.CreatedAt = f.Now().UTC().Format(time.RFC3339Nano)
	next.Host, next.PID, next.Program = host(), os.Getpid(), f.Program
	next.Streams, next.RepairedFrom = marks, nil
	if f.settings.Snapshots == cohort.PerCohort {
		next.Version = perCohortVersion
	}
	return next, nil
}

func newToken() (cohort.Token, error) {
	var raw [8]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return "", fmt.Errorf("choose a token: %w", err)
	}
	return cohort.Token(hex.EncodeToString(raw[:])), nil
}

// changes is what a generation has that the one before had not.
type changes struct {
	puts, raised []index.Put
	bytes        int64                     // of the records as JSON
	rows, lines  index.Load                // of puts without a record; each for a goroutine of its own
	cohort       func(index.Put) cohort.ID // of a put's record
	whole        bool                      // no data file of the one before is to be named
}

// writeData writes the data files of next and fills in what the manifest says of them. On error none of them
// stays: on a full disk they would be in the way of the next try.
//
// Index and snapshots are written side by side, and the index is made durable last.
func (f *folder) writeData(next *head, old *data, found map[cohort.Key]index.Found, c changes) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, f.dropData(*next))
		}
	}()
	if err := durable.MkdirAll(f.FS, f.Root.DataDir(), f.settings.DirMode.FS()); err != nil {
		return err
	}
	parts := f.parts(next, c, found)
	if err := f.headroom(*next, parts, c.bytes); err != nil {
		return err
	}
	rows, err := f.newData(next.made[0])
	if err != nil {
		return fmt.Errorf("write index: %w", err)
	}
	defer rows.discard(&err)
	if err := f.fill(next, old, found, c, rows, parts); err != nil {
		return err
	}
	if next.Index, err = rows.commit(); err != nil {
		return fmt.Errorf("write index: %w", err)
	}
	if err := f.verify(next.Index); err != nil {
		return fmt.Errorf("read back index: %w", marked(err))
	}
	return nil
}

// fill writes what the index holds, and all of the snapshots.
func (f *folder) fill(next *head, old *data, found map[cohort.Key]index.Found, c changes, rows *newData, parts []*part) error {
	meta := index.Meta{Generation: next.Generation, Token: next.Token, Program: f.Program}
	var stats index.Stats
	var written Snapshots
	var both errgroup.Group
	both.Go(func() (err error) {
		stats, err = index.Merge(rows, old.index, found, next.Schema, append(slices.Clip(c.puts), c.raised...), c.rows, meta)
		if err != nil {
			return old.blame(fmt.Errorf("write index: %w", marked(err)))
		}
		rows.rows = stats.Rows
		return old.check()
	})
	both.Go(func() error {
		for _, p := range parts {
			file, err := f.writePart(p, old, c.lines)
			if err != nil {
				return fmt.Errorf("write snapshots: %w", marked(err))
			}
			written = append(written, SnapshotsFile{p.cohort, file})
		}
		return nil
	})
	if err := both.Wait(); err != nil {
		return err
	}
	next.Snapshots = next.Snapshots.with(written)
	if lines := next.Snapshots.rows(); rows.rows != lines {
		return fmt.Errorf("%w: index would have %d rows and snapshots %d", ErrCorrupt, rows.rows, lines)
	}
	f.report.Extra += stats.Extra
	f.report.Merged.add(stats)
	next.Merged = new(Merged)
	next.Merged.add(stats)
	return nil
}

// margin is room for what is small: the manifest's fixed part, directories, the file system's own books.
const margin = 1 << 20

// headroom refuses to begin what would fill the disk, and perhaps be in the way of writers: the new data
// files take at most about what the old ones do, and twice the records. next still names the old index.
// Where nobody can tell what is free, the write finds out.
func (f *folder) headroom(next head, parts []*part, records int64) error {
	need := next.Index.Size + int64(len(next.Streams))*256 + margin + 2*records
	for _, p := range parts {
		need += p.old.Size
	}
	free, err := f.Free(f.Root.DataDir())
	if err == nil && free < need {
		return fmt.Errorf("%s: generation %d may need %d bytes and %d are free: %w", f.Root.DataDir(), next.Generation, need, free, syscall.ENOSPC)
	}
	return nil
}

// readOnly keeps a data file from being overwritten through its published name, which is a hard link:
// a program that saves to index.parquet is refused instead of destroying what a manifest names.
const readOnly fs.FileMode = 0o222

// newData is a data file that is being written under a temporary name. What is written to it is buffered.
type newData struct {
	name string
	rows int64
	file *durable.File
	buf  *bufio.Writer
	n    int64
	crc  uint32 // of all that was written
}

// writeBytes is how much is written at once. More is not better: on ext4 of Linux 6.18 writes of 1 MiB took
// five times the CPU of those of 128 KiB (dd bs=1M and bs=128k of 700 MB into the page cache: 1.0 s, 0.2 s).
const writeBytes = 128 << 10

func (f *folder) newData(name string) (*newData, error) {
	file, err := durable.Pending(f.FS, f.Root.Data(name), f.settings.FileMode.FS()&^readOnly)
	if err != nil {
		return nil, err
	}
	return &newData{name: name, file: file, buf: bufio.NewWriterSize(file, writeBytes)}, nil
}

func (d *newData) Write(p []byte) (int, error) {
	n, err := d.buf.Write(p)
	d.n += int64(n)
	d.crc = crc32.Update(d.crc, castagnoli, p[:n])
	return n, err
}

// ReadFrom copies r. Where that is an old file, and until now the new one has the same bytes, it goes on
// having the same checksum: nothing is summed twice.
func (d *newData) ReadFrom(r io.Reader) (int64, error) {
	if l, ok := r.(*io.LimitedReader); ok {
		if old, ok := l.R.(*checkedReader); ok && old.n == d.n && old.crc == d.crc {
			n, err := d.buf.ReadFrom(r)
			d.n, d.crc = old.n, old.crc
			return n, err
		}
	}
	return io.Copy(struct{ io.Writer }{d}, r)
}

// commit makes the file durable under its name.
func (d *newData) commit() (DataFile, error) {
	if err := d.buf.Flush(); err != nil {
		return DataFile{}, err
	}
	if err := d.file.Commit(); err != nil {
		return DataFile{}, err
	}
	return DataFile{Name: d.name, Size: d.n, Rows: d.rows, CRC32C: CRC(d.crc)}, nil
}

// discard is deferred: it takes a file away that was not committed.
func (d *newData) discard(err *error) {
	if *err != nil {
		*err = errors.Join(*err, d.file.Discard())
	}
}

// verify reads back the structure of an index that no manifest names yet.
func (f *folder) verify(d DataFile) error {
	file, err := f.openFile(d)
	if err != nil {
		return err
	}
	defer file.Close()
	return index.Verify(exact{file, d.Size}, d.Size, d.Rows)
}
