package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/internal/acceptance"
)

// failing is the real file system with one call that fails.
type failing struct {
	FS
	op    string
	err   error
	after bool // do it, then fail: a doubtful call
}

func (f failing) Link(old, new string) error {
	return f.call("link", func() error { return f.FS.Link(old, new) })
}

func (f failing) Rename(old, new string) error {
	return f.call("rename", func() error { return f.FS.Rename(old, new) })
}

func (f failing) SyncDir(name string) error {
	return f.call("syncdir", func() error { return f.FS.SyncDir(name) })
}

func (f failing) OpenDir(name string) (Dir, error) {
	d, err := f.FS.OpenDir(name)
	return failingDir{d, f}, err
}

type failingDir struct {
	Dir
	fs failing
}

func (d failingDir) Sync() error { return d.fs.call("syncdir", d.Dir.Sync) }

func (f failing) Create(name string, perm fs.FileMode) (WriteFile, error) {
	if f.op == "create" {
		return nil, f.err
	}
	w, err := f.FS.Create(name, perm)
	return failingFile{w, f}, err
}

func (f failing) call(op string, do func() error) error {
	if f.op != op {
		return do()
	}
	if f.after {
		return errors.Join(do(), f.err)
	}
	return f.err
}

type failingFile struct {
	WriteFile
	fs failing
}

func (f failingFile) Sync() error {
	return f.fs.call("fsync", f.WriteFile.Sync)
}

func (f failingFile) Write(p []byte) (int, error) {
	if f.fs.op == "write" {
		n, _ := f.WriteFile.Write(p[:len(p)/2])
		return n, f.fs.err
	}
	return f.WriteFile.Write(p)
}

// names are the entries of a directory.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func content(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestCreate(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "a")
	if err := Create(OS, name, []byte("one"), 0o644); err != nil {
		t.Fatalf("Create of a new name: %v", err)
	}
	if err := Create(OS, name, []byte("two"), 0o644); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Create of an existing name = %v, want fs.ErrExist", err)
	}
	if got := content(t, name); got != "one" {
		t.Errorf("content is %q, want the first writer's", got)
	}
	if diff := cmp.Diff([]string{"a"}, names(t, dir)); diff != "" {
		t.Errorf("temporary files stay (-want +got):\n%s", diff)
	}
}

// TestCreateHasOneWinner lets goroutines race for one name, again and again.
func TestCreateHasOneWinner(t *testing.T) {
	dir := t.TempDir()
	for round := range 50 {
		name := filepath.Join(dir, fmt.Sprint(round))
		var wins []string
		var mu sync.Mutex
		var wg sync.WaitGroup
		for n := range 8 {
			wg.Go(func() {
				mine := fmt.Sprint("writer ", n)
				err := Create(OS, name, []byte(mine), 0o644)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					wins = append(wins, mine)
				} else if !errors.Is(err, fs.ErrExist) {
					t.Errorf("a loser got %v, want fs.ErrExist", err)
				}
			})
		}
		wg.Wait()
		if len(wins) != 1 || content(t, name) != wins[0] {
			t.Fatalf("winners %q, content %q: want one winner and its content", wins, content(t, name))
		}
	}
}

// TestErrors lets each call of each verb fail: the name is as it was or complete, and no temporary
// file stays.
func TestErrors(t *testing.T) {
	verbs := map[string]func(FS, string) error{
		"Create":  func(f FS, name string) error { return Create(f, name, []byte("new"), 0o644) },
		"Replace": func(f FS, name string) error { return Replace(f, name, []byte("new"), 0o644) },
		"Pending": func(f FS, name string) error {
			p, err := Pending(f, name, 0o644)
			if err != nil {
				return err
			}
			_, werr := p.Write([]byte("new"))
			return errors.Join(werr, p.Commit())
		},
	}
	for verb, do := range verbs {
		for _, op := range []string{"write", "fsync", "link", "rename", "syncdir"} {
			if verb == "Create" && op == "rename" || verb != "Create" && op == "link" {
				continue // a call that the verb does not make
			}
			t.Run(verb+"/"+op, func(t *testing.T) {
				dir := t.TempDir()
				name := filepath.Join(dir, "a")
				err := do(failing{FS: OS, op: op, err: syscall.EIO}, name)
				if !errors.Is(err, syscall.EIO) {
					t.Errorf("%s with a failing %s = %v, want EIO", verb, op, err)
				}
				for _, n := range names(t, dir) {
					if got := content(t, filepath.Join(dir, n)); n != "a" || got != "new" {
						t.Errorf("%s holds %q after the error", n, got)
					}
				}
			})
		}
	}
}

