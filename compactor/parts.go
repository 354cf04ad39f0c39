package compactor

import (
	"cmp"
	"maps"
	"slices"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
)

// part is a snapshots file that a commit writes: that of one cohort, or that of all, whose cohort is empty.
type part struct {
	cohort   cohort.ID
	name     string
	old      SnapshotsFile // its name is empty if there is none yet
	puts     []index.Put
	replaced map[cohort.Key]bool // keys of old lines that are left out
}

// parts are the snapshots files that c changes: in a root with one for all, that one; else those of the cohorts
// in which a row is put or replaced, as a key may move from one to another. It notes in next.made what this attempt
// makes.
func (f *folder) parts(next *head, c changes, found map[cohort.Key]index.Found) []*part {
	byCohort := map[cohort.ID]*part{}
	of := func(id cohort.ID) *part {
		p := byCohort[id]
		if p == nil {
			old, _ := next.Snapshots.of(id)
			p = &part{cohort: id, old: old, replaced: map[cohort.Key]bool{}}
			byCohort[id] = p
		}
		return p
	}
	next.made = []string{cohort.IndexName(next.Generation, next.Token)}
	if f.settings.Snapshots != cohort.PerCohort {
		only := of("")
		only.puts, only.name = c.puts, cohort.SnapshotsName(next.Generation, next.Token)
		for _, p := range c.puts {
			if _, ok := found[p.Key]; ok {
				only.replaced[p.Key] = true
			}
		}
		next.made = append(next.made, only.name)
		return []*part{only}
	}
	for _, p := range c.puts {
		to := of(c.cohort(p))
		to.puts = append(to.puts, p)
		if was, ok := found[p.Key]; ok {
			of(was.Cohort).replaced[p.Key] = true
		}
	}
	for i := 0; c.whole && i < len(next.Snapshots); i++ {
		of(next.Snapshots[i].Cohort)
	}
	all := slices.SortedFunc(maps.Values(byCohort), func(a, b *part) int { return cmp.Compare(a.cohort, b.cohort) })
	for i, p := range all {
		p.name = cohort.CohortSnapshotsName(next.Generation, next.Token, i+1)
		next.made = append(next.made, p.name)
	}
	return all
}

// writePart writes a snapshots file and makes it durable.
func (f *folder) writePart(p *part, old *data, load index.Load) (file DataFile, err error) {
	w, err := f.newData(p.name)
	if err != nil {
		return DataFile{}, err
	}
	defer w.discard(&err)
	if w.rows, err = p.merge(w, old, load); err != nil {
		return DataFile{}, err
	}
	return w.commit()
}

func (p *part) merge(w *newData, old *data, load index.Load) (int64, error) {
	if p.old.Name == "" {
		return index.MergeSnapshots(w, nil, p.puts, load, nil)
	}
	r, err := old.openSnapshots(p.old)
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
