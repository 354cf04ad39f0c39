package audit

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

// Status is what a root looks like at one moment.
type Status struct {
	Root       cohort.Root        `json:"root"`
	RootID     string             `json:"root_id"`
	Generation cohort.Generation  `json:"generation"` // 0: never folded
	Rows       int64              `json:"rows"`
	NextSeq    cohort.Seq         `json:"next_seq"`
	Narrow     int64              `json:"narrow"`                // records that gave way although they look like other results, so far
	Published  bool               `json:"published"`             // the public files show that generation
	Merged     *generation.Merged `json:"merged,omitempty"`      // of the fold that wrote the index
	FoldedAt   string             `json:"folded_at,omitempty"`   // by the wall clock of that compactor, RFC 3339
	FoldedBy   string             `json:"folded_by,omitempty"`   // program and host
	Holder     string             `json:"lock_holder,omitempty"` // what the lock file says; this process may have ended
	Cohorts    []CohortStatus     `json:"cohorts"`
	Quarantine int                `json:"quarantined"` // notes and streams under quarantine/
	Columns    int                `json:"columns"`     // dynamic ones
	InExtra    index.Extras       `json:"in_extra"`    // values that no column holds, by column and reason
	Ahead      *generation.Ahead  `json:"clock_ahead,omitempty"`

	// Damaged are files that are not what was committed, as far as a look at names and sizes tells; Check reads them.
	Damaged []Problem `json:"damaged,omitempty"`
}

// Whole tells whether nothing is damaged, in files of the newest generation or in streams.
func (s Status) Whole() bool {
	return len(s.Damaged) == 0 && !slices.ContainsFunc(s.Cohorts, func(c CohortStatus) bool { return c.Damaged > 0 })
}

// CohortStatus is the status of one cohort. Records are unfolded if no manifest holds them yet.
type CohortStatus struct {
	Cohort          cohort.ID     `json:"cohort"`
	Streams         int           `json:"streams"`
	Sealed          int           `json:"sealed"`
	Reaped          int           `json:"reaped"` // streams of dead writers that will be deleted
	UnfoldedRecords int64         `json:"unfolded_records"`
	UnfoldedBytes   int64         `json:"unfolded_bytes"`
	OldestUnfolded  time.Duration `json:"oldest_unfolded_ns"` // age of the oldest unfolded record
	TornBytes       int64         `json:"torn_bytes"`         // after the last entry: being written, or damage
	Unreadable      int           `json:"unreadable"`         // streams with an error, see check
	Damaged         int           `json:"damaged"`            // of those, streams with bytes that are no valid entry
}

// ReadStatus looks at a root without a lock and without writing. It reads every unfolded record once. It fails if
// the newest manifest cannot be read, or is damaged (generation.IsDamage). It ends with ctx.
func ReadStatus(ctx context.Context, cfg compactor.Config) (Status, error) {
	store, err := cfg.Store()
	if err != nil {
		return Status{}, err
	}
	newest, err := store.Newest()
	if err != nil {
		return Status{}, err
	}
	s := Status{
		Root: store.Root, RootID: store.Settings.RootID, Generation: newest.Generation, Rows: newest.Index.Rows, NextSeq: newest.NextSeq,
		Narrow: newest.Narrow, Merged: newest.Merged, Holder: compactor.FileLock{Path: store.Root.CompactLock()}.Holder(), InExtra: index.Extras{},
	}
	if newest.Generation > 0 {
		s.FoldedAt = newest.CreatedAt
		s.FoldedBy = newest.Program + " on " + newest.Host
		if s.Published, s.Damaged, err = publicStatus(store, newest); err != nil {
			return Status{}, err
		}
		switch extras, err := extrasOf(store, newest); {
		case err == nil:
			s.InExtra = extras
		case !generation.IsDamage(err):
			return Status{}, err
		case len(s.Damaged) == 0:
			path := store.Root.Data(newest.Index.Name)
			s.Damaged = append(s.Damaged, Problem{store.Root.Rel(path), err.Error(), true})
		}
		s.Columns, s.Ahead = len(newest.Schema), newest.Ahead
	}
	if s.Quarantine, err = countQuarantine(store); err != nil {
		return Status{}, err
	}
	s.Cohorts, err = cohortStatus(ctx, store, newest.Streams)
	return s, err
}

// extrasOf is what stands in no column; nothing if the generation was swept meanwhile.
func extrasOf(store *generation.Store, m generation.Manifest) (index.Extras, error) {
	d, err := store.Data(m)
	if errors.Is(err, generation.ErrConflict) {
		return index.Extras{}, nil
	}
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Index.Extras()
}

