package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"modernc.org/sqlite"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/view"
	"github.com/runfold/runfold/compactor/view/sqlview"
)

// dialect is the sqlview.Dialect of SQLite.
type dialect struct{ file string }

// types are the declared types. SQLite has no type for times, JSON and truth: times are text as datetime() and strftime() read it.
var types = map[sqlview.Kind]string{
	sqlview.Bool: "BOOLEAN", sqlview.Int: "INTEGER", sqlview.Double: "REAL", sqlview.Text: "TEXT", sqlview.Time: "TEXT", sqlview.JSON: "TEXT", sqlview.Bytes: "BLOB",
}

// The limits of SQLite, as it is built by default, and its codes of errors.
const (
	maxColumns  = 2000
	codeError   = 1
	codeBusy    = 5
	codeLocked  = 6
	codeReads   = 8
	codeCorrupt = 11
	codeFull    = 13
	codeOpen    = 14
	codeAuth    = 23
	codeNotADB  = 26
)

func (dialect) Quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func (dialect) Param(n int) string { return fmt.Sprintf("?%d", n) }

func (dialect) Type(k sqlview.Kind) string { return types[k] }

func (dialect) MaxColumns() int { return maxColumns }

// Fold ignores the case of letters of ASCII, as SQLite does even where a name is quoted.
func (dialect) Fold(name string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, name)
}

func (dialect) Name(column string) string { return column }

func (dialect) Escape(text string) (string, bool) { return text, true }

// MaxRow has no bound that a record could reach.
func (dialect) MaxRow() int { return 1 << 30 }

func (dialect) Size(sqlview.Kind, any) int { return 0 }

// Exclusive is empty: BEGIN IMMEDIATE has locked the file.
func (dialect) Exclusive(string) string { return "" }

// rowIDs are the names that a number of SQLite's own has in every table. CREATE TABLE takes them for a column, and ALTER TABLE does not: so that it
// does not matter when a column comes, neither does.
var rowIDs = map[string]bool{"rowid": true, "oid": true, "_rowid_": true}

func (d dialect) Refuses(name string) string {
	if rowIDs[d.Fold(name)] {
		return "every table of SQLite has a number of its own under this name"
	}
	return ""
}

func (dialect) Value(k sqlview.Kind, v any) (any, bool) {
	switch v := v.(type) {
	case time.Time:
		return cohort.FormatTime(v), true
	case []byte:
		if k == sqlview.JSON {
			return string(v), true
		}
	}
	return v, true
}

// Read also takes what another program may have written into a column.
func (dialect) Read(k sqlview.Kind, v any) (any, error) {
	switch v := v.(type) {
	case string:
		switch k {
		case sqlview.Time:
			if t, ok := cohort.ParseTime(v); ok {
				return t.UTC(), nil
			}
		case sqlview.JSON:
			return []byte(v), nil
		}
	case int64:
		if k == sqlview.Bool {
			return v != 0, nil
		}
	}
	return sqlview.ReadPlain(k, v)
}

func (dialect) Canonical(json []byte) []byte { return json }

func (dialect) Begin(ctx context.Context, conn *sql.Conn, writes bool) error {
	stmt := "BEGIN"
	if writes {
		stmt = "BEGIN IMMEDIATE"
	}
	_, err := conn.ExecContext(ctx, stmt)
	return err
}

// ForUpdate is empty: BEGIN IMMEDIATE has locked the file.
func (dialect) ForUpdate() string { return "" }

func (dialect) Columns(ctx context.Context, conn *sql.Conn, table string) (all []sqlview.Existing, err error) {
	rows, err := conn.QueryContext(ctx, "SELECT name, type FROM pragma_table_info(?1)", table)
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

func (dialect) Taken(ctx context.Context, conn *sql.Conn, name string) (taken bool, err error) {
	err = conn.QueryRowContext(ctx, "SELECT count(*) > 0 FROM sqlite_master WHERE name = ?1 COLLATE NOCASE", name).Scan(&taken)
	return taken, err
}

// Comment is empty: SQLite keeps the text of CREATE TABLE, with its comments.
func (dialect) Comment(_, _, _ string) string { return "" }

func (d dialect) Retype(table, column string, k sqlview.Kind) []string {
	return []string{
		fmt.Sprintf("ALTER TABLE %s DROP COLUMN %s", d.Quote(table), d.Quote(column)),
		fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s %s", d.Quote(table), d.Quote(column), d.Type(k)),
	}
}

func (d dialect) Write(ctx context.Context, conn *sql.Conn, l sqlview.Load) (err error) {
	var stmt *sql.Stmt
	for row, err := range l.Rows {
		if err != nil {
			return errors.Join(err, closeStmt(stmt))
		}
		if stmt == nil { // a statement of no rows is not prepared
			if stmt, err = conn.PrepareContext(ctx, d.upsert(l)); err != nil {
				return err
			}
		}
		// Not ctx: to watch it for each row costs more than the row. Rows ends with it.
		if _, err := stmt.ExecContext(context.WithoutCancel(ctx), row...); err != nil {
			return errors.Join(err, closeStmt(stmt))
		}
	}
	return closeStmt(stmt)
}

func closeStmt(stmt *sql.Stmt) error {
	if stmt == nil {
		return nil
	}
	return stmt.Close()
}

// upsert writes one row over the one of its key.
func (d dialect) upsert(l sqlview.Load) string {
	var columns, params, key, set []string
	for i, c := range l.Columns {
		columns, params = append(columns, d.Quote(c.Name)), append(params, d.Param(i+1))
		set = append(set, d.Quote(c.Name)+" = excluded."+d.Quote(c.Name))
	}
	for _, name := range l.Key {
		key = append(key, d.Quote(name))
	}
	return fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s) ON CONFLICT (%s) DO UPDATE SET %s", d.Quote(l.Table), strings.Join(columns, ", "),
		strings.Join(params, ", "), strings.Join(key, ", "), strings.Join(set, ", "))
}

func (dialect) IsBusy(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && (e.Code()&0xff == codeBusy || e.Code()&0xff == codeLocked)
}

// IsNeeded goes by the text: the code is that of any statement that is wrong.
func (dialect) IsNeeded(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code() == codeError && strings.Contains(e.Error(), "after drop column")
}

// Cause asks the file system where SQLite does not say what it has met.
func (d dialect) Cause(err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code() & 0xff {
	case codeError:
		if d.IsNeeded(err) {
			return fmt.Errorf("%w: the column gets another type: drop what needs it, sync, and make that again", err)
		}
	case codeFull:
		return fmt.Errorf("%w: %w", view.ErrFull, err)
	case codeOpen, codeReads:
		return fmt.Errorf("%w: %s", err, whyNot(d.file))
	case codeNotADB:
		return fmt.Errorf("%w: another program has written it: name another file", err)
	case codeCorrupt:
		return fmt.Errorf("%w: remove it, and sync again", err)
	}
	return err
}

// whyNot says why a file cannot be opened for writing. It makes none.
func whyNot(file string) string {
	info, err := os.Stat(file)
	switch {
	case err == nil && info.IsDir():
		return "it is a directory: name a file in it"
	case err == nil:
		f, err := os.OpenFile(file, os.O_RDWR, 0)
		if err != nil {
			return err.Error()
		}
		f.Close()
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(filepath.Dir(file)); err != nil {
			return "there is no directory " + filepath.Dir(file)
		}
	default:
		return err.Error()
	}
	return "may this user make files in " + filepath.Dir(file) + "?"
}
