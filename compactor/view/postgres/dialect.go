package postgres

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/runfold/runfold/compactor/view"
	"github.com/runfold/runfold/compactor/view/sqlview"
	"github.com/runfold/runfold/internal/jsonscan"
	"github.com/runfold/runfold/internal/pgclient"
)

// dialect is the sqlview.Dialect of PostgreSQL.
type dialect struct {
	schema string // empty: the first one of the search path of the user
	table  string
	wait   time.Duration
	// silence is how long an end of a connection that acknowledges nothing is waited for.
	silence time.Duration
}

var types = map[sqlview.Kind]string{
	sqlview.Bool: "boolean", sqlview.Int: "bigint", sqlview.Double: "double precision", sqlview.Text: "text", sqlview.Time: "timestamp with time zone",
	sqlview.JSON: "jsonb", sqlview.Bytes: "bytea",
}

// The limits of PostgreSQL, as it is built by default.
const (
	maxColumns = 1600 // dropped ones count
	// maxRow is what the columns of the records may take of a row, which must fit into a page of 8,192 bytes: the rest of it is for the
	// other columns.
	maxRow = 7000
)

func (dialect) Quote(name string) string { return pgclient.Quote(name) }

func (dialect) Param(n int) string { return fmt.Sprintf("$%d", n) }

func (dialect) Type(k sqlview.Kind) string { return types[k] }

func (dialect) MaxColumns() int { return maxColumns }

func (dialect) Fold(name string) string { return name }

// Name cuts a name that is too long, and puts a digest of the whole name behind it.
func (dialect) Name(column string) string {
	if len(column) <= pgclient.MaxName {
		return column
	}
	sum := sha256.Sum256([]byte(column))
	end := fmt.Sprintf("~%x", sum[:6])
	cut := pgclient.MaxName - len(end)
	for !utf8.RuneStart(column[cut]) {
		cut--
	}
	return column[:cut] + end
}

// system are the columns that every table has.
var system = map[string]bool{"tableoid": true, "xmin": true, "cmin": true, "xmax": true, "cmax": true, "ctid": true}

func (dialect) Refuses(name string) string {
	switch {
	case name == "":
		return "PostgreSQL has no columns without a name"
	case system[name]:
		return "every table of PostgreSQL has a column of this name"
	case strings.ContainsRune(name, 0), !utf8.ValidString(name):
		return "PostgreSQL has no such characters in names"
	}
	return ""
}

// Value refuses texts that PostgreSQL does not take, and those that Read would take for an escaped one.
func (dialect) Value(k sqlview.Kind, v any) (any, bool) {
	switch v := v.(type) {
	case string:
		return v, !strings.ContainsAny(v, "\x00"+string(escape)) && utf8.ValidString(v)
	case []byte:
		if k == sqlview.JSON {
			return toJSONB(v), true
		}
	case time.Time:
		return v.UTC(), true
	}
	return v, true
}

// escape begins what Escape writes: the last character of Unicode, which stands for nothing.
const escape = '\U0010FFFD'

var (
	escaper   = strings.NewReplacer("\x00", string(escape)+"0", string(escape), string(escape)+"1")
	unescaper = strings.NewReplacer(string(escape)+"0", "\x00", string(escape)+"1", string(escape))
)

func (dialect) Escape(text string) (string, bool) {
	return escaper.Replace(text), utf8.ValidString(text)
}

func (dialect) Size(k sqlview.Kind, v any) int {
	if text, is := v.(string); is && k == sqlview.Text {
		return min(len(text)+1, 18) + 7 // a long one stands elsewhere; and what may be left free before the next value
	}
	return 8
}

func (dialect) MaxRow() int { return maxRow }

func (dialect) Read(k sqlview.Kind, v any) (any, error) {
	switch v := v.(type) {
	case string:
		switch k {
		case sqlview.Text:
			return unescaper.Replace(v), nil
		case sqlview.JSON:
			return fromJSONB([]byte(v)), nil
		}
	case []byte:
		if k == sqlview.JSON {
			return fromJSONB(v), nil
		}
	case time.Time:
		if k == sqlview.Time {
			return v.UTC(), nil
		}
	}
	return sqlview.ReadPlain(k, v)
}

func (dialect) Canonical(json []byte) []byte { return canonical(json) }

// limits make the server end a transaction whose publisher stands still, or is gone without a word: others wait for it. Keepalives find who is gone
// while nothing is under way to it, and tcp_user_timeout while something is.
func (d dialect) limits() string {
	k := pgclient.KeepAlive(d.silence)
	return fmt.Sprintf("SET LOCAL idle_in_transaction_session_timeout = '10min'; SET LOCAL tcp_keepalives_idle = %d; SET LOCAL tcp_keepalives_interval = %d; "+
		"SET LOCAL tcp_keepalives_count = %d; SET LOCAL tcp_user_timeout = %d", k.Idle/time.Second, k.Interval/time.Second, k.Count, d.silence.Milliseconds())
}

