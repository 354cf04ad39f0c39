package compactor

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

// Erasure says which runs are erased: those of RunID, or those that Select yields. With neither, nothing more is erased, and what an earlier
// call could not remove is tried again.
type Erasure struct {
	RunID string
	Stage string // of RunID; empty: all
	// Select yields rows of the files; query.Select makes one from an expression. The files are the index and the withdrawn rows.
	Select func(ctx context.Context, files ...*index.File) iter.Seq2[index.Identity, error]
	// Apply does it. Without, nothing is written.
	Apply bool
}

// ErasedRow is a row that is erased, or would be.
type ErasedRow struct {
	Key       cohort.Key `json:"key"`
	Cohort    cohort.ID  `json:"cohort_id"`
	Withdrawn bool       `json:"withdrawn,omitempty"`
}

// Holding is a place of the root where something of erased runs stands.
type Holding struct {
	Path string `json:"path"`          // relative to the root
	Runs int    `json:"runs"`          // records, rows or actions in it; 0: not known
	Goes bool   `json:"goes"`          // --apply removes it
	Why  string `json:"why,omitempty"` // it stays
	Host string `json:"host,omitempty"`
	PID  int    `json:"pid,omitempty"` // of the writer of a stream, as its header says
}

// Erased tells what was erased, or what would be.
type Erased struct {
	Rows    []ErasedRow         `json:"rows"`              // found by this call
	Actions int                 `json:"actions,omitempty"` // that name only them
	At      []cohort.NameDigest `json:"digests,omitempty"` // of the tombstones that this call made
	Salt    string              `json:"salt,omitempty"`    // data file with the salt
	Stamp   cohort.Stamp        `json:"stamp,omitempty"`   // of these tombstones
	Base    generation.Gone     `json:"base,omitzero"`     // the generation from which the rows were taken
	Since   cohort.Generation   `json:"since,omitempty"`   // the first generation without them
	Clean   []generation.Gone   `json:"clean,omitempty"`   // the two whole ones that stay, newest first
	Gone    []generation.Gone   `json:"gone,omitempty"`    // generations that were removed
	Removed []string            `json:"removed,omitempty"` // other files and streams that were removed
	Holding []Holding           `json:"holding,omitempty"` // where something stands, or is left
}

// IsDone tells whether nothing is left that holds anything of erased runs, as far as can be known.
func (e *Erased) IsDone() bool { return len(e.Holding) == 0 }

// Erase removes runs from a root for good: their rows, withdrawn or not, the actions that name only them, all generations before, the
// streams that were folded, and what quarantine/ has of them. A tombstone of each keeps older records of it out for ever. It holds a digest and
// a stamp. A record that is appended later is a new run.
//
// It takes the lock of a fold, folds first, and commits twice, so that the two generations that stay have no file in common, and nothing that was
// erased. If it loses the lock before its first commit, it ends with ErrLockLost, and nothing was erased; after it, it goes on. It may be cut off anywhere, run twice at the same time, and be called again: the tombstones tell what is still to be done.
//
// What it cannot remove is in Erased.Holding, above all streams whose writers go on. A later call removes it. Without Apply it only
// looks, takes no lock, and Holding is all places where something stands.
func Erase(ctx context.Context, cfg Config, what Erasure) (done Erased, err error) {
	r, err := open(cfg)
	if err != nil {
		return Erased{}, err
	}
	e := eraser{run: r, what: what, notes: map[string]bool{}}
	if what.Apply {
		release, err := r.lock(ctx)
		if err != nil {
			return Erased{}, err
		}
		defer release()
		if err := r.rounds(ctx); err != nil { // so that the streams have no record that is not a row yet
			return Erased{}, r.store.Doubt(err, 0)
		}
	}
	for try := 0; ; try++ {
		err = e.once(ctx)
		again := errors.Is(err, generation.ErrConflict) || r.isOvertaken(err)
		if !again || try == maxConflicts || ctx.Err() != nil {
			break
		}
	}
	e.done.Holding = append(e.done.Holding, e.links...)
	if !what.Apply { // digests with a salt that is thrown away say nothing
		e.done.At, e.done.Stamp, e.done.Base = nil, 0, generation.Gone{}
	}
	if err == nil {
		err = r.unpublished
	}
	return e.done, r.store.Doubt(err, 0)
}

// eraser is one call of Erase.
type eraser struct {
	*run
	what      Erasure
	done      Erased
	erased    *cohort.Erased          // all tombstones, those that this call makes included
	links     []Holding               // hard links outside of the root
	wasSealed map[journal.Stream]bool // by the older one of the two generations that stay
	onceOnly  bool                    // a stream with something of them has its seal, and only the newest generation has folded that
	since     cohort.Generation       // the first generation without what was erased, or would be
	notes     map[string]bool         // about damaged bytes of streams that name an erased run
}

