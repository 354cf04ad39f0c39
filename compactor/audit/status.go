package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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
	Root       cohort.Root       `json:"root"`
	RootID     string            `json:"root_id"`
	Generation cohort.Generation `json:"generation"` // 0: never folded
	Token      cohort.Token      `json:"-"`          // of that generation: another one of its number has another token
	Rows       int64             `json:"rows"`
	NextSeq    cohort.Seq        `json:"next_seq"`
	Withdrawn  int64             `json:"withdrawn"` // rows that were taken out
	Actions    int64             `json:"actions"`   // that were folded so far
	Narrow     int64             `json:"narrow"`    // records that gave way although they look like other results, so far
	// Generations is how many are kept, and HistoryBytes the size of the data files that only those before the newest name. Each file
	// counts once, whatever other names it has.
	Generations  int                `json:"generations"`
	HistoryBytes int64              `json:"history_bytes"`
	Published    bool               `json:"published"`             // the public files show that generation
	Merged       *generation.Merged `json:"merged,omitempty"`      // of the fold that wrote the index
	FoldedAt     string             `json:"folded_at,omitempty"`   // by the wall clock of that compactor, RFC 3339
	FoldedBy     string             `json:"folded_by,omitempty"`   // program and host
	Holder       string             `json:"lock_holder,omitempty"` // what the lock says; this process may have ended
	Lock         *generation.Lock   `json:"lock,omitempty"`        // by which that generation was made; nil: it does not say it
	Cohorts      []CohortStatus     `json:"cohorts"`
	Quarantine   int                `json:"quarantined"` // notes and streams under quarantine/
	// SetAside are files under quarantine/ that other programs have saved over public names, where these are expected: see docs/foxml.md.
	SetAside []string          `json:"set_aside,omitempty"`
	Stuck    int               `json:"stuck"`    // streams that were folded and could not be moved away, see compactor.Unmovable
	Columns  int               `json:"columns"`  // dynamic ones
	InExtra  index.Extras      `json:"in_extra"` // values that no column holds, by column and reason
	Ahead    *generation.Ahead `json:"clock_ahead,omitempty"`
	Delta    *DeltaStatus      `json:"delta,omitempty"` // nil: folds keep no Delta table

	// Unsealed are the streams of which everything is folded, but no seal, and what becomes of them: their writers live or were killed.
	Unsealed []Unsealed `json:"unsealed,omitempty"`

	// Damaged are files that are not what was committed, as far as a look at names and sizes tells; Check reads them.
	Damaged []Problem `json:"damaged,omitempty"`
	// Unseen are files that the storage does not show, because it does not answer or shows an old state.
	Unseen []Problem `json:"unseen,omitempty"`
}

// Seen tells whether the storage showed all that ReadStatus looked at. If not, a later one tells more.
func (s Status) Seen() bool {
	return len(s.Unseen) == 0 && !slices.ContainsFunc(s.Cohorts, func(c CohortStatus) bool { return c.Unseen > 0 })
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
	Unseen          int           `json:"unseen,omitempty"`   // streams that the storage does not show, see Status.Unseen
}

// ReadStatus looks at a root without a lock and without writing. It reads every unfolded record once. It fails if
// the newest manifest cannot be read, or is damaged (generation.IsDamage). It ends with ctx.
func ReadStatus(ctx context.Context, cfg compactor.Config) (Status, error) {
	store, err := cfg.Store()
	if err != nil {
		return Status{}, err
	}
	s, err := readStatus(ctx, cfg, store)
	if err == nil {
		err = store.StillThere()
	}
	return s, store.Doubt(err, 0)
}

func readStatus(ctx context.Context, cfg compactor.Config, store *generation.Store) (Status, error) {
	newest, err := store.Newest()
	if err != nil {
		return Status{}, err
	}
	s := Status{
		Root: store.Root, RootID: store.Settings.RootID, Generation: newest.Generation, Token: newest.Token, Rows: newest.Index.Rows, NextSeq: newest.NextSeq,
		Narrow: newest.Narrow, Merged: newest.Merged, Lock: newest.Lock, InExtra: index.Extras{},
	}
	if s.Holder, err = cfg.Holder(ctx, store.Settings); err != nil {
		s.Holder = "not known: " + err.Error()
	}
	if w := newest.Withdrawn; w != nil {
		s.Withdrawn, s.Actions = w.Index.Rows, w.Actions.Rows
	}
	if err := s.history(store, newest); err != nil {
		return Status{}, err
	}
	if err := missingIn(store, newest, s.add); err != nil {
		return Status{}, err
	}
	if newest.Generation > 0 {
		s.FoldedAt = newest.CreatedAt
		s.FoldedBy = newest.Program + " on " + newest.Host
		if err = s.lookAtPublic(store, newest, len(s.Damaged)+len(s.Unseen) > 0); err != nil {
			return Status{}, err
		}
		extras, err := extrasOf(store, newest)
		switch err = store.Doubt(err, 0); {
		case err == nil:
			s.InExtra = extras
		case !generation.IsDamage(err):
			return Status{}, err
		case len(s.Damaged) == 0 && len(s.Unseen) == 0:
			path := store.Root.Data(newest.Index.Name)
			s.Damaged = append(s.Damaged, Problem{store.Root.Rel(path), err.Error(), true})
		}
		s.Columns, s.Ahead = len(newest.Schema), newest.Ahead
		s.lookAtDelta(store, newest)
	}
	if s.Quarantine, err = countQuarantine(store); err != nil {
		return Status{}, err
	}
	if s.SetAside, err = store.SetAside(); err != nil {
		return Status{}, err
	}
	s.Stuck = countStuck(store, newest.Streams)
	if s.Cohorts, err = cohortStatus(ctx, store, newest.Marks()); err != nil {
		return s, err
	}
	s.Unsealed, err = unsealed(store, cfg, newest)
	return s, err
}

