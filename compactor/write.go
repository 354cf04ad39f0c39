package compactor

import (
	"bufio"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/durable"
)

// write folds a batch and makes the data files of the next generation durable. No manifest names them
// yet: a run that ends here leaves two files for a later sweep and nothing else.
//
// Where the batch changes no row (a seal, duplicates), the next generation keeps the data files of
// the one before and no byte of the index is copied.
func (f *folder) write(prev head, b batch) (head, error) {
	next, err := f.nextManifest(prev, b)
	if err != nil {
		return head{}, err
	}
	old, err := f.openWhole(prev)
	if err != nil {
		return head{}, err
	}
	defer old.Close()
	keys := make([]cohort.Key, len(b.records))
	for i, r := range b.records {
		keys[i] = f.settings.Key.Of(r)
	}
	found, err := old.find(keys)
	if err != nil {
		return head{}, err
	}
	out := fold(f.settings.Key, b.records, found, prev.NextSeq)
	next.NextSeq, next.HighestStamp = out.nextSeq, max(prev.HighestStamp, out.highest)
	f.report.add(out)
	if len(out.puts) == 0 && len(out.raised) == 0 && prev.Generation > 0 {
		return next, nil
	}
	next.Schema = prev.Schema.Extend(putRecords(out.puts))
	return next, f.writeData(&next, old, found, out.puts, out.raised...)
}

func (r *Report) add(out folded) {
	r.Added += len(out.puts) - out.replaced
	r.Replaced += out.replaced
	r.Superseded += out.superseded
	r.Duplicates += out.duplicates
	r.Repeated += out.repeats
	r.Narrow += out.narrow
}

func putRecords(puts []index.Put) []cohort.Record {
	recs := make([]cohort.Record, len(puts))
	for i, p := range puts {
		recs[i] = p.Record
	}
	return recs
}

// nextManifest is the child of prev, with what is known before the fold.
func (f *folder) nextManifest(prev head, b batch) (head, error) {
	token, err := newToken()
	if err != nil {
		return head{}, err
	}
	next := prev
	next.Version, next.Generation, next.Token = manifestVersion, prev.Generation+1, token
	next.RootID, next.Parent = f.settings.RootID, prev.digest
	next.CreatedAt = f.Now().UTC().Format(time.RFC3339Nano)
	next.Host, next.PID, next.Program = host(), os.Getpid(), f.Program
	next.Streams, next.RepairedFrom = b.marks, nil
	return next, nil
}

func newToken() (cohort.Token, error) {
	var raw [8]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return "", fmt.Errorf("choose a token: %w", err)
	}
	return cohort.Token(hex.EncodeToString(raw[:])), nil
}

// data is the open data files of one generation; empty before the first fold.
type data struct {
	index     *index.File
	files     []io.Closer
	snapshots *checkedReader
}

func (d *data) Close() {
	for _, c := range d.files {
		c.Close() // opened to read
	}
}

func (d *data) find(keys []cohort.Key) (map[cohort.Key]index.Found, error) {
	if d.index == nil {
		return nil, nil
	}
	found, err := d.index.Find(keys)
	if err != nil {
		return nil, fmt.Errorf("look up keys in the index: %w", marked(err))
	}
	return found, nil
}

// openData opens the data files that h names and checks their sizes. A missing one is ErrConflict if
// h is no longer the newest (it was swept), else ErrCorrupt.
func (f *folder) openData(h head) (*data, error) {
	d := new(data)
	if h.Generation == 0 {
		return d, nil
	}
	file, err := f.openFile(h.Index)
	if err == nil {
		d.files = append(d.files, file)
		d.index, err = index.Open(exact{file, h.Index.Size}, h.Index.Size)
	}
	if err == nil {
		file, err = f.openFile(h.Snapshots)
	}
	if err != nil {
		d.Close()
		return nil, f.dataError(h, err)
	}
	d.files = append(d.files, file)
	d.snapshots = &checkedReader{r: file, crc: crc32.New(castagnoli), path: f.Root.Data(h.Snapshots.Name), want: h.Snapshots}
	return d, nil
}

// openWhole is openData for a fold: it reads the index once and compares its checksum, as a flipped bit
// in a footer or a filter could hide a row that the fold must replace. The snapshots are compared
// while they are copied.
func (f *folder) openWhole(h head) (*data, error) {
	d, err := f.openData(h)
	if err != nil || h.Generation == 0 {
		return d, err
	}
	sum, err := checksum(f.FS, f.Root.Data(h.Index.Name))
	if err == nil && sum != h.Index.CRC32C {
		err = fmt.Errorf("%s: %w: its bytes are not those that were committed", f.Root.Data(h.Index.Name), ErrCorrupt)
	}
	if err != nil {
		d.Close()
		return nil, f.dataError(h, err)
	}
	return d, nil
}

