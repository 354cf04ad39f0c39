package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/runfold/runfold/compactor/lock"
	"github.com/runfold/runfold/compactor/lock/postgres"
	"github.com/runfold/runfold/internal/servertest"
)

// shared is the server that most tests share; each has a schema of its own.
var shared servertest.SharedPostgres

func TestMain(m *testing.M) { os.Exit(shared.Run(m)) }

// place is a schema of a server.
type place struct {
	*servertest.Postgres
	schema string
}

func newPlace(t testing.TB) place { return place{shared.Need(t), shared.NewSchema()} }

// as is the URL of the lock for a user.
func (p place) as(user string) string {
	return fmt.Sprintf("postgres://%s@/postgres?host=%s&schema=%s", user, p.Dir, p.schema)
}

func open(t testing.TB, url string) *lock.Leases {
	t.Helper()
	p, err := postgres.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func (p place) open(t testing.TB) *lock.Leases { return open(t, p.as(servertest.User)) }

// exec runs statements as somebody else would, in the schema.
func (p place) exec(t testing.TB, stmts string) {
	t.Helper()
	conn := p.connect(t)
	defer conn.Close(context.Background())
	if _, err := conn.Exec(context.Background(), stmts); err != nil {
		t.Fatalf("%s: %v", stmts, err)
	}
}

func (p place) connect(t testing.TB) *pgx.Conn {
	t.Helper()
	return p.Connect(t, p.schema)
}

// row is what stands in the table of a root.
func (p place) row(t testing.TB, root string) string {
	t.Helper()
	var text string
	err := p.connect(t).QueryRow(t.Context(), `SELECT concat_ws(' ', token, fence, until) FROM runfold_lock WHERE root_id = $1`, root).Scan(&text)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func claim(p *lock.Leases, token string) lock.Claim {
	return p.Service.Claim("R", token, "host "+token+"\n", 30*time.Second)
}

// takes takes the lock, and wants that fence and those words.
func takes(t testing.TB, c lock.Claim, fence int64, holder string) {
	t.Helper()
	if f, h, err := c.Take(context.Background()); f != fence || h != holder || err != nil {
		t.Errorf("Take = %d, %q, %v; want %d, %q", f, h, err, fence, holder)
	}
}

func renews(t testing.TB, c lock.Claim, want bool) {
	t.Helper()
	if ours, err := c.Renew(context.Background()); ours != want || err != nil {
		t.Errorf("Renew = %v, %v; want %v", ours, err, want)
	}
}

func releases(t testing.TB, c lock.Claim) {
	t.Helper()
	if err := c.Release(context.Background()); err != nil {
		t.Errorf("Release: %v", err)
	}
}

func holds(t testing.TB, p *lock.Leases, want string) {
	t.Helper()
	if words, err := p.Service.Holder(context.Background(), "R"); words != want || err != nil {
		t.Errorf("Holder = %q, %v; want %q", words, err, want)
	}
}

// TestClaim has the life of a lock: two want it, one after the other has it.
func TestClaim(t *testing.T) {
	at := newPlace(t)
	p := at.open(t)
	holds(t, p, "") // there is no table
	a, b := claim(p, "a"), claim(p, "b")
	renews(t, a, false)
	releases(t, a)
	takes(t, a, 1, "")
	takes(t, a, 1, "") // the first answer was lost
	takes(t, b, 0, "host a\n")
	holds(t, p, "host a\n")
	var left float64
	if err := at.connect(t).QueryRow(t.Context(), `SELECT extract(epoch FROM until - clock_timestamp()) FROM runfold_lock`).Scan(&left); err != nil || left > 30 || left < 1 {
		t.Errorf("a killed holder leaves it for %v s, %v; want 30 at most", left, err)
	}
	before := at.row(t, "R")
	renews(t, b, false)
	releases(t, b)
	if after := at.row(t, "R"); after != before {
		t.Errorf("what another has changed %q to %q", before, after)
	}
	renews(t, a, true)
	if at.row(t, "R") == before {
		t.Error("Renew has changed nothing")
	}
	other := p.Service.Claim("S", "s", "", time.Minute)
	takes(t, other, 1, "")
	releases(t, a)
	releases(t, a)
	renews(t, a, false)
	holds(t, p, "")
	takes(t, b, 2, "")
	renews(t, other, true)
}

// TestLost has a lock that ended, that another took, and whose row or table is gone: no request of who had it takes it back.
func TestLost(t *testing.T) {
	at := newPlace(t)
	p := at.open(t)
	a, b := claim(p, "a"), claim(p, "b")
	takes(t, a, 1, "")
	at.exec(t, `UPDATE runfold_lock SET until = clock_timestamp() - interval '1 ms'`)
	before := at.row(t, "R")
	renews(t, a, false)
	if after := at.row(t, "R"); after != before {
		t.Errorf("a lease that ended was revived: %q became %q", before, after)
	}
	holds(t, p, "")
	takes(t, b, 2, "")
	before = at.row(t, "R")
	renews(t, a, false)
	releases(t, a)
	takes(t, a, 0, "host b\n")
	if after := at.row(t, "R"); after != before {
		t.Errorf("who lost it changed %q to %q", before, after)
	}
	at.exec(t, `UPDATE runfold_lock SET until = clock_timestamp() + interval '61 min'`) // the clock was set back
	takes(t, a, 3, "")
	for i, gone := range []string{`TRUNCATE runfold_lock`, `DROP TABLE runfold_lock`, `DROP SCHEMA ` + at.schema + ` CASCADE`} {
		at.exec(t, gone)
		renews(t, a, false)
		releases(t, a)
		holds(t, p, "")
		takes(t, a, 1, "")
		if i == 0 {
			renews(t, a, true)
		}
	}
}

// TestOneOf16 has 16 clients at once, also where the table is not there yet, and where transactions are serializable.
func TestOneOf16(t *testing.T) {
	at := newPlace(t)
	serial := "serial_" + at.schema
	at.exec(t, `CREATE ROLE `+serial+` LOGIN SUPERUSER; ALTER ROLE `+serial+` SET default_transaction_isolation = 'serializable'`)
	for _, user := range []string{servertest.User, serial} {
		all := make([]*lock.Leases, 16)
		for i := range all {
			all[i] = open(t, at.as(user))
		}
		for round := range 5 {
			root := fmt.Sprint(user, round)
			winners := make(chan string, len(all))
			losers := make(chan string, len(all))
			var wg sync.WaitGroup
			for i, p := range all {
				wg.Go(func() {
					words := fmt.Sprintf("host h%d\n", i)
					fence, holder, err := p.Service.Claim(root, fmt.Sprint(i), words, time.Minute).Take(t.Context())
					switch {
					case err != nil:
						t.Errorf("Take: %v", err)
					case fence == 0:
						losers <- holder
					default:
						winners <- words
					}
				})
			}
			wg.Wait()
			if len(winners) != 1 || len(losers) != len(all)-1 {
				t.Fatalf("%s: %d winners, %d losers", root, len(winners), len(losers))
			}
			for want := <-winners; len(losers) > 0; {
				if holder := <-losers; holder != want {
					t.Errorf("%s: a loser reads %q, want %q", root, holder, want)
				}
			}
		}
	}
}

// TestMany has many claims on few locks at once, by one provider with its few connections.
func TestMany(t *testing.T) {
	at := newPlace(t)
	p := at.open(t)
	var mu sync.Mutex
	fences := map[string]bool{}
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			root := fmt.Sprint("R", i%4)
			c := p.Service.Claim(root, fmt.Sprint("t", i), "", time.Minute)
			for fence := int64(0); fence == 0; {
				var err error
				if fence, _, err = c.Take(t.Context()); err != nil {
					t.Errorf("Take: %v", err)
					return
				}
				mu.Lock()
				if key := fmt.Sprint(root, " ", fence); fence > 0 && fences[key] {
					t.Errorf("%s was given twice", key)
				} else if fence > 0 {
					fences[key] = true
				}
				mu.Unlock()
			}
			renews(t, c, true)
			releases(t, c)
		})
	}
	wg.Wait()
	if len(fences) != 40 || !fences["R0 10"] || !fences["R3 10"] {
		t.Errorf("fences: %v", fences)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if _, _, err := claim(p, "late").Take(t.Context()); err == nil {
		t.Error("Take after Close succeeds")
	}
}

