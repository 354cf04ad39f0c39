package foreignreader

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// TestDuckDBReadsPadded reads an index whose row groups have zeros between them, of which folds took some over with other offsets. internal/padded makes it,
// and says what stands in each cell.
func TestDuckDBReadsPadded(t *testing.T) {
	if testing.Short() {
		t.Skip("folds 130,000 rows")
	}
	dir := t.TempDir()
	if out, err := exec.Command("go", "run", "-buildvcs=false", "github.com/runfold/runfold/internal/padded", dir).CombinedOutput(); err != nil {
		t.Fatalf("internal/padded: %v\n%s", err, out)
	}
	index, want := filepath.Join(dir, "runs", "index.parquet"), filepath.Join(dir, "want.ndjson")
	const tables = `with got as (select run_id, phase, cohort_id, snapshot_seq, epoch_us("timestamp") as "timestamp", ok, note, "metrics.auc", "params.n", "tags.family",
			_key, _extra, file_row_number as place from read_parquet(?, file_row_number = true)),
		want as (select row.run_id, row.phase, row.cohort_id, row.snapshot_seq, row."timestamp", row.ok, row.note, row."metrics.auc", row."params.n", row."tags.family",
			row._key, row._extra, row_number() over () - 1 as place from (select "index" as row from read_json(?, format = 'newline_delimited', columns = {
			"index": 'STRUCT(run_id VARCHAR, phase VARCHAR, cohort_id VARCHAR, snapshot_seq BIGINT, "timestamp" BIGINT, ok BOOLEAN, note VARCHAR, "metrics.auc" DOUBLE,
			"params.n" BIGINT, "tags.family" VARCHAR, _key VARCHAR, _extra VARCHAR)'})))`
	for _, differ := range []string{"from got except all from want", "from want except all from got"} {
		if rows := query(t, tables+differ+" limit 3", index, want); len(rows) > 0 {
			t.Errorf("%s: %q", differ, rows)
		}
	}
	if got := query(t, tables+"select count(*), (select count(*) from want) from got", index, want); got[0][0] != "130050" || got[0][1] != "130050" {
		t.Errorf("rows, and rows that are wanted: %q", got)
	}
	groups := query(t, `select row_group_id, min(coalesce(dictionary_page_offset, data_page_offset)) % 4096, max(bloom_filter_offset is not null) from parquet_metadata(?)
		where path_in_schema in ('run_id') group by 1`, index)
	for _, g := range groups {
		if g[1] != "0" || g[2] != "true" {
			t.Errorf("row group %s begins %s bytes after a multiple of 4096; a bloom filter: %s", g[0], g[1], g[2])
		}
	}
	if len(groups) < 4 {
		t.Errorf("%d row groups: this test tests little", len(groups))
	}
	// Bloom filters and bounds say in which row groups to look.
	keys := query(t, tables+"select _key, place from want where place % 9001 = 0 order by place", index, want)
	for _, key := range keys {
		got := query(t, "select file_row_number from read_parquet(?, file_row_number = true) where _key = ?", index, key[0])
		if len(got) != 1 || got[0][0] != key[1] {
			t.Errorf("%s is found at %q, and not at %s", key[0], got, key[1])
		}
	}
	if got := query(t, "select * from read_parquet(?) where _key = 'r-1:S'", index); len(got) > 0 {
		t.Errorf("a key that is not there is found: %q", got)
	}
}
