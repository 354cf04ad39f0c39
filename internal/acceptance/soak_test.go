//go:build unix

package acceptance

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/runfold/runfold/cohort"
)

var soak = flag.Duration("soak", 3*time.Second, "how long TestSoak goes on, with -short a second at most; make soak takes a minute")

// hasty makes every fold take each stream that did not grow since the last one for that of a dead writer,
// and delete it at once: most of these verdicts are wrong, and none may cost a record.
var hasty = []string{"--dead-after", "1ns", "--grace", "1ns", "--keep-age", "1ms"}

// TestSoak lets writers come and go and kills many of them, while compactors fold that are killed as well
// and take those that live for dead.
func TestSoak(t *testing.T) {
	t.Logf("-seed %d", *seed)
	root := newRoot(t)
	noHistory(t, root) // or no sweep had anything to remove within the hour
	if _, stderr, code := compactd(t, "doctor", "--root", string(root)); code != 0 {
		t.Fatalf("compactd doctor: exit code %d: %s", code, stderr)
	}
	limit := *soak
	if testing.Short() {
		limit = min(limit, time.Second)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var folds, killed atomic.Int64
	var compactors sync.WaitGroup
	for i := range 2 {
		compactors.Go(func() { foldAndDie(t, ctx, root, rand.New(rand.NewPCG(*seed, uint64(i))), &folds, &killed) })
	}
	var backups, cut atomic.Int64
	compactors.Go(func() { backUpAndDie(t, ctx, root, rand.New(rand.NewPCG(*seed, 2)), &backups, &cut) })
	all, victims := comeAndGo(t, ctx, root)
	compactors.Wait()
	for range 3 { // what the last ones left is reaped and deleted
		settle(t, root, hasty...)
	}
	rows := readIndex(t, root)
	agree(t, root, rows)
	maps.DeleteFunc(rows, func(key string, _ row) bool { return strings.HasPrefix(key, "backup-") })
	compare(t, all, rows)
	acked, sent := 0, 0
	for _, w := range all {
		acked, sent = acked+w.acked, sent+w.sent
	}
	if victims == 0 || killed.Load() == 0 || acked == 0 {
		t.Errorf("%d writers and %d compactors were killed, %d records acknowledged: nothing was shown", victims, killed.Load(), acked)
	}
	t.Logf("figure: %d whole backups and %d kills of backups beside", backups.Load(), cut.Load())
	t.Logf("figure: %d writers of which %d were killed, %d records acknowledged and %d more sent, %d folds and %d kills of compactors in %v",
		len(all), victims, acked, sent-acked, folds.Load(), killed.Load(), limit)
}

// comeAndGo runs writers until ctx ends, some at once, and kills every other one.
func comeAndGo(t *testing.T, ctx context.Context, root cohort.Root) (all []*writer, victims int) {
	const atOnce = 24
	var mu sync.Mutex // guards all, victims
	var group sync.WaitGroup
	for range atOnce {
		group.Go(func() {
			for ctx.Err() == nil {
				mu.Lock()
				w := startWriter(t, root, len(all))
				all = append(all, w)
				rnd := rand.New(rand.NewPCG(*seed, 1000+uint64(w.number)))
				victim := rnd.IntN(2) == 0
				if victim {
					victims++
				}
				mu.Unlock()
				end := w.finish
				if victim {
					end = func() error { return w.kill(rnd) }
				}
				if err := end(); err != nil {
					t.Errorf("writer %d: %v: %s", w.number, err, w.stderr.String())
				}
			}
		})
	}
	group.Wait()
	return all, victims
}

// foldAndDie folds again and again, and kills every other fold at a random moment, until ctx ends and one was
// killed at least.
func foldAndDie(t *testing.T, ctx context.Context, root cohort.Root, rnd *rand.Rand, folds, killed *atomic.Int64) {
	for ctx.Err() == nil || killed.Load() == 0 { // a busy machine may get nowhere in the time
		wasKilled, err := runOrKill(rnd, 7, append([]string{"once", "--wait", "1m", "--root", string(root)}, hasty...)...)
		switch {
		case err != nil:
			t.Error(err)
			return
		case wasKilled:
			killed.Add(1)
		default:
			folds.Add(1)
		}
	}
}

// runOrKill runs compactd, and kills every other run at a random moment within 10 ms doubled up to so many times less one. An error is one of
// the command, which was not killed.
func runOrKill(rnd *rand.Rand, doublings int, args ...string) (killed bool, err error) {
	cmd := exec.Command("compactd", args...)
	var words strings.Builder
	cmd.Stderr = &words
	if err := cmd.Start(); err != nil {
		return false, err
	}
	after := time.Hour
	if rnd.IntN(2) == 0 {
		after = time.Duration(rnd.Int64N(int64(10 * time.Millisecond << rnd.IntN(doublings))))
	}
	timer := time.AfterFunc(after, func() { cmd.Process.Kill() })
	err = cmd.Wait()
	timer.Stop()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		return true, nil
	}
	if err != nil {
		err = fmt.Errorf("compactd %s: %w: %s", args[0], err, words.String())
	}
	return false, err
}

