package durabletest

import (
	"errors"
	"flag"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/runfold/runfold/internal/durable"
)

var seed = flag.Uint64("seed", 1, "seed of the random tests")

func newRand(t *testing.T) *rand.Rand {
	t.Helper()
	t.Logf("-seed %d", *seed)
	return rand.New(rand.NewPCG(*seed, 0))
}

// draws is how many crashes of a random mode are looked at.
const draws = 20

// reboots calls look with what each mode may leave of c.
func reboots(c *CrashFS, rnd *rand.Rand, look func(m Mode, after *CrashFS)) {
	for _, m := range Modes() {
		n := 1
		if m.Random() {
			n = draws
		}
		for range n {
			look(m, c.Crash(m, rnd))
		}
	}
}

// tree is every file with its content and every directory, on a line each.
func tree(t *testing.T, fsys durable.FS, dir string) string {
	t.Helper()
	var out []string
	var walk func(path string)
	walk = func(path string) {
		entries, err := fsys.ReadDir(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			sub := filepath.Join(path, e.Name())
			if e.IsDir() {
				out = append(out, sub[len(dir):]+"/")
				walk(sub)
				continue
			}
			data, err := durable.Read(fsys, sub, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, sub[len(dir):]+" "+string(data))
		}
	}
	walk(dir)
	return strings.ReplaceAll(strings.Join(out, "\n"), `\`, "/")
}

// content is what a name holds, or "absent".
func content(t *testing.T, fsys durable.FS, name string) string {
	t.Helper()
	data, err := durable.Read(fsys, name, 1<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return "absent"
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// write makes a file without any sync.
func write(t *testing.T, fsys durable.FS, name, text string) durable.WriteFile {
	t.Helper()
	w, err := fsys.Create(name, 0o644)
	if err == nil {
		_, err = w.Write([]byte(text))
	}
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// outcomes are the contents that a name has after all kinds of crashes.
func outcomes(t *testing.T, c *CrashFS, names ...string) []string {
	t.Helper()
	seen := map[string]bool{}
	reboots(c, newRand(t), func(_ Mode, after *CrashFS) {
		var all []string
		for _, n := range names {
			all = append(all, content(t, after, n))
		}
		seen[strings.Join(all, ", ")] = true
	})
	return slices.Sorted(maps.Keys(seen))
}
