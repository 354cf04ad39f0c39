package acceptance

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/lock"
	"github.com/runfold/runfold/compactor/lock/etcd"
	"github.com/runfold/runfold/compactor/lock/postgres"
	"github.com/runfold/runfold/compactor/lock/redis"
	"github.com/runfold/runfold/internal/servertest"
)

// withLock starts a server of a kind for a test, and gives the URL of its locks.
func withLock(t *testing.T, kind string) (servertest.Service, string) {
	t.Helper()
	s, url, err := servertest.NewService(kind, nil)
	if err != nil {
		servertest.Skip(t, err)
	}
	t.Cleanup(func() { s.Close() })
	return s, url
}

func openLock(t *testing.T, url string) *lock.Leases {
	t.Helper()
	open := map[string]func(string) (*lock.Leases, error){"redis": redis.Open, "etcd": etcd.Open, "postgres": postgres.Open}
	kind, _, _ := strings.Cut(url, "://")
	p, err := open[kind](url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// idOf is the id of a root.
func idOf(t *testing.T, root cohort.Root) string {
	t.Helper()
	var status struct {
		RootID string `json:"root_id"`
	}
	out, stderr, code := compactd(t, "status", "--root", string(root), "--json")
	if err := json.Unmarshal([]byte(out), &status); err != nil || code != 0 {
		t.Fatalf("status: %v, %d, %s", err, code, stderr)
	}
	return status.RootID
}

// TestLocks folds by each service as a person does: it holds, is held by another, refuses, and is away.
func TestLocks(t *testing.T) {
	for _, kind := range servertest.Services() {
		t.Run(kind, func(t *testing.T) {
			s, url := withLock(t, kind)
			root := newRoot(t)
			appendOne := func(run string) {
				t.Helper()
				if out, err := exec.Command("journal-append", "--root", string(root), "--cohort", "a", "--run-id", run, "--stage", "S").CombinedOutput(); err != nil {
					t.Fatalf("journal-append: %v: %s", err, out)
				}
			}
			want := func(code int, pattern string, args ...string) {
				t.Helper()
				out, stderr, got := compactd(t, args...)
				if got != code || !regexp.MustCompile(pattern).MatchString(out+stderr) {
					t.Errorf("compactd %s: exit code %d, want %d and %q:\n%s%s", strings.Join(args, " "), got, code, pattern, out, stderr)
				}
			}
			dir := string(root)
			appendOne("r-1")
			want(0, "generation 1, 1 rows", "once", "--root", dir, "--lock", url)
			want(0, `pid \d+, lock `+kind+`, fence \d+\tcompactd`, "history", "--root", dir)
			want(0, `lock `+kind+`, fence \d+\n`, "status", "--root", dir)

			appendOne("r-2")
			held, err := openLock(t, url).Locker(lock.Options{RootID: idOf(t, root), Program: "another one"}).Lock(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			want(3, `another compactor is at work: the lock of root \S+ in `+kind+` at .* is held by host .*, program another one`, "once", "--root", dir, "--lock", url)
			want(0, `lock +host .*, program another one\n`, "status", "--root", dir, "--lock", url)
			for _, args := range [][]string{{"columns", "set", "x:string"}, {"retention", "set", "--all", "2h"}, {"repair", "--apply"}} {
				want(3, "is held by host ", append(args, "--root", dir, "--lock", url)...)
			}
			if err := held.Unlock(); err != nil {
				t.Fatal(err)
			}
			want(0, "generation 2, 2 rows", "once", "--root", dir, "--lock", url)

			if err := s.Kill(); err != nil {
				t.Fatal(err)
			}
			appendOne("r-3")
			want(75, `the service of the lock does not answer: `+kind+` at .*\n.*hint: nothing was changed`, "once", "--root", dir, "--lock", url)
			want(0, `lock +not known: the service of the lock does not answer: `+kind, "status", "--root", dir, "--lock", url)
			want(0, `folding without `+kind+` at (?s:.*)generation 3, 3 rows`, "once", "--root", dir, "--lock", url, "--lock-optional")
			want(0, `lock none`, "status", "--root", dir)
			if err := s.StartEmpty(); err != nil {
				t.Fatal(err)
			}
			appendOne("r-4")
			t.Setenv("RUNFOLD_LOCK", url)
			want(0, "generation 4, 4 rows", "once", "--root", dir)
			want(0, `lock `+kind+`, fence \d+\n`, "status", "--root", dir)
			want(2, "lock: .*password", "once", "--root", dir, "--lock", strings.Replace(url, "://", "://me:geheim@", 1))
			if _, stderr, _ := compactd(t, "once", "--root", dir, "--lock", strings.Replace(url, "://", "://me:geheim@", 1)); strings.Contains(stderr, "geheim") {
				t.Errorf("the password is shown: %s", stderr)
			}
			want(2, `lock: .*"leese"`, "once", "--root", dir, "--lock", url+"&leese=2s")
			want(0, "", "check", "--root", dir)
		})
	}
}

// TestLockDoctor measures a real service, one that grants the lock to everybody, and what is no service.
func TestLockDoctor(t *testing.T) {
	s, url := withLock(t, "redis")
	out, stderr, code := compactd(t, "doctor", "--lock", url, "--json")
	var v struct {
		Sound  bool
		Checks []struct{ Name, Result, Detail string }
	}
	if err := json.Unmarshal([]byte(out), &v); err != nil || code != 0 || !v.Sound || len(v.Checks) != 6 {
		t.Errorf("doctor of Redis: exit code %d, %v:\n%s%s", code, err, out, stderr)
	}
	for _, c := range v.Checks[1:4] {
		if c.Result != "yes" {
			t.Errorf("%s: %s (%s)", c.Name, c.Result, c.Detail)
		}
	}
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if out, stderr, code := compactd(t, "doctor", "--lock", url); code != 75 || !strings.Contains(stderr, "does not answer: redis at ") {
		t.Errorf("doctor of a server that is away: exit code %d:\n%s%s", code, out, stderr)
	}
	for _, none := range []string{"file", "none", "file:///tmp", "zookeeper://h", "redis://"} {
		if _, stderr, code := compactd(t, "doctor", "--lock", none); code != 2 || !strings.Contains(stderr, "is no service: give the URL") && !strings.Contains(stderr, "redis://") {
			t.Errorf("doctor --lock %s: exit code %d: %s", none, code, stderr)
		}
	}
}

// TestOptionalLock has a daemon whose service goes away and comes back.
func TestOptionalLock(t *testing.T) {
	s, url := withLock(t, "redis")
	root := newRoot(t)
	config := filepath.Join(t.TempDir(), "compactd.json")
	text, err := json.Marshal(map[string]any{"lock": url, "lock_optional": true, "schedule": "@every 1s", "log_level": "debug"})
	if err == nil {
		err = os.WriteFile(config, text, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	d := exec.Command("compactd", "run", "--root", string(root), "--config", config, "--log-format", "json")
	stderr, err := d.StderrPipe()
	if err == nil {
		err = d.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer d.Wait()
	defer d.Process.Kill()
	log := bufio.NewScanner(stderr)
	until := func(text string) (lines []string) {
		t.Helper()
		for log.Scan() {
			if lines = append(lines, log.Text()); strings.Contains(log.Text(), text) {
				return lines
			}
		}
		t.Fatalf("the log ends without %q:\n%s", text, strings.Join(lines, "\n"))
		return nil
	}
	until(`"msg":"nothing to fold"`)
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if failed := strings.Count(strings.Join(until("folding without redis at "), "\n"), `"msg":"fold failed"`); failed != 2 {
		t.Errorf("%d turns failed before the daemon went on without the service, want 2", failed)
	}
	until(`"msg":"nothing to fold"`)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("journal-append", "--root", string(root), "--cohort", "a", "--run-id", "r", "--stage", "S").CombinedOutput(); err != nil {
		t.Fatalf("journal-append: %v: %s", err, out)
	}
	until(`"msg":"folded"`)
	if out, _, code := compactd(t, "history", "--root", string(root), "--limit", "1"); code != 0 || !strings.Contains(out, ", lock redis, fence ") && !strings.Contains(out, ", lock none") {
		t.Errorf("history: exit code %d: %s", code, out)
	}
}

// appendMany appends so many records.
func appendMany(t *testing.T, root cohort.Root, records int) {
	t.Helper()
	var lines strings.Builder
	for n := range records {
		fmt.Fprintf(&lines, `{"run_id":"r-%d","stage":"S","v":%d}`+"\n", n, n)
	}
	add := exec.Command("journal-append", "--root", string(root), "--cohort", "a")
	add.Stdin = strings.NewReader(lines.String())
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("journal-append: %v: %s", err, out)
	}
}

// TestFleet has daemons on one root that do not know each other. They wake at one time, and one of them folds. It is killed at work, and another takes over, although the schedule
// wakes nobody any more.
func TestFleet(t *testing.T) {
	for _, kind := range servertest.Services() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			const daemons, kills, records = 4, 2, 3000
			_, url := withLock(t, kind)
			root := newRoot(t)
			appendMany(t, root, records)
			fleet := map[int]*exec.Cmd{}
			for range daemons {
				d := exec.Command("compactd", "run", "--root", string(root), "--schedule", "@every 24h", "--lock", url, "--batch-bytes", "4KiB", "--keep-generations", "1000")
				if err := d.Start(); err != nil {
					t.Fatal(err)
				}
				fleet[d.Process.Pid] = d
				t.Cleanup(func() {
					d.Process.Kill()
					d.Wait()
				})
			}
			p, o := openLock(t, url), lock.Options{RootID: idOf(t, root)}
			holder := func(not int) int {
				for ; ; <-time.After(10 * time.Millisecond) {
					words, err := p.Holder(t.Context(), o)
					if err != nil {
						t.Fatal(err)
					}
					if pid := pidIn(words); pid != not && fleet[pid] != nil {
						return pid
					}
				}
			}
			at := holder(0)
			for range kills {
				if err := fleet[at].Process.Kill(); err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				next := holder(at)
				t.Logf("figure: %s: the compactor at work was killed, and another of %d took over after %.1f s, with a lease of 2 s", kind, len(fleet)-1, time.Since(start).Seconds())
				fleet[at].Wait()
				delete(fleet, at)
				at = next
			}
			for rows := 0; rows < records; <-time.After(50 * time.Millisecond) {
				out, stderr, code := compactd(t, "status", "--root", string(root), "--json")
				var s struct{ Rows int }
				if err := json.Unmarshal([]byte(out), &s); code != 0 || err != nil {
					t.Fatalf("status: exit code %d, %v: %s%s", code, errors.Join(err), stderr, out)
				}
				rows = s.Rows
			}
			for _, d := range fleet {
				if err := d.Process.Signal(os.Interrupt); err != nil {
					t.Error(err)
				}
				if err := d.Wait(); err != nil {
					t.Errorf("a daemon that was told to stop: %v", err)
				}
			}
			if out, stderr, code := compactd(t, "check", "--root", string(root), "--replay"); code != 0 {
				t.Errorf("check: exit code %d: %s%s", code, out, stderr)
			}
		})
	}
}

var pidWord = regexp.MustCompile(`\bpid (\d+)`)

func pidIn(words string) int {
	if m := pidWord.FindStringSubmatch(words); m != nil {
		pid, _ := strconv.Atoi(m[1])
		return pid
	}
	return 0
}
