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
//	publish    replace the two public names, then look whether we are still the newest; bring the Delta table up to date, if the root has one
//	sweep      remove streams that are sealed and folded, and old generations; reap those of dead writers
//
// The watermarks stand in the manifest that holds the result, so a fold happens once or not at all,
// wherever it is cut off. Of any number of racing compactors one commits N+1; the others find
// generation.ErrConflict inside and fold again from there. Nothing here is correct because of the lock. What a generation
// is, and how it becomes the newest, is the secret of package generation.
//
//	report, err := compactor.Fold(ctx, compactor.Config{Root: "runs"})
//
// # What a program needs
//
// [Fold] folds once, a [Schedule] calls it again and again. [Runs] and [Previous] list runs and find the one before, also
// among records that no fold has read yet. Package generation reads the rows and snapshots themselves, package audit
// checks and repairs a root, and package intake brings in files of others by way of [Import].
//
// Errors to branch on: [ErrLocked] (another compactor is at work; nothing is wrong), generation.ErrNotPublished (all is committed, and a
// reader on SMB is in the way of a public file), journal.ErrNoRoot and
// journal.ErrOtherRoot, cohort.ErrNewer, and what generation.IsDamage tells of. A [Notice] is a fact of a run that is no
// error; each kind is a type of its own.
//
// [Reap], [Fates], Config.Store and Config.Locker are for package audit.
//
// # Backwards compatibility
//
// A manifest of any version that was ever released can be read; a newer one is cohort.ErrNewer.
package compactor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/compactor/lock"
	"github.com/runfold/runfold/internal/build"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

// DefaultBatchBytes is the memory budget of a fold, in bytes, where Config sets none. It is enough for a little more than a
// million records in one commit.
const DefaultBatchBytes = 320 << 20

// Config says which root is meant, and how it is folded. The zero value of each field is the recommended setting; Root
// must be given. It is passed by value, and many calls may share one.
type Config struct {
	// Root is the directory. It must be a root: nothing here makes one, see journal.InitRoot.
	Root cohort.Root
	// RootID is the id that the root must have: another one is journal.ErrOtherRoot. If empty, any root.
	RootID string
	// FS makes every call on the disk. It is for the tests of this module: leave it nil.
	FS durable.FS
	// Sizes are for those tests, too.
	Sizes index.Sizes
	// Locks makes the lock that is taken for the whole of a Fold, an Import or a Repair: see package lock. If nil, file.Provider: the root's
	// compact.lock.
	Locks lock.Provider
	// Wait is how long that lock waits for another compactor, or for a service that is away. If zero, not at all.
	Wait time.Duration
	// Lock is taken in the place of what Locks makes. If nil, that.
	Lock Locker
	// BatchBytes bounds the memory for the records of one commit. An eighth of it holds whole records; those that do not fit
	// are read again when they are written. The rest is for what decides over all of them: 256 bytes each, more
	// where keys are long, and what records look like. More records are folded in further batches, each with
	// a commit of its own. If zero, DefaultBatchBytes.
	BatchBytes int64
	// KeepGenerations is how many generations stay in any case. Two whole ones stay whatever it says, and beyond that what the
	// root's retention keeps (generation.Retention). If zero, 3.
	KeepGenerations int
	// KeepAge is how long older ones stay at least after they were succeeded, by the file system's clock. If
	// zero, 1 h; negative, not at all, and neither does what the root's retention would keep.
	KeepAge time.Duration
	// DeadAfter is how long a stream without a seal must not have grown, by the file system's clock, until
	// its writer is taken for dead where locks do not tell. If zero, 24 h; negative, not at all.
	DeadAfter time.Duration
	// ReapGrace is how long a dead stream stays in reaped/, and is read again by each fold, before it is
	// deleted. If zero, 10 minutes; negative, not at all.
	ReapGrace time.Duration
	// Scrub is the share, from 0 to 1, of the sections whose blocks a fold shares with earlier files that it reads all the same, and compares. Each
	// two folds take other ones: 0.01 sees both copies of all in 200 folds. If zero, none.
	Scrub float64
	// Cache is what earlier folds of this process have read of the root's manifests: a daemon gives all its folds one. If nil, each fold reads all.
	Cache *generation.Cache
	// Free tells how many bytes can still be written below a directory. If nil, the operating system is asked.
	Free func(dir string) (int64, error)
	// Now gives the time for created_at and Report.Elapsed, and for the message about a clock that is ahead. If nil, time.Now.
	Now func() time.Time
	// Program is the name and version that manifests and the index state. If empty, "runfold" and our
	// version.
	Program string
	// Notify is called with each fact of a run as it becomes known, in the calling goroutine. If nil, they are dropped.
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
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Program == "" {
		c.Program = "runfold " + build.Version()
	}
	return c
}

