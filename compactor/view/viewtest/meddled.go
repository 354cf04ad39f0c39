package viewtest

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/view"
)

// Database is a Place in which somebody else runs a statement.
type Database interface {
	Place
	Exec(t testing.TB, stmt string)
}

// testMeddled has somebody else who changes the table of two roots. Check finds it, also where nobody has folded since, and the next sync of each root
// writes what is missing.
func testMeddled(t *testing.T, place func(testing.TB) Place) {
	for _, stmt := range []string{
		`DROP TABLE runs`, `ALTER TABLE runs DROP COLUMN n`, `ALTER TABLE runs DROP COLUMN only_a`, `ALTER TABLE runs RENAME COLUMN n TO m`, `ALTER TABLE runs RENAME TO gone`,
	} {
		for _, folds := range []bool{false, true} {
			p, is := place(t).(Database)
			if !is {
				t.Skip("nobody else runs statements there")
			}
			a, b := newRoot(t, cohort.Settings{}), newRoot(t, cohort.Settings{})
			a.fold(`{"run_id":"r","stage":"T","n":1,"only_a":true}`)
			b.fold(`{"run_id":"s","stage":"T","n":2}`)
			a.sync(p)
			b.sync(p)
			p.Exec(t, stmt)
			v := p.Open(t, free)
			if c, err := view.Check(context.Background(), a.store(), v); !errors.Is(err, view.ErrChanged) {
				t.Errorf("%s: Check = %+v, %v, want ErrChanged", stmt, c, err)
			}
			if s, err := v.State(context.Background(), a.id()); err != nil || s.Lost == "" {
				t.Errorf("%s: State = %+v, %v, want what is lost", stmt, s, err)
			}
			v.Close()
			if folds {
				a.fold(`{"run_id":"r2","stage":"T","n":3}`)
			}
			if r := a.sync(p); r.How != view.Whole {
				t.Errorf("%s: %+v, want all rows", stmt, r)
			}
			b.sync(p)
			if r := a.sync(p); r.How != "" {
				t.Errorf("%s: a second time: %+v", stmt, r)
			}
		}
	}
}

// testForeign has tables with the names of ours that no view has made: nothing in them changes, and no drop takes them away.
func testForeign(t *testing.T, place func(testing.TB) Place) {
	for _, others := range [][]string{
		{`CREATE TABLE runs (run_uuid TEXT, name TEXT)`, `INSERT INTO runs VALUES ('theirs', '1')`},
		{`CREATE TABLE runs (root_id TEXT, run_id TEXT, name TEXT)`, `INSERT INTO runs VALUES ('theirs', '1', '2')`},
		{`CREATE TABLE runs_state (root_id TEXT, n INTEGER)`, `INSERT INTO runs_state VALUES ('theirs', 1)`},
		{`CREATE TABLE runs_state AS SELECT 1 AS a`, `CREATE TABLE runs AS SELECT 1 AS b`},
		{`CREATE TABLE theirs (a TEXT)`, `CREATE VIEW runs AS SELECT a FROM theirs`},
	} {
		for _, synced := range []bool{false, true} {
			p, is := place(t).(Database)
			if !is {
				t.Skip("nobody else runs statements there")
			}
			r := newRoot(t, cohort.Settings{})
			r.fold(`{"run_id":"r","stage":"T","n":1}`)
			if synced {
				r.sync(p)
				p.Exec(t, `DROP TABLE runs`)
				if strings.Contains(others[0], "runs_state") {
					p.Exec(t, `DROP TABLE runs_state`)
				}
			}
			for _, stmt := range others {
				p.Exec(t, stmt)
			}
			v := p.Open(t, free)
			if report, err := view.Sync(context.Background(), r.store(), v, view.Options{}); !errors.Is(err, view.ErrForeign) || errors.Is(err, view.ErrBusy) {
				t.Errorf("%s: Sync = %+v, %v, want ErrForeign", others[0], report, err)
			}
			if c, err := view.Check(context.Background(), r.store(), v); err == nil || errors.Is(err, view.ErrBusy) {
				t.Errorf("%s: Check = %+v, %v", others[0], c, err)
			}
			if err := v.Drop(context.Background(), r.id()); err != nil && !errors.Is(err, view.ErrForeign) {
				t.Errorf("%s: Drop = %v", others[0], err)
			}
			v.Close()
			p.Exec(t, `SELECT count(*) FROM `+strings.Fields(others[len(others)-1])[2]) // it is there
		}
	}
}

// testNeeded has somebody whose own view of the table needs a column. When that goes, it stays there without values; when it gets another type, the sync
// says who needs it, and goes on once that is gone.
func testNeeded(t *testing.T, place func(testing.TB) Place) {
	p, is := place(t).(Database)
	if !is {
		t.Skip("nobody else runs statements there")
	}
	r := newRoot(t, cohort.Settings{})
	r.fold(`{"run_id":"a","stage":"T","gone":1,"wide":1,"kept":1}`)
	r.sync(p)
	p.Exec(t, `CREATE VIEW board AS SELECT run_id, gone FROM runs`)
	columns(compactor.ColumnChange{Drop: []string{"gone"}})(r)
	v := p.Open(t, free)
	defer v.Close()
	if report, err := view.Sync(context.Background(), r.store(), v, view.Options{}); err != nil || report.Written != 1 {
		t.Errorf("a column is gone: %+v, %v", report, err)
	}
	r.shows(p)
	r.check(v)
	p.Exec(t, `SELECT gone FROM board`)
	p.Exec(t, `CREATE VIEW wide AS SELECT run_id, wide FROM runs`)
	r.fold(`{"run_id":"b","stage":"T","wide":1.5}`)
	for range 2 {
		_, err := view.Sync(context.Background(), r.store(), v, view.Options{})
		if err == nil || errors.Is(err, view.ErrBusy) || !strings.Contains(err.Error(), "view wide") || !strings.Contains(err.Error(), "make that again") {
			t.Errorf("a column gets another type: %v", err)
		}
	}
	p.Exec(t, `DROP VIEW wide`)
	r.sync(p)
	p.Exec(t, `DROP VIEW board`)
}
