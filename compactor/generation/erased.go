package generation

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/runfold/runfold/cohort"
)

// Erased is what a generation knows of erased runs: the file with their tombstones. Its first line is the salt, and each line after it a
// tombstone; its rows are those. Nothing in it tells whose they are.
type Erased struct {
	DataFile
	// Since is the first generation without the runs that were erased last. This one and all after it do not have them.
	Since cohort.Generation `json:"since"`
}

// Files is the data file; none of a nil Erased.
func (e *Erased) Files() []DataFile {
	if e == nil {
		return nil
	}
	return []DataFile{e.DataFile}
}

func (e *Erased) validate(m *Manifest) error {
	has := slices.Contains(m.Requires, requiresErased)
	if e == nil {
		if has {
			return errors.New("is required, and missing")
		}
		return nil
	}
	made, token, ok := cohort.ParseDataName(e.Name)
	switch {
	case !has:
		return errors.New("is not required")
	case !ok || made > m.Generation || e.Name != cohort.ErasedName(made, token):
		return fmt.Errorf("%q are no tombstones of this or an earlier generation", e.Name)
	case e.Since == 0 || e.Since > m.Generation || e.Rows < 0:
		return fmt.Errorf("%d tombstones since generation %d", e.Rows, e.Since)
	}
	return nil
}

// Without tells whether a generation is without all that was erased until newest.
func (m *Manifest) Without(newest *Manifest) bool {
	return newest.Erased == nil || m.Erased != nil && m.Erased.Since >= newest.Erased.Since
}

// SHA256 is the digest of the manifest's file, in hex: a child names its parent by it. It is empty for generation 0.
func (m *Manifest) SHA256() string { return m.digest }

// saltLine is the first line of the file. Part of the format, do not change.
type saltLine struct {
	Salt cohort.Salt `json:"salt"`
}

// maxTombstone bounds a line.
const maxTombstone = 4096

// Erased are the tombstones of a generation; nil if there are none. The whole file is compared with what was committed.
func (s *Store) Erased(m Manifest) (*cohort.Erased, error) {
	if m.Erased == nil {
		return nil, nil
	}
	file, err := s.openFile(m.Erased.DataFile)
	if err != nil {
		return nil, s.dataError(m, err)
	}
	in := newSummed(file, s.Root.Data(m.Erased.Name), m.Erased.DataFile)
	defer in.Close()
	all, err := ReadErased(io.NewSectionReader(in, 0, m.Erased.Size), s.Settings.Key)
	if err != nil {
		err = fmt.Errorf("%s: %w", in.path, err)
	}
	if cerr := in.check(); cerr != nil {
		err = cerr
	}
	if err == nil && int64(all.Len()) != m.Erased.Rows {
		err = fmt.Errorf("%s: %w: %d tombstones, its manifest says %d", in.path, ErrCorrupt, all.Len(), m.Erased.Rows)
	}
	if err != nil {
		return nil, s.dataError(m, err)
	}
	return all, nil
}

// Erased are the tombstones of the generation, as those of Store.Erased. They are read once, and every caller has the same set: add nothing to it.
func (d *Data) Erased() (*cohort.Erased, error) { return d.erased() }

// ReadErased reads a file of tombstones, wherever it stands. Its checksum is not compared.
func ReadErased(in io.Reader, form cohort.KeyForm) (*cohort.Erased, error) {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxTombstone)
	var first saltLine
	lines.Scan()
	if err := json.Unmarshal(lines.Bytes(), &first); err != nil {
		return nil, fmt.Errorf("%w: salt: %w", ErrCorrupt, err)
	}
	all := cohort.NewErased(form, first.Salt)
	for lines.Scan() {
		var t cohort.Tombstone
		if err := json.Unmarshal(lines.Bytes(), &t); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		all.Add(t)
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return nil, fmt.Errorf("%w: a line is too long", ErrCorrupt)
	}
	return all, lines.Err()
}

// writeErased writes tombstones, sorted by digest.
func (d *Draft) writeErased(all *cohort.Erased) (file DataFile, err error) {
	name := cohort.ErasedName(d.Generation, d.Token)
	d.made = append(d.made, name)
	w, err := d.store.newFile(name, nil, nil)
	if err != nil {
		return DataFile{}, err
	}
	defer w.discard(&err)
	out := json.NewEncoder(w)
	if err := out.Encode(saltLine{all.Salt}); err != nil {
		return DataFile{}, err
	}
	tombstones := all.All()
	byDigest := func(a, b cohort.NameDigest) int { return bytes.Compare(a[:], b[:]) }
	for _, digest := range slices.SortedFunc(maps.Keys(tombstones), byDigest) {
		w.rows++
		if err := out.Encode(tombstones[digest]); err != nil {
			return DataFile{}, err
		}
	}
	return w.commit()
}

// erase puts the tombstones of c into the draft, or those of old. They are written with each new index, as the withdrawn rows are.
func (d *Draft) erase(old *Data, c Changes) (err error) {
	all := c.Erase
	if all == nil {
		if d.Manifest.Erased == nil || !c.writesWithdrawn() {
			return nil
		}
		if all, err = old.Erased(); err != nil {
			return err
		}
	}
	since := d.Generation
	if c.Erase == nil {
		since = d.Manifest.Erased.Since
	}
	file, err := d.writeErased(all)
	if err != nil {
		return fmt.Errorf("write tombstones: %w", err)
	}
	d.SetErased(&Erased{file, since})
	return nil
}

// SetErased gives a manifest tombstones, and says that a reader must know them.
func (m *Manifest) SetErased(e *Erased) {
	m.Erased = e
	if !slices.Contains(m.Requires, requiresErased) {
		m.Requires = append(slices.Clip(m.Requires), requiresErased)
	}
}
