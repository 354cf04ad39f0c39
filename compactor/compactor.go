// Package compactor folds the records of all streams into one index.parquet and one
// snapshot_index.json.
//
// # Life of a fold
//
//	lock       courtesy: one compactor at a time, where locks work
//	load       the newest manifest: the highest number in a fresh listing
//	heal       publish what it names and sweep what it folded, if an earlier run could not
//	scan       read each stream behind its watermark, up to a byte budget
//	fold       last write wins per key; assign snapshot_seq; no I/O, no clock
//	write      the new data files, durable before anything names them
//	commit     durable.Create(manifests/N+1): visible, exactly once
//	publish    replace the two public names, then look whether we are still the newest
//	sweep      remove streams that are sealed and folded, and old generations; reap those of dead writers
//
// The watermarks stand in the manifest that holds the result, so a fold happens once or not at all,
// wherever it is cut off. Of any number of racing compactors one commits N+1; the others find
// [ErrConflict] inside and fold again from there. Nothing here is correct because of the lock.
//
//	report, err := compactor.Fold(ctx, compactor.Config{Root: "runs"})
//
// # Backwards compatibility
//
// A manifest of any version that was ever released can be read; a newer one is cohort.ErrNewer.
package compactor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/build"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

// DefaultBatchBytes is enough for a little more than a million records in one commit.
const DefaultBatchBytes = 320 << 20

// Config says what to fold and how. The zero value of each field is the recommended setting; Root
// must be given.
type Config struct {
	// Root is the directory to fold. It must be a root.
	Root cohort.Root
	// RootID is the id that the root must have: another one is journal.ErrOtherRoot. If empty, any root.
	RootID string
	// FS makes every call on the disk. If nil, durable.OS.
	FS durable.FS
	// Lock is taken for the whole run. If nil, a FileLock on the root's compact.lock.
	Lock Locker
	// Wait is how long that FileLock waits for another compactor. If zero, not at all.
	Wait time.Duration
	// BatchBytes bounds the memory for the records of one commit: an eighth of it holds whole records, the
	// rest what decides over all of them, 256 bytes each and more where keys are long, and what they look like; those that are not held are read
	// again when they are written. More are folded in further batches, each its own commit. If zero, DefaultBatchBytes.
	BatchBytes int64
	// KeepGenerations is how many generations stay in any case. If zero, 3.
	KeepGenerations int
	// KeepAge is how long older ones stay after they were succeeded, by the file system's clock. If
	// zero, 1 h; negative, not at all.
	KeepAge time.Duration
	// DeadAfter is how long a stream without a seal must not have grown, by the file system's clock, until
	// its writer is taken for dead where locks do not tell. If zero, 24 h; negative, not at all.
	DeadAfter time.Duration
	// ReapGrace is how long a dead stream stays in reaped/, and is read again by each fold, before it is
	// deleted. If zero, 10 minutes; negative, not at all.
	ReapGrace time.Duration
	// Free tells how many bytes can still be written below a directory. If nil, durable.FreeBytes.
	Free func(dir string) (int64, error)
	// Now gives the time for created_at and Report.Elapsed, and for nothing else. If nil, time.Now.
	Now func() time.Time
	// Program is the name and version that manifests and the index state. If empty, "runfold" and our
	// version.
	Program string
	// Notify hears each fact of the run as it becomes known, from the calling goroutine. If nil,
	// nobody does.
	Notify func(Notice)
}

