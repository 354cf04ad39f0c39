package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/runfold/runfold/compactor"
)

// served runs serve with its flags until the test ends, and returns the address that it prints.
func served(t *testing.T, args ...string) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	a := &app{stdout: w, stderr: os.Stderr}
	a.progress = &progress{w: os.Stderr}
	cmd := a.command()
	cmd.SetArgs(append([]string{"serve", "--listen", "127.0.0.1:0"}, args...))
	ended := make(chan error, 1)
	go func() { ended <- cmd.ExecuteContext(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
		r.Close()
		w.Close()
	})
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

func TestServe(t *testing.T) {
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	at := served(t, "--root", filepath.Join(dir, "later"))
	for _, c := range []struct {
		at   string
		code int
	}{
		{at, 503},
		{served(t, "--root", filepath.Join(dir, "later"), "--token-file", token), 401},
	} {
		res, err := http.Get(c.at)
		if err != nil {
			t.Fatal(err)
		}
		if res.Body.Close(); res.StatusCode != c.code {
			t.Errorf("%s: %d, want %d", c.at, res.StatusCode, c.code)
		}
	}
}

// TestServeExamples runs the examples of its help, at free ports.
func TestServeExamples(t *testing.T) {
	for _, program := range []string{"sh", "openssl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed", program)
		}
	}
	dir := t.TempDir()
	if code := run([]string{"init", "--root", filepath.Join(dir, "runs")}, nil, io.Discard, os.Stderr); code != exitDone {
		t.Fatalf("init: exit code %d", code)
	}
	a := &app{}
	lines := strings.Split(a.serveCommand().Example, "\n")
	for _, line := range lines {
		line = strings.TrimSpace(line)
		if !strings.Contains(line, "--listen") {
			line += " --listen 127.0.0.1:0"
		}
		line = strings.NewReplacer("127.0.0.1:9000", "127.0.0.1:0", ":8321", ":0", "compactd serve", "exec compactd serve").Replace(line)
		cmd := exec.Command("sh", "-c", line)
		cmd.Dir = dir
		var errs bytes.Buffer
		cmd.Stderr = &errs
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		at, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Errorf("%s: %v", line, err)
		} else {
			token, _ := os.ReadFile(filepath.Join(dir, "token"))
			res, err := http.Get(strings.TrimSpace(at) + "?token=" + strings.TrimSpace(string(token)))
			if err != nil {
				t.Errorf("%s: %v", line, err)
			} else if res.Body.Close(); res.StatusCode != 200 && res.StatusCode != 401 { // this reader keeps no cookies
				t.Errorf("%s: %d", line, res.StatusCode)
			}
		}
		cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil || errs.Len() > 0 {
			t.Errorf("%s: %v, %s", line, err, &errs)
		}
	}
}

// TestServeBeside looks at a root while a daemon folds it.
func TestServeBeside(t *testing.T) {
	dir := t.TempDir()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	root := filepath.Join(dir, "runs")
	if code := run([]string{"init", "--root", root}, nil, io.Discard, os.Stderr); code != exitDone {
		t.Fatalf("init: exit code %d", code)
	}
	ctx, stop := context.WithCancel(context.Background())
	a := &app{stdout: io.Discard, stderr: w}
	a.progress = &progress{w: w}
	cmd := a.command()
	cmd.SetArgs([]string{"run", "--root", root, "--listen", "127.0.0.1:0", "--log-format", "json"})
	ended := make(chan error, 1)
	go func() { ended <- cmd.ExecuteContext(ctx); w.Close() }()
	served := false
	for lines := bufio.NewScanner(r); lines.Scan(); { // to its end, so that nothing waits for a reader
		var said struct{ Msg, Address string }
		if json.Unmarshal(lines.Bytes(), &said) != nil || said.Msg != "serving" {
			continue
		}
		res, err := http.Get(said.Address)
		if err != nil {
			t.Error(err)
		} else if res.Body.Close(); res.StatusCode != 200 {
			t.Errorf("%s: %d", said.Address, res.StatusCode)
		}
		served = true
		stop()
	}
	if err := <-ended; err != nil || !served {
		t.Errorf("run: %v; served: %v", err, served)
	}
	stop()
}

func TestServeRefused(t *testing.T) {
	dir := t.TempDir()
	file := func(text string) string {
		name := filepath.Join(dir, "token")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	long := filepath.Join(dir, "long") // more than is read of it
	if err := os.WriteFile(long, []byte(strings.Repeat("a", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, c := range []struct {
		code int
		says string
		args []string
	}{
		{exitUsage, "can be reached from other machines", []string{"--listen", ":0"}},
		{exitUsage, "can be reached from other machines", []string{"--listen", "0.0.0.0:0"}},
		{exitUsage, "can be reached from other machines", []string{"--listen", "example.org:0"}},
		{exitUsage, "is no address", []string{"--listen", "localhost"}},
		{exitUsage, "a token is one line", []string{"--token-file", long}},
		{exitUsage, "a token is one line", []string{"--token-file", file("short")}},
		{exitUsage, "go with --listen", nil},
		{exitFailed, "no such file", []string{"--token-file", filepath.Join(dir, "nix")}},
		{exitFailed, "another program listens there", []string{"--listen", taken.Addr().String()}},
		{exitFailed, "does not have this address", []string{"--listen", "192.0.2.1:0", "--insecure"}},
	} {
		var out, errs bytes.Buffer
		args := append([]string{"serve", "--root", filepath.Join(dir, "later")}, c.args...)
		if c.args == nil {
			args = []string{"run", "--root", filepath.Join(dir, "later"), "--token-file", filepath.Join(dir, "token")}
		}
		code := run(args, nil, &out, &errs)
		if code != c.code || !strings.Contains(errs.String(), c.says) || out.Len() > 0 {
			t.Errorf("serve %v: exit code %d, %q %q; want %d and %q", c.args, code, &out, &errs, c.code, c.says)
		}
	}
}

// TestTokenOfAll tells of a token that others may read, and of nothing else.
func TestTokenOfAll(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("files have no such modes")
	}
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[fs.FileMode]string{
		0o600: "", 0o640: "", // a group that runs the page together
		0o644: "compactd: --token-file " + file + ": others on this machine can read the token: chmod 600 keeps it from them\n",
	} {
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		var said bytes.Buffer
		a := &app{stdout: io.Discard, stderr: &said, progress: &progress{w: &said}}
		p, l, err := a.open(serving{listen: "127.0.0.1:0", tokenFile: file}, compactor.Config{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		p.Close()
		if said.String() != want {
			t.Errorf("mode %o: %q, want %q", mode, &said, want)
		}
	}
}

// TestListenHint gives no hint about the root where it is not the root that is forbidden.
func TestListenHint(t *testing.T) {
	err := listenError("127.0.0.1:80", &net.OpError{Op: "listen", Net: "tcp", Err: os.NewSyscallError("bind", syscall.EACCES)})
	if h := hint(err); h != "" || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("%v: %q", err, h)
	}
}

// TestServeCSV shows that the page's CSV is that of the terminal.
func TestServeCSV(t *testing.T) {
	root := newRoot(t, "r-1", "r-2")
	appendRun(t, root, "a \"b\",\tc\u202e")
	runText(t, "once", "--root", string(root))
	res, err := http.Get(served(t, "--root", string(root)) + "runs.csv")
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(res.Body)
	res.Body.Close()
	if want := runText(t, "runs", "--root", string(root), "--csv"); err != nil || string(got) != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
}
