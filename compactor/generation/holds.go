package generation

import (
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"strings"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/durable"
)

// maxNote bounds a note in quarantine/.
const maxNote = 16 << 20

// Holds counts the rows, entries and actions of erased runs in a file of quarantine/, or in a temporary file of a published one. What kind of file
// it is, its name says. A file of another kind has none. The error says that the file cannot be read to its end: then it may have more.
func (s *Store) Holds(path string, erased *cohort.Erased) (n int, err error) {
	name := filepath.Base(path)
	if durable.IsTemp(name) {
		name = ofTemp(name)
	}
	_, ours := cohort.ParseManifestName(name)
	switch {
	case ours, strings.HasPrefix(name, "runfold-"), strings.HasPrefix(name, "erased-"):
		return 0, nil
	case strings.Contains(name, ".parquet"):
		return s.rowsHeld(path, erased)
	case strings.HasPrefix(name, "actions-"):
		return s.actionsHeld(path, erased)
	case strings.HasPrefix(name, "snapshot"), strings.HasPrefix(name, "withdrawn-"):
		return s.entriesHeld(path, erased)
	}
	return s.noteHeld(path, erased)
}

func (s *Store) rowsHeld(path string, erased *cohort.Erased) (n int, err error) {
	f, file, err := s.indexAt(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	for h, err := range f.Identities() {
		if err != nil {
			return n, err
		}
		if erased.Drops(h.Key, h.Version.Stamp) {
			n++
		}
	}
	return n, nil
}

func (s *Store) actionsHeld(path string, erased *cohort.Erased) (n int, err error) {
	file, err := s.FS.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	err = eachAction(file, func(r cohort.Record) bool {
		if erased.DropsAction(r) {
			n++
		}
		return true
	})
	return n, err
}

// entriesHeld looks only at keys, as entries have no stamp.
func (s *Store) entriesHeld(path string, erased *cohort.Erased) (n int, err error) {
	file, err := s.FS.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	for e, err := range index.Snapshots(file) {
		if err != nil {
			return n, err
		}
		if erased.Drops(e.Key, math.MinInt64) {
			n++
		}
	}
	return n, nil
}

// noteHeld looks through the bytes that a note about damage repeats.
func (s *Store) noteHeld(path string, erased *cohort.Erased) (n int, err error) {
	data, err := durable.Read(s.FS, path, maxNote)
	if err != nil {
		return 0, err
	}
	var note struct {
		Bytes []byte `json:"bytes_base64"`
	}
	if err := json.Unmarshal(data, &note); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if erased.IsMentionedIn(note.Bytes) {
		n = 1
	}
	return n, nil
}
