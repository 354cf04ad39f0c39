package durable

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const somebody = "host a\npid 1\n"

func say(t *testing.T, lock, words string) *Holder {
	t.Helper()
	h, err := SayHolder(lock, words, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func sign(lock string) string {
	_, s := WhoHolds(lock)
	return s
}

// TestHolder shows that each count and each holder has a sign of its own, and that nothing is left at the end.
func TestHolder(t *testing.T) {
	lock := filepath.Join(t.TempDir(), "lock")
	signs := map[string]bool{"": true}
	fresh := func() {
		t.Helper()
		words, s := WhoHolds(lock)
		if words != somebody || signs[s] {
			t.Errorf("WhoHolds = %q, %q, want %q and a new sign", words, s, somebody)
		}
		signs[s] = true
	}
	for range 2 {
		h := say(t, lock, somebody)
		fresh()
		for range 3 {
			if err := h.Advance(); err != nil {
				t.Fatal(err)
			}
			fresh()
		}
		if s := sign(lock); s != sign(lock) {
			t.Error("the sign changes without a count")
		}
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		if words, s := WhoHolds(lock); words != "" || s != "" {
			t.Errorf("after the end, WhoHolds = %q, %q", words, s)
		}
	}
}

// TestLateHolder wakes a holder whose lock was taken by the next one. It changes nothing in the next one's file.
func TestLateHolder(t *testing.T) {
	lock := filepath.Join(t.TempDir(), "lock")
	late := say(t, lock, "host with a long name\npid 1\n")
	next := say(t, lock, somebody)
	before := sign(lock)
	if err := late.Advance(); err != nil {
		t.Error(err)
	}
	if err := late.Close(); err != nil {
		t.Error(err)
	}
	if words, after := WhoHolds(lock); words != somebody || after != before {
		t.Errorf("the late holder makes it %q, %q", words, after)
	}
	if err := next.Close(); err != nil {
		t.Error(err)
	}
}

// TestHolderOfBefore reads the lock file itself, which is all that programs of before wrote, also beside a file that was left.
func TestHolderOfBefore(t *testing.T) {
	lock := filepath.Join(t.TempDir(), "lock")
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(lock, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put("host old\npid 7\n")
	words, first := WhoHolds(lock)
	if words != "host old\npid 7\n" || first == "" {
		t.Errorf("WhoHolds = %q, %q", words, first)
	}
	say(t, lock, somebody) // killed
	left := sign(lock)
	put("host old\npid 8\n")
	if sign(lock) == left {
		t.Error("two holders have one sign")
	}
}

// TestTornHolder reads each beginning of the file, as one who looks while it is written, and other bytes. None is mistaken for the whole one.
func TestTornHolder(t *testing.T) {
	lock := filepath.Join(t.TempDir(), "lock")
	h := say(t, lock, somebody)
	whole := sign(lock)
	text, err := os.ReadFile(lock + ".holder")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	for n := range len(text) - 2 { // the last ones are a digit and the end of the line
		if err := os.WriteFile(lock+".holder", text[:n], 0o644); err != nil {
			t.Fatal(err)
		}
		words, s := WhoHolds(lock)
		if s == whole || !strings.HasPrefix(somebody, words) && !strings.HasPrefix(words, somebody) {
			t.Errorf("%d bytes: %q, %q", n, words, s)
		}
	}
	for _, other := range []string{"\x00\x00", strings.Repeat("x", maxBody+1), "version 1\ntoken x\ncounter y"} {
		if err := os.WriteFile(lock+".holder", []byte(other), 0o644); err != nil {
			t.Fatal(err)
		}
		if s := sign(lock); s == whole {
			t.Errorf("%.20q has the sign of the whole file", other)
		}
	}
}

// TestHolderIsNoLink leaves a link in the place of the file alone.
func TestHolderIsNoLink(t *testing.T) {
	dir := t.TempDir()
	lock, other := filepath.Join(dir, "lock"), filepath.Join(dir, "thesis.tex")
	if err := os.WriteFile(other, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(other, lock+".holder"); err != nil {
		t.Skip("no links here:", err)
	}
	if h, err := SayHolder(lock, somebody, 0o644); err == nil {
		h.Close()
		t.Error("SayHolder through a link = nil, want an error")
	}
	if got := content(t, other); got != "mine" {
		t.Errorf("what the link leads to is %q", got)
	}
	if words, _ := WhoHolds(lock); words != "" {
		t.Errorf("WhoHolds through a link = %q", words)
	}
}

// TestSuccessors takes the last of the successors, and nothing that only looks like one.
func TestSuccessors(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "compact.lock")
	for _, test := range []struct{ made, want string }{
		{"", ""}, {"compact.lock", ""}, {"compact.lock.holder", ""}, {"compact.lock.seen", ""}, {"compact.lock.1", ""}, {"compact.lock.02", ""},
		{"compact.lock.2x", ""}, {"compact.lock.-3", ""}, {"compact.lock.1000", ""}, {"xcompact.lock.7", ""}, {"compact.lock.9.holder", ""},
		{"compact.lock.2", ".2"}, {"compact.lock.10", ".10"}, {"compact.lock.9", ".10"},
	} {
		if test.made != "" {
			if err := os.WriteFile(filepath.Join(dir, test.made), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got := LastLock(OS, name); got != name+test.want {
			t.Errorf("with %s, LastLock = %s, want %s", test.made, filepath.Base(got), "compact.lock"+test.want)
		}
	}
	at, n := name, 1
	for {
		next, ok := NextLock(name, at)
		if !ok {
			break
		}
		if n++; next != fmt.Sprintf("%s.%d", name, n) {
			t.Fatalf("NextLock of %s = %s", at, next)
		}
		at = next
	}
	if n != maxSuccessor {
		t.Errorf("the last successor is %d, want %d", n, maxSuccessor)
	}
	if got := LastLock(OS, filepath.Join(dir, "none", "lock")); got != filepath.Join(dir, "none", "lock") {
		t.Errorf("LastLock in a missing directory = %s", got)
	}
}

// TestHolderOfThePage reads the file that docs/format/lock.md shows, and writes the same.
func TestHolderOfThePage(t *testing.T) {
	page, err := os.ReadFile("../../docs/format/lock.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```\n")
	text, _, ok := strings.Cut(rest, "```\n")
	words, s := parseHolder(text)
	if want := "host trainer-3\npid 4711\nuser ml (1000)\nsince 2026-11-26T16:00:00Z\nprogram runfold 0.1.0\n"; !ok || words != want || s != "46f8342993fcaf57592053201369b96d 7" {
		t.Errorf("the page's file has %q, %q", words, s)
	}
	lock := filepath.Join(t.TempDir(), "lock")
	h := say(t, lock, words)
	for range 7 {
		if err := h.Advance(); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Replace(content(t, lock+".holder"), h.token, "46f8342993fcaf57592053201369b96d", 1); got != text {
		t.Errorf("the file is\n%s\nwant that of the page:\n%s", got, text)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}
