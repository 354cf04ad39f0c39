package audit_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/journal"
)

// atWork makes a root for an example, with a run that is folded and one that waits, and returns what removes it.
func atWork() (dir cohort.Root, remove func()) {
	temp, err := os.MkdirTemp("", "runfold")
	if err != nil {
		log.Fatal(err)
	}
	root, _, err := journal.InitRoot(cohort.Root(filepath.Join(temp, "runs")), cohort.Settings{}, journal.RootOptions{})
	if err != nil {
		log.Fatal(err)
	}
	w, err := root.Create("churn_eu", journal.Options{})
	if err != nil {
		log.Fatal(err)
	}
	for n := range 2 {
		r, err := cohort.ParseRecord(fmt.Appendf(nil, `{"run_id":"r-%d","stage":"TRAINING","timestamp":"2026-01-31T12:00:00Z"}`, n), 0)
		if err == nil {
			err = w.Append([]cohort.Record{r})
		}
		if err == nil && n == 0 {
			_, err = compactor.Fold(context.Background(), compactor.Config{Root: root.Dir})
		}
		if err != nil {
			log.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}
	return root.Dir, func() { os.RemoveAll(temp) }
}

func ExampleCheck() {
	dir, remove := atWork()
	defer remove()
	if err := os.WriteFile(filepath.Join(dir.Cohorts(), "notes.txt"), []byte("mine"), 0o644); err != nil {
		log.Fatal(err)
	}

	done, err := audit.Check(context.Background(), compactor.Config{Root: dir}, func(p audit.Problem) {
		fmt.Println(p.Damage, filepath.ToSlash(p.Path), p.Reason)
	})
	if err != nil {
		log.Fatal(err) // it could not look
	}
	fmt.Println(done.Rows, done.Records, done.Unfolded, done.Problems)
	// Output:
	// false cohorts/notes.txt was not made by runfold
	// 1 2 1 0
}

func ExampleReadStatus() {
	dir, remove := atWork()
	defer remove()

	s, err := audit.ReadStatus(context.Background(), compactor.Config{Root: dir})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("generation", uint64(s.Generation), "with", s.Rows, "row; published:", s.Published)
	for _, c := range s.Cohorts {
		fmt.Println(c.Cohort, "waits with", c.UnfoldedRecords, "record")
	}
	// Output:
	// generation 1 with 1 row; published: true
	// churn_eu waits with 1 record
}

func ExampleDump() {
	dir, remove := atWork()
	defer remove()

	if err := audit.Dump(dir.Snapshots(), os.Stdout); err != nil {
		log.Fatal(err) // after what could be read
	}
	// Output: {"key":"r-0:TRAINING","value":{"run_id":"r-0","stage":"TRAINING","timestamp":"2026-01-31T12:00:00Z","snapshot_seq":1}}
}

// Repair first says what it would do. This one goes back by one generation, and folds again what the streams still hold.
func ExampleRepair() {
	dir, remove := atWork()
	defer remove()
	if err := os.Truncate(dir.Manifest(1), 10); err != nil {
		log.Fatal(err)
	}
	ctx, cfg := context.Background(), compactor.Config{Root: dir}

	plan, err := audit.Repair(ctx, cfg, audit.RepairOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(plan.Whole(), plan.Lossless(), len(plan.Damaged))
	if !plan.Lossless() {
		return // a person decides
	}
	done, err := audit.Repair(ctx, cfg, audit.RepairOptions{Apply: true})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(done.Applied, done.Fold.Rows)
	// Output:
	// false true 1
	// true 2
}

func ExampleBackup() {
	dir, remove := atWork()
	defer remove()

	to := filepath.Join(filepath.Dir(string(dir)), "saved")
	b, err := audit.Backup(context.Background(), compactor.Config{Root: dir}, to)
	if err != nil {
		log.Fatal(err) // no backup was made
	}
	fmt.Printf("generation %d with %d rows, and %d records that are not folded\n", uint64(b.Generation), b.Rows, b.Unfolded)
	for run, err := range compactor.Runs(context.Background(), compactor.Config{Root: cohort.Root(to)}, true) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(run.RunID)
	}
	// Output:
	// generation 1 with 1 rows, and 1 records that are not folded
	// r-0
	// r-1
}

func ExampleExplain() {
	dir, remove := atWork()
	defer remove()

	e, err := audit.Explain(context.Background(), compactor.Config{Root: dir}, "r-0:TRAINING")
	if err != nil {
		log.Fatal(err) // audit.ErrUnknownRun: nobody has written it
	}
	for _, w := range e.Keys[0].Writes {
		fmt.Println("timestamp", w.Timestamp, "stream", w.Path != "", "by", w.Writer != "", "generation", uint64(w.First), "current", w.Current)
	}
	// Output:
	// timestamp 2026-01-31T12:00:00Z stream true by true generation 1 current true
}

func ExampleReplay() {
	dir, remove := atWork()
	defer remove()

	done, err := audit.Replay(context.Background(), compactor.Config{Root: dir}, func(p audit.Problem) {
		fmt.Println(p.Damage, filepath.ToSlash(p.Path), p.Reason)
	})
	if err != nil {
		log.Fatal(err) // it could not look
	}
	fmt.Println(done)
	// Output:
	// generation 1: 1 of 1 rows were derived again (1 from streams), 0 rows have no source any more (streams deleted, generations not kept); 0 differences
}
