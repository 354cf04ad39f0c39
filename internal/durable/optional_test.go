//go:build unix

package durable

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// saying is a file system whose statfs answers something, or fails.
type saying struct {
	FS
	about Statfs
	err   error
}

func (s saying) Statfs(string) (Statfs, error) { return s.about, s.err }

var (
	roomy   = Statfs{BlockSize: 4096, Blocks: 1 << 20, FreeBlocks: 1 << 19, FreeInodes: 9}
	crowded = Statfs{BlockSize: 4096, Blocks: 1 << 20, FreeBlocks: 1, FreeInodes: 9}
)

// noLinksHere are the errors of link(2) that DESIGN names, and the next ones, which are errors.
var noLinksHere = map[error]bool{
	syscall.EPERM: true, syscall.EACCES: true, syscall.EXDEV: true, syscall.EMLINK: true, syscall.ENOTSUP: true,
	syscall.ENOSYS: true, syscall.ENOSPC: true,
	syscall.EIO: false, syscall.EROFS: false, syscall.EDQUOT: false, syscall.ENOENT: false, syscall.ELOOP: false, syscall.ENOMEM: false,
	syscall.EINVAL: false, syscall.ESTALE: false, syscall.ENOTCONN: false, syscall.ETIMEDOUT: false,
}

// TestLinkErrnos lets link(2) fail with each errno, before or after the link was made. Where it means that there are no links,
// each verb does its work without, which is told. Every other error is returned.
func TestLinkErrnos(t *testing.T) {
	for errno, without := range noLinksHere {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v, done %v", errno, after), func(t *testing.T) {
				dir := t.TempDir()
				var told []Without
				f := Telling(failing{FS: saying{FS: OS, about: roomy}, op: "link", err: errno, after: after}, func(w Without) { told = append(told, w) })
				created, shown := filepath.Join(dir, "created"), filepath.Join(dir, "shown")
				cerr := Create(f, created, []byte("one"), 0o644)
				if want := without || after; (cerr == nil) != want || !want && !errors.Is(cerr, errno) {
					t.Fatalf("Create = %v", cerr)
				}
				if cerr == nil {
					if err := Create(f, created, []byte("two"), 0o644); !errors.Is(err, fs.ErrExist) {
						if without || !errors.Is(err, errno) {
							t.Errorf("second Create = %v", err)
						}
					}
				} else if err := Create(OS, created, []byte("one"), 0o644); err != nil {
					t.Fatal(err)
				}
				rerr := ReplaceWith(f, shown, created, 0o644)
				if (rerr == nil) != (without || after) || rerr != nil && !errors.Is(rerr, errno) {
					t.Errorf("ReplaceWith = %v", rerr)
				}
				want := []string{"created"}
				if rerr == nil {
					want = append(want, "shown")
					if got := content(t, shown); got != "one" {
						t.Errorf("the copy holds %q", got)
					}
				}
				if diff := cmp.Diff(want, names(t, dir)); diff != "" {
					t.Errorf("names (-want +got):\n%s", diff)
				}
				if got := content(t, created); got != "one" {
					t.Errorf("what was created holds %q", got)
				}
				if isTold := len(told) > 0; isTold != (without && !after) {
					t.Errorf("told: %v", told)
				}
			})
		}
	}
}

// forgetful is a file system that cannot tell one file from another, as those of FUSE that make up inodes.
type forgetful struct{ FS }

func (f forgetful) Stat(name string) (fs.FileInfo, error) {
	info, err := f.FS.Stat(name)
	return unlikeAll{info}, err
}

type unlikeAll struct{ fs.FileInfo }

func (unlikeAll) SameFile(fs.FileInfo) bool { return false }

// TestLinkInDoubt: the link was made, the errno says that there are none, and no inode tells whose file stands there. A public file
// is copied all the same. A commit is refused, and its caller compares the token.
func TestLinkInDoubt(t *testing.T) {
	for errno, without := range noLinksHere {
		if !without {
			continue
		}
		dir := t.TempDir()
		f := failing{FS: forgetful{saying{FS: OS, about: roomy}}, op: "link", err: errno, after: true}
		src, name := filepath.Join(dir, "src"), filepath.Join(dir, "name")
		if err := Create(f, src, []byte("one"), 0o644); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%v: Create = %v", errno, err)
		}
		if err := ReplaceWith(f, name, src, 0o644); err != nil || content(t, name) != "one" {
			t.Errorf("%v: ReplaceWith = %v", errno, err)
		}
		if diff := cmp.Diff([]string{"name", "src"}, names(t, dir)); diff != "" {
			t.Errorf("%v: names (-want +got):\n%s", errno, diff)
		}
	}
}

