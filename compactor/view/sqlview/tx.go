package sqlview

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/compactor/view"
)

// tx is one change: one transaction of the database.
type tx struct {
	v      *DB
	conn   *sql.Conn
	rootID string
	was    held
	left   []string
	back   bool // Commit may go back: see view.Change
	ended  bool
}

// Begin begins a transaction and takes the row of the root, which a second one waits for.
func (v *DB) Begin(ctx context.Context, rootID string) (view.Tx, error) {
	conn, err := v.begin(ctx, true)
	if err != nil {
		return nil, err
	}
	t := &tx{v: v, conn: conn, rootID: rootID}
	if err := t.take(ctx); err != nil {
		t.Rollback()
		return nil, err
	}
	return t, nil
}

func (t *tx) take(ctx context.Context) (err error) {
	if err := t.v.createState(ctx, t.conn); err != nil {
		return err
	}
	stmt := fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s) ON CONFLICT (%s) DO NOTHING", t.v.q(t.v.stateTable()), t.v.list(names(columnsOf(stateColumns))),
		t.v.params(len(stateColumns)), t.v.q(columnRoot))
	if _, err := t.conn.ExecContext(ctx, stmt, t.rootID, noGeneration, "", 0, 0, "{}", "[]", "[]"); err != nil {
		return t.v.fail("make its state", err)
	}
	t.was, err = t.v.read(ctx, t.conn, t.rootID, true)
	return err
}

func names(columns []Column) (out []string) {
	for _, c := range columns {
		out = append(out, c.Name)
	}
	return out
}

// params are the parameters of n values.
func (v *DB) params(n int) string {
	var all []string
	for i := range n {
		all = append(all, v.d.Param(i+1))
	}
	return strings.Join(all, ", ")
}

// State is what the row of the root said.
func (t *tx) State() view.State { return t.was.State }

// Apply changes the rows. Where it compares, it holds 32 bytes for each row of the view.
func (t *tx) Apply(ctx context.Context, c view.Change) (done view.Applied, err error) {
	t.was.RootID, t.back = t.rootID, c.Back
	if c.How == view.Whole {
		if done.Removed, err = t.clear(ctx); err != nil {
			return done, err
		}
	}
	m, err := t.v.choose(ctx, t.conn, t.was, c.Next.Schema, c.How == view.Whole)
	if err != nil {
		return done, err
	}
	if m.fresh { // also where somebody has dropped the table, and not the state
		c.How = view.Whole
	}
	if m.fresh || t.was.Lost != "" {
		if err := t.othersAgain(ctx); err != nil {
			return done, err
		}
	}
	done.LeftOut, done.Named = m.left, m.named
	for _, l := range m.left {
		t.left = append(t.left, l.Column)
	}
	switch c.How {
	case view.Whole:
		done.Written, err = t.write(ctx, m, c, 0, nil)
		done.Removed = max(done.Removed-done.Written, 0)
	case view.Since:
		if done.Removed, err = t.removeGone(ctx, c); err == nil {
			done.Written, err = t.write(ctx, m, c, c.Since, nil)
		}
	case view.Compared:
		done, err = t.compare(ctx, m, c, done)
	}
	if err == nil && m.fresh {
		err = t.v.createIndexes(ctx, t.conn)
	}
	return done, err
}

// othersAgain makes the next syncs of other roots write all of their rows: what somebody has taken away was theirs, too, and once it is there again
// nobody can see that their values are missing.
func (t *tx) othersAgain(ctx context.Context) error {
	stmt := fmt.Sprintf("UPDATE %s SET %s = '{}' WHERE %s <> %s", t.v.q(t.v.stateTable()), t.v.q("form"), t.v.q(columnRoot), t.v.d.Param(1))
	_, err := t.conn.ExecContext(ctx, stmt, t.rootID)
	return t.v.fail("write the states of other roots", err)
}

// clear removes all rows of the root.
func (t *tx) clear(ctx context.Context) (int64, error) {
	if columns, err := t.v.columns(ctx, t.conn); err != nil || len(columns) == 0 { // it is not made yet
		return 0, err
	}
	r, err := t.conn.ExecContext(ctx, fmt.Sprintf("DELETE FROM %s WHERE %s = %s", t.v.q(t.v.table), t.v.q(columnRoot), t.v.d.Param(1)), t.rootID)
	if err != nil {
		return 0, t.v.fail("remove its rows", err)
	}
	return r.RowsAffected()
}

