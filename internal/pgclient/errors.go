package pgclient

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"io/fs"
	"net"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// Codes of errors, which PostgreSQL calls SQLSTATE.
const (
	CodeNoTable  = "42P01"
	CodeNoSchema = "3F000"
	CodeUnique   = "23505"
)

// Code is the code of an error that a server reports. It is empty if none does.
func Code(err error) string {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return ""
	}
	return e.Code
}

// IsCode tells whether a server reports one of the codes.
func IsCode(err error, codes ...string) bool {
	code := Code(err)
	return code != "" && slices.Contains(codes, code)
}

// IsMade tells whether somebody else makes a table, or something else, at the same time.
func IsMade(err error) bool {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return false
	}
	// Two that make a table at once meet in the indexes of the catalog.
	return e.Code == CodeUnique && e.SchemaName == "pg_catalog" || e.Code == "XX000" && strings.HasPrefix(e.Message, "tuple concurrently ")
}

// oneLine is an error whose text is on one line.
type oneLine struct{ error }

func (e oneLine) Error() string { return strings.Join(strings.Fields(e.error.Error()), " ") }

func (e oneLine) Unwrap() error { return e.error }

// OneLine is an error with its text on one line: the client gives each address of a server a line of its own.
func OneLine(err error) error {
	if err != nil && strings.Contains(err.Error(), "\n") {
		return oneLine{err}
	}
	return err
}

// awayCodes are those of a server that ends, begins, or has no room for one more client, and of a connection that is lost. The first two characters of
// a code are its class.
var awayCodes = []string{
	"57P01", "57P02", "57P03", // it is shut down, has crashed, or begins
	"57P05", "25P03", // it has waited for us for too long
	"53300", // too many clients
	"08",
}

// poolerRefuses are parts of what PgBouncer says with the code that it has for a server that is away as well: before 1.20 it has no other one.
var poolerRefuses = []string{"statement pooling", "unsupported startup parameter", "password authentication failed", "no such database", "no such user", "does not exist"}

// IsAway tells whether an error means that the server does not answer: a later try may reach it. A socket that is not there is that of a server that is down.
func IsAway(err error) bool {
	var e *pgconn.PgError
	var dns *net.DNSError
	var op *net.OpError
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return false
	case errors.As(err, &e):
		return slices.ContainsFunc(awayCodes, func(code string) bool { return strings.HasPrefix(e.Code, code) }) &&
			!slices.ContainsFunc(poolerRefuses, func(text string) bool { return strings.Contains(e.Message, text) })
	case errors.As(err, &dns):
		return true
	case errors.As(err, &op): // but not what TLS refuses, and not a socket of which this user has no right
		return !strings.HasSuffix(op.Op, " error") && !errors.Is(err, fs.ErrPermission)
	}
	return pgconn.Timeout(err) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, driver.ErrBadConn)
}