// publicStatus looks at the data files of a generation and at the names that show them. A name that is missing, or shows an earlier
// generation, is what a fold that was killed leaves; anything else there is damage.
func publicStatus(store *generation.Store, newest generation.Manifest) (published bool, damaged []Problem, err error) {
	bad := map[string]bool{}
	for _, d := range newest.Files() {
		err := store.CheckSize(d)
		if now, lerr := store.Newest(); errors.Is(err, fs.ErrNotExist) && (lerr != nil || now.Generation != newest.Generation) {
			continue // swept since we looked
		}
		if err != nil {
			bad[d.Name] = true
			path := store.Root.Data(d.Name)
			damaged = append(damaged, Problem{store.Root.Rel(path), strings.TrimPrefix(err.Error(), path+": "), true})
		}
	}
	old, err := store.Unpublished(newest)
	if err != nil {
		return false, nil, err
	}
	for _, p := range old {
		if bad[p.Data.Name] {
			continue // the same file by another name, or about to be
		}
		g, err := store.Shown(p)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !generation.IsDamage(err) {
			return false, nil, err
		}
		if err == nil && g == 0 {
			damaged = append(damaged, Problem{store.Root.Rel(p.Name), "is not what any kept generation published: compactd once publishes the newest one", true})
		}
	}
	return len(old) == 0, damaged, nil
}

func cohortStatus(ctx context.Context, store *generation.Store, marks []generation.Watermark) ([]CohortStatus, error) {
	streams, _, err := store.Journal().Streams()
	if err != nil && len(streams) == 0 {
		return nil, err
	}
	at := make(map[journal.Stream]journal.Position, len(marks))
	for _, m := range marks {
		at[m.Stream] = m.Position
	}
	streams = slices.DeleteFunc(streams, func(p journal.Place) bool { return p.Reaped && at[p.Stream].Sealed }) // done with
	found := make([]CohortStatus, len(streams))
	var g errgroup.Group
	g.SetLimit(readers)
	for i, s := range streams {
		g.Go(func() error {
			found[i] = streamStatus(store, s, at[s.Stream])
			return ctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	byName := map[cohort.ID]CohortStatus{}
	for i, s := range streams {
		byName[s.Cohort] = byName[s.Cohort].plus(found[i])
	}
	out := make([]CohortStatus, 0, len(byName))
	for name, c := range byName {
		c.Cohort = name
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b CohortStatus) int { return cmp.Compare(a.Cohort, b.Cohort) })
	return out, nil
}

// readers is how many streams are read at once. With cold caches they wait for the disk, so it is more than the cores.
const readers = 64

func (c CohortStatus) plus(d CohortStatus) CohortStatus {
	return CohortStatus{
		Streams: c.Streams + d.Streams, Sealed: c.Sealed + d.Sealed, Unreadable: c.Unreadable + d.Unreadable, Damaged: c.Damaged + d.Damaged,
		Reaped:          c.Reaped + d.Reaped,
		UnfoldedRecords: c.UnfoldedRecords + d.UnfoldedRecords, UnfoldedBytes: c.UnfoldedBytes + d.UnfoldedBytes,
		OldestUnfolded: max(c.OldestUnfolded, d.OldestUnfolded), TornBytes: c.TornBytes + d.TornBytes,
	}
}

// streamStatus is the status of one stream, read from its watermark on. It is empty if the stream was swept after the
// listing.
func streamStatus(store *generation.Store, s journal.Place, from journal.Position) (c CohortStatus) {
	r, err := store.Journal().Open(s, from)
	if errors.Is(err, fs.ErrNotExist) {
		return CohortStatus{}
	}
	if s.Reaped {
		c.Reaped = 1
	} else {
		c.Streams = 1
	}
	if err != nil {
		c.Unreadable = 1
		if errors.Is(err, journal.ErrCorrupt) {
			c.Damaged = 1
		}
		return c
	}
	defer r.Close()
	now := store.Now()
	for err == nil || errors.Is(err, journal.ErrCorrupt) {
		var rec cohort.Record
		if rec, err = r.Next(); err == nil {
			c.UnfoldedRecords++
			c.OldestUnfolded = max(c.OldestUnfolded, now.Sub(rec.Stamp.Time()))
		} else if !errors.Is(err, io.EOF) {
			c.Unreadable = 1
		}
		if errors.Is(err, journal.ErrCorrupt) {
			c.Damaged = 1
		}
	}
	if r.Position().Sealed && !s.Reaped {
		c.Sealed = 1
	}
	c.TornBytes = r.Torn()
	c.UnfoldedBytes = max(r.Position().Offset-from.Offset, 0)
	return c
}

// countQuarantine counts what stands under quarantine/, one level below its cohorts.
func countQuarantine(store *generation.Store) (int, error) {
	n := 0
	cohorts, err := store.FS.ReadDir(store.Root.QuarantineDir())
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	for _, c := range cohorts {
		id, err := cohort.ParseID(c.Name())
		if err != nil || !c.IsDir() {
			continue
		}
		kept, err := store.FS.ReadDir(store.Root.Quarantine(id))
		if err != nil {
			return 0, err
		}
		for _, k := range kept {
			if !durable.IsTemp(k.Name()) && !cohort.IsSystemEntry(k.Name()) {
				n++
			}
		}
	}
	return n, nil
}
