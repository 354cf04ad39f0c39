// Package intake imports files of other programs, and older files of ours. It turns an index.parquet of any writer, a
// snapshot_index.json with keys of any form, CSV files and lines of JSON into records, and gives them to compactor.Import. ImportRuns does so with the runs
// of trackers, which packages below this one read.
//
//	report, err := intake.Import(ctx, compactor.Config{Root: "runs"}, intake.Source{
//		Snapshots: []intake.SnapshotsFile{{Data: file}}, Cohort: "churn_eu",
//	})
//
// # Backwards compatibility
//
// Every later version accepts the files that an earlier version accepted.
package intake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/index"
)

// Report says what an import took and what it left out. An import that ends with an error before its commit took nothing.
type Report struct {
	Rows       int               `json:"rows"`      // of the index file
	Snapshots  int               `json:"snapshots"` // of the snapshots file
	Taken      int               `json:"taken"`
	Replaced   int               `json:"replaced"`            // of those taken: in the place of a row that stood
	Withdrawn  int               `json:"withdrawn,omitempty"` // the run was withdrawn, and the row stays among those
	Known      int               `json:"known"`               // the root holds the same already
	Erased     int               `json:"erased,omitempty"`    // of erased runs, which never get in again
	Newer      int               `json:"newer"`               // the root, or the files, hold a later write of the key
	Joined     int               `json:"joined"`              // snapshots that became those of their rows
	Covered    int               `json:"covered"`             // snapshots without a number, of keys that a row with numbers has
	Left       int               `json:"left_out"`            // with their Reasons
	Reasons    []LeftOut         `json:"reasons"`
	NonFinite  int               `json:"non_finite"`                // values that are NaN or infinite, read as missing
	Zoned      int               `json:"zones_assumed"`             // timestamps that had no zone
	OddTimes   int               `json:"odd_times"`                 // timestamps that are no time, kept as imported_timestamp
	Renumbered int               `json:"renumbered"`                // their snapshot_seq was taken
	Fallback   int               `json:"without_seq"`               // placed by their timestamp
	Extra      int64             `json:"extra"`                     // values that no column holds
	Renamed    []Experiment      `json:"cohorts_changed,omitempty"` // see Source.Rename
	Rekeyed    int               `json:"rekeyed"`                   // rows that had another key in the root that they come from
	Generation cohort.Generation `json:"generation"`
	compactor.Narrowing
}

// Import takes the rows of old files into a root, as one commit: they are visible and durable when it returns nil. It is
// compactor.ErrLocked while another compactor is at work.
//
// A row is joined with the snapshot of the same run: run_id, stage, target, view and symbol are equal, or one of both does not name them
// and no other may be meant. The column mode is the view. A snapshot without any number never takes the place of a row that has some.
//
// Given snapshot_seq values are kept and next_seq goes on above them; rows without one are placed by their timestamp,
// below the lowest given seq where there is room. Several files may be one numbering, or each may have its own: then all are ordered by
// timestamp, and what has none stands behind what stands before it in its file. Where times are equal, the later file is the later
// write. Any record that was appended to the root counts as later than any imported one. Importing the same files again takes
// nothing, and neither does a row of the same key and snapshot_seq as one that was imported before. A changed row that has neither a seq nor a
// timestamp counts as later than the one that was imported before.
//
// What cannot be taken is left out, counted, and told as LeftOut to cfg.Notify, once for each reason. It holds the files' records in memory. It
// ends with ctx, but not within the commit.
func Import(ctx context.Context, cfg compactor.Config, src Source) (Report, error) {
	store, err := cfg.Store()
	if err != nil {
		return Report{}, err
	}
	f := files{src: src, names: naming{src.fields(), map[string]bool{}}, settings: store.Settings, tell: cfg.Notify}
	if err := f.read(ctx); err != nil {
		return f.report, err
	}
	if f.isFoxml() {
		if err := f.findCohorts(cfg); err != nil {
			return f.report, err
		}
	}
	recs := f.records()
	f.tellAll()
	done, err := compactor.Import(ctx, cfg, recs, src.DryRun)
	f.report.Taken, f.report.Known, f.report.Newer, f.report.Withdrawn = done.Taken, done.Known, done.Newer, done.Withdrawn
	f.report.Erased, f.report.Replaced, f.report.Extra = done.Erased, done.Replaced, done.InExtra.Values()
	f.report.Renumbered, f.report.Generation, f.report.Narrowing = done.Renumbered, done.Generation, done.Narrowing
	return f.report, err
}

// files are the files of one import, and what was made of them.
type files struct {
	src      Source
	names    naming
	settings cohort.Settings
	tell     func(compactor.Notice)
	rows     []item
	snaps    []item
	left     reasons
	conflict *SeqConflict
	report   Report
}

func (f *files) notify(n compactor.Notice) {
	if f.tell != nil {
		f.tell(n)
	}
}

// FileError is a file of the source that could not be read: index.ErrUnsupported or index.ErrDamaged, or what its reader returned.
type FileError struct {
	File, Place string
	Err         error
}

func (e *FileError) Error() string { return fmt.Sprintf("read %s, %s: %v", e.File, e.Place, e.Err) }
func (e *FileError) Unwrap() error { return e.Err }

