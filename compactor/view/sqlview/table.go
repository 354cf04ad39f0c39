package sqlview

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/compactor/view"
)

// fixed is a column that every such table has.
type fixed struct {
	name     string
	kind     Kind
	required bool
	comment  string
}

const (
	columnRoot   = "root_id"
	columnDigest = "_key_digest"
	columnExtra  = "_extra"
)

// fixedColumns are those of the table. Part of the format: a change is another form.
var fixedColumns = []fixed{
	{columnRoot, Text, true, "the id of the root that the row is of, as compactd status shows it"},
	{"run_id", Text, true, "the run"},
	{"phase", Text, true, "its stage"},
	{"cohort_id", Text, true, "the cohort that it was appended to"},
	{"snapshot_seq", Int, true, "increases with each change of a row"},
	{"timestamp", Time, false, "that of the record, else of its append, in UTC; NULL if nobody knows it"},
	{"_key", Text, true, "the key: of each there is one row in a root"},
	{columnDigest, Bytes, true, "the first 16 bytes of the SHA-256 of _key"},
	{"_record_id", Text, true, "the id of the record"},
	{"_digest", Int, false, "a digest of the bytes of the record"},
	{"_stream", Text, false, "the stream that the record was appended to; NULL if the row was imported"},
	{"_writer", Text, false, "who appended the record"},
	{columnExtra, JSON, false, "all that no column holds, by name"},
	{"snapshot", JSON, true, "the object of the key in snapshot_index.json"},
}

// The places of some of them. Those of the records stand after the first ones when the table is made: what is long comes last, as a database may have to
// read all that stands before a value.
const (
	firstFixed    = 6 // columns before those of the records
	placeExtra    = 12
	placeSnapshot = 13
)

// columnsOf are the fixed columns as columns.
func columnsOf(all []fixed) (out []Column) {
	for _, f := range all {
		out = append(out, Column{f.name, f.kind})
	}
	return out
}

// indexes are those of the table, beside that of the primary key: their names end so.
var indexes = []struct {
	name    string
	columns []string
}{
	{"run_id", []string{"run_id"}},
	{"cohort_phase_seq", []string{"cohort_id", "phase", "snapshot_seq"}},
	{"timestamp", []string{"timestamp"}},
}

// createState makes the state table, if it does not exist.
func (v *DB) createState(ctx context.Context, conn *sql.Conn) error {
	if exists, err := v.exists(ctx, conn); err != nil || exists {
		return err
	}
	for _, stmt := range v.create(v.stateTable(), stateColumns, []string{columnRoot}) {
		if _, err := conn.ExecContext(ctx, stmt); err != nil {
			return v.fail("create its tables", err)
		}
	}
	return nil
}

// create are the statements that make a table.
func (v *DB) create(name string, columns []fixed, key []string) []string {
	stmts := []string{v.createTable(name, columns, key)}
	for _, f := range columns {
		if f.comment == "" {
			continue
		}
		if stmt := v.d.Comment(name, f.name, f.comment); stmt != "" {
			stmts = append(stmts, stmt)
		}
	}
	return stmts
}