// TestWords has words that are no text of PostgreSQL, and more of them than somebody wants to read.
func TestWords(t *testing.T) {
	at := newPlace(t)
	p := open(t, fmt.Sprintf("postgres://%s@/postgres?host=%s&schema=we%%22ird+%%25s+gr%%C3%%B6%%C3%%9Fe", servertest.User, at.Dir))
	takes(t, p.Service.Claim("R", "a", "host \x00\xff größe", time.Minute), 1, "")
	holds(t, p, "host ?? größe")
	conn := at.connect(t)
	if _, err := conn.Exec(t.Context(), `UPDATE "we""ird %s größe".runfold_lock SET words = repeat('𝛑', 1000000)`); err != nil {
		t.Fatal(err)
	}
	words, err := p.Service.Holder(t.Context(), "R")
	if len(words) != 4096 || err != nil {
		t.Errorf("Holder has %d bytes, %v", len(words), err)
	}
}

// TestLocker takes the lock as a compactor does.
func TestLocker(t *testing.T) {
	p := newPlace(t).open(t)
	h, err := p.Locker(lock.Options{RootID: "R", Program: "test 1"}).Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Locker(lock.Options{RootID: "R"}).Lock(t.Context())
	if !errors.Is(err, lock.ErrLocked) || !strings.Contains(err.Error(), "program test 1") || !strings.Contains(err.Error(), p.String()) {
		t.Errorf("Lock of a held lock: %v", err)
	}
	if h.Fence() != 1 || h.Provider() != "postgres" || lock.Check(h) != nil || h.Unlock() != nil {
		t.Errorf("fence %d, provider %s, %v, %v", h.Fence(), h.Provider(), lock.Check(h), h.Unlock())
	}
}

