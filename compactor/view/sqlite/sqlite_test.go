package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/compactor/view"
	"github.com/runfold/runfold/compactor/view/sqlview"
	"github.com/runfold/runfold/compactor/view/viewtest"
	"github.com/runfold/runfold/internal/jsonscan"
	"github.com/runfold/runfold/journal"
)

// file is a place of the conformance tests.
type file string

func newFile(t testing.TB) viewtest.Place { return file(filepath.Join(t.TempDir(), "a view ?#%.db")) }

func (f file) Open(t testing.TB, step viewtest.Step) view.View {
	t.Helper()
	v, err := Open(string(f), Options{Wait: time.Millisecond, wrap: func(c driver.Connector) driver.Connector { return viewtest.Connector(c, step) }})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// open opens the file for the test itself.
func (f file) open(t testing.TB) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", dsn(string(f), time.Minute, false))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// Cells reads what a user would see.
func (f file) Cells(t testing.TB, rootID string) viewtest.Cells {
	t.Helper()
	db := f.open(t)
	cells := viewtest.Cells{}
	rows, err := db.Query(`SELECT * FROM runs WHERE root_id = ?`, rootID)
	if err != nil {
		if strings.Contains(err.Error(), "no such table") {
			return cells
		}
		t.Fatal(err)
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		values, into := make([]any, len(types)), make([]any, len(types))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		row := map[string]string{}
		for i, c := range types {
			if values[i] != nil && c.Name() != "root_id" && c.Name() != "_key_digest" {
				row[c.Name()] = cell(t, c, values[i])
			}
		}
		key := jsonscan.Text([]byte(row["_key"]))
		if cells[key] != nil {
			t.Errorf("%s stands twice", key)
		}
		cells[key] = row
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return cells
}

// cell is a value as the index spells it. The declared type must be that of the value.
func cell(t testing.TB, c *sql.ColumnType, v any) string {
	t.Helper()
	declared := c.DatabaseTypeName()
	switch v := v.(type) {
	case string:
		if declared != "TEXT" {
			t.Errorf("%s is %s and holds the text %q", c.Name(), declared, v)
		}
		if c.Name() == "_extra" || c.Name() == "snapshot" {
			return v
		}
	case int64:
		if c.Name() == "_digest" {
			return `"` + hex.EncodeToString([]byte{byte(v >> 56), byte(v >> 48), byte(v >> 40), byte(v >> 32), byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}) + `"`
		}
		if declared == "BOOLEAN" && (v == 0 || v == 1) {
			return strconv.FormatBool(v == 1)
		}
		if declared != "INTEGER" {
			t.Errorf("%s is %s and holds the integer %d", c.Name(), declared, v)
		}
	case float64:
		if declared != "REAL" {
			t.Errorf("%s is %s and holds the double %g", c.Name(), declared, v)
		}
	default:
		t.Errorf("%s holds %T", c.Name(), v)
		return ""
	}
	return string(index.Token(v))
}

// Exec runs a statement as somebody else would.
func (f file) Exec(t testing.TB, stmt string) {
	t.Helper()
	if _, err := f.open(t).Exec(stmt); err != nil {
		t.Fatalf("%s: %v", stmt, err)
	}
}

// Spoil changes the file as somebody else would.
func (f file) Spoil(t testing.TB, what string) {
	t.Helper()
	stmt := map[string]string{
		"a cell":     `UPDATE runs SET n = n + 1 WHERE run_id = 'many-1'`,
		"a snapshot": `UPDATE runs SET snapshot = replace(snapshot, 'many-1', 'many-2') WHERE run_id = 'many-1'`,
		"a row less": `DELETE FROM runs WHERE run_id = 'many-1'`,
		"_extra":     `UPDATE runs SET _extra = '{"more":1}' WHERE run_id = 'many-1'`,
	}[what]
	r, err := f.open(t).Exec(stmt)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := r.RowsAffected(); n != 1 || err != nil {
		t.Fatalf("%s changed %d rows, %v", stmt, n, err)
	}
}

func TestView(t *testing.T) { viewtest.Test(t, newFile) }

// TestTable looks at what a user sees of the table: types, comments, indexes, and no column that the root has no more.
func TestTable(t *testing.T) {
	root, store := viewtest.NewRoot(t)
	viewtest.Fold(t, root, `{"run_id":"a","stage":"T","n":1,"lr":0.5,"ok":true,"note":"x"}`)
	f := newFile(t).(file)
	sync := func() view.Report {
		v := f.Open(t, func(string) error { return nil })
		defer v.Close()
		r, err := view.Sync(t.Context(), store, v, view.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	sync()
	if _, err := compactor.ChangeColumns(t.Context(), compactor.Config{Root: root}, compactor.ColumnChange{Drop: []string{"lr"}}); err != nil {
		t.Fatal(err)
	}
	sync()
	var create, names string
	db := f.open(t)
	if err := db.QueryRow(`SELECT sql FROM sqlite_schema WHERE name = 'runs'`).Scan(&create); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"snapshot" TEXT NOT NULL, -- the object of the key`, `PRIMARY KEY ("root_id", "_key_digest")`, `"ok" BOOLEAN`, `"n" INTEGER`, `"note" TEXT`} {
		if !strings.Contains(create, want) {
			t.Errorf("the table is\n%s\nwithout %s", create, want)
		}
	}
	if strings.Index(create, `"n" INTEGER`) > strings.Index(create, `"snapshot"`) {
		t.Errorf("what is long does not stand last:\n%s", create)
	}
	if strings.Contains(create, `"lr"`) {
		t.Errorf("a column that the root has dropped is still there:\n%s", create)
	}
	if err := db.QueryRow(`SELECT group_concat(name, ' ') FROM (SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL ORDER BY name)`).Scan(&names); err != nil {
		t.Fatal(err)
	}
	if names != "runs_cohort_phase_seq runs_run_id runs_timestamp" {
		t.Errorf("indexes %s", names)
	}
	viewtest.Fold(t, root, `{"run_id":"b","stage":"T","N":2,"ſ":1}`)
	if r := sync(); len(r.LeftOut) != 1 || r.LeftOut[0].String() != `column "N" is no column of the view, and its values stand in _extra: the database does not tell it from "n"` {
		t.Errorf("left out: %v", r.LeftOut)
	}
}

// TestErasedBytes erases a run: its bytes are in no file of the view after the next sync.
func TestErasedBytes(t *testing.T) {
	root, store := viewtest.NewRoot(t)
	viewtest.Fold(t, root, `{"run_id":"person","stage":"T","note":"secret-secret"}`, `{"run_id":"b","stage":"T"}`)
	f := newFile(t).(file)
	v := f.Open(t, func(string) error { return nil })
	defer v.Close()
	for _, want := range []bool{true, false} {
		if _, err := view.Sync(t.Context(), store, v, view.Options{}); err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(filepath.Join(filepath.Dir(string(f)), "*"))
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, name := range files {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			found = found || bytes.Contains(data, []byte("secret-secret")) || bytes.Contains(data, []byte("person"))
		}
		if found != want {
			t.Errorf("the view holds what was erased: %v, want %v", found, want)
		}
		if _, err := compactor.Erase(t.Context(), compactor.Config{Root: root}, compactor.Erasure{RunID: "person", Apply: true}); err != nil && want {
			t.Fatal(err)
		}
	}
}

// TestKilledProcess kills a process at steps of a sync: SQLite finds the file as it was before, or as it was to be.
func TestKilledProcess(t *testing.T) {
	if place := os.Getenv("RUNFOLD_TEST_KILL"); place != "" {
		killedProcess(place)
	}
	root, store := viewtest.NewRoot(t)
	var lines []string
	for i := range 6000 { // more than SQLite keeps in memory
		lines = append(lines, fmt.Sprintf(`{"run_id":"r-%d","stage":"T","note":"%0300d"}`, i, i))
	}
	viewtest.Fold(t, root, lines[:10]...)
	f := newFile(t).(file)
	v := f.Open(t, func(string) error { return nil })
	if _, err := view.Sync(t.Context(), store, v, view.Options{}); err != nil {
		t.Fatal(err)
	}
	v.Close()
	viewtest.Fold(t, root, lines[10:]...)
	steps := []int{8, 20, 2000, 11990, 12000, 12004, 12006, 12007, 12008, 12009, 12010}
	if testing.Short() || underRace {
		steps = []int{20, 11990, 12007}
	}
	killed := 0
	for _, k := range steps {
		place := file(filepath.Join(t.TempDir(), "k.db"))
		if data, err := os.ReadFile(string(f)); err != nil {
			t.Fatal(err)
		} else if err := os.WriteFile(string(place), data, 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(os.Args[0], "-test.run=TestKilledProcess$")
		cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", fmt.Sprintf("RUNFOLD_TEST_KILL=%d\n%s\n%s", k, root, place))
		if out, err := cmd.CombinedOutput(); err == nil {
			t.Fatalf("step %d: the process ended by itself: %s", k, out)
		} else if cmd.ProcessState.ExitCode() == -1 {
			killed++
		} else if cmd.ProcessState.ExitCode() != 7 {
			t.Fatalf("step %d: %v: %s", k, err, out)
		}
		v := place.Open(t, func(string) error { return nil })
		done, err := view.Check(t.Context(), store, v)
		if err != nil || !done.Same || done.Rows != 10 && done.Rows != 6000 {
			t.Errorf("killed at step %d: Check = %+v, %v", k, done, err)
		}
		if _, err := view.Sync(t.Context(), store, v, view.Options{}); err != nil {
			t.Errorf("killed at step %d: the next sync: %v", k, err)
		}
		if done, err = view.Check(t.Context(), store, v); err != nil || !done.Same || done.Rows != 6000 {
			t.Errorf("killed at step %d, and synced: Check = %+v, %v", k, done, err)
		}
		v.Close()
	}
	if killed < (len(steps)+1)/2 {
		t.Errorf("only %d of %d processes reached their step", killed, len(steps))
	}
	t.Logf("figure: %d processes killed within a sync of SQLite", killed)
}

// killedProcess syncs, and kills itself on the way. It exits with 7 if it was not killed.
func killedProcess(what string) {
	parts := strings.Split(what, "\n")
	k, _ := strconv.Atoi(parts[0])
	store, err := generation.Open(cohort.Root(parts[1]), journal.RootOptions{})
	if err == nil {
		calls := 0
		v, verr := Open(parts[2], Options{wrap: func(c driver.Connector) driver.Connector {
			return viewtest.Connector(c, func(string) error {
				if calls++; calls == k {
					self, _ := os.FindProcess(os.Getpid())
					self.Kill()
					select {}
				}
				return nil
			})
		}})
		if err = verr; err == nil {
			_, err = view.Sync(context.Background(), store, v, view.Options{})
		}
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(8)
	}
	os.Exit(7)
}

// TestDroppedTable: somebody has dropped the table of the rows, and not that of the state. A sync writes all rows again, and the view can be dropped.
func TestDroppedTable(t *testing.T) {
	root, store := viewtest.NewRoot(t)
	f := newFile(t).(file)
	sync := func() view.View {
		t.Helper()
		v, err := Open(string(f), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := view.Sync(t.Context(), store, v, view.Options{}); err != nil {
			t.Fatal(err)
		}
		return v
	}
	viewtest.Fold(t, root, `{"run_id":"a","stage":"S","n":1}`, `{"run_id":"b","stage":"S"}`)
	sync().Close()
	drop := func() {
		t.Helper()
		if _, err := f.open(t).Exec("DROP TABLE runs"); err != nil {
			t.Fatal(err)
		}
	}
	drop()
	viewtest.Fold(t, root, `{"run_id":"c","stage":"S"}`)
	v := sync()
	defer v.Close()
	var n int
	if err := f.open(t).QueryRow("SELECT count(*) FROM runs").Scan(&n); err != nil || n != 3 {
		t.Errorf("%d rows, %v; want 3", n, err)
	}
	drop()
	if err := v.Drop(t.Context(), store.Settings.RootID); err != nil {
		t.Errorf("Drop = %v", err)
	}
	if s, err := v.State(t.Context(), store.Settings.RootID); err != nil || !s.IsNone() {
		t.Errorf("after Drop: %+v, %v", s, err)
	}
}

// TestReader has statements that must not change anything, and one that is ended.
func TestReader(t *testing.T) {
	f := newFile(t).(file)
	if _, err := f.open(t).Exec(`CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (1)`); err != nil {
		t.Fatal(err)
	}
	r, err := OpenReader(t.Context(), string(f), Options{Wait: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	beside := func(yield func([]any, error) bool) { yield([]any{int64(7), "x"}, nil) }
	if err := r.Beside(t.Context(), "beside", []sqlview.Column{{Name: "a.b", Kind: sqlview.Int}, {Name: "c", Kind: sqlview.Text}}, beside); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "other.db")
	for _, stmt := range []string{
		`INSERT INTO t VALUES (1)`, `DROP TABLE t`, `DELETE FROM beside`, `CREATE TEMP TABLE more (n)`, `ATTACH '` + other + `' AS o`, `VACUUM INTO '` + other + `'`,
		`PRAGMA journal_mode = WAL`, `PRAGMA query_only = 0`, `SELECT 1; DELETE FROM t`, `SELECT "typo" FROM t`, `SELEC`, `BEGIN`, ``,
	} {
		rows, err := r.Query(t.Context(), stmt)
		if err == nil {
			for rows.Next() {
			}
			err = rows.Err()
			rows.Close()
		}
		if stmt != "" && !errors.Is(err, ErrStatement) {
			t.Errorf("%s: %v, want ErrStatement", stmt, err)
		}
	}
	if there, err := filepath.Glob(other + "*"); err != nil || len(there) > 0 {
		t.Errorf("there is %v, %v", there, err)
	}
	rows, err := r.Query(t.Context(), `WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 3) SELECT sum(i) + n + "a.b" FROM c, t, beside`)
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	for rows.Next() {
		if err := rows.Scan(&sum); err != nil {
			t.Fatal(err)
		}
	}
	if rows.Close(); sum != 14 {
		t.Errorf("sum %d, want 14", sum)
	}
	lock := f.open(t)
	lock.SetMaxOpenConns(1)
	if _, err := lock.Exec(`BEGIN EXCLUSIVE`); err != nil {
		t.Fatal(err)
	}
	if rows, err := r.Query(t.Context(), `SELECT n FROM t`); !errors.Is(err, view.ErrBusy) {
		t.Errorf("while another one changes the file: %v, %v, want ErrBusy", rows, err)
	}
	if _, err := lock.Exec(`ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	rows, err = r.Query(ctx, `WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c) SELECT i FROM c`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for n := 0; rows.Next(); n++ {
		if n == 10 {
			cancel()
		}
	}
	if err := rows.Err(); err == nil {
		t.Error("a statement without an end ended without an error")
	}
}

// TestMissing looks at a file that is not there: it is not made.
func TestMissing(t *testing.T) {
	name := filepath.Join(t.TempDir(), "none.db")
	v, err := Open(name, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	s, err := v.State(t.Context(), "x")
	if err != nil || !s.IsNone() {
		t.Errorf("State = %v, %v", s, err)
	}
	if s, err = v.Rows(t.Context(), "x", nil); err != nil || !s.IsNone() {
		t.Errorf("Rows = %v, %v", s, err)
	}
	if err := v.Drop(t.Context(), "x"); err != nil {
		t.Errorf("Drop: %v", err)
	}
	if there, err := filepath.Glob(name + "*"); err != nil || len(there) > 0 {
		t.Errorf("there is %v, %v", there, err)
	}
}

// TestNames has columns that SQLite takes for one, and one more than it takes.
func TestNames(t *testing.T) {
	d := dialect{}
	if d.Fold("MiXed.É") != "mixed.É" || d.Quote(`a"b`) != `"a""b"` {
		t.Errorf("Fold %q, Quote %q", d.Fold("MiXed.É"), d.Quote(`a"b`))
	}
	for name, want := range map[string]string{"a b/c?.db": "file:a%20b/c%3F.db?", "/a/b.db": "file:///a/b.db?", "//a/b.db": "file:////a/b.db?"} {
		if got := dsn(name, time.Second, false); !strings.HasPrefix(got, want) {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	db := newFile(t).(file).open(t)
	var columns []string
	for i := range maxColumns {
		columns = append(columns, fmt.Sprintf("c%d", i))
	}
	if _, err := db.Exec(`CREATE TABLE t (` + strings.Join(columns, ",") + `)`); err != nil {
		t.Errorf("a table of %d columns: %v", maxColumns, err)
	}
	if _, err := db.Exec(`ALTER TABLE t ADD COLUMN more`); err == nil {
		t.Errorf("a table of %d columns takes one more", maxColumns)
	}
}