// maxConflicts bounds how often one run starts again. Each conflict means that another compactor has
// made progress, so giving up loses nothing.
const maxConflicts = 100

// Fold folds everything that the streams hold and returns once it is durable and visible. It is ErrLocked if another compactor
// is at work. When it fails, what was committed until then stays and the next run goes on from there; nothing needs to
// be cleaned up.
//
// A public file that is in use on SMB is generation.ErrNotPublished: all is committed, and a later run publishes it.
//
// Any number of callers on any number of machines may run it at once. It ends between two phases when
// ctx does. A damaged place or an unreadable stream is no error: the rest is folded, see [Report.Clean].
func Fold(ctx context.Context, cfg Config) (report Report, err error) {
	r, err := open(cfg)
	if err != nil {
		return Report{}, err
	}
	start := r.Now()
	release, err := r.lock(ctx)
	if err != nil {
		return Report{}, err
	}
	defer func() {
		if err == nil {
			err = r.store.StillThere()
		}
		r.report.Damage += r.replaced
		release()
		err = r.store.Doubt(err, 0)
		report = r.report
		report.Elapsed = r.Now().Sub(start)
	}()
	err = r.rounds(ctx)
	if ctx.Err() == nil {
		r.renew() // also where the rounds failed: a root that waits for a person must not be purged meanwhile
	}
	if err == nil {
		err = r.unpublished
	}
	return r.report, err
}

// run is one call of Fold.
type run struct {
	Config
	store   *generation.Store
	streams journal.Root
	say     *speaker
	sweeper *sweeper
	report  Report
	again   bool              // a round was added to note what could not be moved
	base    cohort.Generation // what the current round builds on

	from     int                 // the version of the index that the last commit began with
	healed   generation.Manifest // the newest one of this round, durable and public
	roomMade bool                // see makeRoom

	unpublished error // see published
	replaced    int   // public files that were of no generation
}

// open begins a run on an existing root.
func open(cfg Config) (*run, error) {
	store, err := cfg.Store()
	if err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	cfg.Lock = cfg.Locker(store.Settings)
	r := &run{
		Config: cfg, store: store, streams: store.Journal(),
		say: &speaker{to: cfg.Notify, said: map[string]bool{}},
	}
	store.Notify = func(n Notice) {
		if _, is := n.(generation.NotOurs); is {
			r.replaced++
		}
		notify(cfg.Notify, n)
	}
	r.sweeper = &sweeper{Root: r.streams, say: r.say, deadAfter: cfg.DeadAfter, grace: cfg.ReapGrace, stuck: map[journal.Stream]error{}}
	return r, nil
}

// Store opens the generations of the root that c names, with its file system and its Notify. A program that reads uses
// generation.Open. It makes nothing: a directory that is no root is journal.ErrNoRoot.
func (c Config) Store() (*generation.Store, error) {
	c = c.withDefaults()
	root, err := journal.OpenRoot(c.Root, journal.RootOptions{ID: c.RootID, FS: c.FS})
	if err != nil {
		return nil, durable.Away(err, func() bool { return durable.Remote(c.FS, string(c.Root)) })
	}
	return generation.New(generation.Store{
		FS: c.FS, Root: c.Root, Settings: root.Settings, Program: c.Program, Now: c.Now, Free: c.Free, Notify: c.Notify, Sizes: c.Sizes, Scrub: c.Scrub, Cache: c.Cache,
	}), nil
}

