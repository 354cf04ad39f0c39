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

// readRecords states the columns, so that DuckDB need not find them out.
const readRecords = `read_json('%s', format = 'newline_delimited', columns = {run_id: 'VARCHAR', stage: 'VARCHAR', timestamp: 'TIMESTAMPTZ',
	metrics: 'STRUCT(auc DOUBLE, loss DOUBLE, val_loss DOUBLE, "precision" DOUBLE, recall DOUBLE, f1 DOUBLE, logloss DOUBLE, rmse DOUBLE, mae DOUBLE, r2 DOUBLE, n_rows BIGINT)',
	params: 'STRUCT(lr DOUBLE, depth BIGINT, seed BIGINT, optimizer VARCHAR)', tags: 'STRUCT(family VARCHAR, mode VARCHAR, git_commit VARCHAR)',
	duration_s: 'DOUBLE', snapshot: 'JSON'})`

// columnsOfIndex are the columns of our index, without those that start with '_', and the snapshot as text.
const columnsOfIndex = `run_id, stage as phase, 'bench' as cohort_id, %s as snapshot_seq, timestamp,
	metrics.auc as "metrics.auc", metrics.loss as "metrics.loss", metrics.val_loss as "metrics.val_loss", metrics."precision" as "metrics.precision",
	metrics.recall as "metrics.recall", metrics.f1 as "metrics.f1", metrics.logloss as "metrics.logloss", metrics.rmse as "metrics.rmse",
	metrics.mae as "metrics.mae", metrics.r2 as "metrics.r2", metrics.n_rows as "metrics.n_rows",
	params.lr as "params.lr", params.depth as "params.depth", params.seed as "params.seed", params.optimizer as "params.optimizer",
	tags.family as "tags.family", tags.mode as "tags.mode", tags.git_commit as "tags.git_commit", duration_s, snapshot::VARCHAR as snapshot`

// statements are what each verb does. %[1]s and so on are its files, the last one the index that it writes.
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
	// The new rows into a table in a file of its own, which is made if it does not exist.
	"insert":  intoTable(""),
	"replace": intoTable(`delete from t.runs using news where t.runs.run_id = news.run_id and t.runs.phase = news.phase;`),
}

// intoTable is a transaction that does something first and then inserts the last line of each key. The checkpoint moves it from the log into the table.
func intoTable(first string) string {
	return `attach '%[2]s' as t;
		create table if not exists t.runs as select ` + fmt.Sprintf(columnsOfIndex, "0::bigint") + ` from ` + numbered(readRecords, 1) + ` limit 0;
		create temp table news as with lines as (select *, row_number() over () as n from ` + numbered(readRecords, 1) + `),
			keep as (select max(n) as n from lines group by run_id, stage)
			select ` + fmt.Sprintf(columnsOfIndex, "n + (select coalesce(max(snapshot_seq), 0) from t.runs)") + ` from lines semi join keep using (n);
		begin; ` + first + ` insert into t.runs from news; commit; checkpoint t`
}

// queries only read; their files and words are %[1]s and so on. Lists go where they cost nothing to keep.
var queries = map[string]string{
	// The row of another run with the highest seq below that of the run.
	"previous": `copy (select run_id, phase, snapshot_seq, timestamp from '%[1]s' where cohort_id = '%[2]s' and phase = '%[3]s' and run_id <> '%[4]s'
		and snapshot_seq < (select coalesce(max(snapshot_seq), 1::bigint << 62) from '%[1]s' where cohort_id = '%[2]s' and phase = '%[3]s' and run_id = '%[4]s')
		order by snapshot_seq desc limit 1) to '/dev/null' (format csv)`,
	"list":   `copy (select run_id || ':' || phase, snapshot_seq, timestamp, cohort_id from '%[1]s') to '/dev/null' (format csv)`,
	"search": fmt.Sprintf(`copy (`+best+`) to '/dev/null' (format csv)`, "'%[1]s'"),
	"sums":   fmt.Sprintf(`copy (`+sums+`) to '/dev/null' (format csv)`, "'%[1]s'"),
	"runs":   `copy (` + runsDuck + `) to '/dev/null' (format csv)`,
	"cohort": cohortDuck,
	"best":   `copy (` + bestDuck + `) to '/dev/null' (format csv)`,
	// A table in a file of its own.
	"table": `attach '%[2]s' as view; create table view.runs as select * from '%[1]s'; checkpoint view`,
	"merged": `copy (with lines as (select *, row_number() over () as n from ` + numbered(readRecords, 2) + `),
		keep as (select max(n) as n from lines group by run_id, stage),
		news as (select run_id, stage as phase, n, timestamp from lines semi join keep using (n))
		select run_id || ':' || phase, snapshot_seq, timestamp, cohort_id from '%[1]s' anti join news using (run_id, phase)
		union all select run_id || ':' || phase, n, timestamp, 'bench' from news) to '/dev/null' (format csv)`,
}

// snapshots writes the lines of snapshot_index.json from an index.
const snapshots = `copy (select '"' || run_id || ':' || phase || '":{"run_id":"' || run_id || '","stage":"' || phase || '","timestamp":"' || timestamp ||
	'","snapshot_seq":' || snapshot_seq || ',' || substr(snapshot, 2) || ',' from '%[1]s')
	to '%[1]s.json' (format csv, header false, quote '', delimiter '\x01')`

func numbered(text string, n int) string {
	return strings.Replace(text, "%s", fmt.Sprintf("%%[%d]s", n), 1)
}

// duckChild is the process of one statement: it ends when the index is on stable storage, and with "both" before
// the verb the snapshots, too.
func duckChild(args []string) error {
	both := args[0] == "both"
	if both {
		args = args[1:]
	}
	statement, ok := statements[args[0]]
	query, reads := queries[args[0]]
	if reads {
		statement = query
	}
	if !ok && !reads {
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
	if reads {
		return nil
	}
	index := args[len(args)-1]
	if err := syncFile(index); err != nil || !both {
		return err
	}
	if _, err := db.Exec(fmt.Sprintf(snapshots, index)); err != nil {
		return err
	}
	return syncFile(index + ".json")
}
