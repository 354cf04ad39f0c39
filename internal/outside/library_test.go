package outside

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"log"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/compactor/query"
	"github.com/runfold/runfold/journal"
)

// The functions below are the code of docs/library.md, see TestPageIsCompiled. They print, as a reader of the page would.

func pageInit() (journal.Root, error) {
	root, created, err := journal.InitRoot("runs", cohort.Settings{}, journal.RootOptions{})
	if err == nil && !created {
		err = errors.New("the root was there before")
	}
	return root, err
}

func pageAppend(root journal.Root) error {
	w, err := root.Create("churn_eu", journal.Options{})
	if err != nil {
		return err
	}
	defer w.Close()

	r, err := cohort.ParseRecord([]byte(`{"run_id":"r-17","stage":"TRAINING","metrics":{"auc":0.71}}`), root.Settings.MaxRecord)
	if err != nil {
		return err
	}
	if err := w.Append([]cohort.Record{r}); err != nil {
		return err
	}
	return nil
}

func pageFold(ctx context.Context, root journal.Root) error {
	report, err := compactor.Fold(ctx, compactor.Config{Root: root.Dir, Notify: func(n compactor.Notice) { log.Print(n) }})
	switch {
	case errors.Is(err, compactor.ErrLocked):
		return nil // another process folds at this moment
	case err != nil:
		return err
	case !report.Clean():
		log.Printf("%d damaged places, %d streams skipped: run compactd check", report.Damage, report.Skipped)
	}
	return nil
}

func pageSchedule(ctx context.Context, root journal.Root) error {
	every, err := compactor.ParseSchedule("@every 30s")
	if err != nil {
		return err
	}
	cache := new(generation.Cache) // so that a fold does not read again what the one before has read
	every.Run(ctx, func(ctx context.Context) error {
		_, err := compactor.Fold(ctx, compactor.Config{Root: root.Dir, Cache: cache})
		return err
	}, func(err error) { log.Print(err) }, nil)
	return nil
}

func pageRuns(ctx context.Context, root journal.Root) error {
	for run, err := range compactor.Runs(ctx, compactor.Config{Root: root.Dir}, true) {
		if err != nil {
			return err
		}
		fmt.Println(run.Seq, run.Key, run.Record != nil)
	}
	return nil
}

func pageBest(ctx context.Context, root journal.Root) error {
	m, err := compactor.Look(ctx, compactor.Config{Root: root.Dir}, false)
	if err != nil {
		return err
	}
	defer m.Close()
	q := query.Query{
		Columns: []string{"run_id", "metrics.auc"},
		Sort:    []query.Order{{Column: "metrics.auc", Descending: true}},
		Limit:   10,
	}
	for row, err := range q.Rows(ctx, query.Source{Index: m.Data.Index}) {
		if err != nil {
			return m.Doubt(err)
		}
		fmt.Println(row.Cells[0].Text(), row.Cells[1].Text())
	}
	return nil
}

func pageThen(ctx context.Context, root journal.Root) error {
	store, err := generation.Open(root.Dir, journal.RootOptions{})
	if err != nil {
		return err
	}
	then, _, err := store.At(time.Now())
	if err != nil {
		return err
	}
	for run, err := range compactor.RunsOf(ctx, compactor.Config{Root: root.Dir}, then.Generation) {
		if err != nil {
			return err
		}
		fmt.Println(run.Seq, run.Key)
	}
	return nil
}

func pagePrevious(ctx context.Context, root journal.Root) error {
	before, ok, err := compactor.Previous(ctx, compactor.Config{Root: root.Dir}, compactor.Query{
		Cohort: "churn_eu", RunID: "r-18", Stage: "TRAINING", Unfolded: true,
	})
	if err == nil && (!ok || before.RunID != "r-17") {
		err = fmt.Errorf("the run before is %v, %t", before, ok)
	}
	return err
}

func pageRows(root journal.Root) error {
	store, err := generation.Open(root.Dir, journal.RootOptions{})
	if err != nil {
		return err
	}
	newest, err := store.Newest()
	if err != nil {
		return err
	}
	data, err := store.Data(newest)
	if err != nil {
		return err
	}
	defer data.Close()
	if data.Index == nil {
		return nil // nothing was folded yet
	}
	for row, err := range data.Index.Rows() {
		if err != nil {
			return err
		}
		fmt.Printf("%s\n", row)
	}
	return nil
}

func pageSelect(ctx context.Context, root journal.Root) error {
	data, err := newestData(root)
	if err != nil {
		return err
	}
	defer data.Close()
	e, err := query.Parse("metrics.auc > 0.7 and stage = 'TRAINING'")
	if err != nil {
		return err // it shows where the expression is wrong
	}
	for row, err := range query.Select(ctx, e, data.Index) {
		if err != nil {
			return err
		}
		fmt.Println(row.Seq, row.Key)
	}
	return nil
}

func pageWithdraw(ctx context.Context, root journal.Root, e query.Expr) error {
	cfg := compactor.Config{Root: root.Dir}
	selected := func(from, other *index.File) iter.Seq2[index.Identity, error] {
		return query.SelectFrom(ctx, e, from, other)
	}
	rows, err := compactor.Standings(ctx, cfg, selected, nil)
	if err != nil {
		return err
	}
	did, err := compactor.ActAndFold(ctx, cfg, cohort.Withdraw, "a mistake", rows)
	if err != nil {
		return err
	}
	fmt.Println(did.Done, did.Report.Withdrawn)
	return nil
}