// TestOpen has URLs that are wrong, and what others are called.
func TestOpen(t *testing.T) {
	for _, name := range []string{"PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGSERVICE", "PGSSLROOTCERT"} {
		t.Setenv(name, "")
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]string{
		"redis://h":                                        "it is no URL of a lock in PostgreSQL",
		"postgres:h":                                       "it is no URL",
		"postgres://u:pa/secret@h":                         "it is no URL",
		"postgres://u:secret@h/d":                          "password-file=NAME",
		"postgres://h/d?password=secret":                   "set PGPASSWORD",
		"postgres://h/d?sslpassword=secret":                "set PGPASSWORD",
		"postgres://h/d?search_path=x":                     `option "search_path" of the URL is unknown`,
		"postgres://h/d?lease=5s&lease=6s":                 `option "lease" of the URL is unknown, or stands there twice`,
		"postgres://h/d?lease=1s":                          "lease=1s: give a time from 2s to 1h0m0s",
		"postgres://h/d?lease=2h":                          "lease=2h",
		"postgres://h/d?lease=-5s":                         "lease=-5s",
		"postgres://h/d?lease=x":                           "lease=x",
		"postgres://h/d?tcp_user_timeout=x":                "tcp_user_timeout=x",
		"postgres://h/d?sslmode=x":                         "sslmode is invalid",
		"postgres://h/d?password-file=/no/file":            "stat /no/file",
		"postgres://h/d?password-file=" + empty:            "has no password",
		"postgres://h/d?cacert=/no/file":                   "open /no/file",
		"postgres://h/d?cacert=" + empty:                   "unable to add CA",
		"postgres://h/d?cert=/no/file":                     "are required",
		"postgres://h/d?cacert=/no/file&sslmode=prefer":    "sslmode=prefer does not go with cacert",
		"postgres://h/d?cacert=/no/file&sslmode=disable":   "sslmode=disable does not go with cacert",
		"postgres://h/d?cert=/no/file&key=/no/file":        "open /no/file",
		"postgres://h/d?schema=" + strings.Repeat("x", 64): "at most 63 bytes",
		"postgres://h/d?schema=%00":                        "the name of a schema",
	} {
		_, err := postgres.Open(url)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "\n") {
			t.Errorf("Open(%s) = %v; want %q", url, err, want)
		}
		if isPassword := strings.Contains(want, "PGPASSWORD") || strings.Contains(want, "password-file="); errors.Is(err, lock.ErrPassword) != isPassword {
			t.Errorf("Open(%s) = %v: ErrPassword is %v", url, err, !isPassword)
		}
	}
	t.Setenv("PGPASSWORD", "secret")
	for url, want := range map[string]string{
		"postgres://u@h/d?lease=5s":                              "postgres at h:5432, database d",
		"postgresql://u@h:77/d?schema=s":                         "postgres at h:77, database d, schema s",
		"postgres://u@/d?host=a,b&port=1,2&sslmode=prefer":       "postgres at a:1,b:2, database d",
		"postgres://u@/?host=/run/postgresql&connect_timeout=10": "postgres at /run/postgresql/.s.PGSQL.5432",
	} {
		p := open(t, url)
		if p.String() != want || url == "postgres://u@h/d?lease=5s" && p.Lease() != 5*time.Second {
			t.Errorf("Open(%s) is %s with a lease of %v, want %s", url, p, p.Lease(), want)
		}
	}
}

