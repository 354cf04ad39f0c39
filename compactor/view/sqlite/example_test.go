package sqlite_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/view"
	"github.com/runfold/runfold/compactor/view/sqlite"
	"github.com/runfold/runfold/journal"
)

// A root is copied into a SQLite file, which any program reads.
func Example() {
	dir, err := os.MkdirTemp("", "runfold")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	store := folded(cohort.Root(filepath.Join(dir, "runs")))

	ctx, file := context.Background(), filepath.Join(dir, "runs.db")
	v, err := sqlite.Open(file, sqlite.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer v.Close()
	report, err := view.Sync(ctx, store, v, view.Options{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("generation %d: %d rows written\n", report.To, report.Written)
	checked, err := view.Check(ctx, store, v)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("the same:", checked.Same)

	r, err := sqlite.OpenReader(ctx, file, sqlite.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	rows, err := r.Query(ctx, `SELECT run_id, "metrics.auc" FROM runs ORDER BY 2 DESC LIMIT 1`)
	if err != nil {
		log.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var run string
		var auc float64
		if err := rows.Scan(&run, &auc); err != nil {
			log.Fatal(err)
		}
		fmt.Println(run, auc)
	}
	// Output:
	// generation 1: 2 rows written
	// the same: true
	// r-2 0.75
}

// folded makes a root with two runs.
func folded(dir cohort.Root) *generation.Store {
	if _, _, err := journal.InitRoot(dir, cohort.Settings{}, journal.RootOptions{}); err != nil {
		log.Fatal(err)
	}
	w, err := journal.Create(dir, "churn_eu", journal.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer w.Close()
	for i, auc := range []string{"0.71", "0.75"} {
		r, err := cohort.ParseRecord(fmt.Appendf(nil, `{"run_id":"r-%d","stage":"TRAINING","metrics":{"auc":%s}}`, i+1, auc), 0)
		if err != nil {
			log.Fatal(err)
		}
		if err := w.Append([]cohort.Record{r}); err != nil {
			log.Fatal(err)
		}
	}
	if _, err := compactor.Fold(context.Background(), compactor.Config{Root: dir}); err != nil {
		log.Fatal(err)
	}
	store, err := generation.Open(dir, journal.RootOptions{})
	if err != nil {
		log.Fatal(err)
	}
	return store
}
