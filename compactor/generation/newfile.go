package generation

import (
	"bufio"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"math"
	"slices"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/durable"
)

// readOnly are the bits that a data file does not have. Its published name is a hard link, so a program that saves to
// index.parquet would overwrite what a manifest names. Without these bits such a program gets an error
// (docs/decisions/0009).
const readOnly fs.FileMode = 0o222

// newFile is a data file that is being written under a temporary name, with a buffer. Nobody sees it until commit. It is an index.Target.
type newFile struct {
	store      *Store
	generation cohort.Generation // that is made
	name       string
	rows       int64
	file       *durable.File
	buf        *bufio.Writer
	n          int64
	from       int64  // where the section begins that is being written
	crc        uint32 // of its bytes until now, also of those in the buffer

	old      *summed  // the file of the generation before; nil: there is none
	earlier  *earlier // the one before that; nil: nothing is shared
	shared   shared   // see settle
	sections Sections
	Bytes
}

// Bytes are those of the data files of a commit, by how they came there.
type Bytes struct {
	Written int64 `json:"bytes_written,omitempty"` // made of records, or of rows that were decoded
	Copied  int64 `json:"bytes_copied,omitempty"`  // of the generation before, read and compared with their checksums
	Cloned  int64 `json:"bytes_cloned,omitempty"`  // of the generation before, shared with the one before that: nothing was written
	// Scrubbed are those of Cloned that were read all the same, and compared with their checksums: see Store.Scrub.
	Scrubbed int64 `json:"bytes_scrubbed,omitempty"`
}

// Add counts those of one more file, or commit.
func (b *Bytes) Add(c Bytes) {
	b.Written += c.Written
	b.Copied += c.Copied
	b.Cloned += c.Cloned
	b.Scrubbed += c.Scrubbed
}

// writeBytes is how much is written at once. More is not better: on ext4 of Linux 6.18 writes of 1 MiB took
// five times the CPU of those of 128 KiB (dd bs=1M and bs=128k of 700 MB into the page cache: 1.0 s, 0.2 s).
const writeBytes = 128 << 10

// newFile begins a data file. Its name contains the token of the draft, so no other process makes the same name. old is the file whose
// sections it may take over, and before is the one before that; nil: none.
func (s *Store) newFile(name string, old *summed, before *earlier) (*newFile, error) {
	file, err := durable.Pending(s.FS, s.Root.Data(name), s.Settings.FileMode.FS()&^readOnly)
	if err != nil {
		return nil, err
	}
	made, _, _ := cohort.ParseDataName(name)
	return &newFile{store: s, generation: made, name: name, file: file, buf: bufio.NewWriterSize(file, writeBytes), old: old, earlier: before}, nil
}

