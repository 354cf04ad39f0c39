package postgres

import (
	"fmt"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/runfold/runfold/internal/servertest"
)

// server is a server of these tests.
type server struct{ *servertest.Postgres }

// shared is the server that most tests share; each has schemas of its own.
var shared servertest.SharedPostgres

func TestMain(m *testing.M) { os.Exit(shared.Run(m)) }

// need returns the shared server, or skips the test.
func need(t testing.TB) server {
	t.Helper()
	return server{shared.Need(t)}
}

func newSchema() string { return shared.NewSchema() }

// url is that of a view in a schema.
func (s server) url(schema string) string {
	return fmt.Sprintf("postgres://%s@/postgres?host=%s&schema=%s", servertest.User, s.Dir, schema)
}

// connect connects past the view, with a name that is not that of a publisher.
func (s server) connect(t testing.TB, schema string) *pgx.Conn {
	t.Helper()
	return s.Connect(t, schema)
}
