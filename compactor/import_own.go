package compactor

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"slices"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
)

// CohortsOf are the cohorts of the rows with these keys, as far as the newest generation has them. It is for package intake.
func CohortsOf(cfg Config, keys []cohort.Key) (map[cohort.Key]cohort.ID, error) {
	store, err := cfg.Store()
	if err != nil {
		return nil, err
	}
	newest, err := store.Newest()
	if err != nil {
		return nil, err
	}
	data, err := store.Data(newest)
	if errors.Is(err, generation.ErrConflict) {
		return nil, nil // others commit: nobody knows it this time
	}
	if err != nil {
		return nil, err
	}
	defer data.Close()
	found, err := data.FindAnywhere(keys)
	cohorts := make(map[cohort.Key]cohort.ID, len(found))
	for key, row := range found {
		cohorts[key] = row.Cohort
	}
	return cohorts, err
}

// unchanged finds the records that are rows of the root itself, and say what the root says: by their numbers in recs. A program that saved over a public
// file has read them there. One that says something else is a write that came before the row, as every imported one.
func (im *importer) unchanged(old *generation.Data, had map[cohort.Key]index.Found) (map[int32]bool, error) {
	asked := map[cohort.Key]int32{}
	var seqs []cohort.Seq
	for i, r := range im.recs {
		was := im.was[r.ID]
		if was == nil {
			continue
		}
		row, ok := had[was.Key]
		if ok && row.Seq == im.seqs[r.ID] && (was.RecordID == "" || was.RecordID == row.RecordID) && im.streams.Settings.Key.Of(r) == was.Key {
			asked[was.Key] = int32(i)
			seqs = append(seqs, row.Seq)
		}
	}
	same := map[int32]bool{}
	if len(asked) == 0 {
		return same, nil
	}
	slices.Sort(seqs)
	lines := map[cohort.Key][]byte{} // what snapshots must say
	for _, d := range []*generation.Data{old, old.Withdrawn} {
		if d == nil || d.Index == nil {
			continue
		}
		for c, err := range d.Index.Contents(seqs) {
			if err != nil {
				return nil, err
			}
			i, ok := asked[c.Key]
			if !ok {
				continue
			}
			was := im.was[im.recs[i].ID]
			if was.RecordID != "" && !im.says(c, im.recs[i]) {
				continue
			}
			if same[i] = was.Snapshot == nil; was.Snapshot != nil {
				lines[c.Key] = was.Snapshot
			}
		}
	}
	return same, im.sameLines(old, lines, func(key cohort.Key) { same[asked[key]] = true })
}

// says tells whether a record has the fields of a row.
func (im *importer) says(row index.Content, r cohort.Record) bool {
	is := index.Content{Identity: index.Identity{Key: row.Key, Cohort: r.Cohort, RunID: r.RunID, Stage: r.Stage, Time: r.Time()}}
	is.Fields = index.FieldsOf(r, im.streams.Settings.Key)
	return is.Sum() == row.Sum()
}

// sameLines calls do with each key whose line in the snapshots has these members, whatever their spelling.
func (*importer) sameLines(old *generation.Data, want map[cohort.Key][]byte, do func(cohort.Key)) error {
	if len(want) == 0 {
		return nil
	}
	for _, d := range []*generation.Data{old, old.Withdrawn} {
		if d == nil || d.Index == nil {
			continue
		}
		for line, err := range d.Lines() {
			if err != nil {
				return err
			}
			if members, ok := want[line.Key]; ok && sameObject(line.Object(), members) {
				do(line.Key)
			}
		}
	}
	return nil
}

// sameObject tells whether two JSON objects say the same. Numbers are the same if one column holds both as the same value.
func sameObject(a, b []byte) bool {
	x, aerr := membersOf(a)
	y, berr := membersOf(b)
	return aerr == nil && berr == nil && reflect.DeepEqual(x, y)
}

// membersOf are the members of an object but those that the row says as well.
func membersOf(data []byte) (all map[string]any, err error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	err = d.Decode(&all)
	for _, name := range []string{"run_id", "stage", "phase", "cohort_id", "timestamp", "snapshot_seq", "record_id", "segment_id"} {
		delete(all, name)
	}
	inOneSpelling(all)
	return all, err
}

func inOneSpelling(v any) any {
	switch v := v.(type) {
	case json.Number:
		return json.Number(index.OneSpelling([]byte(v)))
	case []any:
		for i := range v {
			v[i] = inOneSpelling(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = inOneSpelling(v[name])
		}
	}
	return v
}
