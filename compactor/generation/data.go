package generation

import (
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

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Data is the data files of one generation: the open index, and the snapshots, which are opened one by one. It
// stays readable as long as its generation is kept, and on a local file system also after that. Any number of goroutines may
// read it. Call Close after all of them have ended.
type Data struct {
	// Index has the rows. It is nil before the first fold.
	Index *index.File
	// Withdrawn are the rows that do not stand in the index because they were withdrawn, as a pair of files like the first one. It is nil
	// if there was never an action. Its own Check compares its checksum.
	Withdrawn *Data

	of     Manifest
	store  *Store
	file   durable.ReadFile
	read   *summed                        // the index, with checksums of what is read; nil if none are made
	erased func() (*cohort.Erased, error) // reads the tombstones once
}

// Close closes what is open.
func (d *Data) Close() {
	if d.Withdrawn != nil {
		d.Withdrawn.Close()
	}
	if d.file != nil {
		d.file.Close() // it was only read, so its error says nothing
	}
}

// Data opens the index that m names and checks its size. A missing file is ErrConflict if m is no longer the
// newest generation: it was swept, so call Newest again. Else it is ErrCorrupt. Generation 0 has no data, which is no error.
func (s *Store) Data(m Manifest) (*Data, error) { return s.both(m, false) }

// Summed is Data for a fold. Only the pages of an index have checksums. A flipped bit in a footer or a filter could hide a row
// that the fold must replace. So Check must follow before anything is committed that was made from this index. What a fold
// reads or copies is summed in passing, so most of it is read only once.
func (s *Store) Summed(m Manifest) (*Data, error) { return s.both(m, true) }

func (s *Store) open(m Manifest, sum bool) (*Data, error) {
	d := &Data{of: m, store: s, erased: sync.OnceValues(func() (*cohort.Erased, error) { return s.Erased(m) })}
	if m.Generation == 0 {
		return d, nil
	}
	file, err := s.openFile(m.Index)
	if err == nil {
		d.file = file
		var r io.ReaderAt = file
		if sum {
			d.read = newSummed(file, s.Root.Data(m.Index.Name), m.Index)
			r = d.read
		}
		d.Index, err = index.Open(r, m.Index.Size)
	}
	if err != nil {
		err = d.blame(s.dataError(m, err))
		d.Close()
		return nil, err
	}
	return d, nil
}

// FirstPair is Data without the withdrawn rows, whose file may be damaged alone.
func (s *Store) FirstPair(m Manifest) (*Data, error) { return s.open(m, false) }

func (s *Store) both(m Manifest, sum bool) (*Data, error) {
	d, err := s.open(m, sum)
	if err == nil && m.Withdrawn != nil {
		if d.Withdrawn, err = s.open(m.withdrawnOf(), sum); err != nil {
			d.Close()
			return nil, err
		}
	}
	return d, err
}

// Find looks keys up in the index. Keys that the index does not hold are absent from the result. In Summed data the result
// is in doubt until Check has returned nil.
func (d *Data) Find(keys []cohort.Key) (map[cohort.Key]index.Found, error) {
	if d.Index == nil {
		return nil, nil
	}
	found, err := d.Index.Find(keys)
	if err != nil {
		return nil, d.blame(fmt.Errorf("look up keys in the index: %w", err))
	}
	return found, nil
}

// Snapshots opens one of the snapshots files that the manifest names, to read; index.Snapshots decodes it. A missing
// file is ErrConflict or ErrCorrupt, as for the index. Its checksum is not compared. The caller closes it.
func (d *Data) Snapshots(f SnapshotsFile) (io.ReadCloser, error) {
	r, err := d.snapshots(f)
	if err != nil {
		return nil, err
	}
	return r.r, nil
}

// snapshots is Snapshots for a file that the next one is made from.
func (d *Data) snapshots(f SnapshotsFile) (*summed, error) {
	file, err := d.store.openFile(f.DataFile)
	if err != nil {
		return nil, d.store.dataError(d.of, err)
	}
	return newSummed(file, d.store.Root.Data(f.Name), f.DataFile), nil
}

// Check compares the checksums of Summed data: of all that was read of the index, and of all that the generation before it has written. Of sections that
// were not read, and that are not new, it says nothing: they stand as they are in any file that has their blocks. A file that has no
// sections is read whole.
func (d *Data) Check() error {
	if d.read == nil {
		return nil
	}
	err := d.read.check()
	if err == nil {
		return nil
	}
	if !errors.Is(err, ErrCorrupt) {
		err = fmt.Errorf("read %s: %w", d.read.path, err)
	}
	return d.store.dataError(d.of, err)
}

// blame returns the error of Check if the index is damaged, because then the damage is the cause of err. Else it returns err.
func (d *Data) blame(err error) error {
	if cerr := d.Check(); cerr != nil {
		return cerr
	}
	return err
}

// CheckFile reads a whole data file and compares its bytes with what was committed, by size and checksum. If they differ, the
// error matches ErrCorrupt; if the file is missing, it matches fs.ErrNotExist.
func (s *Store) CheckFile(want DataFile) error {
	file, err := s.openFile(want)
	if err != nil {
		return err
	}
	file.Close()
	sum, err := s.checksum(s.Root.Data(want.Name))
	if err == nil && sum != want.CRC32C {
		err = checksumError{sum, want.CRC32C}
	}
	if err == nil && want.Sections != nil && want.Sections.crc() != sum {
		err = fmt.Errorf("%w: the manifest has other checksums for its sections than for all of it", ErrCorrupt)
	}
	return err
}

// CheckSize is CheckFile without reading: it finds what was cut off or written over with something shorter or longer.
func (s *Store) CheckSize(want DataFile) error {
	file, err := s.openFile(want)
	if err != nil {
		return err
	}
	return file.Close()
}

// checksumError is the ErrCorrupt of a file with the right size and the wrong bytes.
type checksumError struct{ is, want CRC }

func (e checksumError) Error() string {
	return fmt.Sprintf("checksum is %v, %v was committed", e.is, e.want)
}
func (checksumError) Is(target error) bool { return target == ErrCorrupt }

// checksum is the CRC32C of a whole file.
func (s *Store) checksum(name string) (CRC, error) {
	file, err := s.FS.Open(name)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	crc := crc32.New(castagnoli)
	if _, err := io.Copy(crc, file); err != nil {
		return 0, fmt.Errorf("read %s: %w", name, err)
	}
	return CRC(crc.Sum32()), nil
}

func (s *Store) openFile(want DataFile) (durable.ReadFile, error) {
	if err := durable.Regular(s.FS, s.Root.Data(want.Name)); err != nil {
		return nil, damagedIfLink(err)
	}
	file, err := s.FS.Open(s.Root.Data(want.Name))
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && info.Size() != want.Size {
		err = fmt.Errorf("%s: %w: %w", s.Root.Data(want.Name), ErrCorrupt, sizeError{info.Size(), want.Size})
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// indexAt opens a file with rows that no manifest need name. The caller closes file.
func (s *Store) indexAt(path string) (f *index.File, file durable.ReadFile, err error) {
	if file, err = s.FS.Open(path); err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	if err == nil {
		f, err = index.Open(file, info.Size())
	}
	if err != nil {
		file.Close()
		return nil, nil, err
	}
	return f, file, nil
}

// dataError tells a data file that was swept under a slow compactor from one that is lost.
func (s *Store) dataError(m Manifest, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("open generation %d: %w", m.Generation, err)
	}
	if now, lerr := s.Newest(); lerr == nil && now.Generation > m.Generation {
		return fmt.Errorf("generation %d was swept: %w", m.Generation, ErrConflict)
	}
	return fmt.Errorf("open generation %d: %w: %w", m.Generation, ErrCorrupt, err)
}

func notCommitted(path string) error {
	return fmt.Errorf("%s: %w: its bytes are not those that were committed", path, ErrCorrupt)
}
