package main

import (
	"database/sql"
	"fmt"
	"os"
	"strings"

	_ "github.com/duckdb/duckdb-go/v2" // the driver
)

// duckdb runs DuckDB in a process of its own and measures that.
func (e env) duckdb(args ...string) (map[string]float64, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	_, values, err := e.measured(self, append([]string{"duckdb"}, args...)...)
	return values, err
}

// records are read with their columns given, which spares DuckDB to find them out.
const readRecords = `read_json('%s', format = 'newline_delimited', columns = {run_id: 'VARCHAR', stage: 'VARCHAR', timestamp: 'TIMESTAMPTZ',
	metrics: 'STRUCT(auc DOUBLE, loss DOUBLE, n_rows BIGINT, m1 DOUBLE, m2 DOUBLE, m3 DOUBLE, m4 DOUBLE, m5 BIGINT)',
	params: 'STRUCT(lr DOUBLE, depth BIGINT, seed BIGINT)', tags: 'STRUCT(family VARCHAR, mode VARCHAR)', snapshot: 'JSON'})`

// columnsOfIndex are those of our index, but for the ones that start with '_', and the snapshot as text.
const columnsOfIndex = `run_id, stage as phase, 'bench' as cohort_id, %s as snapshot_seq, timestamp,
	metrics.auc as "metrics.auc", metrics.loss as "metrics.loss", metrics.n_rows as "metrics.n_rows", metrics.m1 as "metrics.m1",
	metrics.m2 as "metrics.m2", metrics.m3 as "metrics.m3", metrics.m4 as "metrics.m4", metrics.m5 as "metrics.m5",
	params.lr as "params.lr", params.depth as "params.depth", params.seed as "params.seed",
	tags.family as "tags.family", tags.mode as "tags.mode", snapshot::VARCHAR as snapshot`

// statements are what each verb does. %[1]s and %[2]s are its files.
var statements = map[string]string{
	// No deduplication, no numbers.
	"copy": `copy (select ` + fmt.Sprintf(columnsOfIndex, "0") + ` from ` + numbered(readRecords, 1) + `)
		to '%[2]s' (format parquet, compression zstd)`,
	// Of each key the last line, numbered in the order of lines.
	"build": `copy (with lines as (select *, row_number() over () as n from ` + numbered(readRecords, 1) + `),
		keep as (select max(n) as n from lines group by run_id, stage)
		select ` + fmt.Sprintf(columnsOfIndex, "row_number() over (order by n)") + ` from lines semi join keep using (n))
		to '%[2]s' (format parquet, compression zstd)`,
	// The old rows whose key does not come again, and the new ones with the next numbers.
	"fold": `copy (with lines as (select *, row_number() over () as n from ` + numbered(readRecords, 2) + `),
		keep as (select max(n) as n from lines group by run_id, stage),
		news as (select ` + fmt.Sprintf(columnsOfIndex, "n + (select max(snapshot_seq) from '%[1]s')") + ` from lines semi join keep using (n))
		select * from '%[1]s' anti join news using (run_id, phase) union all select * from news)
		to '%[3]s' (format parquet, compression zstd)`,
}

func numbered(text string, n int) string {
	return strings.Replace(text, "%s", fmt.Sprintf("%%[%d]s", n), 1)
}

// duckChild is the process of one statement: it ends when the file is on stable storage.
func duckChild(args []string) error {
	statement, ok := statements[args[0]]
	if !ok {
		return fmt.Errorf("no statement is named %q", args[0])
	}
	db, err := sql.Open("duckdb", "")
	if err != nil {
		return err
	}
	defer db.Close()
	files := make([]any, len(args)-1)
	for i, a := range args[1:] {
		files[i] = a
	}
	if _, err := db.Exec(fmt.Sprintf("set threads = %d", 2)); err != nil {
		return err
	}
	if _, err := db.Exec(fmt.Sprintf(statement, files...)); err != nil {
		return err
	}
	return syncFile(args[len(args)-1])
}
