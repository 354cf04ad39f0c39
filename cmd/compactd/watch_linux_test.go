package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/runfold/runfold/internal/acceptance"
)

// TestWatch: --watch draws again what changed, shows an error and goes on, and ends cleanly with Ctrl-C.
func TestWatch(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, "runs")
	call := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
	}
	call("journal-append", "--root", root, "--create", "--cohort", "a", "--run-id", "first", "--stage", "S", "--set", "metrics.auc=0.5")
	call("compactd", "once", "--root", root)
	for _, args := range [][]string{{"runs", "--unfolded"}, {"status"}} {
		watched, end, err := acceptance.OpenTerminal(60, 12)
		if err != nil {
			t.Skipf("no terminal can be made: %v", err)
		}
		defer watched.Close()
		cmd := exec.Command("compactd", append(args, "--root", root, "--watch=10ms")...)
		cmd.Stdout, cmd.Stderr = end, end
		cmd.Env = append(os.Environ(), "COLUMNS=", "LINES=", "TERM=xterm")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		end.Close()
		var all bytes.Buffer
		until := func(pattern string) {
			t.Helper()
			want := regexp.MustCompile("(?s)" + pattern)
			from := all.Len()
			for buf := make([]byte, 1<<16); !want.Match(all.Bytes()[from:]); {
				n, err := watched.Read(buf)
				if err != nil {
					t.Fatalf("compactd %q ended before it showed %q: %q", args, pattern, all.Bytes())
				}
				all.Write(buf[:n])
				if all.Len()-from > 1<<17 {
					t.Fatalf("compactd %q does not show %q: %q", args, pattern, all.Bytes()[all.Len()-2000:])
				}
			}
		}
		if args[0] == "runs" {
			until("first .*\\(1 row")
			call("journal-append", "--root", root, "--cohort", "a", "--run-id", "second", "--stage", "S")
			until("second .*unfolded")
		} else {
			until("generation  1: 1 rows")
		}
		away := root + "-away"
		if err := os.Rename(root, away); err != nil {
			t.Fatal(err)
		}
		until("compactd: ")
		if err := os.Rename(away, root); err != nil {
			t.Fatal(err)
		}
		until("first |generation  1")
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		for buf := make([]byte, 1<<16); ; {
			n, err := watched.Read(buf)
			all.Write(buf[:n])
			if err != nil {
				break
			}
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("compactd %q: %v", args, err)
		}
		text := all.String()
		if !strings.HasPrefix(text, screenBegin) || !strings.HasSuffix(text, screenEnd) || strings.Contains(text, "\x1b[2J") {
			t.Errorf("compactd %q begins with %q and ends with %q", args, text[:min(40, len(text))], text[max(0, len(text)-40):])
		}
	}
}

// TestWatchDumb: a terminal that can do nothing is given no commands.
func TestWatchDumb(t *testing.T) {
	watched, end, err := acceptance.OpenTerminal(60, 12)
	if err != nil {
		t.Skipf("no terminal can be made: %v", err)
	}
	defer watched.Close()
	defer end.Close()
	var said bytes.Buffer
	cmd := exec.Command("compactd", "runs", "--root", "runs", "--watch")
	cmd.Stdout, cmd.Stderr = end, &said
	cmd.Env = append(os.Environ(), "TERM=dumb")
	if _ = cmd.Run(); cmd.ProcessState.ExitCode() != exitUsage || !strings.Contains(said.String(), "call the command again instead") {
		t.Errorf("exit code %d: %s", cmd.ProcessState.ExitCode(), &said)
	}
}

// TestDrawn: a screen has as many lines as the terminal, and the last one of the list.
func TestDrawn(t *testing.T) {
	t.Setenv("COLUMNS", "20")
	t.Setenv("LINES", "5")
	a := &app{stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}}
	frame, err := a.drawn(t.Context(), watched{every: 1}, func(_ context.Context, a *app) error {
		for range 10 {
			if _, err := a.stdout.Write([]byte("a line that is longer than twenty\n")); err != nil {
				return err
			}
		}
		_, err := a.stdout.Write([]byte("(10 rows)\n"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	_, lines, _ := strings.Cut(frame, lineEnd)
	want := strings.Join([]string{"a line that is long…", "a line that is long…", "… 8 lines have no r…", "(10 rows)\x1b[K" + screenRest}, lineEnd)
	if lines != want {
		t.Errorf("%q\nwant\n%q", lines, want)
	}
}