func (c Config) withDefaults() Config {
	if c.FS == nil {
		c.FS = durable.OS
	}
	if c.BatchBytes == 0 {
		c.BatchBytes = DefaultBatchBytes
	}
	if c.KeepGenerations == 0 {
		c.KeepGenerations = 3
	}
	if c.KeepAge == 0 {
		c.KeepAge = time.Hour
	}
	if c.DeadAfter == 0 {
		c.DeadAfter = 24 * time.Hour
	}
	if c.ReapGrace == 0 {
		c.ReapGrace = 10 * time.Minute
	}
	if c.Free == nil {
		c.Free = durable.FreeBytes
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Program == "" {
		c.Program = "runfold " + build.Version()
	}
	return c
}

// makeDir makes a directory of the root and sees to it that the names which lead to it are durable: another
// compactor may have made one of them just now, and not have synced its parent yet (R14).
func (f *folder) makeDir(dir string) error {
	if err := durable.MkdirAll(f.FS, dir, f.settings.DirMode.FS()); err != nil {
		return err
	}
	for dir != string(f.Root) {
		dir = filepath.Dir(dir)
		if err := f.FS.SyncDir(dir); err != nil {
			return fmt.Errorf("sync directory: %w", err)
		}
	}
	return nil
}

// Report counts what one run did. What comes with a commit is counted once that has certainly happened: an attempt that
// another compactor was ahead of, or that failed, counts nothing.
type Report struct {
	Generation cohort.Generation `json:"generation"` // the newest one at the end
	Rows       int64             `json:"rows"`       // in the index at the end
	Commits    int               `json:"commits"`
	Records    int               `json:"records"`    // read from the streams
	Added      int               `json:"added"`      // new keys
	Replaced   int               `json:"replaced"`   // keys whose row was replaced
	Superseded int               `json:"superseded"` // records that an already known later write beat
	Duplicates int               `json:"duplicates"` // the same record again
	Repeated   int               `json:"repeated"`   // appended again with the id of the write that stands
	Narrow     int               `json:"narrow"`     // beaten although target, view or symbol differ
	Extra      int64             `json:"extra"`      // values that no column could hold
	Rewrites   int               `json:"rewrites"`   // commits that wrote every row again, see Rewritten
	Merged

	Swept     int           `json:"swept_streams"`
	SweptGens int           `json:"swept_generations"`
	Reaped    int           `json:"reaped_streams"`  // of dead writers, moved to reaped/
	TornTails int           `json:"torn_tails"`      // of those, kept in quarantine/
	Damage    int           `json:"damage"`          // places in streams that could not be read
	Skipped   int           `json:"skipped_streams"` // not read to their end for another reason
	Conflicts int           `json:"conflicts"`       // commits that another compactor won
	Elapsed   time.Duration `json:"elapsed_ns"`
}

// Clean tells whether every byte that the run met was in order.
func (r Report) Clean() bool { return r.Damage == 0 && r.Skipped == 0 }

// folder is one run of Fold.
type folder struct {
	Config
	settings cohort.Settings
	report   Report
	said     map[string]bool   // notices that are given once a run
	base     cohort.Generation // what the current round builds on

	locks sync.Once // guards tell
	tell  bool
}

// maxConflicts bounds how often one run starts again. Each conflict means that another compactor has
// made progress, so giving up loses nothing.
const maxConflicts = 100

// Fold folds everything that the streams hold and returns once it is visible. When it fails, what was
// committed until then stays and the next run goes on from there; nothing needs to be cleaned up.
//
// Any number of callers on any number of machines may run it at once. It ends between two phases when
// ctx does. A damaged place or an unreadable stream is no error: the rest is folded, see Report.Clean.
func Fold(ctx context.Context, cfg Config) (report Report, err error) {
	f, err := newFolder(cfg)
	if err != nil {
		return Report{}, err
	}
	start := f.Now()
	unlock, err := f.Lock.Lock(ctx)
	if err != nil {
		return Report{}, err
	}
	defer func() {
		err = errors.Join(err, unlock())
		report = f.report
		report.Elapsed = f.Now().Sub(start)
	}()
	err = f.run(ctx)
	return f.report, err
}

func newFolder(cfg Config) (*folder, error) {
	cfg = cfg.withDefaults()
	settings, err := journal.OpenRootID(cfg.FS, cfg.Root, cfg.RootID)
	if err != nil {
		return nil, err
	}
	if cfg.Lock == nil {
		cfg.Lock = FileLock{
			Path: cfg.Root.CompactLock(), Perm: settings.FileMode.FS(), Wait: cfg.Wait, Notify: cfg.Notify,
		}
	}
	return &folder{Config: cfg, settings: settings, said: map[string]bool{}}, nil
}

func (f *folder) run(ctx context.Context) error {
	for more := true; more; {
		var err error
		more, err = f.round(ctx)
		if (errors.Is(err, ErrConflict) || f.isOvertaken(err)) && f.report.Conflicts < maxConflicts {
			f.report.Conflicts++
			more = true
			continue
		}
		if err != nil {
			return err
		}
	}
	if f.report.Narrow > 0 {
		f.notify(NarrowKey{f.report.Narrow})
	}
	return nil
}

// isOvertaken tells whether a file was gone because others have committed since this round began, and
// swept what it built on or what it was writing.
func (f *folder) isOvertaken(err error) bool {
	if !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	now, lerr := latest(f.FS, f.Root)
	if lerr != nil || now.Generation <= f.base {
		return false
	}
	f.notify(Conflicted{now.Generation})
	return true
}

// round folds one batch: the phases of the package comment as straight calls. It reports whether the
// batch was cut off by the budget.
func (f *folder) round(ctx context.Context) (more bool, err error) {
	prev, err := latest(f.FS, f.Root)
	if err != nil {
		return false, err
	}
	f.base = prev.Generation
	if err := f.heal(prev); err != nil {
		return false, err
	}
	f.sweepStreams(prev)
	b, err := f.scan(ctx, prev)
	if err != nil {
		return false, err
	}
	next := prev
	f.count(next, b)
	if b.moved || prev.Generation == 0 {
		if next, err = f.advance(ctx, prev, &b); err != nil {
			return false, err
		}
		f.sweepStreams(next)
		f.emptyReaped(prev, next, b.now)
	}
	reaped := f.report.Reaped == 0 && f.reap(b.dead) // once a run, or those that come and go keep it busy for ever
	return b.full || reaped, f.sweepGenerations(next)
}

// advance turns a batch into the next generation, and makes it public. What attempt counts stays only if that commits.
func (f *folder) advance(ctx context.Context, prev head, b *batch) (head, error) {
	before := f.report
	next, err := f.attempt(ctx, prev, b)
	if err != nil {
		f.report = before
		return head{}, err
	}
	f.report.Commits++
	f.report.Records += len(b.refs)
	f.report.Damage += b.damage
	f.report.TornTails += b.tornTails
	f.count(next, *b)
	f.committed(prev, next)
	return next, f.publish(next, false)
}

// attempt writes the next generation and commits it.
func (f *folder) attempt(ctx context.Context, prev head, b *batch) (head, error) {
	next, err := f.write(prev, b)
	if err != nil {
		return head{}, err
	}
	if err := ctx.Err(); err != nil {
		return head{}, errors.Join(fmt.Errorf("stopped before the commit: %w", err), f.dropData(next))
	}
	return f.commit(next)
}

// committed notes that next was committed on prev by this run. What is gone from here on was not taken by others before that.
func (f *folder) committed(prev, next head) {
	f.base = next.Generation
	f.tellRewrite(prev, next)
}

// count notes how things stand, in contrast to what a commit brought.
func (f *folder) count(now head, b batch) {
	f.report.Generation = now.Generation
	f.report.Rows = now.Index.Rows
	f.report.Skipped = b.skipped
}

func (f *folder) notify(n Notice) { notify(f.Notify, n) }

// once gives a notice that every round of a run would repeat.
func (f *folder) once(n Notice) {
	if text := n.String(); !f.said[text] {
		f.said[text] = true
		f.notify(n)
	}
}

// host is this machine's name for people to read.
func host() string {
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
}
