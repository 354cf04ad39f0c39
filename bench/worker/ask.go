package main

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/query"
)

// ask asks a root for some rows and for the count of all, as a page does: the files stay open. It writes the median seconds of all times but the first, and
// what was found: the count, and the first value of each row.
func ask(args []string) error {
	f := flag.NewFlagSet("ask", flag.ExitOnError)
	root := f.String("root", "", "directory")
	times := f.Int("times", 2, "how often to ask")
	where := f.String("where", "", "expression")
	sort := f.String("sort", "", "names")
	columns := f.String("columns", "run_id", "names")
	var q query.Query
	f.Int64Var(&q.Offset, "offset", 0, "rows that are passed over")
	f.Int64Var(&q.Limit, "limit", 100, "rows")
	if err := f.Parse(args); err != nil {
		return err
	}
	ctx := context.Background()
	m, err := compactor.Look(ctx, compactor.Config{Root: cohort.Root(*root)}, false)
	if err != nil {
		return err
	}
	defer m.Close()
	src := query.Source{Index: m.Data.Index, Schema: m.Newest.Schema}
	var took []float64
	var answer []string
	for range *times {
		begin := time.Now()
		if answer, err = pageOf(ctx, q, *where, *sort, *columns, src); err != nil {
			return err
		}
		took = append(took, time.Since(begin).Seconds())
	}
	took = took[min(1, len(took)-1):]
	slices.Sort(took)
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"seconds": took[len(took)/2], "answer": answer})
}

// pageOf also reads the words of the question, as each request brings them.
func pageOf(ctx context.Context, q query.Query, where, sort, columns string, src query.Source) (answer []string, err error) {
	if q.Where, err = query.Parse(where); err != nil {
		return nil, err
	}
	if q.Sort, err = query.ParseOrder(sort); err != nil {
		return nil, err
	}
	if q.Columns, err = query.ParseColumns(columns); err != nil {
		return nil, err
	}
	if q.Columns, err = src.Expand(ctx, q.Columns); err != nil {
		return nil, err
	}
	n, err := q.Count(ctx, src)
	if err != nil {
		return nil, err
	}
	answer = append(answer, strconv.FormatInt(n, 10))
	for row, err := range q.Rows(ctx, src) {
		if err != nil {
			return nil, err
		}
		answer = append(answer, row.Cells[0].Text())
	}
	return answer, nil
}
