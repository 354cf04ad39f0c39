package query_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/query"
	"github.com/runfold/runfold/journal"
)

// folded makes a root of three runs for an example, and returns its newest generation and what removes it.
func folded() (data *generation.Data, remove func()) {
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
	for n, auc := range []string{"0.71", "0.87", `"failed"`} {
		r, err := cohort.ParseRecord(fmt.Appendf(nil, `{"run_id":"r-%d","stage":"TRAINING","metrics":{"auc":%s}}`, n, auc), 0)
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
	if _, err := compactor.Fold(context.Background(), compactor.Config{Root: root.Dir}); err != nil {
		log.Fatal(err)
	}
	store, err := generation.Open(root.Dir, journal.RootOptions{})
	if err != nil {
		log.Fatal(err)
	}
	newest, err := store.Newest()
	if err != nil {
		log.Fatal(err)
	}
	if data, err = store.Data(newest); err != nil {
		log.Fatal(err)
	}
	return data, func() { data.Close(); os.RemoveAll(temp) }
}

func ExampleSelect() {
	data, remove := folded()
	defer remove()

	for _, text := range []string{"metrics.auc > 0.8", "metrics.auc = 'failed'", "auc > 0.8"} {
		e, err := query.Parse(text)
		if err != nil {
			log.Fatal(err)
		}
		for row, err := range query.Select(context.Background(), e, data.Index) {
			if err != nil {
				fmt.Println(err)
				break
			}
			fmt.Println(text, "selects", row.Key)
		}
	}
	// Output:
	// metrics.auc > 0.8 selects r-1:TRAINING
	// metrics.auc = 'failed' selects r-2:TRAINING
	// no column and no row has the name "auc": did you mean metrics.auc? (at character 1)
	//   auc > 0.8
	//   ^
}

func ExampleParse() {
	e, err := query.Parse("stage = 'TRAINING' and not (metrics.auc > 0.7 or tags.owner is null)")
	fmt.Println(e.Names(), err)
	_, err = query.Parse("metrics.auc > 0.7 and stage = TRAINING")
	fmt.Println(err)
	// Output:
	// [phase metrics.auc tags.owner] <nil>
	// a text stands in single quotes: 'TRAINING' (at character 31)
	//   metrics.auc > 0.7 and stage = TRAINING
	//                                 ^
}

func ExampleHints() {
	data, remove := folded()
	defer remove()
	e, err := query.Parse("metrics.auc = true")
	if err != nil {
		log.Fatal(err)
	}
	hints, err := query.Hints(context.Background(), e, data.Index)
	fmt.Println(hints, err)
	// Output:
	// [metrics.auc has numbers, and no row has a value there that can be compared with true: write a number] <nil>
}

func ExampleQuery_Rows() {
	data, remove := folded()
	defer remove()
	best, err := query.ParseOrder("-metrics.auc")
	if err != nil {
		log.Fatal(err)
	}
	q := query.Query{Columns: []string{"run_id", "metrics.auc"}, Sort: best, Limit: 10}
	for row, err := range q.Rows(context.Background(), query.Source{Index: data.Index}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(row.Cells[0].Text(), string(row.Cells[1].JSON()))
	}
	// Output:
	// r-1 0.87
	// r-0 0.71
	// r-2 "failed"
}