// backUpAndDie backs the root up again and again, and kills every other backup at a random moment, until ctx ends and one was whole at
// least. Before each one it appends a record, which must be in the backup. One that was killed is not there.
func backUpAndDie(t *testing.T, ctx context.Context, root cohort.Root, rnd *rand.Rand, whole, killed *atomic.Int64) {
	dir := t.TempDir()
	for n := 0; ctx.Err() == nil || whole.Load() == 0; n++ {
		run, to := fmt.Sprint("backup-", n), cohort.Root(fmt.Sprint(dir, "/", n))
		if out, err := exec.Command("journal-append", "--root", string(root), "--cohort", "backups", "--run-id", run, "--stage", "S").CombinedOutput(); err != nil {
			t.Errorf("journal-append: %v: %s", err, out)
			return
		}
		wasKilled, err := runOrKill(rnd, 6, "backup", "--root", string(root), string(to))
		switch {
		case err != nil:
			t.Error(err)
			return
		case !wasKilled:
			whole.Add(1)
			holdsRun(t, to, run)
		default:
			killed.Add(1)
			if exists(string(to)) { // killed after its rename
				holdsRun(t, to, run)
			}
		}
		os.RemoveAll(string(to))
	}
}

// holdsRun checks a backup, and looks for a run in it.
func holdsRun(t *testing.T, backup cohort.Root, run string) {
	t.Helper()
	if out, err := exec.Command("compactd", "check", "--root", string(backup)).CombinedOutput(); err != nil {
		t.Errorf("check of a backup: %v: %s", err, out)
	}
	if out, err := exec.Command("compactd", "runs", "--root", string(backup), "--unfolded").CombinedOutput(); err != nil || !strings.Contains("\n"+string(out), "\n"+run+":S\t") {
		t.Errorf("the backup lacks %s, which was acknowledged before it began: %v", run, err)
	}
}

// TestStoppedWriter stops a writer for longer than every grace: its stream is folded, reaped and deleted.
// When it goes on it finds that out before it acknowledges anything more.
func TestStoppedWriter(t *testing.T) {
	root := newRoot(t)
	w := startWriter(t, root, 0)
	for range 5 {
		if err := errors.Join(w.send(1), w.ack()); err != nil {
			t.Fatalf("%v: %s", err, w.stderr.String())
		}
	}
	if err := w.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	streams, unknown := listed(t, root)
	if len(streams) != 1 {
		t.Fatalf("streams %v, unknown %v", streams, unknown)
	}
	s := streams[0]
	others := []*writer{w}
	for n := 1; exists(root.Stream(s.Cohort, s.ID)) || exists(root.Reaped(s.Cohort, s.ID)); n++ {
		if n > 20 {
			t.Fatal("the stream of a stopped writer is still there")
		}
		other := startWriter(t, root, n) // so that there is something to commit
		if err := other.finish(); err != nil {
			t.Fatalf("writer %d: %v: %s", n, err, other.stderr.String())
		}
		others = append(others, other)
		if _, stderr, code := compactd(t, append([]string{"once", "--root", string(root)}, hasty...)...); code != 0 {
			t.Fatalf("compactd once: exit code %d: %s", code, stderr)
		}
	}
	if err := w.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := w.finish(); err != nil {
		t.Fatalf("after SIGCONT: %v: %s", err, w.stderr.String())
	}
	settle(t, root)
	rows := readIndex(t, root)
	agree(t, root, rows)
	compare(t, others, rows)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
