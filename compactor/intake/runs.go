package intake

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/intake/tracker"
)

// RunSource is what ImportRuns takes in: runs of a tracker.
type RunSource struct {
	Runs tracker.Runs
	// Options are those that Runs were made with.
	Options tracker.Options
	// Cohort is where all runs go. If empty, each goes to that of its experiment: see tracker.CohortOf.
	Cohort cohort.ID
	// Stage is the stage of the runs. If empty, RUN.
	Stage string
	// Prefix stands before each run_id.
	Prefix string
	// Deleted takes the runs, too, that were deleted in the tracker. If false, they are counted.
	Deleted bool
	// DryRun reads and decides everything and writes nothing.
	DryRun bool
	// BatchBytes is up to how much of the records is held in memory, and one commit. If zero, compactor.DefaultBatchBytes.
	BatchBytes int64
}

const defaultStage = "RUN"

// RunReport says what an import of runs took and what it left out.
type RunReport struct {
	Found       int                 `json:"found"` // runs that could be read
	Taken       int                 `json:"taken"`
	Replaced    int                 `json:"replaced"`              // of those taken: in the place of a row that stood
	Known       int                 `json:"known"`                 // the root holds the same already
	Newer       int                 `json:"newer"`                 // the root holds a later write of the key
	Withdrawn   int                 `json:"withdrawn,omitempty"`   // the run was withdrawn, and the row stays among those
	Erased      int                 `json:"erased,omitempty"`      // of erased runs, which never get in again
	Deleted     int                 `json:"deleted"`               // in the tracker, and not taken
	Copies      int                 `json:"copies"`                // the same run in another place, of which the later state counts
	Left        int                 `json:"left_out"`              // runs, and parts of runs, with their Reasons
	Reasons     []LeftOut           `json:"reasons"`               //
	Experiments []Experiment        `json:"experiments"`           // in the order in which they were met
	NonFinite   int                 `json:"non_finite"`            // values that are NaN or infinite, read as missing
	Extra       int64               `json:"extra"`                 // values that no column holds
	Zoned       int                 `json:"zones_assumed"`         // times that had no zone
	StepsCut    int                 `json:"steps_cut"`             // metrics of which not all steps were kept
	Torn        int                 `json:"torn"`                  // files that end within an entry, and were read up to there
	Other       map[string]int      `json:"not_taken,omitempty"`   // runs with data of a kind that is not taken
	Generations []cohort.Generation `json:"generations,omitempty"` // of the commits
	compactor.Narrowing
}

// Experiment is one experiment of a tracker.
type Experiment struct {
	Name   string    `json:"name"`
	Cohort cohort.ID `json:"cohort"`
	Runs   int       `json:"runs"`
}

// ImportRuns takes the runs of a tracker into a root. It is Import for records that are made of runs: they count as earlier than any record that was
// appended to the root, and importing the same runs again takes nothing. A run that went on in its tracker is taken again, and takes the place of its row: the
// state with the later time counts, and of states of one time the one that is imported later.
//
// The records are one commit, or several where they are more than BatchBytes. After an error all commits before it stand, and the same import goes on.
//
// What cannot be read is left out, counted, and told as LeftOut to cfg.Notify, once for each reason.
func ImportRuns(ctx context.Context, cfg compactor.Config, src RunSource) (RunReport, error) {
	store, err := cfg.Store()
	if err != nil {
		return RunReport{}, err
	}
	if src.Stage == "" {
		src.Stage = defaultStage
	}
	if src.BatchBytes == 0 {
		src.BatchBytes = compactor.DefaultBatchBytes
	}
	in := runImport{src: src, cfg: cfg, settings: store.Settings, known: map[cohort.Key]met{}, experiments: map[string]int{}}
	err = in.read(ctx)
	if err == nil {
		err = in.commit(ctx)
	}
	in.tellAll()
	return in.report, err
}

// runImport is one call of ImportRuns.
type runImport struct {
	src      RunSource
	cfg      compactor.Config
	settings cohort.Settings

	batch       []compactor.Imported
	bytes       int64
	known       map[cohort.Key]met // the keys of this import
	experiments map[string]int     // in the report
	left        reasons
	torn        reasons
	copies      reasons
	cut         string // a run with a metric that was cut
	report      RunReport
}

// met is a run of this import.
type met struct {
	experiment, where string
	start, at         time.Time
}