// once goes through all steps. Each finds out by itself whether it is still to be done.
func (e *eraser) once(ctx context.Context) error {
	prev, err := e.store.Newest()
	if err != nil {
		return err
	}
	e.base = prev.Generation
	e.done.Holding, e.onceOnly = nil, false
	if e.what.Apply {
		if err := e.published(e.store.Heal(prev)); err != nil {
			return err
		}
	}
	newest, err := e.rows(ctx, prev)
	if err != nil || e.erased.Len() == 0 {
		return err
	}
	e.since = newest.Generation + 1
	if newest.Erased != nil && (e.what.Apply || len(e.done.At) == 0) {
		e.since = newest.Erased.Since
	}
	if !e.what.Apply {
		return e.look(newest)
	}
	second, err := e.second(newest)
	if err != nil {
		return err
	}
	if second.Generation > newest.Generation {
		newest, second = second, newest
	}
	e.done.Clean = []generation.Gone{{Generation: newest.Generation, SHA256: newest.SHA256()}, {Generation: second.Generation, SHA256: second.SHA256()}}
	e.wasSealed = map[journal.Stream]bool{}
	for _, m := range second.Streams {
		e.wasSealed[m.Stream] = m.Sealed
	}
	if err := e.purge(newest, second); err != nil {
		return err
	}
	if err := e.look(newest); err != nil || !e.onceOnly {
		return err
	}
	// A stream stays only because second has not folded its seal.
	if _, err := e.copyOf(newest); err != nil {
		return err
	}
	return fmt.Errorf("streams are folded once more: %w", generation.ErrConflict)
}

// rows takes the runs out of the newest generation, and returns the one without them.
func (e *eraser) rows(ctx context.Context, prev generation.Manifest) (generation.Manifest, error) {
	old, err := e.store.Summed(prev)
	if err != nil {
		return prev, err
	}
	defer old.Close()
	if e.erased, err = old.Erased(); err != nil || prev.Generation == 0 {
		return prev, err
	}
	if e.done.Since > 0 {
		return prev, nil // this call has committed them, and met others later
	}
	// Another erasure may have committed first, with a salt of its own: what a lost try found is not what this one does.
	e.done.Rows, e.done.Actions = nil, 0
	e.done.At, e.done.Stamp, e.done.Base = nil, 0, generation.Gone{}
	c, err := e.choose(ctx, old)
	if err != nil {
		return prev, err
	}
	if c.isEmpty() {
		return prev, old.CheckBoth() // a flipped bit in a filter could hide a row
	}
	if err := e.bury(prev, old, c); err != nil {
		return prev, err
	}
	if e.what.Apply {
		return e.commit(prev, old, c)
	}
	for r, err := range old.Actions() {
		if err != nil {
			return prev, err
		}
		if e.erased.DropsAction(r) {
			e.done.Actions++
		}
	}
	return prev, old.CheckBoth()
}

// chosen are the rows to erase, by key.
type chosen struct {
	found, out map[cohort.Key]index.Found // of the index, and withdrawn
	actions    int
	runs       map[string]bool    // every run_id that loses a row, or is named
	stages     map[[2]string]bool // run_id and stage
}

func (c chosen) isEmpty() bool {
	return len(c.found)+len(c.out)+c.actions == 0
}

// choose finds the rows, and the actions of a run_id that has no row.
func (e *eraser) choose(ctx context.Context, old *generation.Data) (c chosen, err error) {
	keys, err := e.keys(ctx, old)
	if err != nil {
		return c, err
	}
	if c.found, c.out, err = old.FindBoth(keys); err != nil {
		return c, err
	}
	form := e.streams.Settings.Key
	c.runs, c.stages = map[string]bool{}, map[[2]string]bool{}
	for _, key := range keys {
		f, in := c.found[key]
		w, out := c.out[key]
		if !in && !out {
			continue
		}
		if out {
			f = w
		}
		runID, stage, _, _ := form.Split(key)
		c.runs[runID], c.stages[[2]string{runID, stage}] = true, true
		e.done.Rows = append(e.done.Rows, ErasedRow{key, f.Cohort, out})
	}
	if e.what.RunID == "" {
		return c, nil
	}
	for a, err := range old.Actions() {
		if err != nil {
			return c, err
		}
		if a.RunID == e.what.RunID && (e.what.Stage == "" || a.Stage == e.what.Stage) {
			c.actions++
		}
	}
	if c.actions > 0 {
		c.stages[[2]string{e.what.RunID, e.what.Stage}] = true
		c.runs[e.what.RunID] = true
	}
	return c, nil
}

// keys are those of the rows, and perhaps of others.
func (e *eraser) keys(ctx context.Context, old *generation.Data) (keys []cohort.Key, err error) {
	switch {
	case e.what.Select != nil:
		files := []*index.File{old.Index}
		if old.Withdrawn != nil {
			files = append(files, old.Withdrawn.Index)
		}
		for h, err := range e.what.Select(ctx, files...) {
			if err != nil {
				return nil, err
			}
			keys = append(keys, h.Key)
		}
	case e.what.RunID != "":
		if keys, err = old.KeysOfRuns([]string{e.what.RunID}); err != nil {
			return nil, err
		}
		keys = slices.DeleteFunc(keys, func(k cohort.Key) bool {
			_, stage, _, _ := e.streams.Settings.Key.Split(k)
			return e.what.Stage != "" && stage != e.what.Stage
		})
	}
	slices.Sort(keys)
	return slices.Compact(keys), nil
}

