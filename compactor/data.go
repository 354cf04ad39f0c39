package compactor

import (
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"sync"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/durable"
)

// data is the data files of one generation: the open index, none before the first fold, and the snapshots, which
// are opened one by one.
type data struct {
	of    head
	f     *folder
	index *index.File
	file  io.Closer
	read  *summed // nil: what is read of the index is not summed
}

func (d *data) Close() {
	if d.file != nil {
		d.file.Close() // opened to read
	}
}

// openSnapshots opens one of the generation's snapshots files. A missing one is ErrConflict or ErrCorrupt, as for
// openData.
func (d *data) openSnapshots(s SnapshotsFile) (*checkedReader, error) {
	file, err := d.f.openFile(s.DataFile)
	if err != nil {
		return nil, d.f.dataError(d.of, err)
	}
	return &checkedReader{r: file, path: d.f.Root.Data(s.Name), want: s.DataFile}, nil
}

func (d *data) find(keys []cohort.Key) (map[cohort.Key]index.Found, error) {
	if d.index == nil {
		return nil, nil
	}
	found, err := d.index.Find(keys)
	if err != nil {
		return nil, d.blame(fmt.Errorf("look up keys in the index: %w", marked(err)))
	}
	return found, nil
}

// openData opens the index that h names and checks its size. A missing file is ErrConflict if h is no longer the
// newest (it was swept), else ErrCorrupt.
func (f *folder) openData(h head) (*data, error) { return f.openIndex(h, false) }

// openSummed is openData for a fold. A flipped bit in a footer or a filter could hide a row that the fold must
// replace, and pages alone have checksums, so check must follow before anything is committed that came of this index. All
// of it passes on the way to the next one: most is read once.
func (f *folder) openSummed(h head) (*data, error) { return f.openIndex(h, true) }

func (f *folder) openIndex(h head, sum bool) (*data, error) {
	d := &data{of: h, f: f}
	if h.Generation == 0 {
		return d, nil
	}
	file, err := f.openFile(h.Index)
	if err == nil {
		d.file = file
		var r io.ReaderAt = exact{file, h.Index.Size}
		if sum {
			d.read = &summed{r: r}
			r = d.read
		}
		d.index, err = index.Open(r, h.Index.Size)
	}
	if err != nil {
		err = d.blame(f.dataError(h, err))
		d.Close()
		return nil, err
	}
	return d, nil
}

// check reads what was not read of an index that openSummed opened, and compares the checksum of all of it.
func (d *data) check() error {
	if d.read == nil {
		return nil
	}
	path := d.f.Root.Data(d.of.Index.Name)
	sum, err := d.read.whole(d.of.Index.Size)
	switch {
	case err != nil:
		err = fmt.Errorf("read %s: %w", path, err)
	case sum != d.of.Index.CRC32C:
		err = notCommitted(path)
	default:
		return nil
	}
	return d.f.dataError(d.of, err)
}

// blame is err, or what is wrong with the index that led to it: which file it is, and that all of it is in doubt.
func (d *data) blame(err error) error {
	if cerr := d.check(); cerr != nil {
		return cerr
	}
	return err
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

// summed is a ReaderAt that keeps the checksum of the front of a file, which grows as that is read in order. Any number of
// calls may run at once.
type summed struct {
	r io.ReaderAt

	mu  sync.Mutex
	n   int64 // how much is summed
	crc uint32
}

// summedGap is how much is read to have no gap in what is summed.
const summedGap = 64 << 10

func (s *summed) ReadAt(p []byte, off int64) (int, error) {
	n, err := s.r.ReadAt(p, off)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n < off && off-s.n <= summedGap {
		s.readTo(off) // if that fails, whole tries again
	}
	if s.n >= off && s.n < off+int64(n) {
		s.add(p[s.n-off : n])
	}
	return n, err
}

func (s *summed) add(p []byte) {
	s.crc = crc32.Update(s.crc, castagnoli, p)
	s.n += int64(len(p))
}

// readTo reads what is not summed yet in front of end. It is called under mu.
func (s *summed) readTo(end int64) error {
	if s.n >= end {
		return nil
	}
	buf := make([]byte, min(end-s.n, writeBytes))
	for s.n < end {
		p := buf[:min(end-s.n, writeBytes)]
		if n, err := s.r.ReadAt(p, s.n); n < len(p) {
			return cmp.Or(err, io.ErrUnexpectedEOF)
		}
		s.add(p)
	}
	return nil
}

// whole is the checksum of a file of this size.
func (s *summed) whole(size int64) (CRC, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.readTo(size)
	return CRC(s.crc), err
}

// checkedReader sums what passes, so that a flipped bit of the old file is found before the new file
// carries it on.
type checkedReader struct {
	r    io.ReadCloser
	crc  uint32
	n    int64
	path string
	want DataFile
}

func (c *checkedReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.crc = crc32.Update(c.crc, castagnoli, p[:n])
	c.n += int64(n)
	return n, err
}

func (c *checkedReader) Close() error { return c.r.Close() }

// check is called after the last byte was read.
func (c *checkedReader) check() error {
	if _, err := io.Copy(io.Discard, c); err != nil {
		return err
	}
	if c.n != c.want.Size || CRC(c.crc) != c.want.CRC32C {
		return notCommitted(c.path)
	}
	return nil
}

func notCommitted(path string) error {
	return fmt.Errorf("%s: %w: its bytes are not those that were committed", path, ErrCorrupt)
}