// TestRestart restarts the server between requests: they do not see it, and what it has outlives it.
func TestRestart(t *testing.T) {
	at := newPlace(t)
	p := at.open(t)
	a := claim(p, "a")
	takes(t, a, 1, "")
	for range 2 {
		if err := at.Restart(); err != nil {
			t.Fatal(err)
		}
		renews(t, a, true)
	}
	takes(t, claim(p, "b"), 0, "host a\n")
}

// TestStandby has a server that becomes a standby: it can do nothing for us, and says so. Once it is promoted, the lock is still ours.
func TestStandby(t *testing.T) {
	at := newPlace(t)
	p := at.open(t)
	a := claim(p, "a")
	takes(t, a, 1, "")
	signal := filepath.Join(at.Dir, "data", "standby.signal")
	if err := errors.Join(os.WriteFile(signal, nil, 0o644), at.Restart()); err != nil {
		t.Fatal(err)
	}
	away(t, at.as(servertest.User), "read-only transaction")
	// Of two hosts, the one is sought that can be written to.
	away(t, fmt.Sprintf("postgres://%s@/postgres?host=%s,%[2]s&port=5432,5433&schema=%s", servertest.User, at.Dir, at.schema), "read only connection")
	if _, err := a.Renew(t.Context()); err == nil || errors.Is(err, lock.ErrRefused) {
		t.Errorf("Renew on a standby: %v", err)
	}
	holds(t, p, "host a\n")
	if out, err := at.Command("pg_ctl", "-D", filepath.Join(at.Dir, "data"), "-w", "promote").CombinedOutput(); err != nil {
		t.Fatalf("promote: %v: %s", err, out)
	}
	renews(t, a, true)
	_, _, err := claim(open(t, fmt.Sprintf("postgres://%s@/postgres?host=%s,%[2]s&port=5433,5432&schema=%s", servertest.User, at.Dir, at.schema)), "b").Take(t.Context())
	if err != nil {
		t.Errorf("Take of the second of two hosts: %v", err)
	}
}

// lockError is the error of Lock with a URL.
func lockError(t testing.TB, url string) error {
	t.Helper()
	p := open(t, url)
	h, err := p.Locker(lock.Options{RootID: "R"}).Lock(t.Context())
	if err == nil {
		err = h.Unlock()
	}
	return err
}

