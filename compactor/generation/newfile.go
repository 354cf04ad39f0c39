package generation

import (
	"bufio"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"

	"github.com/runfold/runfold/internal/durable"
)

// readOnly are the bits that a data file does not have. Its published name is a hard link, so a program that saves to
// index.parquet would overwrite what a manifest names. Without these bits such a program gets an error
// (docs/decisions/0009).
const readOnly fs.FileMode = 0o222

// newFile is a data file that is being written under a temporary name, with a buffer. Nobody sees it until commit.
type newFile struct {
	name string
	rows int64
	file *durable.File
	buf  *bufio.Writer
	n    int64
	crc  uint32 // of all bytes until now, also of those in the buffer
}

// writeBytes is how much is written at once. More is not better: on ext4 of Linux 6.18 writes of 1 MiB took
// five times the CPU of those of 128 KiB (dd bs=1M and bs=128k of 700 MB into the page cache: 1.0 s, 0.2 s).
const writeBytes = 128 << 10

// newFile begins a data file. Its name contains the token of the draft, so no other process makes the same name.
func (s *Store) newFile(name string) (*newFile, error) {
	file, err := durable.Pending(s.FS, s.Root.Data(name), s.Settings.FileMode.FS()&^readOnly)
	if err != nil {
		return nil, err
	}
	return &newFile{name: name, file: file, buf: bufio.NewWriterSize(file, writeBytes)}, nil
}

func (d *newFile) Write(p []byte) (int, error) {
	n, err := d.buf.Write(p)
	// The checksum is made of the bytes before they are written. So it is that of what we meant to write, and a later read
	// finds what the disk made of it (docs/durability.md, P5).
	d.n += int64(n)
	d.crc = crc32.Update(d.crc, castagnoli, p[:n])
	return n, err
}

// ReadFrom copies r.
func (d *newFile) ReadFrom(r io.Reader) (int64, error) {
	// If r is an old data file, and the new file has the same bytes until now, both have the same checksum after the copy.
	// The old file sums what passes, so the bytes need not be summed a second time. Its own check must follow: merge of the part makes it.
	if l, ok := r.(*io.LimitedReader); ok {
		if old, ok := l.R.(*checkedReader); ok && old.n == d.n && old.crc == d.crc {
			n, err := d.buf.ReadFrom(r)
			d.n, d.crc = old.n, old.crc
			return n, err
		}
	}
	return io.Copy(struct{ io.Writer }{d}, r)
}

// commit makes the file durable under its name. It must be called before the manifest that names the file is created.
func (d *newFile) commit() (DataFile, error) {
	if err := d.buf.Flush(); err != nil {
		return DataFile{}, err
	}
	// fsync of the file, rename, fsync of data/: after this a crash cannot take the file from a manifest (S1, S2).
	if err := d.file.Commit(); err != nil {
		return DataFile{}, err
	}
	return DataFile{Name: d.name, Size: d.n, Rows: d.rows, CRC32C: CRC(d.crc)}, nil
}

// discard is deferred. If err is set, it removes the temporary file; a committed file has none.
func (d *newFile) discard(err *error) {
	if *err != nil {
		*err = errors.Join(*err, d.file.Discard())
	}
}