// write writes the rows from a seq on; if only is not nil, those of these seqs, which are sorted.
func (t *tx) write(ctx context.Context, m mapping, c view.Change, from cohort.Seq, only []cohort.Seq) (n int64, err error) {
	e := encoder{v: t.v, mapping: m, rootID: t.rootID}
	var unread error // of a row: a database may return only what it says of it itself
	rows := func(yield func([]any, error) bool) {
		for r, err := range c.Rows(from) {
			if err == nil && only != nil {
				if len(only) == 0 {
					return
				}
				if r.Seq != only[0] {
					continue
				}
				only = only[1:]
			}
			var values []any
			if err == nil {
				n++
				values, err = e.row(r)
			}
			if err == nil {
				err = ctx.Err()
			}
			unread = err
			if !yield(values, err) || err != nil {
				return
			}
		}
	}
	err = t.v.d.Write(ctx, t.conn, Load{t.v.table, []string{columnRoot, columnDigest}, m.columns, c.How == view.Whole, rows})
	if unread != nil {
		return n, unread
	}
	if err == nil && len(only) > 0 {
		err = fmt.Errorf("internal error: %d rows that were listed were not there", len(only))
	}
	return n, t.v.fail("write rows", err)
}

// removeGone removes the rows that were withdrawn.
func (t *tx) removeGone(ctx context.Context, c view.Change) (n int64, err error) {
	var batch [][]byte
	for h, err := range c.Gone() {
		if err != nil {
			return n, err
		}
		if batch = append(batch, KeyDigest(h.Key)); len(batch) == removeBatch {
			removed, err := t.remove(ctx, batch)
			if err != nil {
				return n, err
			}
			n, batch = n+removed, batch[:0]
		}
	}
	removed, err := t.remove(ctx, batch)
	return n + removed, err
}

// removeBatch is how many rows one statement removes.
const removeBatch = 500

// remove removes the rows of keys, removeBatch at once.
func (t *tx) remove(ctx context.Context, keys [][]byte) (n int64, err error) {
	for batch := range slices.Chunk(keys, removeBatch) {
		args := []any{t.rootID}
		var params []string
		for _, k := range batch {
			args = append(args, k)
			params = append(params, t.v.d.Param(len(args)))
		}
		r, err := t.conn.ExecContext(ctx, fmt.Sprintf("DELETE FROM %s WHERE %s = %s AND %s IN (%s)", t.v.q(t.v.table), t.v.q(columnRoot), t.v.d.Param(1),
			t.v.q(columnDigest), strings.Join(params, ", ")), args...)
		if err != nil {
			return n, t.v.fail("remove rows", err)
		}
		removed, err := r.RowsAffected()
		if err != nil {
			return n, t.v.fail("remove rows", err)
		}
		n += removed
	}
	return n, nil
}

// Commit writes the state and commits. The statement refuses to go back, whatever was read before.
func (t *tx) Commit(ctx context.Context, next view.State) error {
	form, err := json.Marshal(next.Form)
	if err != nil {
		return err
	}
	columns, err := json.Marshal(append(index.Schema{}, next.Schema...))
	if err != nil {
		return err
	}
	left, err := json.Marshal(append([]string{}, t.left...))
	if err != nil {
		return err
	}
	var set []string
	for i, f := range stateColumns[1:] {
		set = append(set, t.v.q(f.name)+" = "+t.v.d.Param(i+1))
	}
	n, most := len(stateColumns), int64(next.Generation)
	if t.back {
		most = math.MaxInt64
	}
	r, err := t.conn.ExecContext(ctx, fmt.Sprintf("UPDATE %s SET %s WHERE %s = %s AND %s <= %s", t.v.q(t.v.stateTable()), strings.Join(set, ", "),
		t.v.q(columnRoot), t.v.d.Param(n), t.v.q("generation"), t.v.d.Param(n+1)),
		int64(next.Generation), string(next.Token), int64(next.NextSeq), next.Rows, string(form), string(columns), string(left), t.rootID, most)
	if err != nil {
		return t.v.fail("write its state", err)
	}
	if changed, err := r.RowsAffected(); err != nil || changed != 1 {
		return t.v.fail("write its state", errors.Join(err, fmt.Errorf("it holds a later generation than %d", next.Generation)))
	}
	if _, err := t.conn.ExecContext(ctx, "COMMIT"); err != nil {
		return t.v.fail("commit", err)
	}
	t.ended = true
	return t.conn.Close()
}

// Rollback ends the transaction.
func (t *tx) Rollback() error {
	if !t.ended {
		t.ended = true
		rollback(context.Background(), t.conn)
		t.conn.Close()
	}
	return nil
}
