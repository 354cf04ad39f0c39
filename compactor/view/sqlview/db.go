package sqlview

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"

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
	case v.d.IsAway(err):
		return fmt.Errorf("%s: %s: %w: %w", v.name, what, view.ErrAway, err)
	}
	return fmt.Errorf("%s: %s: %w", v.name, what, err)
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
	if errors.Is(err, sql.ErrNoRows) || err == nil && gen == noGeneration {
		return held{}, nil
	}
	if err != nil {
		return held{}, v.fail("read its state", err)
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
	return h, nil
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
		return err
	})
	return h.State, err
}

// exists tells whether the view was ever used.
func (v *DB) exists(ctx context.Context, conn *sql.Conn) (bool, error) {
	columns, err := v.d.Columns(ctx, conn, v.stateTable())
	return len(columns) > 0, v.fail("look for its tables", err)
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
		if columns, err := v.d.Columns(ctx, conn, v.table); err != nil {
			return v.fail("look at its columns", err)
		} else if len(columns) > 0 { // else somebody has dropped it
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
