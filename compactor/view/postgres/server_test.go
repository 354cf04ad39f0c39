package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/runfold/runfold/internal/servertest"
)

// server is a server of these tests.
type server struct{ *servertest.Postgres }

// shared is the server that most tests share; each has schemas of its own.
var shared struct {
	server
	err     error
	schemas atomic.Int64
}

func TestMain(m *testing.M) {
	shared.Postgres, shared.err = servertest.NewPostgres(nil)
	code := m.Run()
	if shared.err == nil {
		if err := shared.Close(); err != nil {
			fmt.Println(errors.Join(errors.New("the server was not ended"), err))
			code = 1
		}
	}
	os.Exit(code)
}

// need returns the shared server, or skips the test.
func need(t testing.TB) server {
	t.Helper()
	if shared.err != nil {
		servertest.Skip(t, shared.err)
	}
	return shared.server
}

func newSchema() string { return fmt.Sprint("s", shared.schemas.Add(1)) }

// url is that of a view in a schema.
func (s server) url(schema string) string {
	return fmt.Sprintf("postgres://%s@/postgres?host=%s&schema=%s", servertest.User, s.Dir, schema)
}

// connect connects past the view, with a name that is not that of a publisher.
func (s server) connect(t testing.TB, schema string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), fmt.Sprintf("postgres://%s@/postgres?host=%s&search_path=%s", servertest.User, s.Dir, schema))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}