// TestLinkSaysFull: ENOSPC of link(2) means a full disk, unless the file system says that there is room.
func TestLinkSaysFull(t *testing.T) {
	for name, about := range map[string]saying{
		"no room": {about: crowded}, "no figure": {}, "no statfs": {about: roomy, err: syscall.ENOSYS},
	} {
		about.FS = OS
		dir := t.TempDir()
		f := failing{FS: about, op: "link", err: syscall.ENOSPC}
		if err := Create(f, filepath.Join(dir, "a"), []byte("one"), 0o644); !IsFull(err) {
			t.Errorf("%s: Create = %v", name, err)
		}
		src := filepath.Join(dir, "src")
		if err := Create(OS, src, []byte("one"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := ReplaceWith(f, filepath.Join(dir, "b"), src, 0o644); !IsFull(err) {
			t.Errorf("%s: ReplaceWith = %v", name, err)
		}
		if diff := cmp.Diff([]string{"src"}, names(t, dir)); diff != "" {
			t.Errorf("%s: names (-want +got):\n%s", name, diff)
		}
	}
}

// TestLoserWithoutLinks: the loser of a race may see any of these errors instead of EEXIST, and must not take the way without links.
func TestLoserWithoutLinks(t *testing.T) {
	for errno, without := range noLinksHere {
		if !without {
			continue
		}
		name := filepath.Join(t.TempDir(), "a")
		if err := Create(OS, name, []byte("winner"), 0o644); err != nil {
			t.Fatal(err)
		}
		f := failing{FS: saying{FS: OS, about: roomy}, op: "link", err: errno}
		if err := Create(f, name, []byte("loser"), 0o644); !errors.Is(err, fs.ErrExist) || content(t, name) != "winner" {
			t.Errorf("%v: the loser's Create = %v, content %q", errno, err, content(t, name))
		}
	}
}

// TestDirSyncErrnos: a file system that cannot sync directories stops no verb. Every other error is returned.
func TestDirSyncErrnos(t *testing.T) {
	verbs := map[string]func(FS, string) error{
		"Create":  func(f FS, dir string) error { return Create(f, filepath.Join(dir, "a"), nil, 0o644) },
		"Replace": func(f FS, dir string) error { return Replace(f, filepath.Join(dir, "a"), nil, 0o644) },
		"ReplaceWith": func(f FS, dir string) error {
			return ReplaceWith(f, filepath.Join(dir, "a"), filepath.Join(dir, "src"), 0o644)
		},
		"Move": func(f FS, dir string) error {
			return Move(f, filepath.Join(dir, "src"), filepath.Join(dir, "sub", "a"))
		},
		"Remove":      func(f FS, dir string) error { return Remove(f, filepath.Join(dir, "src")) },
		"MkdirAll":    func(f FS, dir string) error { return MkdirAll(f, filepath.Join(dir, "x", "y"), 0o755) },
		"MkdirWithin": func(f FS, dir string) error { return MkdirWithin(f, dir, filepath.Join(dir, "x", "y"), 0o755) },
		"SyncDir":     SyncDir,
		"Commit": func(f FS, dir string) error {
			p, err := Pending(f, filepath.Join(dir, "a"), 0o644)
			if err != nil {
				return err
			}
			return p.Commit()
		},
	}
	for errno, goesOn := range map[error]bool{
		syscall.EINVAL: true, syscall.ENOTSUP: true, syscall.ENOSYS: true,
		syscall.EIO: false, syscall.EROFS: false, syscall.ENOSPC: false, syscall.EDQUOT: false, syscall.EACCES: false, syscall.EBADF: false,
		&fs.PathError{Op: "open", Path: "dir", Err: syscall.EINVAL}: false,
	} {
		for name, do := range verbs {
			dir := t.TempDir()
			if err := errors.Join(Create(OS, filepath.Join(dir, "src"), nil, 0o644), OS.Mkdir(filepath.Join(dir, "sub"), 0o755)); err != nil {
				t.Fatal(err)
			}
			told := false
			f := Telling(failing{FS: OS, op: "syncdir", err: errno}, func(w Without) { told = w.What == DirSync })
			if err := do(f, dir); (err == nil) != goesOn || told != goesOn {
				t.Errorf("%s where the sync of a directory says %v = %v, told %v", name, errno, err, told)
			}
		}
	}
}

// TestSyncsNames: only where it is known that the sync of a directory does something, nothing else is done.
func TestSyncsNames(t *testing.T) {
	for kind, want := range map[uint32]bool{
		0: true, 0xEF53: true, 0x6969: true, // not known (no Linux), ext4, NFS
		0xFF534D42: false, 0xFE534D42: false, 0x65735546: false, 0x01021997: false, 0xABCD: false, // cifs, smb3, FUSE, 9p, one of tomorrow
	} {
		if got := (Statfs{Type: kind}).SyncsNames(); got != want {
			t.Errorf("kind %#x: %v", kind, got)
		}
	}
}

// TestSyncBesideErrnos: on a share that does not sync directories a new file is synced. Where none can be made, that is told and nothing stops; an error
// of the disk is returned. No file stays.
func TestSyncBesideErrnos(t *testing.T) {
	share := saying{FS: OS, about: Statfs{Type: 0xFE534D42}}
	for _, test := range []struct {
		op     string
		errno  error
		goesOn bool
	}{
		{"", nil, true},
		{"create", syscall.ENOSPC, true}, {"create", syscall.EDQUOT, true}, {"create", syscall.EACCES, true}, {"create", syscall.EROFS, true},
		{"create", syscall.EIO, false}, {"create", syscall.ENOTCONN, false}, {"create", syscall.ENOENT, false},
		{"fsync", syscall.EIO, false}, {"fsync", syscall.ENOSPC, true}, {"fsync", syscall.EINVAL, true},
		{"syncdir", syscall.EINVAL, true}, {"syncdir", syscall.EIO, false},
	} {
		dir, told := t.TempDir(), false
		f := Telling(failing{FS: share, op: test.op, err: test.errno}, func(w Without) { told = w.What == DirSync })
		err := SyncDir(f, dir)
		if (err == nil) != test.goesOn || err != nil && !errors.Is(err, test.errno) {
			t.Errorf("%s says %v: %v", test.op, test.errno, err)
		}
		if want := test.goesOn && (test.op == "create" || test.op == "fsync"); told != want {
			t.Errorf("%s says %v: told %v", test.op, test.errno, told)
		}
		if left := names(t, dir); len(left) > 0 {
			t.Errorf("%s says %v: left %v", test.op, test.errno, left)
		}
	}
}

func TestFreeBytes(t *testing.T) {
	for _, test := range []struct {
		about Statfs
		want  int64 // 0 is not known
	}{
		{Statfs{BlockSize: 4096, Blocks: 10, FreeBlocks: 3}, 3 * 4096},
		{Statfs{}, 0},
		{Statfs{BlockSize: 4096}, 0},
		{Statfs{BlockSize: 4096, Blocks: 10}, 0},
		{Statfs{Blocks: 10, FreeBlocks: 10}, 0},
		{Statfs{BlockSize: 4096, Blocks: math.MaxUint64, FreeBlocks: math.MaxUint64}, 0},
		{Statfs{BlockSize: 1 << 20, Blocks: 1 << 44, FreeBlocks: 1 << 44}, 0},       // 1 << 64
		{Statfs{BlockSize: 1 << 20, Blocks: 1 << 43, FreeBlocks: 1 << 43}, 0},       // 1 << 63
		{Statfs{BlockSize: 4096, Blocks: 10, FreeBlocks: 1<<64 - 5}, 0},             // a negative number
		{Statfs{BlockSize: 1 << 20, Blocks: 1 << 40, FreeBlocks: 1 << 40}, 1 << 60}, // gcsfuse: a lot, and no nonsense
		{Statfs{BlockSize: 1, Blocks: math.MaxInt64, FreeBlocks: math.MaxInt64}, math.MaxInt64},
	} {
		got, err := test.about.FreeBytes()
		if got != test.want || (err == nil) != (test.want > 0) || err != nil && !errors.Is(err, ErrUnknown) {
			t.Errorf("%+v: %d, %v; want %d", test.about, got, err, test.want)
		}
	}
	for inodes, want := range map[uint64]int64{0: 0, 7: 7, math.MaxUint64: 0} {
		if got, err := (Statfs{FreeInodes: inodes}).Inodes(); got != want || (err == nil) != (want > 0) {
			t.Errorf("%d inodes: %d, %v; want %d", inodes, got, err, want)
		}
	}
	if n, err := FreeBytes(t.TempDir()); n <= 0 || err != nil {
		t.Errorf("here: %d, %v", n, err)
	}
}

// share is a file system on which a name that is open cannot be replaced: the attempt takes it away, as SMB does.
type share struct {
	FS
	errno   error
	closes  time.Time // when the reader closes it
	renamed int
}

func (s *share) Rename(old, new string) error {
	s.renamed++
	if time.Now().Before(s.closes) {
		s.Remove(new)
		return s.errno
	}
	return s.FS.Rename(old, new)
}

// TestReplaceInUse: a name that is in use is replaced as soon as it is closed, and is given up after ten seconds.
func TestReplaceInUse(t *testing.T) {
	verbs := map[string]func(FS, string) error{
		"Replace": func(f FS, dir string) error { return Replace(f, filepath.Join(dir, "name"), []byte("new"), 0o644) },
		"ReplaceWith": func(f FS, dir string) error {
			return ReplaceWith(f, filepath.Join(dir, "name"), filepath.Join(dir, "src"), 0o644)
		},
	}
	for verb, do := range verbs {
		for _, errno := range []error{syscall.EACCES, syscall.EBUSY, syscall.ETXTBSY} {
			for _, open := range []time.Duration{0, 3 * time.Second, 9 * time.Second, time.Hour} {
				synctest.Test(t, func(t *testing.T) {
					dir := t.TempDir()
					if err := errors.Join(Create(OS, filepath.Join(dir, "src"), []byte("new"), 0o644), Create(OS, filepath.Join(dir, "name"), []byte("old"), 0o644)); err != nil {
						t.Fatal(err)
					}
					s := &share{FS: OS, errno: errno, closes: time.Now().Add(open)}
					start := time.Now()
					err := do(s, dir)
					if open < time.Hour {
						if err != nil || content(t, filepath.Join(dir, "name")) != "new" || time.Since(start) > open+time.Second {
							t.Errorf("%s, %v, open for %v: %v after %v", verb, errno, open, err, time.Since(start))
						}
						return
					}
					if !errors.Is(err, ErrInUse) || !errors.Is(err, errno) || time.Since(start) > Patience || s.renamed > 40 {
						t.Errorf("%s, %v, open for ever: %v after %v and %d tries", verb, errno, err, time.Since(start), s.renamed)
					}
					if diff := cmp.Diff([]string{"src"}, names(t, dir)); diff != "" {
						t.Errorf("%s, %v: names (-want +got):\n%s", verb, errno, diff)
					}
				})
			}
		}
	}
}

// TestReplaceInUseDone: the rename had happened, and the error came all the same.
func TestReplaceInUseDone(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "name")
	if err := Replace(failing{FS: OS, op: "rename", err: syscall.EACCES, after: true}, name, []byte("new"), 0o644); err != nil {
		t.Error(err)
	}
	if got := content(t, name); got != "new" {
		t.Errorf("content %q", got)
	}
}

// TestReplaceFailsAtOnce: only these errors mean that a name is in use.
func TestReplaceFailsAtOnce(t *testing.T) {
	for _, errno := range []error{syscall.EIO, syscall.EPERM, syscall.ENOSPC, syscall.EROFS, syscall.EXDEV} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			err := Replace(failing{FS: OS, op: "rename", err: errno}, filepath.Join(t.TempDir(), "name"), nil, 0o644)
			if !errors.Is(err, errno) || errors.Is(err, ErrInUse) || time.Since(start) > 0 {
				t.Errorf("%v: %v after %v", errno, err, time.Since(start))
			}
		})
	}
}

// TestReplaceWithOnSMB: the public name is a copy there, so that who reads it does not lock others out of the data file.
func TestReplaceWithOnSMB(t *testing.T) {
	for kind, copied := range map[uint32]bool{0xFF534D42: true, 0xFE534D42: true, 0x517B: true, 0xEF53: false, 0x6969: false, 0: false} {
		dir := t.TempDir()
		src, name := filepath.Join(dir, "src"), filepath.Join(dir, "name")
		text := bytes.Repeat([]byte("text"), 1<<16)
		if err := Create(OS, src, text, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := ReplaceWith(saying{FS: OS, about: Statfs{Type: kind}}, name, src, 0o644); err != nil {
			t.Fatal(err)
		}
		a, aerr := OS.Stat(src)
		b, berr := OS.Stat(name)
		if aerr != nil || berr != nil || SameFile(a, b) == copied || content(t, name) != string(text) {
			t.Errorf("type %x: one file %v, %v, %v", kind, SameFile(a, b), aerr, berr)
		}
	}
}
