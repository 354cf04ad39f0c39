package compactor_test

import (
	"context"
	"fmt"
	"log"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/query"
)

// The newest runs of a root, those included that no fold has read yet.
func ExampleLook() {
	root, remove := tempRoot()
	defer remove()
	ctx, cfg := context.Background(), compactor.Config{Root: root.Dir}
	appendRuns(root, "r-1", "r-2")
	if _, err := compactor.Fold(ctx, cfg); err != nil {
		log.Fatal(err)
	}
	appendRuns(root, "r-1", "r-3")

	m, err := compactor.Look(ctx, cfg, true)
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	src := query.Source{Index: m.Data.Index, Schema: m.Newest.Schema, Gone: map[cohort.Key]bool{}}
	for _, key := range m.Gone {
		src.Gone[key] = true
	}
	for _, row := range m.Rows {
		src.Fresh = append(src.Fresh, row.Typed)
	}
	q := query.Query{Columns: []string{"run_id", "snapshot_seq"}, Sort: []query.Order{{Column: "snapshot_seq", Descending: true}}, Limit: 2}
	for row, err := range q.Rows(ctx, src) {
		if err != nil {
			log.Fatal(m.Doubt(err))
		}
		fmt.Println(row.Cells[0].Text(), row.Cells[1].Text(), row.Fresh >= 0)
	}
	// Output:
	// r-3 4 true
	// r-1 3 true
}

// A generation as it was.
func ExampleLookAt() {
	root, remove := tempRoot()
	defer remove()
	ctx, cfg := context.Background(), compactor.Config{Root: root.Dir}
	appendRuns(root, "r-1")
	if _, err := compactor.Fold(ctx, cfg); err != nil {
		log.Fatal(err)
	}
	appendRuns(root, "r-2")
	if _, err := compactor.Fold(ctx, cfg); err != nil {
		log.Fatal(err)
	}
	m, err := compactor.LookAt(cfg, 1)
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	n, err := query.Query{}.Count(ctx, query.Source{Index: m.Data.Index})
	fmt.Println(n, err)
	// Output: 1 <nil>
}
