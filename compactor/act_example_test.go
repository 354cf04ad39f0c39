package compactor_test

import (
	"context"
	"fmt"
	"iter"
	"log"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/compactor/query"
)

// Rows that an expression selects are taken out; then the program looks what is out, and why.
func ExampleActAndFold() {
	root, remove := tempRoot()
	defer remove()
	appendRuns(root, "r-1", "r-2")
	ctx, cfg := context.Background(), compactor.Config{Root: root.Dir}
	if _, err := compactor.Fold(ctx, cfg); err != nil {
		log.Fatal(err)
	}
	e, err := query.Parse("run_id like '%-2'")
	if err != nil {
		log.Fatal(err)
	}
	selected := func(from, other *index.File) iter.Seq2[index.Identity, error] {
		return query.SelectFrom(ctx, e, from, other)
	}
	rows, err := compactor.Standings(ctx, cfg, selected, nil)
	if err != nil {
		log.Fatal(err)
	}
	did, err := compactor.ActAndFold(ctx, cfg, cohort.Withdraw, "a mistake", rows)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(did.Done, "action,", did.Report.Withdrawn, "row withdrawn")

	out, err := compactor.Standings(ctx, cfg, nil, compactor.AllRows)
	if err != nil {
		log.Fatal(err)
	}
	for _, row := range out {
		fmt.Println(row.Key, row.Withdrawn, row.Reason())
	}
	// Output:
	// 1 action, 1 row withdrawn
	// r-2:TRAINING true a mistake
}