// away wants that a later try may succeed, and the words of the cause.
func away(t testing.TB, url, want string) {
	t.Helper()
	if err := lockError(t, url); !errors.Is(err, lock.ErrAway) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: %v; want ErrAway with %q", url, err, want)
	}
}

// refused wants that no later try succeeds, and the words of the cause.
func refused(t testing.TB, url, want string) {
	t.Helper()
	if err := lockError(t, url); !errors.Is(err, lock.ErrRefused) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: %v; want ErrRefused with %q", url, err, want)
	}
}

// TestAway has servers that are not there, and those that a later try may find otherwise.
func TestAway(t *testing.T) {
	at := newPlace(t)
	for url, want := range map[string]string{
		"postgres://u@127.0.0.1:1/d":            "connection refused",
		"postgres://u@name.invalid/d":           "name.invalid",
		"postgres://u@/d?host=/no/such/place":   "no such file",
		"postgres://u@/d?host=127.0.0.1&port=1": "postgres at 127.0.0.1:1",
	} {
		away(t, url, want)
	}
	few, reads := "few_"+at.schema, "reads_"+at.schema
	at.exec(t, `CREATE ROLE `+few+` LOGIN CONNECTION LIMIT 0; CREATE ROLE `+reads+` LOGIN SUPERUSER; ALTER ROLE `+reads+` SET default_transaction_read_only = on`)
	away(t, at.as(few), "too many connections")
	p := open(t, at.as(reads))
	if _, _, err := claim(p, "a").Take(t.Context()); err == nil || errors.Is(err, lock.ErrRefused) || !strings.Contains(err.Error(), "read-only transaction") {
		t.Errorf("Take of who only reads: %v", err)
	}
	at.exec(t, `ALTER ROLE `+reads+` RESET default_transaction_read_only`)
	takes(t, claim(p, "a"), 1, "") // not on the connection of before
}

// TestRights has users who may not do it, and what the error tells them to do.
func TestRights(t *testing.T) {
	at := newPlace(t)
	role, closed := `"we""ak_`+at.schema+`"`, "closed_"+at.schema
	at.exec(t, `CREATE DATABASE `+closed)
	at.exec(t, `CREATE ROLE `+role+` LOGIN; REVOKE CONNECT ON DATABASE `+closed+` FROM public`)
	weak := at.as("we%22ak_" + at.schema)
	refused(t, strings.Replace(weak, "/postgres?", "/"+closed+"?", 1), "permission denied for database")
	refused(t, strings.Replace(weak, "/postgres?", "/none?", 1), `database "none" does not exist`)
	refused(t, at.as("nobody-at-all"), `role "nobody-at-all" does not exist`)
	refused(t, strings.Replace(weak, "&schema="+at.schema, "", 1), "CREATE TABLE IF NOT EXISTS runfold_lock (root_id text PRIMARY KEY")
	give := func() string {
		err := lockError(t, weak)
		_, stmts, ok := strings.Cut(fmt.Sprint(err), "who owns the database can give the right: ")
		if !errors.Is(err, lock.ErrRefused) || !strings.Contains(err.Error(), "permission denied") || !ok {
			t.Errorf("Lock without a right: %v", err)
		}
		return stmts
	}
	at.exec(t, give()) // of nothing
	if err := lockError(t, weak); err != nil {
		t.Fatalf("with the right: %v", err)
	}
	at.exec(t, `REVOKE UPDATE ON runfold_lock FROM `+role)
	at.exec(t, give())
	at.exec(t, `DROP TABLE runfold_lock`)
	at.exec(t, give())
	if err := lockError(t, weak); err != nil {
		t.Errorf("with the right again: %v", err)
	}
	at.exec(t, `ALTER ROLE `+role+` SET search_path = nowhere`)
	refused(t, strings.Replace(weak, "&schema="+at.schema, "", 1), "name a schema with schema=NAME")
}