// TestDoubtfulLink shows that a link which happened although it reported EEXIST is a success, as after
// a retransmitted NFS request.
func TestDoubtfulLink(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a")
	if err := Create(failing{FS: OS, op: "link", err: fs.ErrExist, after: true}, name, []byte("mine"), 0o644); err != nil {
		t.Errorf("Create whose link happened = %v, want nil", err)
	}
	if got := content(t, name); got != "mine" {
		t.Errorf("content is %q", got)
	}
}

func TestWithoutLinks(t *testing.T) {
	for _, missing := range []error{syscall.EPERM, errors.ErrUnsupported, syscall.ENOSYS} {
		dir := t.TempDir()
		f := failing{FS: OS, op: "link", err: missing}
		name := filepath.Join(dir, "a")
		if err := Create(f, name, []byte("one"), 0o644); err != nil {
			t.Errorf("Create where links fail with %v: %v", missing, err)
		}
		if err := Create(f, name, []byte("two"), 0o644); !errors.Is(err, fs.ErrExist) {
			t.Errorf("second Create where links fail with %v = %v, want fs.ErrExist", missing, err)
		}
		if err := ReplaceWith(f, filepath.Join(dir, "b"), name, 0o644); err != nil {
			t.Errorf("ReplaceWith where links fail with %v: %v", missing, err)
		}
		if got := content(t, filepath.Join(dir, "b")); got != "one" {
			t.Errorf("the copy holds %q", got)
		}
	}
}

func TestReplace(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "a")
	for _, text := range []string{"one", "", "three"} {
		if err := Replace(OS, name, []byte(text), 0o644); err != nil {
			t.Fatalf("Replace by %q: %v", text, err)
		}
		if got := content(t, name); got != text {
			t.Errorf("content is %q, want %q", got, text)
		}
	}
	if err := Replace(OS, filepath.Join(dir, "no", "a"), nil, 0o644); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Replace in a missing directory = %v, want fs.ErrNotExist", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Replace(OS, filepath.Join(dir, "d"), nil, 0o644); err == nil {
		t.Error("Replace of a directory = nil, want an error")
	}
	if diff := cmp.Diff([]string{"a", "d"}, names(t, dir)); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

// TestReplaceFollowsNoLink shows that a symbolic link is replaced, and its target is not touched.
func TestReplaceFollowsNoLink(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "outside"), filepath.Join(dir, "a")
	if err := os.WriteFile(target, []byte("theirs"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Skip("no symbolic links here:", err)
	}
	if err := Create(OS, link, []byte("ours"), 0o644); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Create over a symbolic link = %v, want fs.ErrExist", err)
	}
	if err := Replace(OS, link, []byte("ours"), 0o644); err != nil {
		t.Fatal(err)
	}
	if content(t, target) != "theirs" || content(t, link) != "ours" {
		t.Errorf("target holds %q, name holds %q", content(t, target), content(t, link))
	}
}

// TestReplaceWithItself shows that no temporary name stays when name is the file already: rename(2)
// does nothing between two links of one inode.
func TestReplaceWithItself(t *testing.T) {
	dir := t.TempDir()
	src, name := filepath.Join(dir, "data"), filepath.Join(dir, "public")
	if err := Create(OS, src, []byte("rows"), 0o444); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := ReplaceWith(OS, name, src, 0o444); err != nil {
			t.Fatal(err)
		}
	}
	a, aerr := OS.Stat(src)
	b, berr := OS.Stat(name)
	if aerr != nil || berr != nil || !SameFile(a, b) {
		t.Errorf("%s is not %s: %v, %v", name, src, aerr, berr)
	}
	if diff := cmp.Diff([]string{"data", "public"}, names(t, dir)); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

