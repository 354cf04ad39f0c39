package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/zap/zapcore"

	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

// full is a standard output whose disk is full.
type full struct{}

func (full) Write([]byte) (int, error) {
	return 0, &os.PathError{Op: "write", Path: "/dev/stdout", Err: syscall.ENOSPC}
}

// TestOutputFull shows that a report that cannot be written is told as that: what was folded is folded, the exit code is that of a
// failure and not "try again", and the report stands on standard error.
func TestOutputFull(t *testing.T) {
	root := newRoot(t, "r-1")
	for _, c := range []struct {
		args []string
		said string // before the error
	}{
		{[]string{"once", "--json"}, "compactd: folded 1 records in "},
		{[]string{"once", "--json", "--quiet"}, "compactd: nothing to fold: generation 1, 1 rows\n"},
		{[]string{"status"}, ""}, {[]string{"status", "--json"}, ""}, {[]string{"runs"}, ""}, {[]string{"check", "--json"}, ""}, {[]string{"repair"}, ""},
		{[]string{"dump", root.Index()}, ""}, {[]string{"init", "--json"}, ""}, {[]string{"--help"}, ""},
	} {
		args := c.args
		if args[0] != "dump" && args[0] != "--help" {
			args = append(args, "--root", string(root))
		}
		var stderr bytes.Buffer
		code := run(args, strings.NewReader(""), full{}, &stderr)
		if args[0] == "--help" { // cobra does not tell
			continue
		}
		said := stderr.String()
		if code != exitFailed || !strings.Contains(said, c.said) || !strings.Contains(said, "compactd: standard output: ") ||
			!strings.Contains(said, "hint: only the output is incomplete: what the command did in the root is done") {
			t.Errorf("%v: exit code %d, standard error %s", args, code, said)
		}
	}
}

// TestDevFull is the same with the real thing, as cases of others have it.
func TestDevFull(t *testing.T) {
	out, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer out.Close()
	root := newRoot(t, "r-1")
	cmd := exec.Command("compactd", "once", "--root", string(root), "--json")
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = out, &stderr
	cmd.Run()
	if said := stderr.String(); cmd.ProcessState.ExitCode() != exitFailed || !strings.Contains(said, "folded 1 records") ||
		!strings.Contains(said, "what the command did in the root is done") {
		t.Errorf("exit code %d: %s", cmd.ProcessState.ExitCode(), said)
	}
	if got := strings.Count(runText(t, "runs", "--root", string(root)), "\n"); got != 1 {
		t.Errorf("%d rows, want 1", got)
	}
}

// runText is the standard output of a command that ends well.
func runText(t *testing.T, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if code := run(args, strings.NewReader(""), &stdout, &stderr); code != exitDone {
		t.Fatalf("%v: exit code %d: %s", args, code, stderr.String())
	}
	return stdout.String()
}

// later is a kind of notice that this version does not know.
type later struct{}

func (later) String() string { return "a fact \x1b[31m of\ntomorrow" }

func TestLevelOf(t *testing.T) {
	for _, c := range []struct {
		n    compactor.Notice
		want zapcore.Level
	}{
		{generation.Published{}, zapcore.DebugLevel}, {compactor.Rewritten{}, zapcore.InfoLevel}, {compactor.NarrowKey{}, zapcore.WarnLevel},
		{compactor.DamagedBytes{}, zapcore.ErrorLevel}, {compactor.SkippedStream{Stream: journal.Stream{}, Err: errors.New("x")}, zapcore.ErrorLevel},
		{later{}, zapcore.WarnLevel},
	} {
		if got := levelOf(c.n); got != c.want {
			t.Errorf("levelOf(%T) = %v, want %v", c.n, got, c.want)
		}
	}
}

// TestHostileText shows that text of others reaches neither a terminal nor a log as a command of theirs.
func TestHostileText(t *testing.T) {
	const safe = `a fact \u001b[31m of\ntomorrow`
	var b bytes.Buffer
	(&app{progress: &progress{w: &b}}).say("%v", later{})
	if got, want := b.String(), "compactd: "+safe+"\n"; got != want {
		t.Errorf("say: %q, want %q", got, want)
	}
	for _, format := range []string{"console", "json"} {
		b.Reset()
		log, err := newLogger(&b, format, zapcore.InfoLevel)
		if err != nil {
			t.Fatal(err)
		}
		logNotice(log, later{})
		if got := b.String(); !strings.Contains(got, safe) || strings.Count(got, "\n") != 1 || strings.Contains(got, "\x1b") {
			t.Errorf("log as %s: %q, want %q in it", format, got, safe)
		}
		b.Reset()
		logNotice(log, generation.Published{})
		if b.Len() > 0 {
			t.Errorf("log as %s: %q, which is below its level", format, b.String())
		}
	}
}

// TestHostileRunID shows that a run id of others is one field on one line of all that people, and scripts that split lines, read.
func TestHostileRunID(t *testing.T) {
	root := newRoot(t)
	appendRun(t, root, "\x1b[31ma\tb\nc\u202e")
	const safe = `"\u001b[31ma\tb\nc\u202e:S"`
	if got := runText(t, "runs", "--root", string(root), "--unfolded"); !strings.HasPrefix(got, safe+"\t") || strings.Count(got, "\n") != 1 || strings.Count(got, "\t") != 4 {
		t.Errorf("runs --unfolded: %q, want %q in front", got, safe)
	}
	runText(t, "once", "--root", string(root))
	appendRun(t, root, "next")
	for _, c := range []struct {
		tabs int
		args []string
	}{{3, []string{"runs"}}, {2, []string{"previous", "--cohort", "a", "--run-id", "next", "--stage", "S"}}} {
		got := runText(t, append(c.args, "--root", string(root))...)
		if !strings.HasPrefix(got, safe+"\t") || strings.Count(got, "\n") != 1 || strings.Count(got, "\t") != c.tabs {
			t.Errorf("%s: %q, want %q in front", c.args[0], got, safe)
		}
	}
	runText(t, "once", "--root", string(root))
}

// TestAmounts shows what long work tells of itself.
func TestAmounts(t *testing.T) {
	root := newRoot(t, "r-1", "r-2", "r-3")
	cfg := compactor.Config{Root: root}
	counted := countAmounts(durable.OS, root)
	cfg.FS = counted
	if _, err := compactor.Fold(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if counted.read.Load() < 1000 || counted.bytesWritten() < 1000 {
		t.Errorf("%d bytes read, %d written", counted.read.Load(), counted.bytesWritten())
	}
	var b bytes.Buffer
	(&progress{w: &b}).show("folding", 2e9, counted)
	if got, want := b.String(), "\rfolding, 2s: 3 of 3 streams, 0.0 MB read, 0.0 MB of new files\x1b[K"; got != want {
		t.Errorf("progress is %q, want %q", got, want)
	}
}
