package compactor_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/lock/file"
	"github.com/runfold/runfold/journal"
)

// tempRoot makes a root for an example, and returns what removes it.
func tempRoot() (root journal.Root, remove func()) {
	dir, err := os.MkdirTemp("", "runfold")
	if err != nil {
		log.Fatal(err)
	}
	root, _, err = journal.InitRoot(cohort.Root(filepath.Join(dir, "runs")), cohort.Settings{}, journal.RootOptions{})
	if err != nil {
		log.Fatal(err)
	}
	return root, func() { os.RemoveAll(dir) }
}

// appendRuns appends records with a Writer of their own.
func appendRuns(root journal.Root, runs ...string) {
	w, err := root.Create("churn_eu", journal.Options{})
	if err != nil {
		log.Fatal(err)
	}
	for _, run := range runs {
		r, err := cohort.ParseRecord(fmt.Appendf(nil, `{"run_id":%q,"stage":"TRAINING"}`, run), 0)
		if err != nil {
			log.Fatal(err)
		}
		if err := w.Append([]cohort.Record{r}); err != nil {
			log.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}
}

func ExampleFold() {
	root, remove := tempRoot()
	defer remove()
	appendRuns(root, "r-1", "r-2", "r-1")

	report, err := compactor.Fold(context.Background(), compactor.Config{
		Root:   root.Dir,
		Notify: func(n compactor.Notice) { fmt.Println(n) },
	})
	if errors.Is(err, compactor.ErrLocked) {
		return // another process folds at this moment
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(report.Records, report.Added, report.Superseded, report.Clean())
	// Output:
	// published generation 1 with 2 rows
	// 3 2 1 true
}

// Runs that no fold has read yet come last, with the record that was appended. A row that one of them replaces is left out.
func ExampleRuns() {
	root, remove := tempRoot()
	defer remove()
	ctx, cfg := context.Background(), compactor.Config{Root: root.Dir}
	appendRuns(root, "r-1", "r-2")
	if _, err := compactor.Fold(ctx, cfg); err != nil {
		log.Fatal(err)
	}
	appendRuns(root, "r-1")

	for run, err := range compactor.Runs(ctx, cfg, true) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%d %s %q\n", run.Seq, run.Key, run.Record)
	}
	// Output:
	// 2 r-2:TRAINING ""
	// 3 r-1:TRAINING "{\"run_id\":\"r-1\",\"stage\":\"TRAINING\"}"
}

func ExamplePrevious() {
	root, remove := tempRoot()
	defer remove()
	ctx, cfg := context.Background(), compactor.Config{Root: root.Dir}
	appendRuns(root, "r-1", "r-2")
	if _, err := compactor.Fold(ctx, cfg); err != nil {
		log.Fatal(err)
	}

	for _, id := range []string{"r-2", "r-1"} {
		run, ok, err := compactor.Previous(ctx, cfg, compactor.Query{Cohort: "churn_eu", RunID: id, Stage: "TRAINING"})
		fmt.Printf("before %s: %q %t %v\n", id, run.RunID, ok, err)
	}
	// Output:
	// before r-2: "r-1" true <nil>
	// before r-1: "" false <nil>
}

func ExampleImport() {
	root, remove := tempRoot()
	defer remove()
	r, err := cohort.ParseRecord([]byte(`{"run_id":"old","stage":"TRAINING","timestamp":"2025-11-30T12:00:00Z"}`), 0)
	if err != nil {
		log.Fatal(err)
	}
	r.Cohort = "churn_eu"

	report, err := compactor.Import(context.Background(), compactor.Config{Root: root.Dir}, []compactor.Imported{{Record: r, Seq: 41}}, false)
	fmt.Println(report.Taken, report.Known, err)
	// Output: 1 0 <nil>
}

func ExampleParseSchedule() {
	s, err := compactor.ParseSchedule("30 2 * * *")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(s.Next(time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)))

	_, err = compactor.ParseSchedule("0 0 30 2 *")
	fmt.Println(err)
	// Output:
	// 2026-02-01 02:30:00 +0000 UTC
	// schedule "0 0 30 2 *" never runs: no such date exists
}

// A daemon folds at once and then on schedule, until its context ends.
func ExampleSchedule_Run() {
	root, remove := tempRoot()
	defer remove()
	every, err := compactor.ParseSchedule("@every 30s")
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background()) // in a daemon: signal.NotifyContext
	defer stop()
	every.Run(ctx, func(ctx context.Context) error {
		defer stop() // an example must end
		report, err := compactor.Fold(ctx, compactor.Config{Root: root.Dir})
		fmt.Println("generation", uint64(report.Generation))
		return err
	}, func(err error) { log.Print(err) }, nil)
	// Output: generation 1
}

// While a program holds the lock, no fold runs.
func ExampleLocker() {
	root, remove := tempRoot()
	defer remove()
	held, err := file.Lock{Path: root.Dir.CompactLock(), Wait: time.Second}.Lock(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	_, err = compactor.Fold(context.Background(), compactor.Config{Root: root.Dir})
	fmt.Println(errors.Is(err, compactor.ErrLocked), held.Unlock())
	// Output: true <nil>
}
