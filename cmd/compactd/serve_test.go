package main

import (
	"bufio"
	"bytes"
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
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

func TestServeRefused(t *testing.T) {
	dir := t.TempDir()
	file := func(text string) string {
		name := filepath.Join(dir, "token")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
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
		{exitUsage, "a token is one line", []string{"--token-file", file("short")}},
		{exitFailed, "no such file", []string{"--token-file", filepath.Join(dir, "nix")}},
		{exitFailed, "another program listens there", []string{"--listen", taken.Addr().String()}},
		{exitFailed, "does not have this address", []string{"--listen", "192.0.2.1:0", "--insecure"}},
	} {
		var out, errs bytes.Buffer
		code := run(append([]string{"serve", "--root", filepath.Join(dir, "later")}, c.args...), nil, &out, &errs)
		if code != c.code || !strings.Contains(errs.String(), c.says) || out.Len() > 0 {
			t.Errorf("serve %v: exit code %d, %q %q; want %d and %q", c.args, code, &out, &errs, c.code, c.says)
		}
	}
}
