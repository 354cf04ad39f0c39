package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"modernc.org/sqlite"

	"github.com/runfold/runfold/compactor/view"
	"github.com/runfold/runfold/compactor/view/sqlview"
	"github.com/runfold/runfold/internal/jsonscan"
)

// ErrStatement reports a statement that is not valid, or does more than read.
var ErrStatement = errors.New("the statement cannot be run")

// Reader runs statements that only read a file, and tables that stand beside it. It is for one goroutine. OpenReader returns one.
type Reader struct {
	db     *sql.DB
	conn   *sql.Conn
	locked bool
}

// OpenReader opens a file that must exist. Of the options it takes Wait: a file that is changed for longer is view.ErrBusy. A name in double quotes that is
// no column is an error, and no text.
func OpenReader(ctx context.Context, file string, o Options) (*Reader, error) {
	connector, err := sqlite.NewConnector(dsn(file, o.withDefaults().Wait, true))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", file, err)
	}
	db := sql.OpenDB(connector)
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", file, err), db.Close())
	}
	return &Reader{db: db, conn: conn}, nil
}

// Close ends the use of the file. The tables beside it are gone.
func (r *Reader) Close() error { return errors.Join(r.conn.Close(), r.db.Close()) }

// Beside makes a table with rows of one's own, which only this Reader sees. It hides one of the same name of the file.
func (r *Reader) Beside(ctx context.Context, table string, columns []sqlview.Column, rows iter.Seq2[[]any, error]) error {
	d := dialect{}
	var defs []string
	for _, c := range columns {
		defs = append(defs, d.Quote(c.Name)+" "+d.Type(c.Kind))
	}
	if _, err := r.conn.ExecContext(ctx, fmt.Sprintf("CREATE TEMP TABLE %s (%s)", d.Quote(table), strings.Join(defs, ", "))); err != nil {
		return fmt.Errorf("make table %s: %w", table, err)
	}
	return d.insert(ctx, r.conn, "temp."+d.Quote(table), len(columns), rows)
}

