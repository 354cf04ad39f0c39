package generation_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/journal"
)

// folded makes a root of three generations for an example, each with a run more, and returns what removes it.
func folded() (dir cohort.Root, remove func()) {
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
	defer w.Close()
	for n := range 3 {
		r, err := cohort.ParseRecord(fmt.Appendf(nil, `{"run_id":"r-%d","stage":"TRAINING","metrics":{"auc":0.7%d},"snapshot":{"n":%d}}`, n, n, n), 0)
		if err != nil {
			log.Fatal(err)
		}
		if err := w.Append([]cohort.Record{r}); err != nil {
			log.Fatal(err)
		}
		if _, err := compactor.Fold(context.Background(), compactor.Config{Root: root.Dir}); err != nil {
			log.Fatal(err)
		}
	}
	return root.Dir, func() { os.RemoveAll(temp) }
}

func ExampleOpen() {
	dir, remove := folded()
	defer remove()

	store, err := generation.Open(dir, journal.RootOptions{})
	if err != nil {
		log.Fatal(err)
	}
	newest, err := store.Newest()
	if err != nil {
		log.Fatal(err)
	}
	data, err := store.Data(newest)
	if err != nil {
		log.Fatal(err)
	}
	defer data.Close()
	if data.Index == nil {
		return // nothing was folded yet
	}
	fmt.Println(data.Index.NumRows(), "rows, and of records the column", data.Index.Schema()[0].Name)
	for row, err := range data.Index.Identities() { // Rows yields whole ones, as JSON
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(row.Seq, row.Key)
	}
	// Output:
	// 3 rows, and of records the column metrics.auc
	// 1 r-0:TRAINING
	// 2 r-1:TRAINING
	// 3 r-2:TRAINING
}

// Older generations stay for a while, see compactor.Config.
func ExampleStore_Read() {
	dir, remove := folded()
	defer remove()
	store, err := generation.Open(dir, journal.RootOptions{})
	if err != nil {
		log.Fatal(err)
	}
	gens, err := store.List()
	if err != nil {
		log.Fatal(err)
	}
	for _, g := range gens {
		m, err := store.Read(g)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(uint64(m.Generation), m.Index.Rows, m.NextSeq, store.CheckFile(m.Index))
	}
	// Output:
	// 1 1 2 <nil>
	// 2 2 3 <nil>
	// 3 3 4 <nil>
}

func ExampleData_Snapshots() {
	dir, remove := folded()
	defer remove()
	store, err := generation.Open(dir, journal.RootOptions{})
	if err != nil {
		log.Fatal(err)
	}
	newest, err := store.Newest()
	if err != nil {
		log.Fatal(err)
	}
	data, err := store.Data(newest)
	if err != nil {
		log.Fatal(err)
	}
	defer data.Close()
	for _, file := range newest.Snapshots { // one for the root, or one for each cohort
		r, err := data.Snapshots(file)
		if err != nil {
			log.Fatal(err)
		}
		defer r.Close()
		for s, err := range index.Snapshots(r) {
			if err != nil {
				log.Fatal(err)
			}
			fmt.Println(s.Seq, s.Key, len(s.Value) > 0)
		}
	}
	// Output:
	// 1 r-0:TRAINING true
	// 2 r-1:TRAINING true
	// 3 r-2:TRAINING true
}
