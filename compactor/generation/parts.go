package generation

import (
	"cmp"
	"maps"
	"slices"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
)

// part is a snapshots file that a commit writes, for one cohort or for all. The cohort is empty if it is for all.
type part struct {
	cohort   cohort.ID
	name     string
	old      SnapshotsFile // its name is empty if there is none yet
	puts     []index.Put
	replaced map[cohort.Key]bool // keys of old lines that are left out
}

// parts are the snapshots files that c changes. In a root with one file for all cohorts, it is that file. Else it is the files
// of the cohorts in which a row is put, and of those in which a row is replaced, because a key may move from one cohort to
// another. parts notes in d.made which files this attempt makes.
func (d *Draft) parts(c Changes, found map[cohort.Key]index.Found) []*part {
	byCohort := map[cohort.ID]*part{}
	of := func(id cohort.ID) *part {
		p := byCohort[id]
		if p == nil {
			old, _ := d.Snapshots.Of(id)
			p = &part{cohort: id, old: old, replaced: map[cohort.Key]bool{}}
			byCohort[id] = p
		}
		return p
	}
	d.made = []string{cohort.IndexName(d.Generation, d.Token)}
	if d.store.Settings.Snapshots != cohort.PerCohort {
		only := of("")
		only.puts, only.name = c.Puts, cohort.SnapshotsName(d.Generation, d.Token)
		for _, p := range c.Puts {
			if _, ok := found[p.Key]; ok {
				only.replaced[p.Key] = true
			}
		}
		d.made = append(d.made, only.name)
		return []*part{only}
	}
	for _, p := range c.Puts {
		to := of(c.Cohort(p))
		to.puts = append(to.puts, p)
		if was, ok := found[p.Key]; ok {
			of(was.Cohort).replaced[p.Key] = true
		}
	}
	for i := 0; c.Whole && i < len(d.Snapshots); i++ {
		of(d.Snapshots[i].Cohort)
	}
	all := slices.SortedFunc(maps.Values(byCohort), func(a, b *part) int { return cmp.Compare(a.cohort, b.cohort) })
	for i, p := range all {
		p.name = cohort.CohortSnapshotsName(d.Generation, d.Token, i+1)
		d.made = append(d.made, p.name)
	}
	return all
}

// writePart writes a snapshots file and makes it durable.
func (s *Store) writePart(p *part, old *Data, load index.Load) (file DataFile, err error) {
	w, err := s.newFile(p.name)
	if err != nil {
		return DataFile{}, err
	}
	defer w.discard(&err)
	if w.rows, err = p.merge(w, old, load); err != nil {
		return DataFile{}, err
	}
	return w.commit()
}

func (p *part) merge(w *newFile, old *Data, load index.Load) (int64, error) {
	if p.old.Name == "" {
		return index.MergeSnapshots(w, nil, p.puts, load, nil)
	}
	r, err := old.snapshots(p.old)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	lines := &index.OldSnapshots{R: r, Size: r.want.Size, Rows: r.want.Rows, Next: old.of.NextSeq}
	n, err := index.MergeSnapshots(w, lines, p.puts, load, p.replaced)
	if err != nil {
		return 0, err
	}
	return n, r.check()
}
