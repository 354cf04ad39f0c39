package servertest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
)

// SharedPostgres is a server that the tests of a package share.
type SharedPostgres struct {
	server  *Postgres
	err     error
	schemas atomic.Int64
}

// Run runs the tests of a package with a server, which it ends. It returns their exit code.
func (s *SharedPostgres) Run(m *testing.M) int {
	s.server, s.err = NewPostgres(nil)
	code := m.Run()
	if s.err == nil {
		if err := s.server.Close(); err != nil {
			fmt.Println(errors.Join(errors.New("the server was not ended"), err))
			return 1
		}
	}
	return code
}

// Need returns the server, or skips the test.
func (s *SharedPostgres) Need(t testing.TB) *Postgres {
	t.Helper()
	if s.err != nil {
		Skip(t, s.err)
	}
	return s.server
}

// NewSchema is the name of a schema that no other test has.
func (s *SharedPostgres) NewSchema() string { return fmt.Sprint("s", s.schemas.Add(1)) }

// Connect connects as the user who may do anything, with a search path.
func (s *Postgres) Connect(t testing.TB, schema string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), fmt.Sprintf("postgres://%s@/postgres?host=%s&search_path=%s", User, s.Dir, schema))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}
