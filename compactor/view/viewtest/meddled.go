package viewtest

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/runfold/runfold/cohort"
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
