// Package intake takes in files of others, and older ones of ours: it turns an index.parquet of any writer and a
// snapshot_index.json with keys of any form into records, and hands them to compactor.Import.
//
//	report, err := intake.Import(ctx, compactor.Config{Root: "runs"}, intake.Source{Snapshots: file, Cohort: "churn_eu"})
//
// # Backwards compatibility
//
// What one version takes in, every later one does.
package intake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/index"
)

// Source is what Import takes in. At least one of the two files must be given; the caller closes them.
type Source struct {
	// Index is an index.parquet of any writer; its size in bytes is IndexSize.
	Index     io.ReaderAt
	IndexSize int64
	// Snapshots is a snapshot_index.json with keys of any form.
	Snapshots io.Reader
	// Cohort is where rows go that name none. If empty, such rows are left out.
	Cohort cohort.ID
	// Stage is the stage of rows that name none, neither in the value nor in the key. If empty,
	// UNKNOWN.
	Stage string
	// DryRun reads and decides everything and writes nothing.
	DryRun bool
}

// Report says what an import took and what it left out. An import that ends with an error before its commit took nothing.
type Report struct {
	Rows       int               `json:"rows"`      // of the index file
	Snapshots  int               `json:"snapshots"` // of the snapshots file
	Taken      int               `json:"taken"`
	Known      int               `json:"known"`       // the root holds the same already
	Newer      int               `json:"newer"`       // the root, or the files, hold a later write of the key
	Left       int               `json:"left_out"`    // each with its reason, as LeftOut notices
	Renumbered int               `json:"renumbered"`  // their snapshot_seq was taken
	Fallback   int               `json:"without_seq"` // placed by their timestamp
	Generation cohort.Generation `json:"generation"`
}

// Import takes the rows of old files into a root, as one commit: they are visible and durable when it returns nil. It is
// compactor.ErrLocked while another compactor is at work.
//
// Given snapshot_seq values are kept and next_seq goes on above them; rows without one are placed by their timestamp,
// below the lowest given seq where there is room. Any record that was appended to the root counts as later than any
// imported one. Importing the same files again takes nothing, and neither does a row of the same key and snapshot_seq
// as one that was imported before: give an index and its snapshots in one call, which joins them.
//
// What cannot be taken is left out, counted, and told as LeftOut to cfg.Notify. It holds the files' records in memory. It
// ends with ctx, but not within the commit.
func Import(ctx context.Context, cfg compactor.Config, src Source) (Report, error) {
	store, err := cfg.Store()
	if err != nil {
		return Report{}, err
	}
	f := files{src: src, settings: store.Settings, tell: cfg.Notify}
	if err := f.read(ctx); err != nil {
		return f.report, err
	}
	done, err := compactor.Import(ctx, cfg, f.records(), src.DryRun)
	f.report.Taken, f.report.Known, f.report.Newer = done.Taken, done.Known, done.Newer
	f.report.Renumbered, f.report.Generation = done.Renumbered, done.Generation
	return f.report, err
}

// files are the files of one import, and what was made of them.
type files struct {
	src      Source
	settings cohort.Settings
	tell     func(compactor.Notice)
	items    []item
	report   Report
}

func (f *files) notify(n compactor.Notice) {
	if f.tell != nil {
		f.tell(n)
	}
}

// read reads both files and joins a row with the snapshot of its key.
func (f *files) read(ctx context.Context) error {
	byKey := map[cohort.Key]int{}
	if f.src.Index != nil {
		for row, err := range index.ForeignRows(f.src.Index, f.src.IndexSize) {
			if err := errors.Join(err, ctx.Err()); err != nil {
				return fmt.Errorf("read index, row %d: %w", f.report.Rows+1, err)
			}
			f.report.Rows++
			it, err := rowItem(row)
			f.add(it, err, byKey, fmt.Sprintf("row %d", f.report.Rows))
		}
	}
	if f.src.Snapshots != nil {
		for s, err := range index.ForeignSnapshots(f.src.Snapshots) {
			if err := errors.Join(err, ctx.Err()); err != nil {
				return fmt.Errorf("read snapshots, entry %d: %w", f.report.Snapshots+1, err)
			}
			f.report.Snapshots++
			it, err := snapshotItem(s)
			f.add(it, err, byKey, fmt.Sprintf("snapshot %q", s.Key))
		}
	}
	return nil
}

// add completes one item and joins it with an earlier one of its key from the other file, whose cohort
// is that of both: snapshots name none. Several items of one kind with one key (attempts) stay apart:
// the last write among them wins.
func (f *files) add(it item, err error, byKey map[cohort.Key]int, where string) {
	if err == nil {
		err = it.complete(f.src.Cohort, f.src.Stage, f.settings)
	}
	if err != nil {
		f.report.Left++
		f.notify(LeftOut{where, err.Error()})
		return
	}
	key := f.settings.Key.Of(it.record())
	if i, ok := byKey[key]; ok && f.items[i].snapshot == nil && it.fromSnapshots && f.items[i].sameSeq(it) {
		whole := f.items[i]
		whole.join(it)
		if err := whole.check(f.settings); err != nil {
			f.report.Left++
			f.notify(LeftOut{where, err.Error()})
			return
		}
		f.items[i] = whole
		return
	}
	if it.cohort == "" {
		f.report.Left++
		f.notify(LeftOut{where, "names no cohort: give --cohort"})
		return
	}
	if !it.fromSnapshots {
		byKey[key] = len(f.items)
	}
	f.items = append(f.items, it)
}

// records are the items in their order: those with nothing but a timestamp to be ordered by come first, and are told.
func (f *files) records() []compactor.Imported {
	slices.SortStableFunc(f.items, compareItems)
	recs := make([]compactor.Imported, len(f.items))
	for i, it := range f.items {
		recs[i] = compactor.Imported{Record: it.record(), Seq: it.seq}
		if it.seq == 0 {
			f.report.Fallback++
		}
	}
	if f.report.Fallback > 0 {
		f.notify(SeqFallback{f.report.Fallback})
	}
	return recs
}
