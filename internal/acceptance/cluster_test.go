package acceptance

import (
	"bufio"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/journal"
)

// clusterReads is how often Spark reads the tables while they are folded.
const clusterReads = 6

// TestCluster has Spark read three roots as one table, with several executor processes, while they are being folded. Each read sees whole
// versions, and the last one what the roots have.
func TestCluster(t *testing.T) {
	if !strings.Contains(*engines, "pyspark") {
		t.Skip("no -engines with pyspark: make test-engines runs this")
	}
	var roots []cohort.Root
	var tables []string
	for i := range 3 {
		root := cohort.Root(filepath.Join(t.TempDir(), fmt.Sprintf("team-%d", i)))
		if _, _, err := journal.InitRoot(root, cohort.Settings{}, journal.RootOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := compactor.ChangeDelta(context.Background(), compactor.Config{Root: root}, true); err != nil {
			t.Fatal(err)
		}
		roots, tables = append(roots, root), append(tables, root.Delta())
		foldMore(t, root, 1)
	}
	spark := exec.Command(*enginesPython, append([]string{"testdata/engines/cluster.py"}, tables...)...)
	var said strings.Builder
	spark.Stderr = &said
	in, err := spark.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := spark.StdoutPipe()
	if err == nil {
		err = spark.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	enough, last := make(chan bool), make(chan string, 1)
	go func() {
		defer close(last)
		text, reads := "", 0
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if text = lines.Text(); text != "read" {
				continue
			}
			if reads++; reads == clusterReads {
				close(enough)
			}
		}
		if reads < clusterReads {
			close(enough) // it has ended: its exit code says why
		}
		last <- text
	}()
	for n, more := 2, true; more; n++ {
		for _, root := range roots {
			foldMore(t, root, n)
		}
		select {
		case <-enough:
			more = false
		default:
		}
	}
	fmt.Fprintln(in, "end")
	figure := <-last
	if err := spark.Wait(); err != nil {
		text := said.String()
		t.Fatalf("%v: %s", err, text[max(0, len(text)-3000):])
	}
	t.Logf("figure: %s", figure)
}

// foldMore appends the n-th record of a root, whose value is its seq, and folds it.
func foldMore(t *testing.T, root cohort.Root, n int) {
	t.Helper()
	r, err := cohort.ParseRecord(fmt.Appendf(nil, `{"run_id":"r-%d","stage":"S","metrics":{"v":%d}}`, n, n), 0)
	if err != nil {
		t.Fatal(err)
	}
	w, err := journal.Create(root, "c", journal.Options{})
	if err == nil {
		err = w.Append([]cohort.Record{r})
	}
	if err == nil {
		err = w.Close()
	}
	if err == nil {
		_, err = compactor.Fold(context.Background(), compactor.Config{Root: root})
	}
	if err != nil {
		t.Fatal(err)
	}
}