// bury makes the tombstones: of each key, and of each run_id and stage of which no row is left.
func (e *eraser) bury(prev generation.Manifest, old *generation.Data, c chosen) error {
	if e.erased == nil {
		salt, err := cohort.NewSalt()
		if err != nil {
			return err
		}
		e.erased = cohort.NewErased(e.streams.Settings.Key, salt)
	} else {
		e.erased = e.erased.Clone() // those of the generation before stay as they are
	}
	e.done.Stamp = prev.HighestStamp
	if e.what.Apply {
		// The storage's time, from which the stamps of writers begin: what a stream has that cannot be read now was appended before.
		now, err := durable.Now(e.FS, string(e.Root), e.streams.Settings.DirMode.FS())
		if err != nil {
			return fmt.Errorf("ask the storage for its time: %w", err)
		}
		e.done.Stamp = max(e.done.Stamp, cohort.Stamp(now.UnixNano()))
	}
	e.done.Base = generation.Gone{Generation: prev.Generation, SHA256: prev.SHA256()}
	if err := c.leaveOthers(old); err != nil {
		return err
	}
	add := func(d cohort.NameDigest) {
		e.erased.Add(cohort.Tombstone{Digest: d, Stamp: e.done.Stamp, Generation: prev.Generation + 1})
		e.done.At = append(e.done.At, d)
	}
	for _, row := range e.done.Rows {
		add(e.erased.Salt.OfKey(row.Key))
	}
	for run := range c.runs {
		add(e.erased.Salt.OfRun(run))
	}
	for s := range c.stages {
		if s[1] == "" { // an action without a stage names the run
			continue
		}
		add(e.erased.Salt.OfStage(s[0], s[1]))
	}
	return nil
}

// leaveOthers drops the names that rows which stay have, too.
func (c chosen) leaveOthers(old *generation.Data) error {
	for _, d := range []*generation.Data{old, old.Withdrawn} {
		if d == nil {
			continue
		}
		for h, err := range d.Index.Identities() {
			if err != nil {
				return err
			}
			_, in := c.found[h.Key]
			_, out := c.out[h.Key]
			if !in && !out && c.runs[h.RunID] {
				delete(c.runs, h.RunID)
			}
			if !in && !out {
				delete(c.stages, [2]string{h.RunID, h.Stage})
			}
		}
	}
	return nil
}

// commit makes the first generation without the rows. All its files are new.
func (e *eraser) commit(prev generation.Manifest, old *generation.Data, c chosen) (generation.Manifest, error) {
	next, err := e.store.Draft(prev, prev.Streams)
	if err != nil {
		return prev, err
	}
	// Writers that come from now on begin above it, so their records are new runs.
	next.HighestStamp = max(prev.HighestStamp, e.done.Stamp)
	goes := func(r cohort.Record) bool {
		gone := e.erased.DropsAction(r)
		if gone {
			e.done.Actions++
		}
		return gone
	}
	next.Changed = &generation.Changed{Erased: int64(len(e.done.Rows))}
	done, err := e.whole(prev, next, old, generation.Changes{
		Side:      generation.Side{Out: slices.Sorted(maps.Keys(c.found)), Found: c.found},
		Withdrawn: generation.Side{Out: slices.Sorted(maps.Keys(c.out)), Found: c.out},
		NoActions: goes, Erase: e.erased,
	})
	if done.Generation > 0 { // it is committed, also if it could not be published
		e.done.Since, e.done.Salt = done.Generation, done.Erased.Name
		e.store.MayCommit = func() error { return nil } // the rest must be done, also if another compactor has the lock now: it may race, and the commit decides
	}
	return done, err
}

// whole writes all files of a generation anew, commits it and publishes it. It closes old.
func (e *eraser) whole(prev generation.Manifest, next *generation.Draft, old *generation.Data, c generation.Changes) (generation.Manifest, error) {
	c.Whole, next.Verb = true, generation.DidErase
	done, err := e.run.commit(prev, next, old, &c)
	if done.Generation > 0 {
		err = e.published(err)
	}
	return done, err
}

// second is a second whole generation without what was erased: one that is there, or a copy of the newest, which is then the newest.
func (e *eraser) second(newest generation.Manifest) (generation.Manifest, error) {
	m, ok, err := e.store.Second(newest)
	if err != nil || ok {
		return m, err
	}
	return e.copyOf(newest)
}

// copyOf commits the newest generation once more, with files of its own.
func (e *eraser) copyOf(newest generation.Manifest) (m generation.Manifest, err error) {
	next, err := e.store.Draft(newest, newest.Streams)
	if err != nil {
		return m, err
	}
	old, err := e.store.Summed(newest)
	if err != nil {
		return m, err
	}
	defer old.Close()
	next.Changed = &generation.Changed{}
	return e.whole(newest, next, old, generation.Changes{})
}
