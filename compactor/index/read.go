package index

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/parquet-go/parquet-go"

	"github.com/runfold/runfold/cohort"
)

// The footer's key-value metadata. Part of the format, do not change.
const (
	metaVersion    = "runfold.version"
	metaGeneration = "runfold.generation"
	metaToken      = "runfold.token"
	metaProgram    = "runfold.program"
	metaSchema     = "runfold.schema"
	metaWithdrawn  = "runfold.withdrawn" // "true" in a file of withdrawn rows, "beside" in an index that belongs to one, else absent
)

// The values of metaWithdrawn. Part of the format, do not change.
const (
	withdrawnItself = "true"
	withdrawnBeside = "beside"
)

// File is an open index. It only reads, so any number of calls may run at once.
type File struct {
	source io.ReaderAt
	size   int64
	file   *parquet.File
	layout *layout
	meta   Meta
	anew   bool // see Anew
}

// Open opens an index of any version that was ever written. The bytes of r must not change while the
// File is in use. A later version is cohort.ErrNewer. Any other file that is not an index, or not a
// whole one, is ErrDamaged. Only the footer is read: pages have checksums of their own.
func Open(r io.ReaderAt, size int64) (f *File, err error) {
	defer guard(&err)
	r = strict{r, size}
	pf, err := openParquet(r, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return nil, err
	}
	f = &File{source: r, size: size, file: pf}
	if err := f.readMeta(); err != nil {
		return nil, err
	}
	if !parquet.EqualNodes(pf.Schema(), f.layout.schema()) {
		return nil, damaged("columns are not those that %s lists", metaSchema)
	}
	if err := checkCodec(pf.Metadata()); err != nil {
		return nil, err
	}
	if err := checkGroups(pf, size); err != nil {
		return nil, err
	}
	return f, nil
}

// openParquet opens the footer of any parquet file. The library allocates as much memory as the lengths in the footer
// say, so the lengths are checked before.
func openParquet(r io.ReaderAt, size int64, options ...parquet.FileOption) (f *parquet.File, err error) {
	defer guard(&err)
	if err := checkFooter(r, size); err != nil {
		return nil, err
	}
	f, err = parquet.OpenFile(r, size, options...)
	if err != nil {
		return nil, libraryError("open", err)
	}
	return f, nil
}

// libraryError makes ErrDamaged of an error about bytes, and keeps an error of reading or writing as it is.
func libraryError(what string, err error) error {
	var failed *ioError
	if errors.As(err, &failed) {
		return fmt.Errorf("%s: %w", what, err)
	}
	return damaged("%s: %w", what, err)
}

// checkFooter reads the end of the file: footer | length (4) | "PAR1".
func checkFooter(r io.ReaderAt, size int64) error {
	if size < 12 {
		return damaged("%d bytes are too few for a parquet file", size)
	}
	var tail [8]byte
	if err := readFull(r, tail[:], size-8); err != nil {
		return err
	}
	if magic := string(tail[4:]); magic != "PAR1" {
		return damaged("file does not end as a parquet file")
	}
	length := int64(binary.LittleEndian.Uint32(tail[:4]))
	if length > size-12 {
		return damaged("footer of %d bytes in a file of %d", length, size)
	}
	footer := make([]byte, length)
	if err := readFull(r, footer, size-8-length); err != nil {
		return err
	}
	return checkThrift(footer)
}

func readFull(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	return libraryError("read the footer", cmp.Or(err, io.ErrUnexpectedEOF))
}

func (f *File) readMeta() error {
	get := func(key string) string {
		value, _ := f.file.Lookup(key)
		return value
	}
	v, err := strconv.Atoi(get(metaVersion))
	if err != nil || v < 1 {
		return damaged("not an index of runfold: %s is %q", metaVersion, get(metaVersion))
	}
	if v > version {
		return newer(v)
	}
	if f.meta.Generation, err = cohort.ParseGeneration(get(metaGeneration)); err != nil {
		return damaged("%w", err)
	}
	if f.meta.Token, err = cohort.ParseToken(get(metaToken)); err != nil {
		return damaged("%w", err)
	}
	f.meta.Program = get(metaProgram)
	f.meta.Withdrawn, f.meta.Beside = get(metaWithdrawn) == withdrawnItself, get(metaWithdrawn) == withdrawnBeside
	var s Schema
	if err := json.Unmarshal([]byte(get(metaSchema)), &s); err != nil {
		return damaged("%s: %w", metaSchema, err)
	}
	f.layout = layoutOf(v, s)
	return nil
}

// Schema is the dynamic columns. The caller must not change it.
func (f *File) Schema() Schema { return f.layout.dynamic }

// hasLayout tells whether the file has the columns of a layout.
func (f *File) hasLayout(l *layout) bool {
	return f.Schema().Equal(l.dynamic) && f.Version() == l.version
}

// Anew makes Merge write every row of the file again. It is for a file whose checksum nobody knows: its pages have their own, but
// filters and statistics have none, and would be copied with their damage. Call it before the File is shared.
func (f *File) Anew() { f.anew = true }

// Meta is what the file says about itself.
func (f *File) Meta() Meta { return f.meta }

// Version is that of the file's format.
func (f *File) Version() int { return f.layout.version }

// NumRows is the number of rows.
func (f *File) NumRows() int64 { return f.file.NumRows() }

// strict is a ReaderAt that never returns less than the file has without an error, so that a file that shrank is not taken for a shorter one.
type strict struct {
	r    io.ReaderAt
	size int64
}

// ioError is an error of the source or the destination, in contrast to one about the bytes.
type ioError struct{ err error }

func (e *ioError) Error() string { return e.err.Error() }
func (e *ioError) Unwrap() error { return e.err }

func (s strict) ReadAt(p []byte, off int64) (int, error) {
	n, err := s.r.ReadAt(p, off)
	switch {
	case n == len(p):
		return n, nil
	case err != nil && !errors.Is(err, io.EOF):
		return n, &ioError{err}
	case off+int64(n) < s.size:
		return n, io.ErrUnexpectedEOF
	}
	return n, io.EOF
}