func newestData(root journal.Root) (*generation.Data, error) {
	store, err := generation.Open(root.Dir, journal.RootOptions{})
	if err != nil {
		return nil, err
	}
	newest, err := store.Newest()
	if err != nil {
		return nil, err
	}
	return store.Data(newest)
}

func pageStreams(root journal.Root) error {
	places, _, err := root.Streams()
	if err != nil {
		return err
	}
	for _, p := range places {
		in, err := root.Open(p, journal.Position{})
		if errors.Is(err, fs.ErrNotExist) {
			continue // a fold has removed it since the listing
		}
		if err != nil {
			return err
		}
		defer in.Close()
		for {
			r, err := in.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil && !errors.Is(err, journal.ErrCorrupt) {
				return err
			}
			if err == nil {
				fmt.Println(r.RunID, r.Stamp.Time())
			}
		}
	}
	return nil
}

func pageAudit(ctx context.Context, root journal.Root) error {
	status, err := audit.ReadStatus(ctx, compactor.Config{Root: root.Dir})
	if err != nil {
		return err
	}
	checked, err := audit.Check(ctx, compactor.Config{Root: root.Dir}, func(p audit.Problem) { fmt.Println(p) })
	if err != nil {
		return err
	}
	fmt.Println(status.Rows, checked.Unfolded, checked.Problems)
	return nil
}

// pageAgain appends with a Writer that cannot: it is closed.
func pageAgain(root journal.Root, w *journal.Writer, r cohort.Record) error {
	recs := []cohort.Record{r}
	err := w.Append(recs)
	var invalid *journal.RecordError
	if err != nil && !errors.As(err, &invalid) {
		again, cerr := root.Create("churn_eu", journal.Options{})
		if cerr != nil {
			return errors.Join(err, cerr)
		}
		defer again.Close()
		err = again.Append(recs)
	}
	return err
}

func pageShare(id string) error {
	root, err := journal.OpenRoot("/mnt/runs", journal.RootOptions{ID: id})
	var none *journal.NoRootError
	switch {
	case errors.As(err, &none) && none.Vacant:
		return fmt.Errorf("is the share mounted? %w", err)
	case errors.Is(err, journal.ErrOtherRoot):
		return fmt.Errorf("another root is mounted: %w", err)
	}
	return fmt.Errorf("there is a root %s: %w", root.Settings.RootID, err)
}

// TestPage runs the code of docs/library.md from top to bottom.
func TestPage(t *testing.T) {
	t.Chdir(t.TempDir())
	ctx := context.Background()
	root, err := pageInit()
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	closed, err := root.Create("churn_eu", journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		name string
		err  error
	}{
		{"rows before the first fold", pageRows(root)},
		{"append", pageAppend(root)},
		{"runs", pageRuns(ctx, root)},
		{"fold", pageFold(ctx, root)},
		{"append again", pageAgain(root, closed, record(t, 18, 0.5))},
		{"best", pageBest(ctx, root)},
		{"then", pageThen(ctx, root)},
		{"previous", pagePrevious(ctx, root)},
		{"schedule", pageSchedule(ended, root)},
		{"rows", pageRows(root)},
		{"select", pageSelect(ctx, root)},
		{"streams", pageStreams(root)},
		{"audit", pageAudit(ctx, root)},
	} {
		if step.err != nil {
			t.Errorf("%s: %v", step.name, step.err)
		}
	}
	if err := pageShare(root.Settings.RootID); !errors.Is(err, journal.ErrNoRoot) || !strings.HasPrefix(err.Error(), "is the share mounted?") {
		t.Errorf("a share that is not mounted: %v", err)
	}
	if done, err := audit.Check(ctx, compactor.Config{Root: root.Dir}, func(p audit.Problem) { t.Error(p) }); err != nil || done.Rows != 1 || done.Unfolded != 1 {
		t.Errorf("Check = %+v, %v, want one row and one record that is not folded", done, err)
	}
	e, err := query.Parse("run_id = 'r-17'")
	if err == nil {
		err = pageWithdraw(ctx, root, e)
	}
	if err != nil {
		t.Errorf("withdraw: %v", err)
	}
	if done, err := audit.Check(ctx, compactor.Config{Root: root.Dir}, func(p audit.Problem) { t.Error(p) }); err != nil || done.Rows != 1 || done.Unfolded != 0 {
		t.Errorf("Check = %+v, %v, want the row of the other run", done, err)
	}
}

// TestPageIsCompiled finds each block of Go in docs/library.md among the functions above, line by line, without the tabs.
func TestPageIsCompiled(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "library.md"))
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile("library_test.go")
	if err != nil {
		t.Fatal(err)
	}
	have := flat(string(code))
	blocks := strings.Split(string(page), "\n```go\n")[1:]
	for _, block := range blocks {
		block, _, ok := strings.Cut(block, "\n```\n")
		if !ok {
			t.Fatalf("a block does not end:\n%s", block)
		}
		if !strings.Contains(have, flat(block)) {
			t.Errorf("docs/library.md has code that is not in library_test.go:\n%s", block)
		}
	}
	if len(blocks) < 8 {
		t.Errorf("docs/library.md has %d blocks of Go: is this test looking in the right place?", len(blocks))
	}
}

// flat is text without what stands before and after its lines.
func flat(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSpace(line)
	}
	return "\n" + strings.Join(lines, "\n") + "\n"
}
