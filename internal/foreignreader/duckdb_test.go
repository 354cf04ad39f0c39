package foreignreader

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"

	_ "github.com/duckdb/duckdb-go/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/journal"
)

// records has every kind of column, NULLs, a conflict of kinds, a widened column and text that needs
// care. The last line replaces the first.
var records = []string{
	`{"run_id":"r-1","stage":"TRAINING","timestamp":"2026-03-01T10:00:00Z","metrics":{"auc":0.5,"rows":25000},"tags":{"ok":true}}`,
	`{"run_id":"r-2","phase":"TRAINING","timestamp":"2026-03-01T11:00:00.25+02:00","metrics":{"auc":0.71,"rows":25000.5},"params":{"seed":9007199254740993}}`,
	`{"run_id":"日次:北","stage":"RANKING","timestamp":"2026-03-02T00:00:00Z","note":"größe \"x\"","tags":{"owner":""},"metrics":{"auc":NaN}}`,
	`{"run_id":"r-4","stage":"TRAINING","timestamp":"2026-03-02T01:00:00Z","metrics":{"auc":"n/a","rows":0},"layers":[1,2]}`,
	`{"run_id":"r-1","stage":"TRAINING","timestamp":"2026-03-03T10:00:00Z","metrics":{"auc":0.75,"rows":26000},"tags":{"ok":false}}`,
}

// newRoot folds records in two folds.
func newRoot(t *testing.T) cohort.Root {
	t.Helper()
	root := cohort.Root(filepath.Join(t.TempDir(), "runs"))
	if _, _, err := journal.InitRoot(root, cohort.Settings{}, journal.RootOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, lines := range [][]string{records[:2], records[2:]} {
		w, err := journal.Create(root, "churn_eu", journal.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range lines {
			r, err := cohort.ParseRecord([]byte(line), 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Append([]cohort.Record{r}); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := compactor.Fold(context.Background(), compactor.Config{Root: root}); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func query(t *testing.T, text string, args ...any) [][]string {
	t.Helper()
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(text, args...)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var out [][]string
	for rows.Next() {
		values := make([]any, len(names))
		ptrs := make([]any, len(names))
		for i := range values {
			ptrs[i] = &values[i]
		}
		if err := rows.Scan(ptrs...); err != nil {
			t.Fatal(err)
		}
		line := make([]string, len(names))
		for i, v := range values {
			line[i] = "NULL"
			if v != nil {
				line[i] = fmt.Sprint(v)
			}
		}
		out = append(out, line)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestDuckDBReadsIndex compares rows, values and NULLs.
func TestDuckDBReadsIndex(t *testing.T) {
	root := newRoot(t)
	got := query(t, `select run_id, phase, cohort_id, snapshot_seq, epoch_ms("timestamp"), "metrics.auc", "metrics.rows",
		"tags.ok", "tags.owner", "params.seed", note, _key, _extra from read_parquet(?) order by snapshot_seq`, root.Index())
	want := [][]string{
		{"r-2", "TRAINING", "churn_eu", "2", "1772355600250", "0.71", "25000.5", "NULL", "NULL", "9007199254740993", "NULL", "r-2:TRAINING", "NULL"},
		{"日次:北", "RANKING", "churn_eu", "3", "1772409600000", "NULL", "NULL", "NULL", "", "NULL", `größe "x"`, "日次:北:RANKING", "NULL"},
		{"r-4", "TRAINING", "churn_eu", "4", "1772413200000", "NULL", "0", "NULL", "NULL", "NULL", "NULL", "r-4:TRAINING", `{"metrics.auc":"n/a","layers":[1,2]}`},
		{"r-1", "TRAINING", "churn_eu", "5", "1772532000000", "0.75", "26000", "false", "NULL", "NULL", "NULL", "r-1:TRAINING", `{"tags.ok":false}`},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("index.parquet as DuckDB reads it (-want +got):\n%s", diff)
	}
}

// TestDuckDBSeesTypes compares the names, their order and their types.
func TestDuckDBSeesTypes(t *testing.T) {
	root := newRoot(t)
	got := query(t, `select column_name, column_type from (describe select * from read_parquet(?))`, root.Index())
	want := [][]string{
		{"run_id", "VARCHAR"}, {"phase", "VARCHAR"}, {"cohort_id", "VARCHAR"}, {"snapshot_seq", "BIGINT"},
		{"timestamp", "TIMESTAMP WITH TIME ZONE"},
		{"metrics.auc", "DOUBLE"}, {"metrics.rows", "DOUBLE"}, {"tags.ok", "VARCHAR"}, {"params.seed", "BIGINT"},
		{"note", "VARCHAR"}, {"tags.owner", "VARCHAR"},
		{"_key", "VARCHAR"}, {"_stamp", "BIGINT"}, {"_record_id", "VARCHAR"}, {"_digest", "BIGINT"}, {"_stream", "VARCHAR"}, {"_writer", "VARCHAR"}, {"_extra", "VARCHAR"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("columns of index.parquet as DuckDB sees them (-want +got):\n%s", diff)
	}
}

// TestDuckDBReadsSnapshots joins both files by key and seq.
func TestDuckDBReadsSnapshots(t *testing.T) {
	root := newRoot(t)
	got := query(t, `with s as (select unnest(json_keys(content)) as key, content from
			(select content::json as content from read_text(?)))
		select s.key, json_extract_string(content -> s.key, '$.run_id'), (json_extract(content -> s.key, '$.snapshot_seq'))::bigint = i.snapshot_seq
		from s join read_parquet(?) i on i._key = s.key order by i.snapshot_seq`, root.Snapshots(), root.Index())
	want := [][]string{
		{"r-2:TRAINING", "r-2", "true"}, {"日次:北:RANKING", "日次:北", "true"},
		{"r-4:TRAINING", "r-4", "true"}, {"r-1:TRAINING", "r-1", "true"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("both files joined by DuckDB (-want +got):\n%s", diff)
	}
}
