package durabletest

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/internal/durable"
)

// TestCrashOutcomes is the specification: what may be found after a crash, for each thing that was not synced.
// Every outcome of the list must appear, and no other.
func TestCrashOutcomes(t *testing.T) {
	tests := map[string]struct {
		do   func(t *testing.T, c *CrashFS)
		look []string
		want []string
	}{
		"a file that nobody synced": {func(t *testing.T, c *CrashFS) {
			write(t, c, "a", "x")
		}, []string{"a"}, []string{"", "\x00", "absent", "x"}},
		"fsync of the file says nothing about its name": {func(t *testing.T, c *CrashFS) {
			must(t, write(t, c, "a", "x").Sync())
		}, []string{"a"}, []string{"absent", "x"}},
		"sync of the directory says nothing about the data": {func(t *testing.T, c *CrashFS) {
			write(t, c, "a", "x")
			must(t, c.SyncDir("/"))
		}, []string{"a"}, []string{"", "\x00", "x"}},
		"both": {func(t *testing.T, c *CrashFS) {
			must(t, write(t, c, "a", "x").Sync(), c.SyncDir("/"))
		}, []string{"a"}, []string{"x"}},
		"a rename that was not synced shows the old name, the new one, or both": {func(t *testing.T, c *CrashFS) {
			must(t, durable.Create(c, "a", []byte("x"), 0o644), c.Rename("a", "b"))
		}, []string{"a", "b"}, []string{"absent, x", "x, absent", "x, x"}},
		"a rename over a file shows either": {func(t *testing.T, c *CrashFS) {
			must(t, durable.Create(c, "a", []byte("old"), 0o644), write(t, c, "t", "new").Sync(), c.Rename("t", "a"))
		}, []string{"a"}, []string{"new", "old"}},
		"two renames over a file show any": {func(t *testing.T, c *CrashFS) {
			must(t, durable.Create(c, "a", []byte("0"), 0o644))
			must(t, write(t, c, "t1", "1").Sync(), c.Rename("t1", "a"))
			must(t, write(t, c, "t2", "2").Sync(), c.Rename("t2", "a"))
		}, []string{"a"}, []string{"0", "1", "2"}},
		"renames are reordered": {func(t *testing.T, c *CrashFS) {
			must(t, durable.MkdirAll(c, "d", 0o755), durable.MkdirAll(c, "e", 0o755))
			must(t, durable.Create(c, "d/old", []byte("0"), 0o644), durable.Create(c, "e/old", []byte("0"), 0o644))
			must(t, write(t, c, "d/t", "1").Sync(), c.Rename("d/t", "d/old"))
			must(t, write(t, c, "e/t", "1").Sync(), c.Rename("e/t", "e/old"))
		}, []string{"d/old", "e/old"}, []string{"0, 0", "0, 1", "1, 0", "1, 1"}},
		"sync of the old directory keeps the moved file": {func(t *testing.T, c *CrashFS) {
			must(t, durable.MkdirAll(c, "d", 0o755), durable.MkdirAll(c, "e", 0o755))
			must(t, durable.Create(c, "d/a", []byte("x"), 0o644), c.Rename("d/a", "e/a"), c.SyncDir("d"))
		}, []string{"d/a", "e/a"}, []string{"absent, x"}},
		"a removal may not have happened": {func(t *testing.T, c *CrashFS) {
			must(t, durable.Create(c, "a", []byte("x"), 0o644), c.Remove("a"))
		}, []string{"a"}, []string{"absent", "x"}},
		"what is synced newly does not lose to what was older": {func(t *testing.T, c *CrashFS) {
			must(t, durable.Create(c, "a", []byte("0"), 0o644), c.Remove("a"))
			must(t, durable.Create(c, "a", []byte("1"), 0o644))
		}, []string{"a"}, []string{"1"}},
		"a directory that is not synced takes all with it": {func(t *testing.T, c *CrashFS) {
			must(t, c.Mkdir("d", 0o755), durable.Create(c, "d/a", []byte("x"), 0o644))
		}, []string{"d/a"}, []string{"absent", "x"}},
		"a moved directory has one name": {func(t *testing.T, c *CrashFS) {
			must(t, durable.MkdirAll(c, "d", 0o755), durable.MkdirAll(c, "e", 0o755))
			must(t, durable.Create(c, "d/a", []byte("x"), 0o644), c.Rename("d", "e/d"), c.Rename("e/d", "e/f"))
		}, []string{"d/a", "e/d/a", "e/f/a"}, []string{"absent, absent, x", "absent, x, absent", "x, absent, absent"}},
		"what was moved out of a removed directory stays": {func(t *testing.T, c *CrashFS) {
			must(t, durable.MkdirAll(c, "d", 0o755), durable.Create(c, "d/a", []byte("x"), 0o644))
			must(t, c.Rename("d/a", "b"), c.Remove("d"))
		}, []string{"d/a", "b"}, []string{"absent, x", "x, absent", "x, x"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := New()
			test.do(t, c)
			if diff := cmp.Diff(test.want, outcomes(t, c, test.look...)); diff != "" {
				t.Errorf("after crashes (-want +got):\n%s", diff)
			}
		})
	}
}