// Begin begins a transaction of the schema. One that reads sees the rows and the state of one moment: it keeps others from changing the columns
// before it looks at anything.
func (d dialect) Begin(ctx context.Context, conn *sql.Conn, writes bool) error {
	mode := "ISOLATION LEVEL REPEATABLE READ READ ONLY"
	if writes {
		mode = "ISOLATION LEVEL READ COMMITTED READ WRITE"
	}
	begin := fmt.Sprintf("BEGIN %s; SET LOCAL lock_timeout = %d; %s", mode, max(d.wait.Milliseconds(), 1), d.limits())
	if d.schema != "" {
		begin += "; SET LOCAL search_path TO " + d.Quote(d.schema)
	}
	if err := d.simple(ctx, conn, begin); err != nil || writes {
		if err == nil {
			err = isUTF8(conn)
		}
		if err == nil {
			err = d.createSchema(ctx, conn)
		}
		return err
	}
	err := d.simple(ctx, conn, "LOCK TABLE "+d.Quote(d.table)+" IN ACCESS SHARE MODE")
	if pgclient.IsCode(err, pgclient.CodeNoTable, pgclient.CodeNoSchema) {
		return d.simple(ctx, conn, "ROLLBACK; "+begin)
	}
	return err
}

// simple runs statements without parameters in one message.
func (dialect) simple(ctx context.Context, conn *sql.Conn, stmts string) error {
	_, err := conn.ExecContext(ctx, stmts, pgx.QueryExecModeSimpleProtocol)
	return err
}

// isUTF8 refuses a database in another encoding: the server would take the bytes of a text for other characters.
func isUTF8(conn *sql.Conn) error {
	return conn.Raw(func(c any) error {
		p, err := clientOf(c)
		if err != nil {
			return err
		}
		if is := p.PgConn().ParameterStatus("server_encoding"); is != "" && is != "UTF8" {
			return fmt.Errorf("the database is in %s, and must be in UTF8: createdb -E UTF8 -T template0 NAME makes one", is)
		}
		return nil
	})
}

// createSchema makes the schema if it is not there: to make one that is there takes a right that the user may not have.
func (d dialect) createSchema(ctx context.Context, conn *sql.Conn) error {
	var there bool
	if d.schema == "" {
		err := conn.QueryRowContext(ctx, "SELECT pg_catalog.current_schema() IS NOT NULL").Scan(&there)
		if err == nil && !there {
			err = errors.New("no schema of the search path of this user is there: name one with ?schema=NAME")
		}
		return err
	}
	if err := conn.QueryRowContext(ctx, "SELECT count(*) > 0 FROM pg_catalog.pg_namespace WHERE nspname = $1", d.schema).Scan(&there); err != nil || there {
		return err
	}
	_, err := conn.ExecContext(ctx, "CREATE SCHEMA "+d.Quote(d.schema))
	return err
}

func (dialect) ForUpdate() string { return " FOR UPDATE" }

// Exclusive waits for all transactions that have written into a table, and makes later ones wait. Readers go on.
func (d dialect) Exclusive(table string) string {
	return fmt.Sprintf("LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE", d.Quote(table))
}

// Columns has dropped columns, too: they count. They have names that no column has.
func (d dialect) Columns(ctx context.Context, conn *sql.Conn, table string) (all []sqlview.Existing, err error) {
	rows, err := conn.QueryContext(ctx, `SELECT a.attname::text, coalesce(pg_catalog.format_type(a.atttypid, a.atttypmod), '') FROM pg_catalog.pg_attribute a
		WHERE a.attrelid = pg_catalog.to_regclass($1) AND a.attnum > 0 ORDER BY a.attnum`, d.Quote(table))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var e sqlview.Existing
		if err := rows.Scan(&e.Name, &e.Type); err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, rows.Err()
}

func (d dialect) Taken(ctx context.Context, conn *sql.Conn, name string) (taken bool, err error) {
	err = conn.QueryRowContext(ctx, "SELECT pg_catalog.to_regclass($1) IS NOT NULL", d.Quote(name)).Scan(&taken)
	return taken, err
}

func (d dialect) Comment(table, column, text string) string {
	return fmt.Sprintf("COMMENT ON COLUMN %s.%s IS '%s'", d.Quote(table), d.Quote(column), strings.ReplaceAll(text, "'", "''"))
}

// Retype does not write the rows of other roots anew, as ALTER COLUMN TYPE would.
func (d dialect) Retype(table, column string, k sqlview.Kind) []string {
	return []string{
		fmt.Sprintf("ALTER TABLE %s DROP COLUMN %s", d.Quote(table), d.Quote(column)),
		fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s %s", d.Quote(table), d.Quote(column), d.Type(k)),
	}
}