func TestPendingDiscard(t *testing.T) {
	dir := t.TempDir()
	p, err := Pending(OS, filepath.Join(dir, "a"), 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); len(got) != 1 || !IsTemp(got[0]) {
		t.Errorf("names while pending: %q, want one temporary", got)
	}
	if err := p.Discard(); err != nil {
		t.Fatal(err)
	}
	if err := p.Discard(); err != nil {
		t.Errorf("second Discard = %v, want nil", err)
	}
	if got := names(t, dir); got != nil {
		t.Errorf("names after Discard: %q", got)
	}
}

func TestMkdirAllRemoveAll(t *testing.T) {
	dir := t.TempDir()
	deep := filepath.Join(dir, "a", "b", "c")
	for range 2 {
		if err := MkdirAll(OS, deep, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	outside := filepath.Join(dir, "outside")
	if err := Create(OS, outside, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := MkdirAll(OS, filepath.Join(outside, "d"), 0o755); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("MkdirAll below a file = %v, want ENOTDIR", err)
	}
	if err := os.Symlink(outside, filepath.Join(deep, "link")); err != nil {
		t.Skip("no symbolic links here:", err)
	}
	for range 2 {
		if err := RemoveAll(OS, filepath.Join(dir, "a")); err != nil {
			t.Errorf("RemoveAll = %v, want nil", err)
		}
	}
	if diff := cmp.Diff([]string{"outside"}, names(t, dir)); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

func TestMove(t *testing.T) {
	dir := t.TempDir()
	for _, n := range []string{"a", "b"} {
		if err := Create(OS, filepath.Join(dir, n), []byte(n), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := Move(OS, filepath.Join(dir, "a"), filepath.Join(dir, "b")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Move onto an existing name = %v, want fs.ErrExist", err)
	}
	if err := Move(OS, filepath.Join(dir, "a"), filepath.Join(dir, "c")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"b", "c"}, names(t, dir)); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

func TestReadLimit(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a")
	if err := Create(OS, name, []byte("12345"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := Read(OS, name, 5); err != nil || string(got) != "12345" {
		t.Errorf("Read within the limit = %q, %v", got, err)
	}
	if _, err := Read(OS, name, 4); err == nil || !strings.Contains(err.Error(), "larger than 4 bytes") {
		t.Errorf("Read over the limit = %v, want an error", err)
	}
}

// stale answers the first opens as a network file system does while a file is replaced.
type stale struct {
	FS
	left int
	err  error
}

func (s *stale) Open(name string) (ReadFile, error) {
	if s.left > 0 {
		s.left--
		return nil, s.err
	}
	return s.FS.Open(name)
}

func TestReadOpensAgain(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a")
	if err := Create(OS, name, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{errStale, fs.ErrNotExist} {
		if got, rerr := Read(&stale{OS, 2, err}, name, 10); rerr != nil || string(got) != "x" {
			t.Errorf("Read after two times %v = %q, %v", err, got, rerr)
		}
		if _, rerr := Read(&stale{OS, 1000, err}, name, 10); !errors.Is(rerr, err) {
			t.Errorf("Read after %v without end = %v", err, rerr)
		}
	}
}

// TestSyscalls compares what strace sees with what the doc comments say. Calls that fail, such as the
// removal of a temporary name that rename has taken, are left out.
func TestSyscalls(t *testing.T) {
	strace := acceptance.Strace(t)
	tests := map[string]string{
		"Create":      "open dir, create temp, write temp, fsync temp, link temp name, unlink temp, fsync dir, statfs dir",
		"Replace":     "open dir, create temp, write temp, fsync temp, rename temp name, fsync dir, statfs dir",
		"ReplaceWith": "open dir, statfs dir, link src temp, rename temp name, fsync dir, statfs dir",
		"Pending":     "create temp, write temp, open dir, fsync temp, rename temp name, fsync dir, statfs dir",
		"Move":        "open dir, rename src name, fsync dir, statfs dir",
		"Move across": "open other, open dir, rename src name, fsync other, statfs other, fsync dir, statfs dir",
		"Remove":      "open dir, unlink src, fsync dir, statfs dir",
		"Exchange":    "open dir, open other, create aside, fsync aside, rename aside name, fsync other, statfs other, fsync dir, statfs dir",
		"Now":         "mkdir temp, unlink temp",
		"MkdirAll":    "open dir, mkdir name, fsync dir, statfs dir, open name, mkdir sub, fsync name, statfs name",
	}
	for verb, want := range tests {
		t.Run(verb, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "src"), []byte("x"), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(filepath.Join(dir, "other"), 0o755); err != nil {
				t.Fatal(err)
			}
			if verb == "Exchange" {
				if err := os.WriteFile(filepath.Join(dir, "name"), []byte("y"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			log := filepath.Join(t.TempDir(), "trace")
			cmd := exec.Command(strace, "-f", "-y", "-o", log, "-e", "trace=openat,write,fsync,link,linkat,unlink,unlinkat,rename,renameat,renameat2,mkdir,mkdirat,statfs,?statfs64",
				os.Args[0], "-test.run", "^$")
			cmd.Env = append(os.Environ(), "RUNFOLD_VERB="+verb, "RUNFOLD_DIR="+dir)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s under strace: %v: %s", verb, err, out)
			}
			if got := calls(content(t, log), dir); got != want {
				t.Errorf("%s makes the calls\n  %s\nits comment says\n  %s", verb, got, want)
			}
		})
	}
}

// calls is a trace in the words of the doc comments: only what touches dir.
func calls(trace, dir string) string {
	var out []string
	for _, line := range strings.Split(trace, "\n") {
		_, call, _ := strings.Cut(line, " ")
		call = strings.TrimSpace(call)
		op, rest, ok := strings.Cut(call, "(")
		if !ok || !strings.Contains(rest, dir) || strings.Contains(rest, "= -1") {
			continue
		}
		op = strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(op, "64"), "2"), "at")
		switch {
		case op == "open" && strings.Contains(rest, "O_CREAT"):
			op = "create"
		case op == "open" && !strings.Contains(rest, "O_DIRECTORY"):
			continue
		}
		out = append(out, strings.TrimSpace(op+" "+strings.Join(words(op, rest, dir), " ")))
	}
	return strings.Join(out, ", ")
}

// words names the paths of one call: temp, src, name or dir.
func words(op, rest, dir string) []string {
	var out []string
	for _, part := range strings.FieldsFunc(rest, func(r rune) bool { return strings.ContainsRune(`"<>, ()`, r) }) {
		if !strings.HasPrefix(part, dir) {
			continue
		}
		switch base := filepath.Base(part); {
		case part == dir:
			out = append(out, "dir")
		case IsTemp(base):
			out = append(out, "temp")
		default:
			out = append(out, base)
		}
	}
	if op == "open" || op == "create" || op == "write" || op == "fsync" {
		out = out[:min(1, len(out))]
	}
	return out
}

// runVerb does one verb in a child process that strace watches.
func runVerb(verb, dir string) error {
	name, src := filepath.Join(dir, "name"), filepath.Join(dir, "src")
	switch verb {
	case "Create":
		return Create(OS, name, []byte("x"), 0o644)
	case "Replace":
		return Replace(OS, name, []byte("x"), 0o644)
	case "ReplaceWith":
		return ReplaceWith(OS, name, src, 0o644)
	case "Exchange":
		_, err := Exchange(OS, name, src, filepath.Join(dir, "other", "aside"), 0o644)
		return err
	case "Pending":
		p, err := Pending(OS, name, 0o644)
		if err != nil {
			return err
		}
		_, werr := p.Write([]byte("x"))
		return errors.Join(werr, p.Commit())
	case "Move":
		return Move(OS, src, name)
	case "Move across":
		return Move(OS, src, filepath.Join(dir, "other", "name"))
	case "Remove":
		return Remove(OS, src)
	case "Now":
		_, err := Now(OS, dir, 0o755)
		return err
	case "MkdirAll":
		return MkdirAll(OS, filepath.Join(name, "sub"), 0o755)
	case "race":
		return race(dir)
	case "say lock":
		return sayLock(filepath.Join(dir, "lock"))
	case "lock":
		return holdLock(filepath.Join(dir, "lock"))
	}
	return fmt.Errorf("no verb %q", verb)
}

// TestMain makes this binary the child of some tests.
func TestMain(m *testing.M) {
	if verb := os.Getenv("RUNFOLD_VERB"); verb != "" {
		runtime.LockOSThread()
		if err := runVerb(verb, os.Getenv("RUNFOLD_DIR")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0"); err != nil { // or each child of a -race run sleeps a second at its exit
		panic(err)
	}
	os.Exit(m.Run())
}