// TestCrashCutsSectors shows that each unsynced sector comes or is full of zeros, and that the synced
// bytes before them always stand.
func TestCrashCutsSectors(t *testing.T) {
	c := New()
	w := write(t, c, "a", strings.Repeat("s", 700))
	must(t, w.Sync(), c.SyncDir("/"))
	if _, err := w.Write([]byte(strings.Repeat("u", 2000))); err != nil {
		t.Fatal(err)
	}
	sizes, holes := map[int]bool{}, false
	reboots(c, newRand(t), func(m Mode, after *CrashFS) {
		got := content(t, after, "a")
		if len(got) < 700 || got[:700] != strings.Repeat("s", 700) {
			t.Fatalf("%v: synced bytes are lost", m)
		}
		sizes[len(got)] = true
		holes = holes || strings.Contains(got, "\x00u")
		for from := 700; from < len(got); from = (from/sector + 1) * sector {
			part := got[from:min(len(got), (from/sector+1)*sector)]
			if strings.Trim(part, "u") != "" && strings.Trim(part, "\x00") != "" {
				t.Fatalf("%v: the sector at %d is torn", m, from)
			}
		}
	})
	if !sizes[700] || !sizes[2700] || len(sizes) < 5 || !holes {
		t.Errorf("sizes %v, holes %v: want none, all and parts of the data, with holes", sizes, holes)
	}
}

// TestCrashIsRepeatable shows that a seed names one crash.
func TestCrashIsRepeatable(t *testing.T) {
	c := New()
	for n := range 20 {
		write(t, c, fmt.Sprint(n), strings.Repeat("x", 100*n))
	}
	crash := func() string {
		return tree(t, c.Crash(Mode{Some, Some}, rand.New(rand.NewPCG(7, 7))), "/")
	}
	if diff := cmp.Diff(crash(), crash()); diff != "" {
		t.Errorf("two crashes of one seed differ:\n%s", diff)
	}
}

// TestLinks shows that names of one file share its data and are told apart from copies.
func TestLinks(t *testing.T) {
	c := New()
	must(t, durable.Create(c, "a", []byte("x"), 0o644), durable.Create(c, "copy", []byte("x"), 0o644))
	must(t, c.Link("a", "b"), c.SyncDir("/"))
	after := c.Crash(Mode{None, None}, nil)
	stat := func(fsys durable.FS, name string) fs.FileInfo {
		info, err := fsys.Stat(name)
		must(t, err)
		return info
	}
	for _, fsys := range []durable.FS{c, after} {
		if !durable.SameFile(stat(fsys, "a"), stat(fsys, "b")) {
			t.Error("two links are not the same file")
		}
		if durable.SameFile(stat(fsys, "a"), stat(fsys, "copy")) {
			t.Error("a copy is the same file")
		}
	}
	must(t, c.Rename("a", "b")) // does nothing
	if got := content(t, c, "a"); got != "x" {
		t.Errorf("a is %q after a rename to its own other name, want it to stay", got)
	}
}

