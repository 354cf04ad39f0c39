package history_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/history"
	"github.com/runfold/runfold/journal"
)

// twoGenerations makes a root in which a metric was changed.
func twoGenerations() (root cohort.Root, remove func()) {
	dir, err := os.MkdirTemp("", "runfold-*")
	if err != nil {
		log.Fatal(err)
	}
	root = cohort.Root(filepath.Join(dir, "runs"))
	if _, _, err := journal.InitRoot(root, cohort.Settings{}, journal.RootOptions{}); err != nil {
		log.Fatal(err)
	}
	for _, auc := range []string{"0.71", "71"} {
		w, err := journal.Create(root, "default", journal.Options{})
		if err != nil {
			log.Fatal(err)
		}
		r, err := cohort.ParseRecord([]byte(`{"run_id":"r-1","stage":"TRAINING","timestamp":"2026-01-31T12:00:00Z","metrics":{"auc":`+auc+`}}`), 0)
		if err != nil {
			log.Fatal(err)
		}
		if err := w.Append([]cohort.Record{r}); err != nil {
			log.Fatal(err)
		}
		if err := w.Close(); err != nil {
			log.Fatal(err)
		}
		if _, err := compactor.Fold(context.Background(), compactor.Config{Root: root}); err != nil {
			log.Fatal(err)
		}
	}
	return root, func() { os.RemoveAll(dir) }
}

func ExampleCompare() {
	root, remove := twoGenerations()
	defer remove()
	store, err := generation.Open(root, journal.RootOptions{})
	if err != nil {
		log.Fatal(err)
	}
	diff, err := history.Compare(context.Background(), store, 1, 0, history.DiffOptions{Limit: 10})
	if err != nil {
		log.Fatal(err)
	}
	for _, row := range diff.Rows {
		for _, f := range row.Fields {
			fmt.Printf("%s of %s was %s and is %s\n", f.Name, row.Key, f.Was.JSON, f.Now.JSON)
		}
	}
	// Output: metrics.auc of r-1:TRAINING was 0.71 and is 71
}

func ExampleRestore() {
	root, remove := twoGenerations()
	defer remove()
	done, err := history.Restore(context.Background(), compactor.Config{Root: root}, 1, history.RestoreOptions{Apply: true})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d rows written again, %d withdrawn, in generation %d\n", done.Written, done.Withdrawn, done.Now)
	// Output: 1 rows written again, 0 withdrawn, in generation 3
}