// rounds folds batch after batch until nothing is left.
func (r *run) rounds(ctx context.Context) error {
	defer func() { r.tellOf(r.report) }() // of what was committed, however it ends
	for more := true; more; {
		var err error
		more, err = r.round(ctx)
		if (errors.Is(err, generation.ErrConflict) || r.isOvertaken(err)) && r.report.Conflicts < maxConflicts {
			r.report.Conflicts++
			more = true
			continue
		}
		if durable.IsFull(err) && r.makeRoom(err) {
			more = true
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// tellOf tells once of what records lost, over all rounds.
func (r *run) tellOf(report Report) {
	if report.Narrow > 0 {
		r.say.tell(NarrowKey{report.Narrowing})
	}
	if report.Refused > 0 {
		r.say.tell(RefusedWithdrawals{report.Refused, report.RefusedOf})
	}
	if report.Dropped+report.DroppedActions > 0 {
		r.say.tell(DroppedErased{report.Erasing})
	}
	if report.ByID > 0 {
		r.say.tell(RepeatedByID{report.ByID})
	}
	for _, part := range report.InExtra.ByReason() {
		r.say.tell(InExtra{part})
	}
}

// isOvertaken tells whether a file was gone because others have committed since this round began, and
// swept what it built on or what it was writing.
func (r *run) isOvertaken(err error) bool {
	if !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	now, lerr := r.store.Newest()
	if lerr != nil || now.Generation <= r.base {
		return false
	}
	r.say.tell(generation.Conflicted{Generation: now.Generation})
	return true
}

// round folds one batch: the phases of the package comment as straight calls. It reports whether there is more to do.
func (r *run) round(ctx context.Context) (more bool, err error) {
	prev, err := r.store.Newest()
	if err != nil {
		return false, err
	}
	r.base = prev.Generation
	if err := r.published(r.store.Heal(prev)); err != nil {
		return false, err
	}
	r.healed = prev
	r.report.Swept += r.sweeper.sweep(prev)
	in := r.scanner()
	if in.unused, err = r.unused(prev); err != nil {
		return false, err
	}
	b, err := in.scan(ctx, prev, r.store.Stamp(prev), newBudget(r.BatchBytes))
	if err != nil {
		return false, err
	}
	next := prev
	r.stands(next, b)
	if b.moved || prev.Generation == 0 {
		if next, err = r.advance(ctx, prev, &b); err != nil {
			return false, err
		}
		r.report.Swept += r.sweeper.sweep(next)
		r.report.Swept += r.sweeper.empty(prev, next, b.now)
	}
	reaped := 0
	if r.report.Reaped == 0 { // once a run, or those that come and go keep it busy for ever
		reaped = r.sweeper.reap(b.dead)
		r.report.Reaped = reaped
	}
	r.show(next)
	err = r.expire(next, 0)
	again := !r.again && r.sweeper.hasStuckAnew(next) // once a run, or a stream that cannot be read keeps it busy for ever
	r.again = r.again || again
	return b.full || reaped > 0 || again, err
}

func (r *run) expire(newest generation.Manifest, room int64) error {
	expired, err := r.store.Expire(newest, generation.Keep{
		Generations: r.KeepGenerations, Age: r.KeepAge, Shown: r.unpublished != nil, Room: room,
	})
	r.report.SweptGens += expired.Manifests
	if expired.TwoHistories {
		r.report.Damage = max(r.report.Damage, 1)
	}
	r.sweepDelta(newest) // its links keep what was removed on the disk
	return err
}

// makeRoom removes generations that only retention keeps, because a round found the disk full, and tells whether that is worth another
// try. It does so once in a run.
func (r *run) makeRoom(full error) bool {
	if r.roomMade || r.healed.Generation == 0 {
		return false
	}
	r.roomMade = true
	before := r.report.SweptGens
	err := r.expire(r.healed, generation.RoomFor(full))
	return err == nil && r.report.SweptGens > before
}

// advance turns a batch into the next generation, and makes it public. What the attempt counts stays only if it commits.
func (r *run) advance(ctx context.Context, prev generation.Manifest, b *batch) (generation.Manifest, error) {
	before := r.report
	next, err := r.attempt(ctx, prev, b)
	if err != nil {
		r.report = before
		return generation.Manifest{}, err
	}
	r.report.Commits++
	r.report.Records += len(b.refs)
	r.report.Damage += b.damage
	r.report.TornTails += b.tornTails
	r.stands(next, *b)
	r.base = next.Generation // what is gone from here on was not taken by others before
	if r.say.tellChanges(prev, next, r.from) {
		r.report.Rewrites++
	}
	if next.Ahead != nil && (prev.Ahead == nil || *prev.Ahead != *next.Ahead) {
		r.say.tell(aheadOf(*next.Ahead, b.now))
	}
	err = r.published(r.store.Publish(next, false))
	return next, err
}

// published takes the result of a publication. A reader that has a public file open on this machine (SMB) keeps it from being
// replaced, perhaps for hours. That must not stop the folds: the run goes on, and tells at its end.
func (r *run) published(err error) error {
	r.unpublished = nil
	if errors.Is(err, generation.ErrNotPublished) {
		r.unpublished = err
		return nil
	}
	return err
}

// attempt writes the next generation and commits it.
func (r *run) attempt(ctx context.Context, prev generation.Manifest, b *batch) (generation.Manifest, error) {
	if err := cmp.Or(ctx.Err(), r.store.MayCommit()); err != nil { // or all would be written in vain
		return generation.Manifest{}, fmt.Errorf("stopped before the commit: %w", err)
	}
	draft, err := r.write(prev, b)
	if err != nil {
		return generation.Manifest{}, err
	}
	if err := ctx.Err(); err != nil {
		return generation.Manifest{}, errors.Join(fmt.Errorf("stopped before the commit: %w", err), draft.Discard())
	}
	r.from = draft.From
	return draft.Commit()
}

// commit writes the files of a draft, commits it and publishes it. A fold does this in other steps. Without c the draft keeps the files of prev. It closes old.
// It returns the manifest of the commit, also if that could not be published. On an error before, the manifest's generation is 0.
func (r *run) commit(prev generation.Manifest, next *generation.Draft, old *generation.Data, c *generation.Changes) (generation.Manifest, error) {
	if c != nil {
		// The data files of N+1 must not be durable before manifest N is: without it they would say that manifests are missing (R21).
		if err := r.store.SyncManifests(); err != nil {
			return generation.Manifest{}, err
		}
		stats, err := next.Write(old, *c)
		if err != nil {
			return generation.Manifest{}, err
		}
		r.report.Extra, r.report.InExtra = stats.Extra.Values(), stats.Extra
	}
	done, err := next.Commit()
	if err != nil {
		return generation.Manifest{}, err
	}
	r.base = done.Generation // from here on only a generation above our own means that others have committed
	r.say.tellChanges(prev, done, next.From)
	old.Close() // index.parquet may be the same file, and Windows and SMB replace no file that is open
	return done, r.store.Publish(done, false)
}

// tellChanges tells of what a commit did once for many to come. from is the version of the index that it began with.
func (s *speaker) tellChanges(prev, next generation.Manifest, from int) (rewritten bool) {
	if prev.Generation > 0 && prev.Version < next.Version {
		s.tell(Upgraded{prev.Version, next.Version})
	}
	sameForm := prev.Schema.Equal(next.Schema) && from == next.IndexVersion()
	if prev.Index.Rows == 0 || prev.Index.Name == next.Index.Name || sameForm && prev.Index.Sections != nil {
		return false
	}
	was := map[string]index.Kind{}
	for _, c := range prev.Schema {
		was[c.Name] = c.Kind
	}
	n := Rewritten{Rows: prev.Index.Rows, From: from, To: next.IndexVersion(), Sections: sameForm}
	for _, c := range next.Schema {
		switch kind, known := was[c.Name]; {
		case !known:
			n.New++
		case kind != c.Kind:
			n.Retyped++
		}
		delete(was, c.Name)
	}
	n.Gone = len(was)
	s.tell(n)
	return true
}

// stands notes how things are, in contrast to what a commit brought.
func (r *run) stands(now generation.Manifest, b batch) {
	r.report.Generation = now.Generation
	r.report.Rows = now.Index.Rows
	r.report.Skipped, r.report.Unseen = b.skipped, b.unseen
}

// speaker gives the notices of a run.
type speaker struct {
	to   func(Notice)
	said map[string]bool
}

func (s *speaker) tell(n Notice) { notify(s.to, n) }

// once gives a notice that every round of a run would repeat.
func (s *speaker) once(n Notice) {
	if text := n.String(); !s.said[text] {
		s.said[text] = true
		s.tell(n)
	}
}
