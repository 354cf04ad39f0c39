package generation

import (
	"cmp"
	"encoding/json"
	"slices"

	"github.com/runfold/runfold/cohort"
)

// SnapshotsFile is a data file that holds the snapshots of one cohort, or of all cohorts if Cohort is empty.
type SnapshotsFile struct {
	Cohort cohort.ID `json:"cohort,omitempty"`
	DataFile
}

// Snapshots are the data files with snapshots: one for the whole root, or one for each cohort, sorted by its name.
type Snapshots []SnapshotsFile

// MarshalJSON writes one file for the whole root as an object, and those of cohorts as a list.
func (s Snapshots) MarshalJSON() ([]byte, error) {
	if len(s) == 1 && s[0].Cohort == "" {
		return json.Marshal(s[0])
	}
	return json.Marshal(append([]SnapshotsFile{}, s...))
}

// UnmarshalJSON reads what MarshalJSON writes.
func (s *Snapshots) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '[' {
		return json.Unmarshal(data, (*[]SnapshotsFile)(s))
	}
	*s = make(Snapshots, 1)
	return json.Unmarshal(data, &(*s)[0])
}

// Of returns the file of a cohort, or the file of all cohorts if id is empty.
func (s Snapshots) Of(id cohort.ID) (SnapshotsFile, bool) {
	i, ok := slices.BinarySearchFunc(s, id, func(f SnapshotsFile, id cohort.ID) int { return cmp.Compare(f.Cohort, id) })
	if !ok {
		return SnapshotsFile{}, false
	}
	return s[i], true
}

// with returns s in which these files replace those of the same cohorts.
func (s Snapshots) with(files Snapshots) Snapshots {
	all := slices.Clone(files)
	for _, f := range s {
		if _, ok := files.Of(f.Cohort); !ok {
			all = append(all, f)
		}
	}
	slices.SortFunc(all, func(a, b SnapshotsFile) int { return cmp.Compare(a.Cohort, b.Cohort) })
	return all
}

// Rows counts the rows of all files.
func (s Snapshots) Rows() (n int64) {
	for _, f := range s {
		n += f.Rows
	}
	return n
}
