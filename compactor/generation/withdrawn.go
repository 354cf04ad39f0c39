package generation

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
)

// Withdrawn is what a generation knows of withdrawals: the actions in force, and the rows that do not stand in the index because of
// them. The rows are a second pair of files in the formats of the first pair, so that a row moves between the two as it is.
type Withdrawn struct {
	Actions   DataFile  `json:"actions"` // its rows are the actions
	Index     DataFile  `json:"index"`
	Snapshots Snapshots `json:"snapshots"`
}

// Files are the data files; none of a nil Withdrawn.
func (w *Withdrawn) Files() []DataFile {
	if w == nil {
		return nil
	}
	all := []DataFile{w.Actions, w.Index}
	for _, s := range w.Snapshots {
		all = append(all, s.DataFile)
	}
	return all
}

// validate checks the names, which are made here again, and the counts.
func (w *Withdrawn) validate(m *Manifest) error {
	has := slices.Contains(m.Requires, requiresWithdrawn)
	if w == nil {
		if has {
			return errors.New("is required, and missing")
		}
		return nil
	}
	actions, at, aok := cohort.ParseDataName(w.Actions.Name)
	rows, rt, rok := cohort.ParseDataName(w.Index.Name)
	switch {
	case !has:
		return errors.New("is not required")
	case !aok || actions > m.Generation || w.Actions.Name != cohort.ActionsName(actions, at):
		return fmt.Errorf("%q are no actions of this or an earlier generation", w.Actions.Name)
	case !rok || rows > m.Generation || w.Index.Name != cohort.WithdrawnIndexName(rows, rt):
		return fmt.Errorf("%q are no withdrawn rows of this or an earlier generation", w.Index.Name)
	case w.Index.Rows != w.Snapshots.Rows() || w.Index.Rows < 0:
		return fmt.Errorf("%d rows and %d snapshots", w.Index.Rows, w.Snapshots.Rows())
	}
	last := cohort.ID("")
	for i, s := range w.Snapshots {
		made, token, ok := cohort.ParseDataName(s.Name)
		prefix := strings.TrimSuffix(cohort.WithdrawnSnapshotsName(made, token, 0), ".json")
		if !ok || made > m.Generation || !strings.HasPrefix(s.Name, prefix) || i > 0 && s.Cohort <= last || s.Rows < 0 {
			return fmt.Errorf("snapshots %q are not those of this or an earlier generation", s.Name)
		}
		last = s.Cohort
	}
	return nil
}

// SetWithdrawn makes w what a manifest says of withdrawals.
func (m *Manifest) SetWithdrawn(w *Withdrawn) {
	m.Withdrawn = w
	if !slices.Contains(m.Requires, requiresWithdrawn) {
		m.Requires = append(slices.Clip(m.Requires), requiresWithdrawn)
	}
}

// withdrawnOf is a manifest whose index and snapshots are the withdrawn rows of m, to open them as such.
func (m *Manifest) withdrawnOf() Manifest {
	out := *m
	out.Index, out.Snapshots, out.Withdrawn = m.Withdrawn.Index, m.Withdrawn.Snapshots, nil
	return out
}

// KeysOfRuns are the keys of all rows of these runs, also of withdrawn ones. Of Summed data they are in doubt until CheckBoth has returned nil.
func (d *Data) KeysOfRuns(runIDs []string) (keys []cohort.Key, err error) {
	for _, of := range []*Data{d, d.Withdrawn} {
		if of == nil || of.Index == nil || len(runIDs) == 0 {
			continue
		}
		places, err := of.Index.PlacesOf(runIDs)
		if err != nil {
			return nil, of.blame(fmt.Errorf("look for the rows of runs: %w", err))
		}
		for _, p := range places {
			keys = append(keys, p.Key)
		}
	}
	return keys, nil
}

// CheckBoth is Check of the index and of the withdrawn rows: of all that FindBoth looks into.
func (d *Data) CheckBoth() error {
	if err := d.Check(); err != nil || d.Withdrawn == nil {
		return err
	}
	return d.Withdrawn.Check()
}

// FindBoth looks keys up in the index and among the withdrawn rows, as Find does. No key stands in both.
func (d *Data) FindBoth(keys []cohort.Key) (found, withdrawn map[cohort.Key]index.Found, err error) {
	if found, err = d.Find(keys); err != nil || d.Withdrawn == nil {
		return found, nil, err
	}
	withdrawn, err = d.Withdrawn.Find(keys)
	return found, withdrawn, err
}

// FindAnywhere is FindBoth for those who do not ask where a row stands.
func (d *Data) FindAnywhere(keys []cohort.Key) (map[cohort.Key]index.Found, error) {
	found, withdrawn, err := d.FindBoth(keys)
	if len(found) == 0 {
		return withdrawn, err
	}
	maps.Copy(found, withdrawn)
	return found, err
}
