package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestHostilePaths gives each verb a place where it cannot make a name. The verb fails and changes nothing.
func TestHostilePaths(t *testing.T) {
	verbs := map[string]func(name string) error{
		"Create":  func(name string) error { return Create(OS, name, nil, 0o644) },
		"Replace": func(name string) error { return Replace(OS, name, nil, 0o644) },
		"ReplaceWith": func(name string) error {
			return ReplaceWith(OS, name, filepath.Join(filepath.Dir(name), "none"), 0o644)
		},
		"Pending": func(name string) error {
			p, err := Pending(OS, name, 0o644)
			if err != nil {
				return err
			}
			return p.Commit()
		},
	}
	for verb, do := range verbs {
		for place, want := range map[string]error{"dir": nil, "missing/a": fs.ErrNotExist, "file/a": syscall.ENOTDIR} {
			dir := t.TempDir()
			if err := errors.Join(os.Mkdir(filepath.Join(dir, "dir"), 0o755), os.WriteFile(filepath.Join(dir, "file"), nil, 0o644)); err != nil {
				t.Fatal(err)
			}
			err := do(filepath.Join(dir, filepath.FromSlash(place)))
			if err == nil || runtime.GOOS != "windows" && want != nil && !errors.Is(err, want) {
				t.Errorf("%s of %s = %v, want an error like %v", verb, place, err, want)
			}
			if diff := cmp.Diff([]string{"dir", "file"}, names(t, dir)); diff != "" {
				t.Errorf("%s of %s (-want +got):\n%s", verb, place, diff)
			}
		}
	}
}

func TestReadOnlyDirectory(t *testing.T) {
	if runtime.GOOS == "windows" || os.Geteuid() == 0 {
		t.Skip("root may write to everything, and Windows has no read-only directories")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(dir, 0o755) })
	if err := Create(OS, filepath.Join(dir, "a"), nil, 0o644); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Create in a read-only directory = %v, want fs.ErrPermission", err)
	}
	if err := MkdirAll(OS, filepath.Join(dir, "a"), 0o755); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("MkdirAll in a read-only directory = %v, want fs.ErrPermission", err)
	}
}

// TestUnsynced shows that Create tells a file that stands but may not be durable from a file that was not made.
func TestUnsynced(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a")
	err := Create(failing{FS: OS, op: "syncdir", err: syscall.EIO}, name, []byte("x"), 0o644)
	if !errors.Is(err, ErrUnsynced) || !errors.Is(err, syscall.EIO) || content(t, name) != "x" {
		t.Errorf("Create with a failing sync of the directory = %v, content %q", err, content(t, name))
	}
	name += "b"
	if err := Create(failing{FS: OS, op: "fsync", err: syscall.EIO}, name, nil, 0o644); errors.Is(err, ErrUnsynced) {
		t.Errorf("Create with a failing sync of the file = %v, want another error", err)
	}
}

func TestIsTemp(t *testing.T) {
	temp, err := tempName(filepath.Join("d", "index.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]bool{
		filepath.Base(temp):         true,
		".a.0123456789abcdef.tmp":   true,
		".user.tmp":                 false, // somebody else's
		".a.0123456789abcde.tmp":    false,
		".a.0123456789abcdeg.tmp":   false,
		".0123456789abcdef.tmp":     false,
		"..0123456789abcdef.tmp":    false,
		"a.0123456789abcdef.tmp":    false,
		".a.0123456789abcdef.tmp.x": false,
		".tmp":                      false,
		"":                          false,
	}
	for name, want := range tests {
		if got := IsTemp(name); got != want {
			t.Errorf("IsTemp(%q) = %v, want %v", name, got, want)
		}
	}
}

func TestReadWithoutLimit(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a")
	if err := Create(OS, name, []byte("12345"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := Read(OS, name, math.MaxInt64); err != nil || string(got) != "12345" {
		t.Errorf("Read without a limit = %q, %v", got, err)
	}
	if _, err := Read(OS, filepath.Dir(name), 10); err == nil {
		t.Error("Read of a directory = nil, want an error")
	}
}

// TestMkdirAllTogether lets many make one path: all succeed.
func TestMkdirAllTogether(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			if err := MkdirAll(OS, filepath.Join(dir, "a", "b", fmt.Sprint("c", n%2)), 0o755); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if diff := cmp.Diff([]string{"c0", "c1"}, names(t, filepath.Join(dir, "a", "b"))); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

// blind sees no file until somebody makes one. It stands for the moment between Stat and Mkdir.
type blind struct {
	FS
	name string
	seen bool
}

func (b *blind) Stat(name string) (fs.FileInfo, error) {
	if name == b.name && !b.seen {
		b.seen = true
		return nil, fs.ErrNotExist
	}
	return b.FS.Stat(name)
}

func TestMkdirAllLosesToFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a")
	if err := Create(OS, name, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := MkdirAll(&blind{FS: OS, name: name}, name, 0o755); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("MkdirAll where a file has just been made = %v, want ENOTDIR", err)
	}
}

func TestMkdirAllSetsGroupID(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no set-group-id bit on Windows")
	}
	name := filepath.Join(t.TempDir(), "a", "b")
	if err := MkdirAll(OS, name, 0o750|fs.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{name, filepath.Dir(name)} {
		if info, err := OS.Stat(dir); err != nil || info.Mode()&fs.ModeSetgid == 0 {
			t.Errorf("%s is %v, %v: want the set-group-id bit", dir, info.Mode(), err)
		}
	}
}
