package intake

import (
	"io"
	"time"

	"github.com/runfold/runfold/cohort"
)

// Source is what Import takes in. At least one file must be given; the caller closes them.
type Source struct {
	Indexes   []IndexFile
	Snapshots []SnapshotsFile
	Tables    []TableFile
	Lines     []LinesFile
	// Cohort is where rows go that name none. If empty, such rows are left out.
	Cohort cohort.ID
	// Stage is the stage of rows that name none, neither in the value nor in the key. If empty,
	// UNKNOWN.
	Stage string
	// Fields says under which name the files have a field of a record, where that is another one: {"run_id": "name"}. It is an
	// error if no row and no snapshot has such a name.
	Fields map[string]string
	// Zone is the zone of timestamps that have none. If nil, UTC. Report.Zoned counts them.
	Zone *time.Location
	// Rename makes a cohort of any text, as tracker.CohortOf does. If false, a row whose cohort is not the name of one is left out.
	Rename bool
	// DryRun reads and decides everything and writes nothing.
	DryRun bool
}

// IndexFile is an index.parquet of any writer. Name stands in messages.
type IndexFile struct {
	Name string
	Data io.ReaderAt
	Size int64 // in bytes
}

// SnapshotsFile is a snapshot_index.json with keys of any form. Name stands in messages.
type SnapshotsFile struct {
	Name string
	Data io.Reader
}

func (s Source) zone() *time.Location {
	if s.Zone == nil {
		return time.UTC
	}
	return s.Zone
}

// fields are, for names of the files, the fields of a record that they are.
func (s Source) fields() map[string]string {
	own := make(map[string]string, len(s.Fields))
	for field, name := range s.Fields {
		own[name] = field
	}
	return own
}
