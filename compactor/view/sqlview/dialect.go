// Package sqlview is a view in a table of a database. Packages sqlite and postgres open one: each has the dialect and the client of a
// database.
//
// # The tables
//
// Rows of any number of roots stand in one table. It has the columns of the index under their names, and before them root_id, and snapshot,
// the object of the key in snapshot_index.json. The primary key is (root_id, _key_digest), where _key_digest is the first 16 bytes of
// the SHA-256 of _key: a key may be longer than an index of a database takes. The stamp of a row is not there: an append of
// the same record raises it alone.
//
// A second table, with _state at the end of its name, has one row for each root: the generation that its rows are. Both change in one
// transaction.
//
// # Columns that are left out
//
// A column of the index that cannot be one of the table is left out, and its values stand in _extra: where another root of
// the table has one of that name with another type, where the database has no room for more, or cannot tell its name from another.
// Which ones are, is told by each sync.
package sqlview

import (
	"context"
	"database/sql"
	"fmt"
	"iter"

	"github.com/runfold/runfold/compactor/index"
)

// Kind is what a column of a table holds.
type Kind uint8

// The kinds of columns. Those of the index have the same numbers.
const (
	Bool   = Kind(index.Bool)
	Int    = Kind(index.Int)
	Double = Kind(index.Double)
	Text   = Kind(index.String)
	Time   = Kind(100 + iota) // in microseconds, UTC
	JSON
	Bytes
)

// Column is a column of a table.
type Column struct {
	Name string
	Kind Kind
}

// Existing is a column that a table has, with its type as the database says it.
type Existing struct{ Name, Type string }

// Load is rows to write, each over the one with the same primary key.
type Load struct {
	Table   string
	Key     []string // the names of the primary key
	Columns []Column
	New     bool // the table has none of their keys
	// Rows have a value for each column, as Dialect.Value made it. A row is valid until the next one.
	Rows iter.Seq2[[]any, error]
}

// Dialect is what a kind of database has of its own. All calls are within one transaction of conn.
type Dialect interface {
	// Quote makes a name that stands for itself in a statement.
	Quote(name string) string
	// Param is the n-th parameter of a statement, from 1 on.
	Param(n int) string
	// Type is the type of a column, as a statement says it and as Columns returns it.
	Type(k Kind) string
	// MaxColumns is how many columns a table may have.
	MaxColumns() int
	// Fold makes names equal that the database takes for the same column.
	Fold(name string) string
	// Name is the name of the column of a table for one of the index. It is another one where the database has no names that long.
	Name(column string) string
	// Refuses says why no column may have a name; empty if one may.
	Refuses(name string) string
	// Value is a value of the index as the client takes it: a bool, int64, float64, string, time.Time or []byte, by the kind. ok is false if the
	// database cannot hold it.
	Value(k Kind, v any) (value any, ok bool)
	// Escape is a text that Value takes, for one that it does not, in a column that every table has. Read returns what it was made of.
	Escape(text string) (string, bool)
	// MaxRow is how much the values of columns of the records may take in a row, as Size counts; what is beyond it stands in _extra.
	MaxRow() int
	Size(k Kind, v any) int
	// Read is what the client gave for a column, as Value took it.
	Read(k Kind, v any) (any, error)
	// Canonical is view.View.Canonical.
	Canonical(json []byte) []byte

	// Begin begins a transaction. One that writes waits for others that do, or fails.
	Begin(ctx context.Context, conn *sql.Conn, writes bool) error
	// ForUpdate follows a SELECT of the row of a root, so that a second transaction waits there. It may be empty.
	ForUpdate() string
	// Exclusive is the statement that waits until no other transaction has changed a table, and makes those wait that will; empty if Begin does so.
	Exclusive(table string) string
	// Columns lists those of a table; none if there is no such table. Dropped ones
	// that still count are there under names that no column has.
	Columns(ctx context.Context, conn *sql.Conn, table string) ([]Existing, error)
	// Taken tells whether a table, an index or another thing has a name that an index may not have then.
	Taken(ctx context.Context, conn *sql.Conn, name string) (bool, error)
	// Comment is the statement that explains a column to people; empty if there is none. CREATE TABLE has the comment, too.
	Comment(table, column, text string) string
	// Retype are the statements that make an existing column one of another type, in which all values are NULL.
	Retype(table, column string, k Kind) []string
	// Write writes rows.
	Write(ctx context.Context, conn *sql.Conn, l Load) error
	// IsBusy tells whether an error means that somebody else changes the same tables, or has just made the same table or column: a later try finds it.
	IsBusy(err error) bool
	// IsNeeded tells whether an error means that a column or table cannot go, or change its type, because something of somebody else needs it.
	IsNeeded(err error) bool
	// Cause is an error that says what a person can do about it, if that is known: it may be view.ErrAway or view.ErrFull. It is on one line.
	Cause(err error) error
}

// ReadPlain is Dialect.Read for a value that the client gives as it took it.
func ReadPlain(k Kind, v any) (any, error) {
	is := false
	switch v.(type) {
	case bool:
		is = k == Bool
	case int64:
		is = k == Int
	case float64:
		is = k == Double
	case string:
		is = k == Text
	case []byte:
		is = k == Bytes
	}
	if !is {
		return nil, fmt.Errorf("it has %v, which was not written by a sync", v)
	}
	return v, nil
}
