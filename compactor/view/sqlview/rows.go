package sqlview

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/compactor/view"
	"github.com/runfold/runfold/internal/jsonscan"
)

// KeyDigest is the part of the primary key that stands for a key.
func KeyDigest(key cohort.Key) []byte {
	sum := sha256.Sum256([]byte(key))
	return sum[:16]
}

// encoder makes rows of the table.
type encoder struct {
	v       *DB
	mapping mapping
	rootID  string
	values  []any
}

// row are the values of a row, valid until the next one.
func (e *encoder) row(r generation.Row) ([]any, error) {
	if e.values == nil {
		e.values = make([]any, len(e.mapping.columns))
	}
	clear(e.values)
	extra, room := r.Extra, e.v.d.MaxRow()
	for i, v := range r.Values {
		if v == nil {
			continue
		}
		place := e.mapping.places[i]
		if place >= 0 {
			kind := e.mapping.columns[place].Kind
			value, ok := e.v.d.Value(kind, v)
			if size := e.v.d.Size(kind, v); ok && size <= room {
				e.values[place], room = value, room-size
				continue
			}
		}
		extra = withMember(extra, e.mapping.schema[i], v)
	}
	var when, digest any
	if !r.Time.IsZero() {
		when = r.Time
	}
	if r.Version.Digest != 0 {
		digest = int64(r.Version.Digest)
	}
	fixed := []any{e.rootID, r.RunID, r.Stage, string(r.Cohort), int64(r.Seq), when, string(r.Key), KeyDigest(r.Key), r.Version.RecordID, digest,
		orNil(string(r.Stream)), orNil(r.Writer), nil, r.Snapshot}
	if extra != nil {
		fixed[placeExtra] = extra
	}
	for i, v := range fixed {
		if v == nil {
			continue
		}
		value, ok := e.v.d.Value(fixedColumns[i].kind, v)
		if text, is := v.(string); is && !ok {
			value, ok = e.v.d.Escape(text)
		}
		if !ok {
			return nil, fmt.Errorf("the database cannot hold the %s of %q", fixedColumns[i].name, r.Key)
		}
		e.values[i] = value
	}
	return e.values, nil
}

// Encode makes a row of a table with columns of these names, in their order, for those who put rows beside it. schema is that of the row's values.
func Encode(d Dialect, columns []string, rootID string, schema index.Schema, r generation.Row) ([]any, error) {
	e := encoder{v: &DB{d: d}, rootID: rootID, mapping: mapping{columns: columnsOf(fixedColumns), schema: schema}}
	for _, col := range schema {
		if !slices.Contains(columns, col.Name) {
			e.mapping.places = append(e.mapping.places, -1)
			continue
		}
		e.mapping.places = append(e.mapping.places, len(e.mapping.columns))
		e.mapping.columns = append(e.mapping.columns, Column{col.Name, Kind(col.Kind)})
	}
	values, err := e.row(r)
	if err != nil {
		return nil, err
	}
	row := make([]any, len(columns))
	for i, col := range e.mapping.columns {
		if at := slices.Index(columns, col.Name); at >= 0 {
			row[at] = values[i]
		}
	}
	return row, nil
}

func orNil(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// withMember is an object of _extra with a value that no column holds. The exact token of a text stands there already.
func withMember(extra []byte, col index.Column, v any) []byte {
	token := index.Token(v)
	var body []byte
	if len(extra) > len("{}") {
		if text, is := v.(string); is {
			for m := range jsonscan.EachMember(extra) {
				if string(m.Name) == col.Name && string(m.Value) == text && isScalar(jsonscan.KindOf(m.Value)) {
					return extra
				}
			}
		}
		body = slices.Clip(extra[:len(extra)-1])
	}
	return append(jsonscan.AppendMember(body, col.Name, token), '}')
}

// isScalar tells whether a text column may hold the text of such a token, which stands beside it then.
func isScalar(k jsonscan.Kind) bool {
	return k == jsonscan.Int || k == jsonscan.Double || k == jsonscan.Bool
}

// selected are the columns that Rows and compare read.
func (v *DB) selected(columns []Column) string {
	return fmt.Sprintf("SELECT %s FROM %s WHERE %s = %s", v.list(names(columns)), v.q(v.table), v.q(columnRoot), v.d.Param(1))
}

// each reads columns of all rows of a root. The values are valid until the next row.
func (v *DB) each(ctx context.Context, conn *sql.Conn, rootID string, columns []Column, do func(values []any) error) error {
	rows, err := conn.QueryContext(ctx, v.selected(columns), rootID)
	if err != nil {
		return v.fail("read rows", err)
	}
	defer rows.Close()
	values, into := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return v.fail("read a row", err)
		}
		for i, c := range columns {
			if values[i] == nil {
				continue
			}
			if values[i], err = v.d.Read(c.Kind, values[i]); err != nil {
				return fmt.Errorf("%s: %w: column %q: %w", v.name, view.ErrChanged, c.Name, err)
			}
		}
		if err := do(values); err != nil {
			return err
		}
	}
	return v.fail("read rows", rows.Err())
}

