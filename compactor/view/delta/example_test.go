package delta_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/view/delta"
	"github.com/runfold/runfold/journal"
)

func ExamplePublish() {
	temp, err := os.MkdirTemp("", "runfold")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(temp)
	root := cohort.Root(filepath.Join(temp, "runs"))
	if _, _, err := journal.InitRoot(root, cohort.Settings{}, journal.RootOptions{}); err != nil {
		log.Fatal(err)
	}
	w, err := journal.Create(root, "churn_eu", journal.Options{})
	if err != nil {
		log.Fatal(err)
	}
	r, err := cohort.ParseRecord([]byte(`{"run_id":"r-1","stage":"TRAINING","metrics":{"auc":0.7}}`), 0)
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

	store, err := generation.Open(root, journal.RootOptions{})
	if err != nil {
		log.Fatal(err)
	}
	done, err := delta.Publish(store)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("version", done.Version, "shows generation", uint64(done.Generation))
	_, err = os.Stat(filepath.Join(root.Delta(), "_delta_log", "00000000000000000000.json"))
	fmt.Println(err)
	// Output:
	// version 0 shows generation 1
	// <nil>
}
