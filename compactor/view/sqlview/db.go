package sqlview

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/compactor/view"
)

// DB is a view in a database. Open returns one.
type DB struct {
	db    *sql.DB
	d     Dialect
	name  string
	table string
}

// Open makes a view of a table, which need not exist. name says to people which view it is. The view closes db.
func Open(db *sql.DB, d Dialect, name, table string) *DB { return &DB{db, d, name, table} }

// Name is that of Open.
func (v *DB) Name() string { return v.name }

// Canonical is that of the dialect.
func (v *DB) Canonical(json []byte) []byte { return v.d.Canonical(json) }

// Close closes the database.
func (v *DB) Close() error { return v.db.Close() }

// stateTable is the table with a row for each root.
func (v *DB) stateTable() string { return v.table + "_state" }

func (v *DB) q(name string) string { return v.d.Quote(name) }

// fail makes an error of the database one of the view.
func (v *DB) fail(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case v.d.IsBusy(err):
		return fmt.Errorf("%s: %s: %w: %w", v.name, what, view.ErrBusy, err)
	}
	return fmt.Errorf("%s: %s: %w", v.name, what, v.d.Cause(err))
}

// noGeneration stands in the row of a root whose first sync is under way. It is never committed.
const noGeneration = -1

// held is what the row of a root says.
type held struct {
	view.State
	Left map[string]bool // the columns that are left out
}

// stateColumns are those of the state table, and what they mean to people.
var stateColumns = []fixed{
	{"root_id", Text, true, "the id of a root, as compactd status shows it"},
	{"generation", Int, true, "the rows of the root are those of this generation"},
	{"token", Text, true, "tells generations of one number apart"},
	{"next_seq", Int, true, "above the snapshot_seq of each row"},
	{"row_count", Int, true, "rows of the root"},
	{"form", JSON, true, "the version of what a view makes of a row, and that of the index"},
	{"columns", JSON, true, "the columns of the index that come of its records"},
	{"left_out", JSON, true, "those of them that are no columns here: their values stand in _extra"},
}

// read reads the row of a root. lock makes other transactions that do so wait.
func (v *DB) read(ctx context.Context, conn *sql.Conn, rootID string, lock bool) (h held, err error) {
	suffix := ""
	if lock {
		suffix = v.d.ForUpdate()
	}
	row := conn.QueryRowContext(ctx, fmt.Sprintf("SELECT %s, %s, %s, %s, %s, %s, %s FROM %s WHERE %s = %s%s", v.q("generation"), v.q("token"),
		v.q("next_seq"), v.q("row_count"), v.q("form"), v.q("columns"), v.q("left_out"), v.q(v.stateTable()), v.q("root_id"), v.d.Param(1), suffix), rootID)
	var gen, next int64
	var token string
	var form, columns, left []byte
	err = row.Scan(&gen, &token, &next, &h.Rows, &form, &columns, &left)
	none := errors.Is(err, sql.ErrNoRows) || err == nil && gen == noGeneration
	if err != nil && !none {
		return held{}, v.fail("read its state", err)
	}
	there, err := v.columns(ctx, conn)
	if err != nil || none {
		return held{}, err
	}
	h.RootID, h.Generation, h.Token, h.NextSeq = rootID, cohort.Generation(gen), cohort.Token(token), cohort.Seq(next)
	var names []string
	for _, part := range []struct {
		text []byte
		into any
	}{{form, &h.Form}, {columns, &h.Schema}, {left, &names}} {
		if err := json.Unmarshal(part.text, part.into); err != nil {
			return held{}, fmt.Errorf("%s: its state of root %s cannot be read: drop the view, and sync it again: %w", v.name, rootID, err)
		}
	}
	h.Left = map[string]bool{}
	for _, name := range names {
		h.Left[name] = true
	}
	h.Lost = v.lost(h, there)
	return h, nil
}

// columns are those of the table of the rows; none if it does not exist. It is view.ErrForeign if no view has made it.
func (v *DB) columns(ctx context.Context, conn *sql.Conn) ([]Existing, error) {
	return v.made(ctx, conn, v.table, fixedColumns)
}

// made are the columns of a table of ours, which has at least these.
func (v *DB) made(ctx context.Context, conn *sql.Conn, table string, columns []fixed) ([]Existing, error) {
	there, err := v.d.Columns(ctx, conn, table)
	if err != nil || len(there) == 0 {
		return nil, v.fail("look at its columns", err)
	}
	for _, f := range columns {
		if !slices.ContainsFunc(there, func(e Existing) bool { return e.Name == f.name }) {
			return nil, fmt.Errorf("%s: there is a table %q, and %w: it has no column %q", v.name, table, view.ErrForeign, f.name)
		}
	}
	return there, nil
}

// lost says what the table does not have that it was given.
func (v *DB) lost(h held, there []Existing) string {
	if len(there) == 0 {
		return fmt.Sprintf("the table %q is gone", v.table)
	}
	types := map[string]string{}
	for _, e := range there {
		types[e.Name] = e.Type
	}
	for _, c := range h.Schema {
		if h.Left[c.Name] {
			continue
		}
		switch is, there := types[v.d.Name(c.Name)]; {
		case !there:
			return fmt.Sprintf("its column %q is gone", v.d.Name(c.Name))
		case !strings.EqualFold(is, v.d.Type(Kind(c.Kind))):
			return fmt.Sprintf("its column %q is %s now", v.d.Name(c.Name), is)
		}
	}
	return ""
}

