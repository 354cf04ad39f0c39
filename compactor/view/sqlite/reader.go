package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"strings"

	"modernc.org/sqlite"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/compactor/view"
	"github.com/runfold/runfold/compactor/view/sqlview"
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

// Over puts rows over those of the table of the rows, for this Reader only. schema is that of their values. The rows of the file with one of the keys that are
// gone are hidden.
func (r *Reader) Over(ctx context.Context, rootID string, schema index.Schema, rows []generation.Row, gone []cohort.Key) error {
	d := dialect{}
	existing, err := d.Columns(ctx, r.conn, DefaultTable)
	if err != nil {
		return err
	}
	columns := make([]string, len(existing))
	for i, e := range existing {
		columns[i] = e.Name
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
	err = d.insert(ctx, r.conn, "temp._gone", 1, func(yield func([]any, error) bool) {
		for _, key := range gone {
			if !yield([]any{sqlview.KeyDigest(key)}, nil) {
				return
			}
		}
	})
	if err != nil {
		return fmt.Errorf("hide rows: %w", err)
	}
	return d.insert(ctx, r.conn, "temp._unfolded", len(columns), func(yield func([]any, error) bool) {
		for _, row := range rows {
			values, err := sqlview.Encode(d, columns, rootID, schema, row)
			if !yield(values, err) || err != nil {
				return
			}
		}
	})
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
	rows, err := r.conn.QueryContext(ctx, stmt)
	if err != nil && strings.HasPrefix(err.Error(), "missing ") { // an argument: the client has no type for it
		err = fmt.Errorf("%w: it has a parameter, and nothing gives it a value: write the value itself (%w)", ErrStatement, err)
	}
	return rows, Cause(ctx, err)
}

// Cause is what an error of a statement means, also one that comes with a later row: ErrStatement, view.ErrBusy, or the error itself.
func Cause(ctx context.Context, err error) error {
	var e *sqlite.Error
	if (dialect{}).IsBusy(err) {
		return fmt.Errorf("%w: %w", view.ErrBusy, err)
	}
	if errors.As(err, &e) && ctx.Err() == nil && (e.Code()&0xff == codeError || e.Code()&0xff == codeAuth) {
		return fmt.Errorf("%w: %w", ErrStatement, err)
	}
	return err
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

// IsOfFile tells whether an error is one of SQLite.
func IsOfFile(err error) bool { return errors.As(err, new(*sqlite.Error)) }