// TestSameAsOS makes the same random calls here and on a real disk: same answers, same tree.
func TestSameAsOS(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("CrashFS answers as Linux does where several errors are right")
	}
	rnd, real, c := newRand(t), t.TempDir(), New()
	must(t, durable.MkdirAll(c, real, 0o755))
	paths := []string{"a", "b", "d", "d/a", "d/b", "d/e", "d/e/a"}
	errnos := []error{syscall.ENOENT, syscall.EEXIST, syscall.ENOTDIR, syscall.ENOTEMPTY, syscall.EINVAL, syscall.EPERM, syscall.EISDIR}
	class := func(err error) error {
		for _, e := range errnos {
			if errors.Is(err, e) {
				return e
			}
		}
		return err
	}
	for n := range 3000 {
		one := filepath.Join(real, paths[rnd.IntN(len(paths))])
		two := filepath.Join(real, paths[rnd.IntN(len(paths))])
		calls := []func(durable.FS) error{
			func(f durable.FS) error { return durable.Create(f, one, fmt.Append(nil, n), 0o644) },
			func(f durable.FS) error { return f.Mkdir(one, 0o755) },
			func(f durable.FS) error { return f.Link(one, two) },
			func(f durable.FS) error { return f.Rename(one, two) },
			func(f durable.FS) error { return f.Remove(one) },
			func(f durable.FS) error { _, err := durable.Read(f, one, 100); return err },
			func(f durable.FS) error { return durable.RemoveAll(f, one) },
		}
		call := rnd.IntN(len(calls))
		want, got := calls[call](durable.OS), calls[call](c)
		if class(got) != class(want) {
			t.Fatalf("call %d, kind %d on %s, %s = %v, on a disk %v", n, call, one, two, got, want)
		}
		if diff := cmp.Diff(tree(t, durable.OS, real), tree(t, c, real)); diff != "" {
			t.Fatalf("call %d, kind %d on %s, %s (-disk +here):\n%s", n, call, one, two, diff)
		}
	}
}

// TestLoadDump takes a directory from a disk and brings it back.
func TestLoadDump(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	must(t, os.MkdirAll(filepath.Join(from, "d", "empty"), 0o755))
	must(t, os.WriteFile(filepath.Join(from, "d", "a"), []byte("x"), 0o600), os.Link(filepath.Join(from, "d", "a"), filepath.Join(from, "b")))
	c := New()
	must(t, c.Load(from))
	after := c.Crash(Mode{None, None}, nil)
	must(t, after.Dump(to))
	back := filepath.Join(to, strings.TrimPrefix(from, filepath.VolumeName(from)))
	if diff := cmp.Diff(tree(t, durable.OS, from), tree(t, durable.OS, back)); diff != "" {
		t.Errorf("Load and Dump (-want +got):\n%s", diff)
	}
	a, aerr := os.Stat(filepath.Join(back, "d", "a"))
	b, berr := os.Stat(filepath.Join(back, "b"))
	must(t, aerr, berr)
	if !os.SameFile(a, b) {
		t.Error("hard links became copies")
	}
	if runtime.GOOS != "windows" && a.Mode().Perm() != 0o600 {
		t.Errorf("mode is %v, want 0600", a.Mode())
	}
	if err := c.Load(from); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Load over files = %v, want fs.ErrExist", err)
	}
}

// TestCreateHasOneWinner is for the race detector too.
func TestCreateHasOneWinner(t *testing.T) {
	c := New()
	for round := range 20 {
		var wins sync.Map
		var wg sync.WaitGroup
		name := fmt.Sprint(round)
		for n := range 8 {
			wg.Go(func() {
				err := durable.Create(c, name, []byte("x"), 0o644)
				if err == nil {
					wins.Store(n, true)
				} else if !errors.Is(err, fs.ErrExist) {
					t.Errorf("a loser got %v, want fs.ErrExist", err)
				}
				c.Crash(Mode{All, All}, nil)
			})
		}
		wg.Wait()
		count := 0
		wins.Range(func(any, any) bool { count++; return true })
		if count != 1 {
			t.Fatalf("%d winners, want 1", count)
		}
	}
}
