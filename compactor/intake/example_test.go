package intake_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/intake"
	"github.com/runfold/runfold/compactor/intake/mlruns"
	"github.com/runfold/runfold/compactor/intake/tracker"
	"github.com/runfold/runfold/journal"
)

// old is a snapshot_index.json that another program wrote.
const old = `{
  "r-1:TRAINING": {"snapshot_seq": 4, "auc": 0.71},
  "r-2:TRAINING": {"snapshot_seq": 9, "auc": 0.72},
  "r-3": "no object"
}`

func ExampleImport() {
	temp, err := os.MkdirTemp("", "runfold")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(temp)
	root, _, err := journal.InitRoot(cohort.Root(filepath.Join(temp, "runs")), cohort.Settings{}, journal.RootOptions{})
	if err != nil {
		log.Fatal(err)
	}

	cfg := compactor.Config{Root: root.Dir, Notify: func(n compactor.Notice) { fmt.Println(n) }}
	report, err := intake.Import(context.Background(), cfg, intake.Source{Snapshots: []intake.SnapshotsFile{{Data: strings.NewReader(old)}}, Cohort: "churn_eu"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(report.Snapshots, report.Taken, report.Left)
	// Output:
	// snapshot "r-3" left out: is not an object
	// published generation 1 with 2 rows
	// 3 2 1
}

func ExamplePreviousInFile() {
	q := compactor.Query{Cohort: "churn_eu", RunID: "r-2", Stage: "TRAINING"}
	run, ok, err := intake.PreviousInFile(strings.NewReader(old), q, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(run.Key, run.Seq, ok)
	// Output: r-1:TRAINING 4 true
}

func ExampleImportRuns() {
	temp, err := os.MkdirTemp("", "runfold")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(temp)
	root, _, err := journal.InitRoot(cohort.Root(filepath.Join(temp, "runs")), cohort.Settings{}, journal.RootOptions{})
	if err != nil {
		log.Fatal(err)
	}

	ctx, options := context.Background(), tracker.Options{Steps: 100}
	runs := mlruns.Runs(ctx, filepath.Join("..", "..", "docs", "examples", "trackers", "mlruns"), options)
	cfg := compactor.Config{Root: root.Dir, Notify: func(n compactor.Notice) { fmt.Println(n) }}
	report, err := intake.ImportRuns(ctx, cfg, intake.RunSource{Runs: runs, Options: options})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(report.Found, report.Taken, report.Deleted)
	// Output:
	// published generation 1 with 3 rows
	// "Churn (Asia)" becomes cohort Churn-Asia-cad95d34: a cohort has 1 to 200 characters of A-Za-z0-9._=- and no dot at its beginning
	// 1 runs were deleted in the tracker, and not taken: --deleted takes them
	// 4 3 1
}
