package servertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"
)

// User is the only user of a PostgreSQL server. It may do anything, and has no password.
const User = "tester"

// Postgres is a PostgreSQL server that runs. It has a directory of its own, and is reached by a socket in it.
type Postgres struct {
	// Dir has all that is of the server, and the socket: PGHOST is its name.
	Dir string
	Bin string // the directory of the programs of PostgreSQL
	net *Net

	options string // of the server itself
	as      string // the user that it runs as, if that is another one: it refuses to run as root
}

// NewPostgres makes a server and starts it. If net is not nil, it is also reached at Net.Address, behind that link.
func NewPostgres(net *Net) (s *Postgres, err error) {
	if runtime.GOOS == "windows" {
		return nil, errNone{"initdb", "postgresql"} // also under Wine, which sees the programs of Linux
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // Debian has a directory for each version
	if err != nil {
		return nil, err
	}
	if on, err := exec.LookPath("initdb"); err == nil {
		found = append(found, on)
	}
	if len(found) == 0 {
		return nil, errNone{"initdb", "postgresql"}
	}
	dir, err := os.MkdirTemp("", "runfold-pg") // not that of a test: the name of a socket has at most 107 bytes
	if err != nil {
		return nil, err
	}
	s = &Postgres{Dir: dir, Bin: filepath.Dir(slices.Max(found)), net: net}
	if os.Geteuid() == 0 {
		err = s.give()
	}
	if err == nil {
		err = run(s.Command("initdb", "-D", s.data(), "-U", User, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"))
	}
	address := ""
	if net != nil && err == nil {
		address = net.Address
		err = appendTo(filepath.Join(s.data(), "pg_hba.conf"), "host all all samenet trust\n")
	}
	if err == nil { // without fsync: the machine stays on, whatever becomes of the server
		s.options = fmt.Sprintf("-k %s -c listen_addresses='%s' -c fsync=off -c max_connections=200 -c deadlock_timeout=100ms", dir, address)
		err = s.control("start", "-o", s.options)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

func appendTo(name, text string) error {
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// give gives the directory to a user without rights.
func (s *Postgres) give() error {
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.Atoi(u.Uid)
		if err != nil {
			return err
		}
		s.as = name
		return os.Chown(s.Dir, uid, -1)
	}
	return errors.New("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")
}

func (s *Postgres) data() string { return filepath.Join(s.Dir, "data") }

// Command is a program of PostgreSQL, run as the user of the server.
func (s *Postgres) Command(name string, args ...string) *exec.Cmd {
	all := append([]string{filepath.Join(s.Bin, name)}, args...)
	if s.as != "" {
		all = append([]string{"setpriv", "--reuid", s.as, "--clear-groups", "--"}, all...)
	}
	if s.net != nil {
		all = s.net.Command(all[0], all[1:]...).Args
	}
	cmd := exec.Command(all[0], all[1:]...)
	cmd.Dir = s.Dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	return cmd
}

func run(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w: %s", cmd.Args, err, out)
	}
	return nil
}

func (s *Postgres) control(args ...string) error {
	name := filepath.Join(s.Dir, "log")
	err := run(s.Command("pg_ctl", append([]string{"-D", s.data(), "-w", "-s", "-l", name}, args...)...))
	if err != nil {
		log, _ := os.ReadFile(name)
		return fmt.Errorf("%w: %s", err, log)
	}
	return nil
}

// Owner is the user that the server runs as.
func (s *Postgres) Owner() string {
	if s.as != "" {
		return s.as
	}
	return strconv.Itoa(os.Geteuid())
}

// Restart ends the server as a loss of power would, without a checkpoint, and starts it again.
func (s *Postgres) Restart() error { return s.control("restart", "-m", "immediate") }

// Kill ends the server as a loss of power would.
func (s *Postgres) Kill() error { return s.control("stop", "-m", "immediate") }

// Start starts a server again that was killed, at its address, with its data.
func (s *Postgres) Start() error { return s.control("start", "-o", s.options) }

// StartEmpty starts a server again that was killed, at its address, with an empty database postgres.
func (s *Postgres) StartEmpty() error {
	if err := s.Start(); err != nil {
		return err
	}
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, fmt.Sprintf("postgres://%s@/postgres?host=%s", User, s.Dir))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
	return errors.Join(err, conn.Close(ctx))
}

// Close ends the server and removes its directory.
func (s *Postgres) Close() error {
	err := errors.Join(s.control("stop", "-m", "immediate"), os.RemoveAll(s.Dir))
	if s.net != nil {
		err = errors.Join(err, s.net.Close())
	}
	return err
}
