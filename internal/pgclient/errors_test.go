package pgclient

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// TestIsAway has errors that a later try may not meet, and others.
func TestIsAway(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{context.Canceled, false},
		{fmt.Errorf("%w", &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ETIMEDOUT)}), true},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, true},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ENOENT)}, true},
		{&net.OpError{Op: "write", Err: os.NewSyscallError("write", syscall.EPIPE)}, true},
		{&net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}, false},
		{&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, true},
		{io.ErrUnexpectedEOF, true},
		{driver.ErrBadConn, true},
		{&net.DNSError{Name: "db.example", IsNotFound: true}, true},
		{&net.DNSError{Name: "db.example", IsTemporary: true}, true},
		{&pgconn.PgError{Code: "57P01"}, true},
		{&pgconn.PgError{Code: "08006"}, true},
		{&pgconn.PgError{Code: "08P01", Message: "query_wait_timeout"}, true},
		{&pgconn.PgError{Code: "08P01", Message: "transaction blocks not allowed in statement pooling mode"}, false},
		{&pgconn.PgError{Code: "08P01", Message: "password authentication failed"}, false},
		{&pgconn.PgError{Code: "08P01", Message: `no such database: lab`}, false},
		{&pgconn.PgError{Code: "08P01", Message: `database "lab" does not exist`}, false},
		{&pgconn.PgError{Code: "08P01", Message: "unsupported startup parameter: options"}, false},
		{&pgconn.PgError{Code: "57014"}, false},
		{&pgconn.PgError{Code: "28P01"}, false},
	} {
		if got := IsAway(c.err); got != c.want {
			t.Errorf("IsAway(%v) = %v", c.err, got)
		}
	}
}
