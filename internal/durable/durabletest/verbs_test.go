package durabletest

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/runfold/runfold/internal/durable"
)

var (
	oldText = strings.Repeat("old ", 300)
	newText = strings.Repeat("new!", 500) // several sectors
)

// verb is one of durable's, on a disk where d/src (new) is durable, and d/name (old) if exists is set.
type verb struct {
	exists bool
	do     func(durable.FS) error
	may    []string // what d/name may hold, whatever happens
	done   string   // what it holds once do has returned nil
	other  func(t *testing.T, after *CrashFS, done bool)
}

const name, src = "d/name", "d/src"

var verbs = map[string]verb{
	"Create": {
		do:  func(f durable.FS) error { return durable.Create(f, name, []byte(newText), 0o644) },
		may: []string{"absent", newText}, done: newText,
	},
	"Create of nothing": {
		do:  func(f durable.FS) error { return durable.Create(f, name, nil, 0o644) },
		may: []string{"absent", ""}, done: "",
	},
	"Replace": {
		exists: true,
		do:     func(f durable.FS) error { return durable.Replace(f, name, []byte(newText), 0o644) },
		may:    []string{oldText, newText}, done: newText,
	},
	"ReplaceWith": {
		exists: true,
		do:     func(f durable.FS) error { return durable.ReplaceWith(f, name, src, 0o644) },
		may:    []string{oldText, newText}, done: newText,
	},
	"ReplaceWith itself": {
		exists: true,
		do: func(f durable.FS) error {
			return errors.Join(durable.ReplaceWith(f, name, src, 0o644), durable.ReplaceWith(f, name, src, 0o644))
		},
		may: []string{oldText, newText}, done: newText,
	},
	"ReplaceWith without links": {
		exists: true,
		do:     func(f durable.FS) error { return durable.ReplaceWith(noLinks{f}, name, src, 0o644) },
		may:    []string{oldText, newText}, done: newText,
	},
	"Exchange": {
		exists: true,
		do: func(f durable.FS) error {
			_, err := durable.Exchange(f, name, src, "d/aside", 0o644)
			return err
		},
		may: []string{oldText, newText}, done: newText,
		other: func(t *testing.T, after *CrashFS, done bool) {
			is, aside := content(t, after, name), content(t, after, "d/aside")
			if is == newText && aside != oldText || done && aside != oldText {
				t.Errorf("what was taken away is %.20q", aside)
			}
		},
	},
	"Exchange with nothing": {
		do: func(f durable.FS) error {
			_, err := durable.Exchange(f, name, src, "d/aside", 0o644)
			return err
		},
		may: []string{"absent", newText}, done: newText,
	},
	"Pending": {
		do: pend, may: []string{"absent", newText}, done: newText,
	},
	"Remove": {
		exists: true,
		do:     func(f durable.FS) error { return durable.Remove(f, name) },
		may:    []string{oldText, "absent"}, done: "absent",
	},
	"Move": {
		do:  func(f durable.FS) error { return durable.Move(f, src, name) },
		may: []string{"absent", newText}, done: newText,
		other: func(t *testing.T, after *CrashFS, done bool) {
			if at := content(t, after, src); at == "absent" && content(t, after, name) == "absent" {
				t.Error("the moved file is lost")
			} else if done && at != "absent" {
				t.Error("the old name is still there")
			}
		},
	},
	"MkdirAll": {
		do:  func(f durable.FS) error { return durable.MkdirAll(f, "d/x/y/z", 0o755) },
		may: []string{"absent"}, done: "absent",
		other: func(t *testing.T, after *CrashFS, done bool) {
			if info, err := after.Stat("d/x/y/z"); done && (err != nil || !info.IsDir()) {
				t.Errorf("the directory is %v, %v", info, err)
			}
		},
	},
}

func pend(f durable.FS) error {
	p, err := durable.Pending(f, name, 0o644)
	if err != nil {
		return err
	}
	for range 2 {
		if _, err := p.Write([]byte(newText[:len(newText)/2])); err != nil {
			return errors.Join(err, p.Discard())
		}
	}
	return p.Commit()
}

// noLinks is a file system without hard links.
type noLinks struct{ durable.FS }

func (noLinks) Link(_, _ string) error { return syscall.EPERM }