// history counts what is kept beside the newest generation.
func (s *Status) history(store *generation.Store, newest generation.Manifest) error {
	gens, err := store.List()
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, d := range newest.Files() {
		known[d.Name] = true
	}
	for _, g := range gens {
		s.Generations++
		m, err := store.Read(g)
		if err != nil {
			continue // what it names is not known, and Check tells
		}
		for _, d := range m.Files() {
			if !known[d.Name] {
				known[d.Name] = true
				s.HistoryBytes += d.Size
			}
		}
	}
	return nil
}

// countStuck counts the streams that a fold could not move away, and that are still there.
func countStuck(store *generation.Store, marks []generation.Watermark) (n int) {
	for _, m := range marks {
		if !m.Stuck {
			continue
		}
		if _, err := store.FS.Stat(store.Root.Stream(m.Stream.Cohort, m.Stream.ID)); err == nil {
			n++
		}
	}
	return n
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

// lookAtPublic looks at the data files of a generation and at the names that show them. A name that is missing, or shows an earlier
// generation, is what a fold that was killed leaves; anything else there is damage. Where manifests are missing, the public names
// are not looked at: they show a later generation.
func (s *Status) lookAtPublic(store *generation.Store, newest generation.Manifest, missing bool) error {
	bad := map[string]bool{}
	for _, d := range newest.Files() {
		err := store.CheckSize(d)
		if now, lerr := store.Newest(); errors.Is(err, fs.ErrNotExist) && (lerr != nil || now.Generation != newest.Generation) {
			continue // swept since we looked
		}
		if err = store.Doubt(err, 0); err != nil {
			bad[d.Name] = true
			path := store.Root.Data(d.Name)
			s.add(Problem{store.Root.Rel(path), strings.TrimPrefix(err.Error(), path+": "), !durable.IsAway(err)})
		}
	}
	if missing {
		return nil
	}
	old, err := store.Unpublished(newest)
	if err != nil {
		return err
	}
	for _, p := range old {
		if bad[p.Data.Name] {
			continue // the same file by another name, or about to be
		}
		g, err := store.Shown(p)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !generation.IsDamage(err) {
			return err
		}
		switch path := store.Root.Rel(p.Name); {
		case err != nil || g != 0:
		case store.MayBeOld(0):
			s.add(Problem{path, fmt.Sprintf("the storage does not show it as generation %d yet", newest.Generation), false})
		default:
			s.add(Problem{path, "is not what any kept generation published: compactd once keeps it in quarantine/ and publishes the newest one", true})
		}
	}
	s.Published = len(old) == 0
	return nil
}

func (s *Status) add(p Problem) {
	if p.Damage {
		s.Damaged = append(s.Damaged, p)
	} else {
		s.Unseen = append(s.Unseen, p)
	}
}

func cohortStatus(ctx context.Context, store *generation.Store, marks map[journal.Stream]generation.Watermark) ([]CohortStatus, error) {
	streams, _, err := store.Journal().Streams()
	if err != nil && len(streams) == 0 {
		return nil, err
	}
	streams = slices.DeleteFunc(streams, func(p journal.Place) bool { return p.Reaped && marks[p.Stream].Sealed }) // done with
	found := make([]CohortStatus, len(streams))
	var g errgroup.Group
	g.SetLimit(readers)
	for i, s := range streams {
		g.Go(func() error {
			found[i] = streamStatus(store, s, marks[s.Stream])
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
		Reaped: c.Reaped + d.Reaped, Unseen: c.Unseen + d.Unseen,
		UnfoldedRecords: c.UnfoldedRecords + d.UnfoldedRecords, UnfoldedBytes: c.UnfoldedBytes + d.UnfoldedBytes,
		OldestUnfolded: max(c.OldestUnfolded, d.OldestUnfolded), TornBytes: c.TornBytes + d.TornBytes,
	}
}

// streamStatus is the status of one stream, read from its watermark on. It is empty if the stream was swept after the
// listing.
func streamStatus(store *generation.Store, s journal.Place, from generation.Watermark) (c CohortStatus) {
	r, err := store.Journal().Open(s, from.Position)
	if errors.Is(err, fs.ErrNotExist) {
		return CohortStatus{}
	}
	if s.Reaped {
		c.Reaped = 1
	} else {
		c.Streams = 1
	}
	if err = store.Doubt(err, from.Grown); durable.IsAway(err) {
		c.Unseen = 1
		return c
	}
	if journal.IsCutOff(err) {
		if end, eerr := store.Journal().End(s); eerr == nil && from.MayEndAt(end) {
			return c // check tells of it, and the next fold goes on from its end
		}
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
		} else if err = store.Doubt(err, from.Grown); durable.IsAway(err) {
			c.Unseen = 1
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