func (v *DB) createTable(name string, columns []fixed, key []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE TABLE IF NOT EXISTS %s (\n", v.q(name))
	for _, f := range columns {
		fmt.Fprintf(&b, "  %s %s", v.q(f.name), v.d.Type(f.kind))
		if f.required {
			b.WriteString(" NOT NULL")
		}
		b.WriteString(",")
		if f.comment != "" {
			b.WriteString(" -- " + f.comment)
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "  PRIMARY KEY (%s)\n)", v.list(key))
	return b.String()
}

// list are quoted names.
func (v *DB) list(names []string) string {
	var quoted []string
	for _, n := range names {
		quoted = append(quoted, v.q(n))
	}
	return strings.Join(quoted, ", ")
}

// createIndexes makes the indexes of a table that this transaction made, after the first rows, which takes less time. Later ones leave them alone: what
// looks for an index may lock the whole table, and who dropped one had a reason.
func (v *DB) createIndexes(ctx context.Context, conn *sql.Conn) error {
	for _, i := range indexes {
		name := v.table + "_" + i.name
		for n := 2; ; n++ { // one of another table, such as this one under an earlier name, may have it
			taken, err := v.d.Taken(ctx, conn, name)
			if err != nil {
				return v.fail("look at its indexes", err)
			}
			if !taken {
				break
			}
			name = fmt.Sprintf("%s_%s_%d", v.table, i.name, n)
		}
		stmt := fmt.Sprintf("CREATE INDEX %s ON %s (%s)", v.q(name), v.q(v.table), v.list(i.columns))
		if _, err := conn.ExecContext(ctx, stmt); err != nil {
			return v.fail("create its indexes", err)
		}
	}
	return nil
}

// mapping says where the values of the columns of an index go.
type mapping struct {
	columns []Column // of the table: the fixed ones, then those of the index that are columns
	places  []int    // of each column of the index among columns; -1: it is left out
	schema  index.Schema
	left    []view.LeftOut
	named   []view.Named
	fresh   bool // the table was made for it
}

// chooser decides which columns of the index are columns of the table.
type chooser struct {
	v      *DB
	was    held
	anew   bool            // all rows of the root are written again
	others map[string]bool // columns that other roots have
	there  map[string]Existing
	count  int      // of columns in the table
	fresh  bool     // the table does not exist
	made   []fixed  // of a fresh table: the columns of the records
	stmts  []string // that make the table so
}

// choose is the mapping of a schema. It changes the table as that needs. Unless all rows of the root are written again, columns that were left
// out stay so: the values of older rows stand in _extra.
func (v *DB) choose(ctx context.Context, conn *sql.Conn, was held, schema index.Schema, anew bool) (m mapping, err error) {
	c := chooser{v: v, was: was, anew: anew, there: map[string]Existing{}}
	if anew && len(was.Schema) > 0 { // columns may go
		if err := v.exclude(ctx, conn); err != nil {
			return mapping{}, err
		}
	}
	if c.others, err = v.others(ctx, conn, was.RootID); err != nil {
		return mapping{}, err
	}
	existing, err := v.columns(ctx, conn)
	if err != nil {
		return mapping{}, err
	}
	for _, e := range existing {
		c.there[v.d.Fold(e.Name)] = e
	}
	c.count = len(existing)
	if c.fresh = len(existing) == 0; c.fresh {
		c.count = len(fixedColumns)
	}
	if anew {
		if err := c.dropUnused(ctx, conn, schema); err != nil {
			return mapping{}, err
		}
	}
	m = mapping{columns: columnsOf(fixedColumns), schema: schema, fresh: c.fresh}
	for _, col := range schema {
		why := c.add(col)
		if why != "" {
			m.left, m.places = append(m.left, view.LeftOut{Column: col.Name, Why: why}), append(m.places, -1)
			continue
		}
		m.places = append(m.places, len(m.columns))
		name := v.d.Name(col.Name)
		if name != col.Name {
			m.named = append(m.named, view.Named{Column: col.Name, As: name})
		}
		m.columns = append(m.columns, Column{name, Kind(col.Kind)})
	}
	if c.fresh {
		all := slices.Concat(fixedColumns[:firstFixed], c.made, fixedColumns[firstFixed:])
		c.stmts = v.create(v.table, all, []string{columnRoot, columnDigest})
	}
	for _, stmt := range c.stmts {
		if _, err := conn.ExecContext(ctx, stmt); err != nil {
			return mapping{}, v.fail("change its columns", err)
		}
	}
	return m, nil
}

// notUnderTheirNames are the columns of a root that its table does not have, or has under other names, as a sync tells them.
func (v *DB) notUnderTheirNames(ctx context.Context, conn *sql.Conn, h held) (left []view.LeftOut, named []view.Named, err error) {
	c := chooser{v: v, was: h, there: map[string]Existing{}}
	if len(h.Left) > 0 {
		existing, err := v.columns(ctx, conn)
		if err != nil {
			return nil, nil, err
		}
		for _, e := range existing {
			c.there[v.d.Fold(e.Name)] = e
		}
		c.count = len(existing)
	}
	for _, col := range h.Schema {
		name := v.d.Name(col.Name)
		switch {
		case h.Left[col.Name]:
			left = append(left, view.LeftOut{Column: col.Name, Why: c.add(col)})
		case name != col.Name:
			named = append(named, view.Named{Column: col.Name, As: name})
		}
	}
	return left, named, nil
}

// mine tells whether the column of the table was made for this root and is of no other. What somebody else has added to the table is
// never dropped.
func (c *chooser) mine(name string) bool {
	had := slices.ContainsFunc(c.was.Schema, func(col index.Column) bool { return col.Name == name })
	return had && !c.was.Left[name] && !c.others[name]
}

// dropUnused drops the columns that only this root had, and has no more. One that something of somebody else needs, such as a view, stays, without values.
func (c *chooser) dropUnused(ctx context.Context, conn *sql.Conn, schema index.Schema) error {
	for _, col := range c.was.Schema {
		stays := slices.ContainsFunc(schema, func(s index.Column) bool { return s.Name == col.Name })
		name := c.v.d.Name(col.Name)
		e, there := c.there[c.v.d.Fold(name)]
		if stays || !there || e.Name != name || !c.mine(col.Name) {
			continue
		}
		dropped, err := c.v.unlessNeeded(ctx, conn, fmt.Sprintf("ALTER TABLE %s DROP COLUMN %s", c.v.q(c.v.table), c.v.q(name)))
		if err != nil {
			return err
		}
		if dropped {
			delete(c.there, c.v.d.Fold(name)) // it may still count: the next sync sees whether it does
		}
	}
	return nil
}

// unlessNeeded runs a statement that drops something, and undoes it if something else needs that.
func (v *DB) unlessNeeded(ctx context.Context, conn *sql.Conn, stmt string) (done bool, err error) {
	for _, one := range []string{"SAVEPOINT runfold", stmt, "RELEASE SAVEPOINT runfold"} {
		if _, err = conn.ExecContext(ctx, one); err != nil {
			break
		}
	}
	if err == nil || !v.d.IsNeeded(err) {
		return err == nil, v.fail("change its columns", err)
	}
	for _, one := range []string{"ROLLBACK TO SAVEPOINT runfold", "RELEASE SAVEPOINT runfold"} {
		if _, err := conn.ExecContext(ctx, one); err != nil {
			return false, v.fail("change its columns", err)
		}
	}
	return false, nil
}

// add makes sure that the table has a column for one of the index. It returns why it cannot have one.
func (c *chooser) add(col index.Column) (why string) {
	const older = "it was left out when the older rows were written"
	d, left := c.v.d, c.was.Left[col.Name] && !c.anew
	if why = d.Refuses(col.Name); why != "" {
		return why
	}
	for _, f := range fixedColumns {
		if d.Fold(f.name) == d.Fold(col.Name) {
			return "every view has a column of this name"
		}
	}
	name := d.Name(col.Name)
	e, there := c.there[d.Fold(name)]
	want := d.Type(Kind(col.Kind))
	switch {
	case there && e.Name != name:
		return fmt.Sprintf("the database does not tell it from %q", e.Name)
	case there && strings.EqualFold(e.Type, want) && left:
		return older
	case there && strings.EqualFold(e.Type, want):
		return ""
	case there && c.anew && c.mine(col.Name) && c.count < d.MaxColumns():
		c.stmts = append(c.stmts, d.Retype(c.v.table, name, Kind(col.Kind))...)
		c.there[d.Fold(name)] = Existing{name, want}
		c.count++ // the old one may still count
		return ""
	case there:
		return fmt.Sprintf("it is %s in this root, and the table has one that is %s, of another root or of somebody else", want, e.Type)
	case c.count >= d.MaxColumns():
		return fmt.Sprintf("the table has %d columns, and may have no more", c.count)
	case left:
		return older
	}
	comment := "" // a column of the records explains itself
	if name != col.Name {
		comment = fmt.Sprintf("the column %q of the index", col.Name)
	}
	if c.fresh {
		c.made = append(c.made, fixed{name: name, kind: Kind(col.Kind), comment: comment})
	} else {
		c.stmts = append(c.stmts, fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s %s", c.v.q(c.v.table), c.v.q(name), want))
		if stmt := d.Comment(c.v.table, name, comment); comment != "" && stmt != "" {
			c.stmts = append(c.stmts, stmt)
		}
	}
	c.there[d.Fold(name)] = Existing{name, want}
	c.count++
	return ""
}