// stage is the table of a session that rows go through, where the table may have rows with their keys.
const stage = "runfold_stage"

// Write copies rows into the table itself if it has none of their keys, else into a table of the session first.
func (d dialect) Write(ctx context.Context, conn *sql.Conn, l sqlview.Load) error {
	next, stop := iter.Pull2(l.Rows)
	defer stop()
	first, err, some := next()
	if err != nil || !some {
		return err
	}
	var columns, set, key []string
	names := make([]string, len(l.Columns))
	for i, c := range l.Columns {
		names[i] = c.Name
		columns = append(columns, d.Quote(c.Name))
		set = append(set, d.Quote(c.Name)+" = excluded."+d.Quote(c.Name))
	}
	for _, name := range l.Key {
		key = append(key, d.Quote(name))
	}
	into, list := l.Table, strings.Join(columns, ", ")
	if !l.New {
		into = stage
		stmt := fmt.Sprintf("CREATE TEMPORARY TABLE %s ON COMMIT DROP AS SELECT %s FROM %s WITH NO DATA", stage, list, d.Quote(l.Table))
		if _, err := conn.ExecContext(ctx, stmt); err != nil {
			return err
		}
	}
	err = conn.Raw(func(c any) error {
		p, err := clientOf(c)
		if err == nil {
			_, err = p.CopyFrom(ctx, pgx.Identifier{into}, names, &source{row: first, ahead: true, next: next})
		}
		return err
	})
	if err != nil || l.New {
		return err
	}
	_, err = conn.ExecContext(ctx, fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM %s ON CONFLICT (%s) DO UPDATE SET %s", d.Quote(l.Table), list, list, stage,
		strings.Join(key, ", "), strings.Join(set, ", ")))
	if err != nil {
		return err
	}
	_, err = conn.ExecContext(ctx, "DROP TABLE "+stage)
	return err
}

// clientOf is the client below database/sql, and below what a test has put between.
func clientOf(c any) (*pgx.Conn, error) {
	if w, is := c.(interface{ Unwrap() driver.Conn }); is {
		c = w.Unwrap()
	}
	p, is := c.(*stdlib.Conn)
	if !is {
		return nil, fmt.Errorf("internal error: %T is not the client of PostgreSQL", c)
	}
	return p.Conn(), nil
}

// source is a pgx.CopyFromSource of rows, of which the first was read already.
type source struct {
	row   []any
	ahead bool
	next  func() ([]any, error, bool)
	err   error
}

func (s *source) Next() bool {
	if s.ahead {
		s.ahead = false
		return true
	}
	var ok bool
	if s.row, s.err, ok = s.next(); s.err != nil {
		return false
	}
	return ok
}

func (s *source) Values() ([]any, error) { return s.row, nil }

func (s *source) Err() error { return s.err }

// busyCodes are those that a later try may not meet.
var busyCodes = []string{
	"40001",                       // could not serialize
	"40P01",                       // deadlock
	"55P03",                       // the lock was not to be had in time
	"55006",                       // the object is in use
	pgclient.CodeNoTable, "42703", // the table, or the column, was just dropped
	"42P07", "42701", // the table, or the column, was just made
	"42P06", pgclient.CodeNoSchema, // the schema
	"42710", // another object
}

func (dialect) IsBusy(err error) bool {
	return pgclient.IsCode(err, busyCodes...) || pgclient.IsMade(err)
}

const (
	codeFull   = "53100"
	codeNeeded = "2BP01"
)

func (dialect) IsNeeded(err error) bool { return pgclient.IsCode(err, codeNeeded) }

// Cause tells a server that is away from one that refuses.
func (dialect) Cause(err error) error {
	var server *pgconn.PgError
	err = pgclient.OneLine(err)
	switch {
	case pgclient.IsCode(err, codeFull):
		return fmt.Errorf("%w: %w", view.ErrFull, err)
	case pgclient.IsAway(err):
		return fmt.Errorf("%w: %w", view.ErrAway, err)
	case pgclient.IsCode(err, codeNeeded) && errors.As(err, &server):
		return fmt.Errorf("%w: %s: drop what needs it, sync, and make that again", err, strings.ReplaceAll(server.Detail, "\n", ", "))
	}
	return err
}

// toJSONB is a JSON text as jsonb takes it. Where it would refuse it, or change what it says, a JSON string has the text.
func toJSONB(json []byte) string {
	if fits(json) {
		return string(json)
	}
	return string(jsonscan.Quote(string(json)))
}

// fromJSONB is what toJSONB was given, in a form of jsonb's own. It was an object.
func fromJSONB(json []byte) []byte {
	if len(json) > 0 && json[0] == '"' {
		return []byte(jsonscan.Text(json))
	}
	return json
}
