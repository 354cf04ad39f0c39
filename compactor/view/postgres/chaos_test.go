package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/view"
	"github.com/runfold/runfold/compactor/view/sqlview"
	"github.com/runfold/runfold/compactor/view/viewtest"
	"github.com/runfold/runfold/internal/servertest"
	"github.com/runfold/runfold/journal"
)

// ownServer starts a server for one test.
func ownServer(t *testing.T) server {
	t.Helper()
	need(t)
	s, err := servertest.NewPostgres(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return server{s}
}

func openAt(t *testing.T, s server) *sqlview.DB {
	t.Helper()
	v, err := Open(s.url("lab"), Options{Wait: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

// chaos is a view whose publishers are killed while the root is folded.
type chaos struct {
	server
	root  cohort.Root
	store *generation.Store

	over                          atomic.Bool
	syncs, failed, changed, looks atomic.Int64

	ctx    context.Context // of all that publishers do: it ends when the test has hung
	enough context.Context // ends when the test has gone on for long enough, on a machine with other work
}

// limit ends a test before go test does, which would say nothing of the server: what it is at is logged. Long before that, the test is to do no more.
func (c *chaos) limit(t *testing.T) {
	c.ctx, c.enough = context.Background(), context.Background()
	at, has := t.Deadline()
	if !has {
		return
	}
	left := time.Until(at)
	enough, cancelEnough := context.WithDeadline(c.ctx, at.Add(-left*2/3))
	ctx, cancel := context.WithDeadline(c.ctx, at.Add(-left/10))
	c.ctx, c.enough = ctx, enough
	told := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(told)
		t.Errorf("it hangs; what the server is at:\n%s", c.activity())
	})
	t.Cleanup(func() {
		if !stop() {
			<-told
		}
		cancel()
		cancelEnough()
	})
}

// activity is what each client of the server does, and whom it waits for.
func (c *chaos) activity() string {
	conn, err := pgx.Connect(context.Background(), fmt.Sprintf("postgres://%s@/postgres?host=%s", servertest.User, c.Dir))
	if err != nil {
		return err.Error()
	}
	defer conn.Close(context.Background())
	rows, err := conn.Query(context.Background(), `SELECT concat_ws(' | ', pid, application_name, state, wait_event_type, wait_event, 'waits for ' || pg_blocking_pids(pid)::text,
		xact_start, left(query, 100)) FROM pg_stat_activity WHERE datname IS NOT NULL`)
	if err != nil {
		return err.Error()
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err.Error()
	}
	return strings.Join(all, "\n")
}

// TestKilledBackends has four publishers at once while the root is folded, kills backends that are at work, and restarts the server as after
// a loss of power. Whenever somebody looks, the view is the generation that it states.
func TestKilledBackends(t *testing.T) {
	kills, restarts := 100, 5
	if testing.Short() || underRace {
		kills, restarts = 20, 1
	}
	c := &chaos{server: ownServer(t)}
	c.root, c.store = viewtest.NewRoot(t)
	c.limit(t)
	var all sync.WaitGroup
	end := func() {
		c.over.Store(true)
		all.Wait()
	}
	defer end()
	for range 4 {
		all.Go(func() { c.publish(t) })
	}
	all.Go(func() { c.look(t) })
	folds, killed, restarted := 0, 0, 0
	for restarted < restarts && c.enough.Err() == nil {
		conn := c.connect(t, "public")
		for killed < kills/restarts*(restarted+1) && c.enough.Err() == nil && !t.Failed() {
			c.change(t, folds)
			folds++
			n := 0
			for try := 0; try < 50 && n == 0; try++ { // until a publisher is at work
				n = kill(t, conn)
			}
			killed += n
		}
		if err := c.Restart(); err != nil {
			t.Fatal(err)
		}
		restarted++
		t.Logf("restart %d, after %d kills and %d folds", restarted, killed, folds)
	}
	end()
	v := openAt(t, c.server)
	if _, err := view.Sync(t.Context(), c.store, v, view.Options{}); err != nil {
		t.Fatal(err)
	}
	done, err := view.Check(t.Context(), c.store, v)
	if err != nil || !done.Same || done.Generation != done.Newest {
		t.Errorf("at the end: %+v, %v", done, err)
	}
	t.Logf("figure: 4 publishers of a PostgreSQL view at once, %d backends killed and %d immediate restarts of the server: %d syncs, %d of them failed and %d changed the view; %d folds, %d rows, %d looks at the whole view: 0 wrong rows",
		killed, restarted, c.syncs.Load(), c.failed.Load(), c.changed.Load(), folds, done.Rows, c.looks.Load())
}

// open opens the root as a process of its own would.
func (c *chaos) open(t *testing.T) *generation.Store {
	store, err := generation.Open(c.root, journal.RootOptions{})
	if err != nil {
		t.Error(err)
	}
	return store
}

// publish syncs until the end. Nothing that it holds goes back.
func (c *chaos) publish(t *testing.T) {
	v, store := openAt(t, c.server), c.open(t)
	last := cohort.Generation(0)
	for !c.over.Load() && c.ctx.Err() == nil {
		c.syncs.Add(1)
		r, err := view.Sync(c.ctx, store, v, view.Options{})
		switch {
		case errors.Is(err, view.ErrAhead), errors.Is(err, cohort.ErrNewer):
			t.Errorf("a sync: %v", err)
			return
		case err != nil:
			c.failed.Add(1)
			continue
		case r.To < last:
			t.Errorf("the view went back from %d to %d", last, r.To)
			return
		case r.How != "":
			c.changed.Add(1)
		}
		last = r.To
	}
}

// look compares all rows again and again.
func (c *chaos) look(t *testing.T) {
	v, store := openAt(t, c.server), c.open(t)
	for !c.over.Load() && c.ctx.Err() == nil {
		done, err := view.Check(c.ctx, store, v)
		if err != nil { // the server is away, or nothing is there yet
			continue
		}
		if c.looks.Add(1); !done.Same {
			t.Errorf("the view is not the generation that it states: %+v", done)
			return
		}
	}
}

// change appends and folds.
func (c *chaos) change(t *testing.T, i int) {
	t.Helper()
	var lines []string
	for n := range 30 {
		lines = append(lines, fmt.Sprintf(`{"run_id":"r-%d","stage":"T","n":%d,"note":%q,"c%d":%d}`, (i*17+n)%900, i, strings.Repeat("x", n*40), i/20%10, n))
	}
	viewtest.Fold(t, c.root, lines...)
}

// kill ends a backend that has changed something and not committed it, and returns how many it has ended.
func kill(t *testing.T, conn *pgx.Conn) (n int) {
	t.Helper()
	err := conn.QueryRow(context.Background(), `SELECT count(*) FROM (SELECT pg_terminate_backend(pid) AS done FROM (SELECT pid FROM pg_stat_activity
		WHERE application_name = 'runfold' AND backend_xid IS NOT NULL ORDER BY random() LIMIT 1) AS chosen) AS ended WHERE done`).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestFullDisk has the table on a small disk: a sync fails, the view stays as it was, and goes on when there is room.
func TestFullDisk(t *testing.T) {
	s := ownServer(t)
	disk := filepath.Join(s.Dir, "small")
	space := filepath.Join(disk, "space")
	ballast := filepath.Join(disk, "ballast")
	if err := os.Mkdir(disk, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=4m,mode=0777", "tmpfs", disk).CombinedOutput(); err != nil {
		t.Skipf("this machine does not let us mount: %v: %s", err, out) // a container, or not root
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", disk).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	if out, err := exec.Command("install", "-d", "-m", "0700", "-o", s.Owner(), space).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	conn := s.connect(t, "public")
	for _, stmt := range []string{`CREATE TABLESPACE small LOCATION '` + space + `'`, `ALTER ROLE ` + servertest.User + ` SET default_tablespace = small`} {
		if _, err := conn.Exec(t.Context(), stmt); err != nil {
			t.Fatal(err)
		}
	}
	root, store := viewtest.NewRoot(t)
	viewtest.Fold(t, root, `{"run_id":"a","stage":"T","n":1}`)
	v := openAt(t, s)
	if _, err := view.Sync(t.Context(), store, v, view.Options{}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ballast, make([]byte, 3<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for i := range 10_000 {
		lines = append(lines, fmt.Sprintf(`{"run_id":"r-%05d","stage":"T","n":%d}`, i, i))
	}
	viewtest.Fold(t, root, lines...)
	for range 2 {
		if _, err := view.Sync(t.Context(), store, v, view.Options{}); err == nil || !strings.Contains(err.Error(), "No space left on device") {
			t.Fatalf("a sync on a full disk: %v", err)
		}
		done, err := view.Check(t.Context(), store, v)
		if err != nil || !done.Same || done.Rows != 1 {
			t.Errorf("with a full disk: %+v, %v", done, err)
		}
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-o", "remount,size=64m", disk).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if _, err := view.Sync(t.Context(), store, v, view.Options{}); err != nil {
		t.Fatal(err)
	}
	if done, err := view.Check(t.Context(), store, v); err != nil || !done.Same || done.Rows != 10_001 {
		t.Errorf("with room again: %+v, %v", done, err)
	}
}
