// Package generation keeps the generations of a root. It knows what a generation is, how it becomes the newest, and when it is
// removed.
//
// # What a generation is
//
// A generation is one manifest and the data files that it names. Both are immutable. The manifest with the highest
// number, in a fresh listing, is the truth; index.parquet and snapshot_index.json only show it.
//
//	Draft     a generation that is being made: its data files are durable, and nobody sees them
//	Commit    durable.Create(manifests/N+1): it becomes visible; of racing writers exactly one succeeds
//	Publish   replace the public names, then look whether this generation is still the newest
//	Heal      make the newest generation durable and public, if the writer that committed it did not
//	Expire    remove old manifests, and the data files that only they name
//
// Nothing here needs a lock. Nothing here decides what a row is: package compactor folds, and this package keeps the result.
//
// # Reading
//
// A program that reads needs four calls. What it has opened does not change, also while others fold:
//
//	store, err := generation.Open("runs", journal.RootOptions{})
//	newest, err := store.Newest()
//	data, err := store.Data(newest)
//	defer data.Close()
//	for row, err := range data.Index.Rows() { ... }      // one JSON object a row; Index is nil before the first fold
//
// [Store.History] tells what each commit did, [Store.At] finds the generation of a time, and [Store.List] and [Store.Read] find
// any that is kept. [Data.Snapshots] opens the snapshots. [Store.CheckFile] compares a file with its checksum. A fold keeps
// generations for a while ([Retention], compactor.Config.KeepGenerations and KeepAge). ErrConflict means that a generation was
// swept before it could be opened: open the newest instead.
//
// The rest is for the packages compactor and audit, because only they make generations: [Store.Draft] and all that follows it,
// Publish, Heal, Expire, [Store.Summed], and the functions that look at several manifests.
//
// # Backwards compatibility
//
// A manifest of any version that was ever released can be read; a newer one is cohort.ErrNewer.
package generation

import (
	"sync/atomic"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/build"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

// Store is the generations of one root. [Open] returns one. It holds no file open and needs no Close. Any number of goroutines
// may use a Store, and a root may have any number of Stores.
type Store struct {
	remote func() bool // tells durable.Remote of the root, by the file system that was given

	// FS makes every call on the disk. It is for the tests of this module: leave it nil.
	FS durable.FS
	// Sizes are for those tests, too.
	Sizes index.Sizes
	// Root is the directory, and Settings are what its runfold.json says.
	Root     cohort.Root
	Settings cohort.Settings
	// Scrub is the share, from 0 to 1, of the sections whose blocks a draft shares that Write reads all the same, and compares.
	Scrub float64
	// Cache is what earlier Stores of this root have read of its manifests. If nil, New makes one.
	Cache *Cache
	// Program is the name and version that manifests and the index state. If empty, "runfold" and our version.
	Program string
	// Now gives the time for created_at only. If nil, time.Now.
	Now func() time.Time
	// Free tells how many bytes can still be written below a directory. If nil, the operating system is asked.
	Free func(dir string) (int64, error)
	// Notify is called with each notice at once, in the calling goroutine. If nil, notices are dropped.
	Notify func(Notice)

	// Lock is the lock that is held, which drafts state. If nil, none.
	Lock *Lock
	// MayCommit is asked right before each commit, which is left out for its error. If nil, New makes one that is always nil.
	MayCommit func() error

	without func(what, path string, err error) // tells of what is missing here; set by New

	noClones *atomic.Bool // the file system does not share blocks; set by New
}

// Open opens the generations of an existing root. It makes nothing: a mistyped path is a *journal.NoRootError.
func Open(dir cohort.Root, o journal.RootOptions) (*Store, error) {
	root, err := journal.OpenRoot(dir, o)
	if err != nil {
		return nil, err
	}
	return New(Store{FS: root.FS, Root: dir, Settings: root.Settings}), nil
}

// New returns s as a Store, with the defaults in the fields that are not set. Root and Settings must be those of a root. It is
// for compactor.Config.Store; a program calls Open.
func New(s Store) *Store {
	s = s.withDefaults()
	s.without, s.noClones = s.withoutOnce(), new(atomic.Bool)
	tell := s.without
	s.FS = durable.Telling(s.FS, func(w durable.Without) { tell(string(w.What), w.Path, w.Err) })
	return &s
}

func (s Store) withDefaults() Store {
	if s.FS == nil {
		s.FS = durable.OS
	}
	if s.Program == "" {
		s.Program = "runfold " + build.Version()
	}
	if s.Cache == nil {
		s.Cache = new(Cache)
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	if s.MayCommit == nil {
		s.MayCommit = func() error { return nil }
	}
	if s.remote == nil {
		given, root := s.FS, string(s.Root)
		s.remote = func() bool { return durable.Remote(given, root) }
	}
	if s.Free == nil {
		fsys := s.FS
		s.Free = func(dir string) (int64, error) {
			about, err := fsys.Statfs(dir)
			if err != nil {
				return 0, err
			}
			return about.FreeBytes()
		}
	}
	return s
}

// Journal is the same root for package journal, which opens its streams.
func (s *Store) Journal() journal.Root {
	return journal.Root{FS: s.FS, Dir: s.Root, Settings: s.Settings}
}

func (s *Store) notify(n Notice) {
	if s.Notify != nil {
		s.Notify(n)
	}
}

// makeDir makes a directory of the root. On success its name is durable, also if another process has made it (R14).
func (s *Store) makeDir(dir string) error {
	return durable.MkdirWithin(s.FS, string(s.Root), dir, s.Settings.DirMode.FS())
}
