package compactor_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/internal/durable"
)

// withVoid is a root in which generation 1 is void: the compactor that made it slept while others committed
// generations, and swept all but the last keep of them (R2).
func withVoid(t *testing.T, commits, keep int) cohort.Root {
	t.Helper()
	root := newDamagedRoot(t)
	appendTo(t, root, "c", firstLines...)
	s := newSleeper()
	result := make(chan error)
	go func() {
		result <- foldOnce(compactor.Config{Root: root, Lock: yes{}, FS: s.fs("create manifests/", string(root))})
	}()
	<-s.asleep
	for n := range commits {
		appendTo(t, root, "c", fmt.Sprintf(`{"run_id":"r%d","stage":"S","v":1}`, n))
		foldNow(t, compactor.Config{Root: root, Lock: yes{}, KeepAge: -1, KeepGenerations: keep})
	}
	close(s.wake)
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	gens, err := generations(durable.OS, root)
	if err != nil {
		t.Fatal(err)
	}
	want := []cohort.Generation{1}
	for g := commits - keep + 1; g <= commits; g++ {
		want = append(want, cohort.Generation(g))
	}
	if diff := cmp.Diff(want, gens); diff != "" {
		t.Fatalf("generations (-want +got):\n%s", diff)
	}
	return root
}

// rub overwrites all of a manifest, as if its sectors were lost.
func rub(t *testing.T, root cohort.Root, g cohort.Generation) {
	t.Helper()
	change(t, root.Manifest(g), func(b []byte) []byte { return bytes.Repeat([]byte{0}, len(b)) })
}

// TestRepairBelievesNoVoidManifest has a void generation 1, made by a sleeper. A repair does not go back to it. It also does
// not conclude from it that the streams hold every record: what others folded meanwhile was deleted.
func TestRepairBelievesNoVoidManifest(t *testing.T) {
	spoils := map[string]func(*testing.T, cohort.Root, cohort.Generation){
		"index":    func(t *testing.T, root cohort.Root, g cohort.Generation) { spoil(t, root, "index", g) },
		"manifest": func(t *testing.T, root cohort.Root, g cohort.Generation) { spoil(t, root, "manifest", g) },
		"rubbed":   rub,
	}
	for name, test := range map[string]struct{ commits, keep int }{
		"after a gap":      {6, 3},
		"right below":      {3, 2},
		"below several":    {4, 3},
		"below the newest": {5, 2},
	} {
		for what, spoil := range spoils {
			t.Run(name+", "+what, func(t *testing.T) {
				root := withVoid(t, test.commits, test.keep)
				for g := test.commits - test.keep + 1; g <= test.commits; g++ {
					spoil(t, root, cohort.Generation(g))
				}
				before := tree(t, root)
				if what != "index" { // nor to the files of the newest generation, which would say more
					m, err := filepath.Glob(root.Data("index-*"))
					if err != nil {
						t.Fatal(err)
					}
					for _, name := range append(m, root.Index()) {
						remove(t, name)
						delete(before, root.Rel(name))
					}
				}
				r, err := audit.Repair(t.Context(), compactor.Config{Root: root, Lock: yes{}}, audit.RepairOptions{Apply: true})
				want := fmt.Sprintf("since generation %d", test.commits-test.keep+1)
				if !errors.Is(err, audit.ErrNoGeneration) || !strings.Contains(err.Error(), want) {
					t.Errorf("Repair = %+v, %v; want ErrNoGeneration, %s", r, err, want)
				}
				if diff := cmp.Diff(slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(tree(t, root)))); diff != "" {
					t.Errorf("the repair changed (-before +after):\n%s", diff)
				}
			})
		}
	}
}

