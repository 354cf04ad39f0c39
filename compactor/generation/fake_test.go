package generation

import (
	"testing"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
)

// timed is a root in memory whose files have the times of a clock that the test moves. Its data files hold nothing, which no function
// in this package looks at but those that open an index.
type timed struct {
	*Store
	disk *durabletest.CrashFS
	now  time.Time
	free int64 // on the disk
	told []string
}

func newTimed(t *testing.T) *timed {
	t.Helper()
	r := &timed{disk: durabletest.New(), now: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), free: 1 << 40}
	r.disk.Clock = func() time.Time { return r.now }
	r.on(r.disk)
	if err := r.disk.Mkdir(string(r.Root), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := durable.SyncDir(r.disk, "/"); err != nil { // a root is durable before anything is in it
		t.Fatal(err)
	}
	return r
}

// on makes all calls from now on go to another file system.
func (r *timed) on(fsys durable.FS) {
	r.Store = New(Store{
		FS: fsys, Root: "/runs", Now: func() time.Time { return r.now },
		Free:   func(string) (int64, error) { return r.free, nil },
		Notify: func(n Notice) { r.told = append(r.told, n.String()) },
	})
}

// sizeOfIndex is that of each data file.
const sizeOfIndex = 1000

// commit makes a generation, some time after the one before. same tells that it changes no row.
func (r *timed) commit(t *testing.T, after time.Duration, same bool) Manifest {
	t.Helper()
	r.now = r.now.Add(after)
	r.lock(t)
	newest, err := r.Newest()
	if err != nil {
		t.Fatal(err)
	}
	d, err := r.Draft(newest, nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := r.finish(d, same && newest.Generation > 0)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// lock writes the file that each holder of the lock writes: it tells what time it is.
func (r *timed) lock(t *testing.T) {
	t.Helper()
	if err := durable.Replace(r.disk, r.Root.CompactLock(), nil, 0o666); err != nil {
		t.Fatal(err)
	}
}

// sweep expires, some time after what came before.
func (r *timed) sweep(t *testing.T, after time.Duration, keep Keep) Expired {
	t.Helper()
	r.now = r.now.Add(after)
	r.lock(t)
	newest, err := r.Newest()
	if err != nil {
		t.Fatal(err)
	}
	done, err := r.Expire(newest, keep)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// finish gives a draft data files, and commits it.
func (r *timed) finish(d *Draft, same bool) (Manifest, error) {
	d.Verb, d.Changed = DidFold, &Changed{}
	if !same {
		d.Changed.Added = 1
		rows := d.Index.Rows + 1
		d.made = []string{cohort.IndexName(d.Generation, d.Token), cohort.SnapshotsName(d.Generation, d.Token)}
		d.Index = DataFile{d.made[0], sizeOfIndex, rows, 1, nil}
		d.Snapshots = Snapshots{{"", DataFile{d.made[1], sizeOfIndex, rows, 1, nil}}}
		if err := durable.MkdirAll(r.FS, r.Root.DataDir(), 0o777); err != nil {
			return Manifest{}, err
		}
		if err := durable.SyncDir(r.FS, string(r.Root)); err != nil {
			return Manifest{}, err
		}
		for _, name := range d.made {
			if err := durable.Replace(r.FS, r.Root.Data(name), make([]byte, sizeOfIndex), 0o444); err != nil {
				return Manifest{}, err
			}
		}
	}
	return d.Commit()
}

// numbers are those of the manifests that are there.
func (r *timed) numbers(t *testing.T) (out []int) {
	t.Helper()
	gens, err := r.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range gens {
		out = append(out, int(g))
	}
	return out
}