func (d dialect) insert(ctx context.Context, conn *sql.Conn, table string, columns int, rows iter.Seq2[[]any, error]) error {
	var params []string
	for i := range columns {
		params = append(params, d.Param(i+1))
	}
	stmt, err := conn.PrepareContext(ctx, fmt.Sprintf("INSERT INTO %s VALUES (%s)", table, strings.Join(params, ", ")))
	if err != nil {
		return err
	}
	defer stmt.Close()
	for row, err := range rows {
		if err == nil {
			_, err = stmt.ExecContext(ctx, row...)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Column is a column of the table of the rows.
type Column struct {
	Name string
	Type string // as SQLite says it
}

// Holds is the value of a JSON token in the column. ok is false if the column is of another type.
func (c Column) Holds(token []byte) (value any, ok bool) {
	kind := jsonscan.KindOf(token)
	scalar := kind == jsonscan.Bool || kind == jsonscan.Int || kind == jsonscan.Double
	switch {
	case c.Type == types[sqlview.Bool] && kind == jsonscan.Bool:
		return token[0] == 't', true
	case c.Type == types[sqlview.Int] && kind == jsonscan.Int:
		n, err := strconv.ParseInt(string(token), 10, 64)
		return n, err == nil
	case c.Type == types[sqlview.Double] && (kind == jsonscan.Int || kind == jsonscan.Double):
		f, err := strconv.ParseFloat(string(token), 64)
		return f, err == nil
	case c.Type == types[sqlview.Text] && kind == jsonscan.String:
		return jsonscan.Text(token), true
	case c.Type == types[sqlview.Text] && scalar:
		return string(token), true
	}
	return nil, false
}

// Columns are those of the table of the rows, in their order.
func (r *Reader) Columns(ctx context.Context) (all []Column, err error) {
	existing, err := dialect{}.Columns(ctx, r.conn, DefaultTable)
	for _, e := range existing {
		all = append(all, Column(e))
	}
	return all, err
}

// Missing are the _key_digest of the rows of the file whose keys are not among these.
func (r *Reader) Missing(ctx context.Context, keys map[string]bool) (digests [][]byte, err error) {
	rows, err := r.conn.QueryContext(ctx, "SELECT _key, _key_digest FROM main.runs")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var key string
		var digest []byte
		if err := rows.Scan(&key, &digest); err != nil {
			return nil, err
		}
		if !keys[key] {
			digests = append(digests, digest)
		}
	}
	return digests, rows.Err()
}

// Over puts rows over those of the table of the rows, for this Reader only. Each has a value for each of Columns. Rows with one of the keys that are gone
// are hidden; so is a row of the file that one of rows replaces, if its key is among them.
func (r *Reader) Over(ctx context.Context, rows iter.Seq2[[]any, error], gone iter.Seq[[]byte]) error {
	columns, err := r.Columns(ctx)
	if err != nil {
		return err
	}
	for _, stmt := range []string{
		`CREATE TEMP TABLE _unfolded AS SELECT * FROM main.runs LIMIT 0`,
		`CREATE TEMP TABLE _gone (_key_digest BLOB PRIMARY KEY)`,
		`CREATE TEMP VIEW runs AS SELECT * FROM main.runs WHERE _key_digest NOT IN (SELECT _key_digest FROM temp._gone)
			UNION ALL SELECT * FROM temp._unfolded`,
	} {
		if _, err := r.conn.ExecContext(ctx, stmt); err != nil {
			return fmt.Errorf("put rows over the table: %w", err)
		}
	}
	digests := func(yield func([]any, error) bool) {
		for key := range gone {
			if !yield([]any{key}, nil) {
				return
			}
		}
	}
	d := dialect{}
	if err := d.insert(ctx, r.conn, "temp._gone", 1, digests); err != nil {
		return fmt.Errorf("hide rows: %w", err)
	}
	return d.insert(ctx, r.conn, "temp._unfolded", len(columns), rows)
}

// Query runs a statement. After the first one nothing can be put beside the file any more. A statement that is wrong, or would change or
// open something, or is not one, is ErrStatement. ctx ends it.
func (r *Reader) Query(ctx context.Context, stmt string) (*sql.Rows, error) {
	if err := one(stmt); err != nil {
		return nil, err
	}
	if !r.locked {
		if err := r.conn.Raw(onlyReads); err != nil {
			return nil, err
		}
		r.locked = true
	}
	prepared, err := r.conn.PrepareContext(ctx, stmt)
	if err == nil {
		defer prepared.Close()
		var rows *sql.Rows
		if rows, err = r.conn.QueryContext(ctx, stmt); err == nil {
			return rows, nil
		}
	}
	var e *sqlite.Error
	if (dialect{}).IsBusy(err) {
		return nil, fmt.Errorf("%w: %w", view.ErrBusy, err)
	}
	if errors.As(err, &e) && ctx.Err() == nil && (e.Code()&0xff == codeError || e.Code()&0xff == codeAuth) {
		return nil, fmt.Errorf("%w: %w", ErrStatement, err)
	}
	return nil, err
}

// onlyReads lets a connection compile no statement but one that reads: mode=ro keeps the file as it is, and not other files that a
// statement might attach.
func onlyReads(conn any) error {
	c, ok := conn.(sqlite.AuthorizerRegisterer)
	if !ok {
		return fmt.Errorf("internal error: %T takes no authorizer", conn)
	}
	return c.RegisterAuthorizer(func(action sqlite.AuthorizerActionCode, what, _, _, _ string) sqlite.AuthorizerReturnCode {
		switch action {
		case sqlite.AuthSelect, sqlite.AuthRead, sqlite.AuthFunction, sqlite.AuthRecursive:
			return sqlite.AuthorizerOK
		case sqlite.AuthPragma:
			if strings.HasPrefix(what, "table_") || strings.HasPrefix(what, "index_") {
				return sqlite.AuthorizerOK
			}
		}
		return sqlite.AuthorizerDeny
	})
}

// IsDamaged tells whether an error means that a file is no whole SQLite file.
func IsDamaged(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && (e.Code()&0xff == codeCorrupt || e.Code()&0xff == codeNotADB)
}
