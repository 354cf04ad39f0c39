package postgres

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
)

// server is a PostgreSQL server of these tests, on a socket in a directory of its own.
type server struct {
	bin, dir string
	as       string // the user that it runs as, if that is another one: it refuses to run as root
}

var shared struct {
	server
	why     string // there is none
	schemas atomic.Int64
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

// run starts the server that most tests share, and ends it.
func run(m *testing.M) int {
	s, err := newServer()
	if err != nil {
		shared.why = err.Error()
		return m.Run()
	}
	defer os.RemoveAll(s.dir)
	if err := s.start(); err != nil {
		fmt.Println(err)
		return 1
	}
	defer s.control("stop", "-m", "immediate")
	shared.server = s
	return m.Run()
}

// newServer makes a cluster, if the programs of PostgreSQL are there.
func newServer() (server, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // Debian has one directory for each version
	if on, err := exec.LookPath("initdb"); err == nil {
		found = append(found, on)
	}
	if len(found) == 0 {
		return server{}, fmt.Errorf("there is no initdb of PostgreSQL (Debian has it in postgresql)")
	}
	dir, err := os.MkdirTemp("", "runfold-pg") // short: the name of a socket has at most 107 bytes
	if err != nil {
		return server{}, err
	}
	s := server{bin: filepath.Dir(slices.Max(found)), dir: dir}
	if os.Geteuid() == 0 {
		if s.as, err = s.give(); err != nil {
			return server{}, err
		}
	}
	out, err := s.command("initdb", "-D", s.data(), "-U", "tester", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions").CombinedOutput()
	if err != nil {
		return server{}, fmt.Errorf("initdb: %w: %s", err, out)
	}
	return s, nil
}

// give gives the directory to a user without rights.
func (s server) give() (string, error) {
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		return name, os.Chown(s.dir, uid, gid)
	}
	return "", fmt.Errorf("there is neither a user postgres nor nobody")
}

func (s server) data() string { return filepath.Join(s.dir, "data") }

// command runs a program of PostgreSQL.
func (s server) command(name string, args ...string) *exec.Cmd {
	all := append([]string{filepath.Join(s.bin, name)}, args...)
	if s.as != "" {
		all = append([]string{"setpriv", "--reuid", s.as, "--regid", s.as, "--clear-groups", "--"}, all...)
	}
	cmd := exec.Command(all[0], all[1:]...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	return cmd
}

func (s server) control(args ...string) error {
	out, err := s.command("pg_ctl", append([]string{"-D", s.data(), "-w", "-s", "-l", filepath.Join(s.dir, "log")}, args...)...).CombinedOutput()
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
		return fmt.Errorf("pg_ctl %v: %w: %s%s", args, err, out, log)
	}
	return nil
}

func (s server) start() error {
	return s.control("start", "-o", fmt.Sprintf("-k %s -c listen_addresses='' -c max_connections=200 -c deadlock_timeout=100ms", s.dir))
}

// url is that of a view in a schema.
func (s server) url(schema string) string {
	return fmt.Sprintf("postgres://tester@/postgres?host=%s&schema=%s", s.dir, schema)
}

func (s server) connect(t testing.TB, schema string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), fmt.Sprintf("postgres://tester@/postgres?host=%s&search_path=%s", s.dir, schema))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// need returns the shared server, or skips the test.
func need(t testing.TB) server {
	t.Helper()
	if shared.why == "" {
		return shared.server
	}
	if os.Getenv("RUNFOLD_MUST_RUN") != "" {
		t.Fatal(shared.why)
	}
	t.Skip(shared.why)
	return server{}
}

func newSchema() string { return "s" + strings.TrimSpace(fmt.Sprint(shared.schemas.Add(1))) }
