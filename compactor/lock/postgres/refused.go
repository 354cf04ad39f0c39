package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/runfold/runfold/compactor/lock"
	"github.com/runfold/runfold/internal/pgclient"
)

const (
	codeReadOnly = "25006"
	codeNoRight  = "42501"
)

// Classes of codes, and codes, of what a later try meets again.
var (
	refusals  = []string{"0A", "22", "28", "3D"}
	strangers = []string{"23", "42", "55000"} // of tables that are another program's
)

// explain says of an error what a person can do about it.
func (s *service) explain(ctx context.Context, err error) error {
	code := pgclient.Code(err)
	isOf := func(class string) bool { return strings.HasPrefix(code, class) }
	err = pgclient.OneLine(err)
	switch {
	case err == nil:
		return nil
	case code == codeNoRight:
		return fmt.Errorf("%w: %w: who owns the database can give the right: %s", lock.ErrRefused, err, s.grants())
	case slices.ContainsFunc(refusals, isOf), isOf("08") && !pgclient.IsAway(err):
		return fmt.Errorf("%w: %w", lock.ErrRefused, err)
	case isOf("3F"):
		return fmt.Errorf("%w: %w: name a schema with schema=NAME", lock.ErrRefused, err)
	case slices.ContainsFunc(strangers, isOf):
		return fmt.Errorf("%w: %w: if the table %s is another program's, name another schema with schema=NAME", lock.ErrRefused, err, s.table())
	case code != "":
		return err
	case isOver(ctx) && errors.As(err, new(*pgconn.ConnectError)):
		return err
	case isOver(ctx):
		return fmt.Errorf("no answer: the server or the way to it hangs, or another session has locked the table %s or the row of this root (pg_locks has it): %w", s.table(), err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%v (the bound is connect_timeout)", err) // it is not the time of the request that is over
	case errors.Is(err, fs.ErrPermission), isTLS(err):
		return fmt.Errorf("%w: %w", lock.ErrRefused, err)
	}
	return err
}

// isOver tells whether the time of a request is over. A dialer may see that before the context does.
func isOver(ctx context.Context) bool {
	deadline, has := ctx.Deadline()
	return ctx.Err() != nil || has && !time.Now().Before(deadline)
}

// isTLS tells whether client and server do not agree about TLS. The handshake is part of the first write.
func isTLS(err error) bool {
	text := err.Error()
	return (strings.Contains(text, "tls error: ") || strings.Contains(text, "tls: ")) && !pgclient.IsAway(err)
}

// grants are the statements that a user needs who may make nothing.
func (s *service) grants() string {
	user, stmts := pgclient.Quote(s.user), fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s %s; GRANT SELECT, INSERT, UPDATE ON %[1]s TO ", s.table(), columns)
	if s.schema == "" {
		return stmts + user
	}
	schema := pgclient.Quote(s.schema)
	return fmt.Sprintf("CREATE SCHEMA IF NOT EXISTS %s; GRANT USAGE ON SCHEMA %[1]s TO %s; %s%[2]s", schema, user, stmts)
}
