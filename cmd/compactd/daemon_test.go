package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/runfold/runfold/cohort"
)

// running is a compactd run whose log we read.
type running struct {
	cmd *exec.Cmd
	log *bufio.Scanner
	all []string // the lines read so far
}

// event is one line of the log.
type event struct {
	Level string `json:"level"`
	Time  string `json:"time"`
	Msg   string `json:"msg"`

	Schedule   string `json:"schedule"`
	Generation int    `json:"generation"`
	Records    int    `json:"records"`
	Rows       int    `json:"rows"`
	Error      string `json:"error"`
}

func startDaemon(t *testing.T, root cohort.Root, args ...string) *running {
	t.Helper()
	cmd := exec.Command("compactd", append([]string{"run", "--root", string(root), "--log-format", "json"}, args...)...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	return &running{cmd: cmd, log: bufio.NewScanner(stderr)}
}

// until reads the log up to the next line with this message. Every line must be an event.
func (d *running) until(t *testing.T, msg string) event {
	t.Helper()
	for d.log.Scan() {
		d.all = append(d.all, d.log.Text())
		var e event
		if err := json.Unmarshal(d.log.Bytes(), &e); err != nil || e.Level == "" || e.Time == "" {
			t.Fatalf("line %q of the log: %v", d.log.Text(), err)
		}
		if e.Msg == msg {
			return e
		}
	}
	t.Fatalf("the log ends without %q:\n%s", msg, strings.Join(d.all, "\n"))
	return event{}
}

func (d *running) signal(t *testing.T, sig os.Signal) {
	t.Helper()
	if err := d.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// stop ends the daemon and wants exit code 0.
func (d *running) stop(t *testing.T, sig os.Signal) {
	t.Helper()
	d.signal(t, sig)
	d.until(t, "stopped")
	if err := d.cmd.Wait(); err != nil {
		t.Errorf("compactd run behind %v: %v, want exit code 0:\n%s", sig, err, strings.Join(d.all, "\n"))
	}
}

// TestDaemonFolds shows a fold at the start and one on schedule for what came since.
func TestDaemonFolds(t *testing.T) {
	root := newRoot(t, "r-1", "r-2")
	d := startDaemon(t, root, "--schedule", "@every 1s")
	if e := d.until(t, "folding on schedule"); e.Schedule != "@every 1s" {
		t.Errorf("schedule %q, want @every 1s", e.Schedule)
	}
	if e := d.until(t, "folded"); e.Records != 2 || e.Rows != 2 || e.Generation != 1 {
		t.Errorf("first fold is %+v, want 2 records, 2 rows, generation 1", e)
	}
	appendRun(t, root, "r-3")
	if e := d.until(t, "folded"); e.Rows != 3 {
		t.Errorf("fold on schedule is %+v, want 3 rows", e)
	}
	d.stop(t, syscall.SIGTERM)
}

// TestDaemonStops shows that both signals end the daemon with exit code 0.
func TestDaemonStops(t *testing.T) {
	for _, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		t.Run(sig.String(), func(t *testing.T) {
			d := startDaemon(t, newRoot(t), "--schedule", "@every 24h")
			d.until(t, "folded")
			d.stop(t, sig)
		})
	}
}

// TestDaemonIsLockedOut shows that a daemon that finds another compactor at work says so and goes on.
func TestDaemonIsLockedOut(t *testing.T) {
	root := newRoot(t, "r-1")
	lock := hold(t, root)
	d := startDaemon(t, root, "--schedule", "@every 1s")
	if e := d.until(t, "fold left out"); e.Level != "warn" || !strings.Contains(e.Error, holderWords) {
		t.Errorf("event is %+v, want a warning with %q", e, holderWords)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	d.until(t, "folded")
	d.stop(t, syscall.SIGTERM)
}

// TestDaemonReloads changes --config under a daemon: a good one counts from the signal on, a broken
// one is refused and the old one goes on.
func TestDaemonReloads(t *testing.T) {
	root := newRoot(t, "r-1")
	config := filepath.Join(t.TempDir(), "compactd.json")
	write := func(format string, args ...any) {
		t.Helper()
		if err := os.WriteFile(config, fmt.Appendf(nil, format, args...), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"schedule":"@every 23h"}`)
	d := startDaemon(t, root, "--config", config)
	if e := d.until(t, "folding on schedule"); e.Schedule != "@every 23h" {
		t.Errorf("schedule %q, want that of the file, @every 23h", e.Schedule)
	}
	d.until(t, "folded")

	for _, broken := range []string{`{"schedule":"@every 1ms"}`, `{"shedule":"@every 1s"}`, `{`, `{"log_level":"loud"}`, `{"keep_age":"1 x"}`} {
		write("%s", broken)
		d.signal(t, syscall.SIGHUP)
		if e := d.until(t, "configuration not read again: going on with the old one"); e.Level != "error" || e.Error == "" {
			t.Errorf("event behind %s is %+v, want an error", broken, e)
		}
	}
	if err := os.Remove(config); err != nil {
		t.Fatal(err)
	}
	d.signal(t, syscall.SIGHUP)
	d.until(t, "configuration not read again: going on with the old one")

	write(`{"schedule":"@every 1s","log_level":"debug","keep_generations":1,"keep_age":"1ns","batch_bytes":"1KiB","dead_after":"2d"}`)
	d.signal(t, syscall.SIGHUP)
	d.until(t, "configuration read again")
	if e := d.until(t, "folding on schedule"); e.Schedule != "@every 1s" {
		t.Errorf("schedule %q, want that of the new file, @every 1s", e.Schedule)
	}
	d.until(t, "nothing to fold") // debug
	appendRun(t, root, "r-2")
	if e := d.until(t, "folded"); e.Rows != 2 {
		t.Errorf("fold is %+v, want 2 rows", e)
	}
	d.stop(t, syscall.SIGTERM)
}

// TestDaemonOutlivesItsLog closes the log's reader: the daemon goes on folding.
func TestDaemonOutlivesItsLog(t *testing.T) {
	root := newRoot(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("compactd", "run", "--root", string(root), "--schedule", "@every 1s", "--log-level", "debug")
	cmd.Stderr = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	w.Close()
	bufio.NewReader(r).ReadString('\n')
	r.Close()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	appendRun(t, root, "r-1")
	for rows := ""; !strings.Contains(rows, `"r-1"`); { // until the daemon has folded it
		rows, _, _ = compactd(t, "dump", root.Index())
		select {
		case err := <-ended:
			t.Fatalf("compactd run ended: %v", err)
		default:
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("compactd run: %v, want exit code 0", err)
	}
}

// TestConsoleLog shows the log for people.
func TestConsoleLog(t *testing.T) {
	root := newRoot(t, "r-1")
	cmd := exec.Command("compactd", "run", "--root", string(root))
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	log := bufio.NewScanner(stderr)
	for log.Scan() && !strings.Contains(log.Text(), "\tinfo\tfolded\t") {
	}
	if !strings.Contains(log.Text(), `"records": 1`) {
		t.Errorf("line %q, want a fold of 1 record", log.Text())
	}
	cmd.Process.Signal(syscall.SIGTERM)
	for log.Scan() {
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("compactd run: %v, want exit code 0", err)
	}
}
