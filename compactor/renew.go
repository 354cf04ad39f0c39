package compactor

import (
	"path/filepath"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
)

// renewEvery is how old the files of a root may become before a fold makes them young again.
const renewEvery = 24 * time.Hour

// renew makes young what a purge by age would take, and what the root needs: scratch space is often purged of all that nobody has
// used for some days, and a root in daily use would lose its runfold.json, which is written once. These are
//
//	the manifests and data files that were not swept
//	the published files, where they are copies
//	streams that are still there: not folded yet, not to be read, or the second copy of what was folded
//	what lies in quarantine/, the verdict of doctor, the lock file
//	runfold.json, as the last: while it is young, all else was done
//
// Nothing relies on it. So each error is dropped: it may be that files belong to another user. It costs one look at each fold, and the
// rest once a day, by this machine's clock.
func (r *run) renew() {
	if !r.isOld(r.Root.Settings(), renewEvery) {
		return
	}
	r.renewGenerations()
	if streams, _, err := r.streams.Streams(); err == nil {
		for _, p := range streams {
			r.young(cohort.SegmentIn(p.Dir), renewEvery)
			r.young(filepath.Join(p.Dir, filepath.Base(r.Root.WriterLock(p.Cohort, p.ID))), renewEvery)
		}
	}
	r.renewTree(r.Root.QuarantineDir(), 4, renewEvery) // cohort, stream, segment
	for _, name := range []string{r.Root.Verdict(), r.Root.CompactLock(), r.Root.Settings()} {
		r.young(name, renewEvery)
	}
}

// renewGenerations makes all generations young that the sweep has left, readable or not.
func (r *run) renewGenerations() {
	// The time of a manifest says when the one before it was succeeded, and that of a data file how long nobody has needed it. So nothing
	// becomes young here that this run could still have swept, or each renewal would keep it for as long again.
	age := max(renewEvery, r.KeepAge)
	r.renewTree(r.Root.Manifests(), 1, age)
	r.renewTree(r.Root.DataDir(), 1, age)
	// Where there are links, these are data files by another name.
	r.young(r.Root.Index(), renewEvery)
	r.young(r.Root.Snapshots(), renewEvery)
	cohorts, _ := r.FS.ReadDir(r.Root.Cohorts())
	for _, e := range cohorts {
		if id, err := cohort.ParseID(e.Name()); err == nil && r.store.Settings.Snapshots == cohort.PerCohort {
			r.young(r.Root.SnapshotsOf(id), renewEvery)
		}
	}
}

// renewTree makes the files of a directory young that are older than age, and those of its directories, as many levels down.
func (r *run) renewTree(dir string, levels int, age time.Duration) {
	entries, err := r.FS.ReadDir(dir)
	if err != nil || levels == 0 {
		return
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if e.IsDir() {
			r.renewTree(path, levels-1, age)
		} else {
			r.young(path, age)
		}
	}
}

// young makes a file young that is older than age.
func (r *run) young(name string, age time.Duration) {
	if r.isOld(name, age) {
		durable.Touch(r.FS, name)
	}
}

func (r *run) isOld(name string, age time.Duration) bool {
	info, err := r.FS.Stat(name)
	return err == nil && info.Mode().IsRegular() && r.Now().Sub(info.ModTime()) > age
}