// marked makes damage that package index finds ours.
func marked(err error) error {
	if errors.Is(err, index.ErrDamaged) {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}

func (f *folder) openFile(want DataFile) (durable.ReadFile, error) {
	if err := durable.Regular(f.FS, f.Root.Data(want.Name)); err != nil {
		return nil, damagedIfLink(err)
	}
	file, err := f.FS.Open(f.Root.Data(want.Name))
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && info.Size() != want.Size {
		err = fmt.Errorf("%s: %w: %d bytes, not the %d that were committed", f.Root.Data(want.Name), ErrCorrupt, info.Size(), want.Size)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// dataError tells a data file that was swept under a slow compactor from one that is lost.
func (f *folder) dataError(h head, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("open generation %d: %w", h.Generation, marked(err))
	}
	if now, lerr := latest(f.FS, f.Root); lerr == nil && now.Generation > h.Generation {
		return fmt.Errorf("generation %d was swept: %w", h.Generation, ErrConflict)
	}
	return fmt.Errorf("open generation %d: %w: %w", h.Generation, ErrCorrupt, err)
}

// writeData writes both data files of next and fills in what the manifest says of them. On error neither
// stays: on a full disk the first of them would be in the way of the next try.
func (f *folder) writeData(next *head, old *data, found map[cohort.Key]index.Found, puts []index.Put, raised ...index.Put) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, f.dropData(*next))
		}
	}()
	if err := durable.MkdirAll(f.FS, f.Root.DataDir(), f.settings.DirMode.FS()); err != nil {
		return err
	}
	if err := f.headroom(*next, puts); err != nil {
		return err
	}
	meta := index.Meta{Generation: next.Generation, Token: next.Token, Program: f.Program}
	next.Index, err = f.writeFile(cohort.IndexName(next.Generation, next.Token), func(w io.Writer) (int64, error) {
		stats, err := index.Merge(w, old.index, found, next.Schema, slices.Concat(puts, raised), meta)
		f.report.Extra += stats.Extra
		return stats.Rows, err
	})
	if err != nil {
		return fmt.Errorf("write index: %w", marked(err))
	}
	if err := f.verify(next.Index); err != nil {
		return fmt.Errorf("read back index: %w", marked(err))
	}
	next.Snapshots, err = f.writeFile(cohort.SnapshotsName(next.Generation, next.Token), func(w io.Writer) (int64, error) {
		return old.mergeSnapshots(w, puts, found)
	})
	if err != nil {
		return fmt.Errorf("write snapshots: %w", marked(err))
	}
	if next.Index.Rows != next.Snapshots.Rows {
		return fmt.Errorf("%w: index would have %d rows and snapshots %d", ErrCorrupt, next.Index.Rows, next.Snapshots.Rows)
	}
	return nil
}

// margin is room for what is small: the manifest's fixed part, directories, the file system's own books.
const margin = 1 << 20

// headroom refuses to begin what would fill the disk, and perhaps be in the way of writers: the new data
// files take at most about what the old ones do, and twice the records. next still names the old ones.
// Where nobody can tell what is free, the write finds out.
func (f *folder) headroom(next head, puts []index.Put) error {
	need := next.Index.Size + next.Snapshots.Size + int64(len(next.Streams))*256 + margin
	for _, p := range puts {
		need += 2 * int64(len(p.Record.JSON))
	}
	free, err := f.Free(f.Root.DataDir())
	if err == nil && free < need {
		return fmt.Errorf("%s: generation %d may need %d bytes and %d are free: %w", f.Root.DataDir(), next.Generation, need, free, syscall.ENOSPC)
	}
	return nil
}

func (d *data) mergeSnapshots(w io.Writer, puts []index.Put, found map[cohort.Key]index.Found) (int64, error) {
	replaced := make(map[cohort.Key]bool, len(puts))
	for _, p := range puts {
		if _, ok := found[p.Key]; ok {
			replaced[p.Key] = true
		}
	}
	if d.snapshots == nil {
		return index.MergeSnapshots(w, nil, puts, func(cohort.Key) bool { return false })
	}
	n, err := index.MergeSnapshots(w, d.snapshots, puts, func(k cohort.Key) bool { return replaced[k] })
	if err != nil {
		return 0, err
	}
	return n, d.snapshots.check()
}

// readOnly keeps a data file from being overwritten through its published name, which is a hard link:
// a program that saves to index.parquet is refused instead of destroying what a manifest names.
const readOnly fs.FileMode = 0o222

// writeFile streams one data file under a temporary name and commits it to its own.
func (f *folder) writeFile(name string, fill func(io.Writer) (rows int64, err error)) (d DataFile, err error) {
	file, err := durable.Pending(f.FS, f.Root.Data(name), f.settings.FileMode.FS()&^readOnly)
	if err != nil {
		return DataFile{}, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Discard())
		}
	}()
	sum := &checkedWriter{w: file, crc: crc32.New(castagnoli)}
	buf := bufio.NewWriterSize(sum, 1<<20)
	rows, err := fill(buf)
	if err != nil {
		return DataFile{}, err
	}
	if err := buf.Flush(); err != nil {
		return DataFile{}, err
	}
	if err := file.Commit(); err != nil {
		return DataFile{}, err
	}
	return DataFile{Name: name, Size: sum.n, Rows: rows, CRC32C: CRC(sum.crc.Sum32())}, nil
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

// exact is a ReaderAt that never returns fewer bytes than the file is known to have: a file that
// shrank under us must not become a short copy.
type exact struct {
	r    io.ReaderAt
	size int64
}

func (e exact) ReadAt(p []byte, off int64) (int, error) {
	n, err := e.r.ReadAt(p, off)
	if n < len(p) && off+int64(n) < e.size && (err == nil || errors.Is(err, io.EOF)) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// checkedWriter counts and sums what passes.
type checkedWriter struct {
	w   io.Writer
	crc hash.Hash32
	n   int64
}

func (c *checkedWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.crc.Write(p[:n])
	c.n += int64(n)
	return n, err
}

// checkedReader sums what passes, so that a flipped bit of the old file is found before the new file
// carries it on.
type checkedReader struct {
	r    io.Reader
	crc  hash.Hash32
	n    int64
	path string
	want DataFile
}

func (c *checkedReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.crc.Write(p[:n])
	c.n += int64(n)
	return n, err
}

// check is called after the last byte was read.
func (c *checkedReader) check() error {
	if _, err := io.Copy(io.Discard, c); err != nil {
		return err
	}
	if c.n != c.want.Size || CRC(c.crc.Sum32()) != c.want.CRC32C {
		return fmt.Errorf("%s: %w: its bytes are not those that were committed", c.path, ErrCorrupt)
	}
	return nil
}