// others are the columns that the other roots of the table have as columns.
func (v *DB) others(ctx context.Context, conn *sql.Conn, rootID string) (map[string]bool, error) {
	rows, err := conn.QueryContext(ctx, fmt.Sprintf("SELECT %s, %s FROM %s WHERE %s <> %s", v.q("columns"), v.q("left_out"), v.q(v.stateTable()),
		v.q("root_id"), v.d.Param(1)), rootID)
	if err != nil {
		return nil, v.fail("read the states of other roots", err)
	}
	defer rows.Close()
	have := map[string]bool{}
	for rows.Next() {
		var columns, left []byte
		var schema index.Schema
		var names []string
		err := rows.Scan(&columns, &left)
		if err == nil {
			err = errors.Join(json.Unmarshal(columns, &schema), json.Unmarshal(left, &names))
		}
		if err != nil {
			return nil, v.fail("read the states of other roots", err)
		}
		out := map[string]bool{}
		for _, name := range names {
			out[name] = true
		}
		for _, c := range schema {
			have[c.Name] = have[c.Name] || !out[c.Name]
		}
	}
	return have, v.fail("read the states of other roots", rows.Err())
}

// State is the row of a root.
func (v *DB) State(ctx context.Context, rootID string) (view.State, error) {
	var h held
	err := v.transaction(ctx, false, func(conn *sql.Conn) error {
		exists, err := v.exists(ctx, conn)
		if err == nil && exists {
			h, err = v.read(ctx, conn, rootID, false)
		}
		if err == nil && !h.IsNone() {
			h.LeftOut, h.Named, err = v.notUnderTheirNames(ctx, conn, h)
		}
		return err
	})
	return h.State, err
}

// exists tells whether the view was ever used.
func (v *DB) exists(ctx context.Context, conn *sql.Conn) (bool, error) {
	columns, err := v.made(ctx, conn, v.stateTable(), stateColumns)
	return len(columns) > 0, err
}

// transaction runs do in a transaction, which is committed if do returns nil.
func (v *DB) transaction(ctx context.Context, writes bool, do func(*sql.Conn) error) (err error) {
	conn, err := v.begin(ctx, writes)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err = do(conn); err == nil {
		_, err = conn.ExecContext(ctx, "COMMIT")
		err = v.fail("commit", err)
	}
	if err != nil {
		rollback(ctx, conn)
	}
	return err
}

func (v *DB) begin(ctx context.Context, writes bool) (*sql.Conn, error) {
	conn, err := v.db.Conn(ctx)
	if err != nil {
		return nil, v.fail("open", err)
	}
	if err := v.d.Begin(ctx, conn, writes); err != nil {
		discard(conn)
		return nil, v.fail("begin", err)
	}
	return conn, nil
}

// rollback ends a transaction that failed. If that fails, too, the connection is closed, which ends it.
func rollback(ctx context.Context, conn *sql.Conn) {
	if _, err := conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK"); err != nil {
		discard(conn)
	}
}

// discard closes a connection for good, so that no other use of the database gets it in an unknown state.
func discard(conn *sql.Conn) {
	conn.Raw(func(any) error { return driver.ErrBadConn }) // database/sql closes such a connection
	conn.Close()
}

// exclude waits for the transactions of other roots, and makes later ones wait: what they will have cannot be seen before.
func (v *DB) exclude(ctx context.Context, conn *sql.Conn) error {
	stmt := v.d.Exclusive(v.stateTable())
	if stmt == "" {
		return nil
	}
	_, err := conn.ExecContext(ctx, stmt)
	return v.fail("wait for other roots", err)
}

// Drop removes the rows and the state of a root, and the tables if no other root is left in them.
func (v *DB) Drop(ctx context.Context, rootID string) error {
	return v.transaction(ctx, true, func(conn *sql.Conn) error {
		if exists, err := v.exists(ctx, conn); err != nil || !exists {
			return err
		}
		if err := v.exclude(ctx, conn); err != nil {
			return err
		}
		tables := []string{v.stateTable()}
		columns, err := v.columns(ctx, conn)
		if err != nil && !errors.Is(err, view.ErrForeign) {
			return err
		}
		if len(columns) > 0 { // else somebody has dropped it, or has a table of that name now
			tables = append(tables, v.table)
		}
		for _, table := range tables {
			stmt := fmt.Sprintf("DELETE FROM %s WHERE %s = %s", v.q(table), v.q("root_id"), v.d.Param(1))
			if _, err := conn.ExecContext(ctx, stmt, rootID); err != nil {
				return v.fail("delete its rows", err)
			}
		}
		var left int64
		if err := conn.QueryRowContext(ctx, "SELECT count(*) FROM "+v.q(v.stateTable())).Scan(&left); err != nil || left > 0 {
			return v.fail("look for other roots", err)
		}
		for _, table := range tables {
			if _, err := conn.ExecContext(ctx, "DROP TABLE "+v.q(table)); err != nil {
				return v.fail("drop its tables", err)
			}
		}
		return nil
	})
}