// TestStrangers has tables of other programs: they are told, and stay as they are.
func TestStrangers(t *testing.T) {
	at := newPlace(t)
	at.exec(t, `CREATE SCHEMA `+at.schema)
	for drop, make := range map[string]string{
		`TABLE`:             `CREATE TABLE runfold_lock (id int)`,
		`TABLE IF EXISTS`:   `CREATE TABLE runfold_lock (root_id text, token text, words text, fence bigint, until timestamptz)`,
		`VIEW`:              `CREATE VIEW runfold_lock AS SELECT 1::bigint AS fence, ''::text AS root_id, ''::text AS token, ''::text AS words, now() AS until`,
		`MATERIALIZED VIEW`: `CREATE MATERIALIZED VIEW runfold_lock AS SELECT 1::bigint AS fence, ''::text AS root_id, ''::text AS token, ''::text AS words, now() AS until`,
		`TYPE`:              `CREATE TYPE runfold_lock AS ENUM ('x')`,
	} {
		at.exec(t, make)
		refused(t, at.as(servertest.User), "is another program's")
		at.exec(t, `DROP `+drop+` runfold_lock`)
	}
}

// TestPassword has a user with a password, which comes from the environment or from a file, and which no message shows.
func TestPassword(t *testing.T) {
	at := newPlace(t)
	role := "guarded_" + at.schema
	at.exec(t, `CREATE ROLE `+role+` LOGIN SUPERUSER PASSWORD 'right-one'`)
	if err := os.WriteFile(filepath.Join(at.Dir, "data", "pg_hba.conf"), []byte("local all "+role+" scram-sha-256\nlocal all all trust\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	at.exec(t, `SELECT pg_reload_conf()`)
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("right-one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PGPASSFILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("PGPASSWORD", "wrong-one")
	until(t, at.as(role), "<nil>")
	refused(t, at.as(role), "password authentication failed")
	if err := lockError(t, at.as(role)); strings.Contains(err.Error(), "wrong-one") {
		t.Error(err)
	}
	if err := lockError(t, at.as(role)+"&password-file="+file); err != nil {
		t.Errorf("with password-file: %v", err)
	}
	t.Setenv("PGPASSWORD", "right-one")
	if err := lockError(t, at.as(role)); err != nil {
		t.Errorf("with PGPASSWORD: %v", err)
	}
}

// TestLocked has another session that locks the row, and the table: a request ends with its context, and nothing of it stays in the server.
func TestLocked(t *testing.T) {
	at := newPlace(t)
	p := at.open(t)
	takes(t, claim(p, "a"), 1, "")
	conn := at.connect(t)
	waits := func(want bool) {
		for is := !want; is != want; {
			if err := conn.QueryRow(t.Context(), `SELECT count(*) > 0 FROM pg_locks WHERE NOT granted`).Scan(&is); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, stmt := range []string{`SELECT FROM runfold_lock FOR UPDATE`, `LOCK TABLE runfold_lock IN ACCESS EXCLUSIVE MODE`} {
		tx, err := conn.Begin(t.Context())
		if err == nil {
			_, err = tx.Exec(t.Context(), stmt)
		}
		if err != nil {
			t.Fatal(err)
		}
		for name, do := range map[string]func(ctx context.Context) error{
			"Take":    func(ctx context.Context) error { _, _, err := claim(p, "a").Take(ctx); return err },
			"Renew":   func(ctx context.Context) error { _, err := claim(p, "a").Renew(ctx); return err },
			"Release": claim(p, "a").Release,
		} {
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- do(ctx) }()
			waits(true)
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) || errors.Is(err, lock.ErrRefused) || !strings.Contains(err.Error(), "another session has locked the table") {
				t.Errorf("%s: %s = %v", stmt, name, err)
			}
			waits(false)
		}
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
		renews(t, claim(p, "a"), true)
	}
}