// read makes records of all runs, and commits whenever there are enough of them.
func (in *runImport) read(ctx context.Context) error {
	for run, err := range in.src.Runs {
		var left *tracker.LeftOutError
		switch {
		case errors.As(err, &left):
			in.leave(left.Reason, left.Where)
		case err != nil:
			return err
		default:
			if err := in.add(ctx, &run); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

func (in *runImport) leave(reason, where string) {
	in.report.Left++
	in.left.add(reason, where)
}

// add takes one run.
func (in *runImport) add(ctx context.Context, run *tracker.Run) error {
	in.report.Found++
	if run.Deleted && !in.src.Deleted {
		in.report.Deleted++
		return nil
	}
	id := in.src.Cohort
	if id == "" && run.Experiment == "" {
		in.leave("nothing says of which experiment it is: import the folder above it, or give --cohort", run.Where)
		return nil
	}
	if id == "" {
		id, _ = tracker.CohortOf(run.Experiment)
	}
	r, cut, err := in.record(run)
	if err != nil {
		in.leave(err.Error(), run.Where)
		return nil
	}
	r.Cohort = id
	if !in.isFirst(run, in.settings.Key.Of(r)) {
		return nil
	}
	in.count(run, id, cut)
	in.batch = append(in.batch, compactor.Imported{Record: r})
	if in.bytes += int64(len(r.JSON)); in.bytes < in.src.BatchBytes {
		return nil
	}
	return in.commit(ctx)
}

// record is a run as a record. If that is larger than a record may be, it has fewer steps.
func (in *runImport) record(run *tracker.Run) (r cohort.Record, cut int, err error) {
	shape := tracker.Shape{Stage: in.src.Stage, Prefix: in.src.Prefix, Most: in.src.Options.Most()}
	most := in.settings.MaxRecord
	if most == 0 {
		most = cohort.DefaultMaxRecord
	}
	json, cut := run.JSON(shape)
	for len(json) > most && shape.Most > 1 {
		shape.Most /= 2
		json, cut = run.JSON(shape)
	}
	if r, err = cohort.ParseRecord(json, most); err != nil {
		return r, cut, err
	}
	return r, cut, errors.Join(in.settings.Key.ValidateRecord(r), in.settings.Key.Validate(r))
}

// isFirst tells whether a run is to be taken: it is the first of its key, or a later state of the first.
func (in *runImport) isFirst(run *tracker.Run, key cohort.Key) bool {
	m := met{run.Experiment, run.Where, run.Start, run.At()}
	first, ok := in.known[key]
	switch {
	case !ok:
		in.known[key] = m
		return true
	case first.experiment != m.experiment || !first.start.Equal(m.start):
		in.leave("another run of this import has the same run_id and stage: import each with a --prefix of its own, or into a root with a wider key "+
			"(compactd init --key run_id,phase,cohort_id)", fmt.Sprintf("%s (%s is that of %s)", run.Where, key, first.where))
		return false
	}
	in.report.Copies++
	in.copies.add("", run.Where)
	if !m.at.After(first.at) {
		return false
	}
	in.known[key] = m
	return true
}

func (in *runImport) count(run *tracker.Run, id cohort.ID, cut int) {
	i, ok := in.experiments[run.Experiment]
	if !ok {
		i = len(in.report.Experiments)
		in.experiments[run.Experiment] = i
		in.report.Experiments = append(in.report.Experiments, Experiment{Name: run.Experiment, Cohort: id})
	}
	in.report.Experiments[i].Runs++
	in.report.NonFinite += run.NonFinite()
	if cut > 0 && in.cut == "" {
		in.cut = run.Where
	}
	in.report.StepsCut += cut
	in.report.Zoned += run.Zoned
	if run.Torn != "" {
		in.report.Torn++
		in.torn.add("", run.Torn)
	}
	for _, kind := range run.Other {
		if in.report.Other == nil {
			in.report.Other = map[string]int{}
		}
		in.report.Other[kind]++
	}
}

// commit takes what was read since the last commit.
func (in *runImport) commit(ctx context.Context) error {
	inTime(in.batch)
	done, err := compactor.Import(ctx, in.cfg, in.batch, in.src.DryRun)
	in.report.Taken += done.Taken
	in.report.Replaced += done.Replaced
	in.report.Known += done.Known
	in.report.Newer += done.Newer
	in.report.Withdrawn += done.Withdrawn
	in.report.Erased += done.Erased
	in.report.Extra += done.InExtra.Values()
	in.report.Narrowing = in.report.Narrowing.Plus(done.Narrowing)
	if done.Taken+done.Withdrawn > 0 && !in.src.DryRun && err == nil {
		in.report.Generations = append(in.report.Generations, done.Generation)
	}
	in.batch, in.bytes = nil, 0
	return err
}

func (in *runImport) tellAll() {
	in.report.Reasons = in.left.list
	tell := func(n compactor.Notice) {
		if in.cfg.Notify != nil {
			in.cfg.Notify(n)
		}
	}
	for _, n := range in.left.list {
		tell(n)
	}
	if in.src.Cohort == "" {
		tellRenamed(in.report.Experiments, tell)
	}
	if in.report.Deleted > 0 {
		tell(DeletedRuns{in.report.Deleted})
	}
	for _, n := range in.copies.list {
		tell(CopiedRuns(n))
	}
	for _, n := range in.torn.list {
		tell(TornFiles(n))
	}
	if in.report.StepsCut > 0 {
		tell(StepsCut{in.report.StepsCut, in.src.Options.Most(), in.cut})
	}
	if in.report.Zoned > 0 {
		zone := Source{Zone: in.src.Options.Zone}.zone()
		tell(Zoned{in.report.Zoned, zone.String(), in.src.Options.Zone == nil})
	}
	if in.report.NonFinite > 0 {
		tell(NonFinite{in.report.NonFinite})
	}
	if len(in.report.Other) > 0 {
		tell(OtherData(in.report.Other))
	}
}