// identityOf is the Identity of a row whose fixed columns are these; those of the end may be missing.
func identityOf(fixed []any) index.Identity {
	text := func(i int) string { s, _ := fixed[i].(string); return s }
	number := func(i int) int64 { n, _ := fixed[i].(int64); return n }
	id := index.Identity{RunID: text(1), Stage: text(2), Cohort: cohort.ID(text(3)), Seq: cohort.Seq(number(4)), Key: cohort.Key(text(6)),
		Version: cohort.Version{RecordID: text(8), Digest: cohort.Digest(number(9))}, Stream: cohort.StreamID(text(10)), Writer: text(11)}
	id.Time, _ = fixed[5].(time.Time)
	return id
}

// Rows reads all rows of a root in one transaction.
func (v *DB) Rows(ctx context.Context, rootID string, each func(view.State, view.Held) error) (s view.State, err error) {
	err = v.transaction(ctx, false, func(conn *sql.Conn) error {
		if exists, err := v.exists(ctx, conn); err != nil || !exists {
			return err
		}
		h, err := v.read(ctx, conn, rootID, false)
		if err != nil || h.IsNone() {
			return err
		}
		if h.Lost != "" {
			return fmt.Errorf("%s: %w: %s", v.name, view.ErrChanged, h.Lost)
		}
		s = h.State
		columns := columnsOf(fixedColumns)
		schema := index.Schema{}
		for _, c := range h.Schema {
			if !h.Left[c.Name] {
				columns, schema = append(columns, Column{v.d.Name(c.Name), Kind(c.Kind)}), append(schema, c)
			}
		}
		return v.each(ctx, conn, rootID, columns, func(values []any) error {
			snapshot, _ := values[placeSnapshot].([]byte)
			extra, _ := values[placeExtra].([]byte)
			content, err := index.ContentOf(identityOf(values), schema, values[len(fixedColumns):], extra, v.Canonical)
			if err != nil {
				return fmt.Errorf("%s: %w: %w", v.name, view.ErrChanged, err)
			}
			return each(s, view.Held{Content: content, Snapshot: snapshot})
		})
	})
	return s, err
}

// marked is a row of the view: what compare needs of it.
type marked struct {
	seq  cohort.Seq
	mark uint64
	key  [16]byte
}

// compare finds the rows that only the view has, and those that only the generation has.
func (t *tx) compare(ctx context.Context, m mapping, c view.Change, done view.Applied) (view.Applied, error) {
	has := make([]marked, 0, min(max(t.was.Rows, 0), 1<<24))
	err := t.v.each(ctx, t.conn, t.rootID, columnsOf(fixedColumns[:placeExtra]), func(values []any) error {
		id := identityOf(values)
		row := marked{seq: id.Seq, mark: view.Mark(id)}
		if key, ok := values[7].([]byte); ok {
			copy(row.key[:], key)
		}
		has = append(has, row)
		return nil
	})
	if err != nil {
		return done, err
	}
	slices.SortFunc(has, func(a, b marked) int { return cmp.Compare(a.seq, b.seq) })
	var surplus [][]byte
	missing := []cohort.Seq{}
	for id, err := range c.Identities() {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return done, err
		}
		same := false
		for len(has) > 0 && has[0].seq <= id.Seq {
			if same = has[0].seq == id.Seq && has[0].mark == view.Mark(id); !same {
				surplus = append(surplus, has[0].key[:])
			}
			has = has[1:]
		}
		if !same {
			missing = append(missing, id.Seq)
		}
	}
	for i := range has {
		surplus = append(surplus, has[i].key[:])
	}
	if done.Removed, err = t.remove(ctx, surplus); err != nil || len(missing) == 0 {
		return done, err
	}
	done.Written, err = t.write(ctx, m, c, missing[0], missing)
	return done, err
}