// TestRepairTellsDoubt makes the manifest above unreadable, so the one below may be void. A repair takes the rows from the files of
// the newest generation. Where those are gone as well, it goes back to the one below, because it has no better one, and does not
// report that nothing is lost.
func TestRepairTellsDoubt(t *testing.T) {
	root := preparedIn(t, newDamagedRoot(t))
	foldNow(t, compactor.Config{Root: root})
	m, err := newest(durable.OS, root)
	if err != nil {
		t.Fatal(err)
	}
	rub(t, root, 2)
	r, err := audit.Repair(t.Context(), compactor.Config{Root: root}, audit.RepairOptions{})
	if err != nil || r.Good != 2 || !r.Rebuilt || !r.Lossless() {
		t.Errorf("Repair = %+v, %v, lossless %v; want generation 2 of its files, without a loss", r, err, r.Lossless())
	}
	remove(t, root.Data(m.Snapshots[0].Name))
	remove(t, root.Snapshots())
	r, err = audit.Repair(t.Context(), compactor.Config{Root: root}, audit.RepairOptions{})
	if err != nil || r.Good != 1 || r.Lossless() {
		t.Errorf("Repair = %+v, %v, lossless %v; want generation 1 and a doubt", r, err, r.Lossless())
	}
}

// TestRepairKnowsTheParent flips a bit of the newest manifest, also in the digest of its parent. The repair still knows which
// generation is the parent.
func TestRepairKnowsTheParent(t *testing.T) {
	root := preparedIn(t, newDamagedRoot(t))
	foldNow(t, compactor.Config{Root: root})
	whole, err := os.ReadFile(root.Manifest(2))
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`"parent": "[0-9a-f]{64}"`).FindIndex(whole)
	if line == nil {
		t.Fatal("generation 2 names no parent")
	}
	for at := line[0]; at < line[1]; at += sparse {
		change(t, root.Manifest(2), func([]byte) []byte { return flip(at)(whole) })
		r, err := audit.Repair(t.Context(), compactor.Config{Root: root}, audit.RepairOptions{})
		if err != nil || r.Good != 1 || !r.Lossless() {
			t.Errorf("byte %d: Repair = %+v, %v, lossless %v; want generation 1 without a loss", at, r, err, r.Lossless())
		}
	}
}

// TestRepairCrossesNoGap removes a manifest from the chain. What it had folded is not known, so a repair does not go back to a
// generation below it.
func TestRepairCrossesNoGap(t *testing.T) {
	root := newDamagedRoot(t)
	for _, line := range []string{firstLines[0], firstLines[1], secondLines[0], secondLines[1]} {
		appendTo(t, root, "c", line)
		foldNow(t, compactor.Config{Root: root})
	}
	remove(t, root.Manifest(3))
	for _, what := range []string{"index", "manifest"} {
		spoil(t, root, what, 4)
		r, err := audit.Repair(t.Context(), compactor.Config{Root: root}, audit.RepairOptions{})
		if !errors.Is(err, audit.ErrNoGeneration) || !strings.Contains(err.Error(), "since generation 4") {
			t.Errorf("%s: Repair = %+v, %v; want ErrNoGeneration, since generation 4", what, r, err)
		}
	}
}

// TestRepairIsAChild: the manifest of a repair names the newest manifest as its parent, by the digest of the bytes that stand
// there, damaged or not. The next fold names the repair. So the chain is whole, and leads from the newest manifest past the
// damage.
func TestRepairIsAChild(t *testing.T) {
	for _, what := range []string{"index", "snapshots", "manifest"} {
		root := spoiled(what)(t)
		if _, err := audit.Repair(t.Context(), compactor.Config{Root: root}, audit.RepairOptions{Apply: true}); err != nil {
			t.Fatal(err)
		}
		for g := cohort.Generation(2); g <= 4; g++ {
			data, err := os.ReadFile(root.Manifest(g - 1))
			if err != nil {
				t.Fatal(err)
			}
			if h, err := manifest(durable.OS, root, g); g > 2 || what != "manifest" {
				if want := fmt.Sprintf("%x", sha256.Sum256(data)); err != nil || h.Parent != want {
					t.Errorf("%s: generation %d names parent %q, %v; want %s", what, g, h.Parent, err, want)
				}
			}
		}
	}
}