func (d *newFile) Write(p []byte) (int, error) {
	if err := d.settle(); err != nil {
		return 0, err
	}
	written := 0
	for part := range slices.Chunk(p, writeBytes) { // a buffer passes on whole what is larger than itself
		n, err := d.buf.Write(part)
		// The checksum is made of the bytes before they are written. So it is that of what we meant to write, and a later read
		// finds what the disk made of it (docs/durability.md, P5).
		d.n += int64(n)
		d.Written += int64(n)
		d.crc = crc32.Update(d.crc, castagnoli, part[:n])
		written += n
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// Cut ends a section.
func (d *newFile) Cut(rows int64, first cohort.Seq) {
	if d.n == d.from {
		return
	}
	d.sections = append(d.sections, Section{Size: d.n - d.from, CRC32C: CRC(d.crc), Rows: rows, First: first, Fresh: true})
	d.from, d.crc = d.n, 0
}

// Takes tells whether these bytes are whole sections of the file before, with rows.
func (d *newFile) Takes(from, size int64) bool {
	if d.old == nil {
		return false
	}
	first, end := d.old.sections(from, size)
	return end > first && d.old.parts[first].Rows > 0
}

// Take appends whole sections of the file before. They are blocks that this file shares with the one before that, if that has the same bytes. Else they
// are copied through memory, as all fresh sections are. So no two generations in a row have a block in common, and each row stands on two places of the
// disk (docs/durability.md, R33).
func (d *newFile) Take(from, size int64) error {
	first, end := d.old.sections(from, size)
	if d.n != d.from || end == first {
		return errors.New("internal error: these are no sections, or one is not ended")
	}
	var err error
	switch there, ok := d.earlier.find(d.old.parts[first:end]); {
	case !ok:
		if err = d.settle(); err == nil {
			err = d.copy(from, size)
		}
	case d.shared.size > 0 && d.shared.from+d.shared.size == from && d.shared.there+d.shared.size == there: // many sections are one clone
		d.shared.size, d.shared.end = d.shared.size+size, end
	default:
		err = d.settle()
		d.shared = shared{from, there, size, first, end}
	}
	for _, p := range d.old.parts[first:end] {
		p.Fresh = false
		// It is the checksum of the old section, which check of the old file compares with what was copied. So no byte is summed twice.
		d.sections = append(d.sections, p.Section)
	}
	d.n += size
	d.from = d.n
	return err
}

// shared are sections that stand next in the new file.
type shared struct {
	from, there, size int64 // in the file before, and in the one before that
	first, end        int   // their numbers in the file before
}

// settle appends the sections that were taken, and not appended yet.
func (d *newFile) settle() error {
	s := d.shared
	d.shared = shared{}
	if s.size == 0 {
		return nil
	}
	if !d.clone(s.there, s.size) {
		return d.copy(s.from, s.size)
	}
	d.Cloned += s.size
	compared := false
	for i := s.first; i < s.end; i++ {
		p := d.old.parts[i].Section
		compared = p.Rows > 0 && d.scrubs(i) || p.Rows == 0 && compared // the filters go with their rows
		d.old.share(i)
		if compared {
			d.earlier.touch(s.there)
			d.Scrubbed += p.Size
		}
		s.there += p.Size
	}
	return nil
}

// Sizes are those of the store.
func (d *newFile) Sizes() index.Sizes { return d.store.Sizes }

// clone shares blocks, where that is possible.
func (d *newFile) clone(from, size int64) bool {
	if d.store.noClones.Load() {
		return false
	}
	if err := d.buf.Flush(); err != nil {
		return false // every later write gets the error, too
	}
	err := d.file.Clone(d.earlier.r, from, size)
	if err != nil {
		d.store.noClones.Store(true) // the file system does not change within a run
	}
	return err == nil
}

// scrubs tells whether the bytes of a section are compared although they are shared. The sections take turns with the generations, so no state is
// kept: of a file that only grows, each one has its turn in two of 2/Scrub commits, one after the other, which share it with different files.
func (d *newFile) scrubs(section int) bool {
	if !(d.store.Scrub > 0) {
		return false
	}
	turns := uint64(max(1, math.Round(1/d.store.Scrub)))
	return (uint64(section)+uint64(d.generation)/2)%turns == 0
}

// copy writes bytes of the file before.
func (d *newFile) copy(from, size int64) error {
	n, err := d.buf.ReadFrom(struct{ io.Reader }{io.NewSectionReader(d.old, from, size)})
	d.Copied += n
	if err == nil && n < size {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// commit makes the file durable under its name. It must be called before the manifest that names the file is created.
func (d *newFile) commit() (DataFile, error) {
	if d.shared.size > 0 { // what is copied must be compared before this
		return DataFile{}, errors.New("internal error: a file ends with sections of another one")
	}
	if err := d.buf.Flush(); err != nil {
		return DataFile{}, err
	}
	// fsync of the file, rename, fsync of data/: after this a crash cannot take the file from a manifest (S1, S2).
	if err := d.file.Commit(); err != nil {
		return DataFile{}, err
	}
	file := DataFile{Name: d.name, Size: d.n, Rows: d.rows, CRC32C: d.sum()}
	if len(d.sections) > 0 {
		d.Cut(0, 0) // the footer of an index
		file.Sections = d.sections
	}
	return file, nil
}

// sum is the checksum of the whole file.
func (d *newFile) sum() CRC { return d.sections.crc().then(CRC(d.crc), d.n-d.from) }

// discard is deferred. If err is set, it removes the temporary file; a committed file has none.
func (d *newFile) discard(err *error) {
	if *err != nil {
		*err = errors.Join(*err, d.file.Discard())
	}
}