// read reads all files, and joins rows with their snapshots.
func (f *files) read(ctx context.Context) error {
	for n, file := range f.src.Indexes {
		if err := f.readIndex(ctx, n, file); err != nil {
			return err
		}
	}
	for n, file := range f.src.Tables {
		if err := f.readTable(ctx, len(f.src.Indexes)+n, file); err != nil {
			return err
		}
	}
	for n, file := range f.src.Lines {
		if err := f.readLines(ctx, len(f.src.Indexes)+len(f.src.Tables)+n, file); err != nil {
			return err
		}
	}
	for n, file := range f.src.Snapshots {
		if err := f.readSnapshots(ctx, n, file); err != nil {
			return err
		}
	}
	if f.report.Rows+f.report.Snapshots == 0 {
		return nil
	}
	for _, field := range slices.Sorted(maps.Keys(f.src.Fields)) {
		if name := f.src.Fields[field]; !f.names.met[name] {
			return fmt.Errorf("no row and no snapshot has a field %q, which is to be the %s", name, field)
		}
	}
	return nil
}

func (f *files) readIndex(ctx context.Context, n int, file IndexFile) error {
	number := 0
	for row, err := range index.ForeignRows(file.Data, file.Size) {
		number++
		if err := errors.Join(err, ctx.Err()); err != nil {
			return &FileError{cmp.Or(file.Name, "index"), fmt.Sprintf("row %d", number), err}
		}
		f.report.Rows++
		f.report.NonFinite += row.NonFinite
		where := place(file.Name, len(f.src.Indexes), fmt.Sprintf("row %d", number))
		it, err := f.names.rowItem(row.JSON)
		f.add(it, err, position{file: n, where: where})
	}
	return nil
}

func (f *files) readSnapshots(ctx context.Context, n int, file SnapshotsFile) error {
	number := 0
	for s, err := range index.ForeignSnapshots(file.Data) {
		number++
		if err := errors.Join(err, ctx.Err()); err != nil {
			return &FileError{cmp.Or(file.Name, "snapshots"), fmt.Sprintf("entry %d", number), err}
		}
		f.report.Snapshots++
		f.report.NonFinite += s.NonFinite
		where := place(file.Name, len(f.src.Snapshots), fmt.Sprintf("snapshot %q", s.Key))
		it, err := f.names.snapshotItem(s, f.settings.Key)
		f.add(it, err, position{file: n, where: where, ofSnapshots: true})
	}
	return nil
}

// place names a row or a snapshot, with its file if there are several.
func place(file string, files int, what string) string {
	if files > 1 && file != "" {
		return file + ": " + what
	}
	return what
}

// add completes one item.
func (f *files) add(it item, err error, at position) {
	it.position = at
	if err == nil && f.isFoxml() {
		it.asFoxml()
	}
	if err == nil {
		err = f.complete(&it)
	}
	switch {
	case err != nil:
		f.leave(err.Error(), at)
	case at.ofSnapshots:
		f.snaps = append(f.snaps, it)
	default:
		f.rows = append(f.rows, it)
	}
}

func (f *files) leave(reason string, at position) {
	f.report.Left++
	f.left.add(reason, at.where)
}

// records are the items in their order. Items without a seq come first, ordered by timestamp, and are told.
func (f *files) records() []compactor.Imported {
	f.dropSeqs()
	items := f.whole()
	inOrder(items)
	recs := make([]compactor.Imported, len(items))
	for i, it := range items {
		recs[i] = compactor.Imported{Record: it.record(), Seq: it.seq, Segment: it.segment}
		if f.isFoxml() && it.key != "" && it.seq != 0 {
			recs[i].Was = &compactor.Was{Key: cohort.Key(it.key), RecordID: it.recordID, Snapshot: it.lineOf()}
		}
		if it.seq == 0 {
			f.report.Fallback++
		}
	}
	return recs
}

// whole are the items that name a cohort and all fields of their key. That the root takes them was checked as they were read and joined.
func (f *files) whole() (items []item) {
	for _, it := range f.joined() {
		if it.cohort == "" {
			f.leave("names no cohort: give --cohort, or --map cohort_id=COLUMN", it.position)
			continue
		}
		if it.unnamed {
			f.leave("its key has more parts than run_id and stage, and nobody says of which fields: import the index.parquet of the same "+
				"root together with it", it.position)
			continue
		}
		if it.key != "" && !it.ofSnapshots && it.key != it.place(f.settings.Key) {
			f.report.Rekeyed++
		}
		items = append(items, it)
	}
	return items
}

// tellAll tells what the reading found, and completes the report.
func (f *files) tellAll() {
	f.report.Reasons = f.left.list
	for _, n := range f.left.list {
		f.notify(n)
	}
	tellRenamed(f.report.Renamed, f.notify)
	if f.conflict != nil {
		f.notify(*f.conflict)
	}
	if f.report.Fallback > 0 && (f.report.Fallback < f.report.Rows+f.report.Snapshots-f.report.Left || f.report.Snapshots > 0) {
		f.notify(SeqFallback{f.report.Fallback}) // else they have no numbers at all, as the tables of others
	}
	if f.report.Rekeyed > 0 {
		f.notify(Rekeyed{f.report.Rekeyed})
	}
	if f.report.NonFinite > 0 {
		f.notify(NonFinite{f.report.NonFinite})
	}
	if f.report.OddTimes > 0 {
		f.notify(OddTimes{f.report.OddTimes})
	}
	if f.report.Zoned > 0 {
		f.notify(Zoned{f.report.Zoned, f.src.zone().String(), f.src.Zone == nil})
	}
}