func (v verb) disk(t *testing.T, share bool) *CrashFS {
	t.Helper()
	c := New()
	c.Share = share
	must(t, durable.MkdirAll(c, "d", 0o755), durable.Create(c, src, []byte(newText), 0o644))
	if v.exists {
		must(t, durable.Create(c, name, []byte(oldText), 0o644))
	}
	return c
}

// wrong says what a disk must not look like.
func (v verb) wrong(t *testing.T, after *CrashFS, done bool) string {
	t.Helper()
	got := content(t, after, name)
	if !slices.Contains(v.may, got) || done && got != v.done {
		return fmt.Sprintf("%s holds %d bytes %.20q (done: %v)", name, len(got), got, done)
	}
	if v.other != nil {
		v.other(t, after, done)
	}
	return ""
}

// TestCrashEverywhere stops each verb at each of its calls and looks at what each kind of crash leaves:
// the old state or the new one, and the new one once the verb has returned nil. Then the verb, done
// again, comes to its end.
func TestCrashEverywhere(t *testing.T) { crashEverywhere(t, false) }

// TestCrashEverywhereOnShare does it on a share that does not sync directories (R32).
func TestCrashEverywhereOnShare(t *testing.T) { crashEverywhere(t, true) }

func crashEverywhere(t *testing.T, share bool) {
	crashes := 0
	defer func() { t.Logf("figure: %d crash states of single verbs (share: %v)", crashes, share) }()
	for _, n := range slices.Sorted(maps.Keys(verbs)) {
		t.Run(n, func(t *testing.T) {
			v, rnd, last := verbs[n], newRand(t), false
			for k := 0; !last; k++ {
				last = !stopped(v, t, share, k)
				c := v.disk(t, share)
				err := v.do(&Fault{FS: c, Hook: StopAt(k)})
				if err != nil && !errors.Is(err, ErrStopped) {
					t.Fatalf("stopped at call %d: %v", k, err)
				}
				reboots(c, rnd, func(m Mode, after *CrashFS) {
					crashes++
					if wrong := v.wrong(t, after, err == nil); wrong != "" {
						t.Fatalf("stopped at call %d, %v: %s", k, m, wrong)
					}
					again := v.do(after)
					if again != nil && !errors.Is(again, fs.ErrExist) && !errors.Is(again, fs.ErrNotExist) {
						t.Fatalf("again after call %d, %v: %v", k, m, again)
					}
					if wrong := v.wrong(t, after.Crash(Mode{None, None}, nil), again == nil); wrong != "" {
						t.Fatalf("again after call %d, %v: %s", k, m, wrong)
					}
				})
			}
		})
	}
}

// stopped tells whether the verb makes more than k calls.
func stopped(v verb, t *testing.T, share bool, k int) bool {
	f := &Fault{FS: v.disk(t, share)}
	must(t, v.do(f))
	return f.Calls() > k
}

// lazy is a file system whose syncs do nothing: fsync of files or of directories.
type lazy struct {
	durable.FS
	files, dirs bool
}

func (l lazy) SyncDir(name string) error {
	if l.dirs {
		return nil
	}
	return l.FS.SyncDir(name)
}

func (l lazy) OpenDir(name string) (durable.Dir, error) {
	d, err := l.FS.OpenDir(name)
	if err != nil || !l.dirs {
		return d, err
	}
	return lazyDir{d}, nil
}

type lazyDir struct{ durable.Dir }

func (lazyDir) Sync() error { return nil }

func (l lazy) Create(name string, perm fs.FileMode) (durable.WriteFile, error) {
	w, err := l.FS.Create(name, perm)
	if err != nil || !l.files {
		return w, err
	}
	return lazyFile{w}, nil
}

type lazyFile struct{ durable.WriteFile }

func (lazyFile) Sync() error { return nil }

// TestCrashFindsMissingSync shows that TestCrashEverywhere would notice a sync that is left out.
func TestCrashFindsMissingSync(t *testing.T) {
	for _, n := range []string{"Create", "Replace", "Pending", "ReplaceWith without links"} {
		for _, l := range []lazy{{files: true}, {dirs: true}} {
			v, found := verbs[n], false
			c := v.disk(t, false)
			l.FS = c
			must(t, v.do(l))
			reboots(c, rand.New(rand.NewPCG(1, 1)), func(_ Mode, after *CrashFS) {
				found = found || v.wrong(t, after, true) != ""
			})
			if !found {
				t.Errorf("%s without syncs (files %v, directories %v) passes", n, l.files, l.dirs)
			}
		}
	}
}
