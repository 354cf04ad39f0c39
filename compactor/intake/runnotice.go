package intake

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/runfold/runfold/compactor"
)

// Renamed tells that an experiment, or the cohort of rows, has a name that no cohort can have.
type Renamed Experiment

func (n Renamed) String() string {
	return fmt.Sprintf("%q becomes cohort %s: a cohort has 1 to 200 characters of A-Za-z0-9._=- and no dot at its beginning", n.Name, n.Cohort)
}

// MoreRenamed tells how many more there are.
type MoreRenamed struct{ Count int }

func (n MoreRenamed) String() string {
	return fmt.Sprintf("%d more names become cohorts of other names: --json lists them all", n.Count)
}

// mostRenamed bounds how many are told one by one.
const mostRenamed = 20

// tellRenamed tells of each experiment whose name was changed.
func tellRenamed(all []Experiment, tell func(compactor.Notice)) {
	n := 0
	for _, x := range all {
		if string(x.Cohort) == x.Name {
			continue
		}
		if n++; n <= mostRenamed {
			tell(Renamed(x))
		}
	}
	if n > mostRenamed {
		tell(MoreRenamed{n - mostRenamed})
	}
}

// DeletedRuns tells that runs were deleted in their tracker.
type DeletedRuns struct{ Count int }

func (n DeletedRuns) String() string {
	return fmt.Sprintf("%d runs were deleted in the tracker, and not taken: --deleted takes them", n.Count)
}

// CopiedRuns tells that runs stand in several places.
type CopiedRuns LeftOut

func (n CopiedRuns) String() string {
	return fmt.Sprintf("%d runs stand in more than one place, such as %s: of each the later state counts, and of equal ones the first", n.Count, n.Where[0])
}

// TornFiles tells that files end within an entry, as those of a process that was killed or that still writes.
type TornFiles LeftOut

func (n TornFiles) String() string {
	return fmt.Sprintf("%s within an entry, and %s read up to there: the run was killed, or goes on (import it again when it has ended)", subject(LeftOut(n)), wasWere(n.Count))
}

// subject names some files as a subject with its verb.
func subject(n LeftOut) string {
	switch {
	case n.Count == 1:
		return n.Where[0] + " ends"
	case n.Count > len(n.Where):
		return fmt.Sprintf("%s and %d more end", strings.Join(n.Where, ", "), n.Count-len(n.Where))
	}
	return strings.Join(n.Where, ", ") + " end"
}

func wasWere(n int) string {
	if n == 1 {
		return "was"
	}
	return "were"
}

// StepsCut tells that not all steps of some metrics were kept.
type StepsCut struct {
	Metrics, Most int
	Where         string // a run that has one
}

func (n StepsCut) String() string {
	if n.Most == 0 {
		return fmt.Sprintf("the steps of %d metrics were not kept", n.Metrics)
	}
	return fmt.Sprintf("%d metrics have more steps than were kept, such as in %s: at most %d of each, evenly, with the first and the last; the last value is that of the tracker, "+
		"and --steps N keeps more", n.Metrics, n.Where, n.Most)
}

// OtherData tells that runs have data of kinds that are not taken.
type OtherData map[string]int

func (n OtherData) String() string {
	var kinds []string
	for _, kind := range slices.Sorted(maps.Keys(n)) {
		kinds = append(kinds, fmt.Sprintf("%s (%d runs)", kind, n[kind]))
	}
	return "not taken, and still in the tracker: " + strings.Join(kinds, ", ")
}

// inTime puts records in the order of their times. Those without one stand first, in the order in which they came.
func inTime(recs []compactor.Imported) {
	slices.SortStableFunc(recs, func(a, b compactor.Imported) int { return a.Record.Time().Compare(b.Record.Time()) })
}
