package compactor_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/internal/durable"
)

// part is some files of a root that are damaged together.
type part struct {
	name  string
	files func(root cohort.Root) []string
}

var parts = []part{
	{"newest manifest", func(root cohort.Root) []string { return []string{root.Manifest(4)} }},
	{"its data files", func(root cohort.Root) []string { return dataOf(root, 4) }},
	{"public index", func(root cohort.Root) []string { return []string{root.Index()} }},
	{"public snapshots", func(root cohort.Root) []string { return []string{publicSnapshots(root)} }},
	{"data files before", func(root cohort.Root) []string { return dataOf(root, 3) }},
}

// publicSnapshots is the snapshots file of the root, or of its only cohort.
func publicSnapshots(root cohort.Root) string {
	if path := root.SnapshotsOf("c"); exists(path) {
		return path
	}
	return root.Snapshots()
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// dataOf are the data files that a generation made, the index first, then the snapshots.
func dataOf(root cohort.Root, g cohort.Generation) (all []string) {
	for _, kind := range []string{"index-", "snapshots-", "withdrawn-", "actions-"} {
		some, err := filepath.Glob(root.Data(kind + g.String() + "-*"))
		if err != nil {
			panic(err)
		}
		all = append(all, some...)
	}
	return all
}

// harms are what may happen to a file. The n-th part is harmed at another place, as it may be one file with another part.
var harms = map[string]func(t *testing.T, root cohort.Root, path string, n int){
	"removed": func(t *testing.T, _ cohort.Root, path string, _ int) { remove(t, path) },
	"emptied": func(t *testing.T, _ cohort.Root, path string, _ int) {
		overwrite(t, path, func([]byte) []byte { return nil })
	},
	"cut": func(t *testing.T, _ cohort.Root, path string, _ int) {
		overwrite(t, path, func(b []byte) []byte { return b[:len(b)/2] })
	},
	"a bit flipped": func(t *testing.T, _ cohort.Root, path string, n int) {
		overwrite(t, path, func(b []byte) []byte { return flip(len(b)/2 + n)(b) })
	},
	"replaced by an older one": func(t *testing.T, root cohort.Root, path string, _ int) {
		old := root.Manifest(2)
		kind, _, _ := strings.Cut(filepath.Base(path), "-")
		all := dataOf(root, 2)
		switch i := slices.IndexFunc(all, func(name string) bool {
			return strings.HasPrefix(filepath.Base(name), kind+"-") && filepath.Ext(name) == filepath.Ext(path)
		}); {
		case i >= 0:
			old = all[i]
		case filepath.Ext(path) == ".parquet": // public
			old = all[0]
		case filepath.Dir(path) != root.Manifests():
			old = all[1]
		}
		data, err := os.ReadFile(old)
		if err != nil {
			t.Fatal(err)
		}
		put(t, path, data)
	},
}

// overwrite writes into a file, under all its names, as a bad disk or a program of root does.
func overwrite(t *testing.T, path string, by func([]byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.Write(by(slices.Clone(data))); err != nil {
		t.Fatal(err)
	}
}

// fourFolds is a root of four generations, with withdrawals from the second on. Only the stream of the last one is still there.
func fourFolds(t *testing.T, s cohort.Settings) cohort.Root {
	t.Helper()
	root := newRootWith(t, s)
	for _, lines := range [][]string{
		{`{"run_id":"a","stage":"S","v":1}`},
		{`{"run_id":"b","stage":"S","v":2}`, `{"run_id":"w","stage":"S","v":2}`, `{"action":"withdraw","run_id":"w"}`},
		{`{"run_id":"a","stage":"S","v":3}`, `{"run_id":"c","stage":"S","v":3}`, `{"action":"withdraw","run_id":"c"}`},
		{`{"run_id":"b","stage":"S","v":4}`, `{"run_id":"d","stage":"S","v":4}`, `{"action":"withdraw","run_id":"a"}`, `{"action":"undo","run_id":"w"}`},
	} {
		appendTo(t, root, "c", lines...)
		foldNow(t, compactor.Config{Root: root})
	}
	return root
}

var (
	allFour      = map[string]string{"a:S": "out 3", "b:S": "4", "c:S": "out 3", "d:S": "4", "w:S": "2"}
	withoutThree = map[string]string{"a:S": "out 1", "b:S": "4", "d:S": "4", "w:S": "2"}
)

// copyRoot copies a root. Files that are one stay one if links is set.
func copyRoot(t *testing.T, from cohort.Root, links bool) cohort.Root {
	t.Helper()
	to := cohort.Root(filepath.Join(t.TempDir(), "runs"))
	made := map[string]fs.FileInfo{}
	err := filepath.WalkDir(string(from), func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(string(to), from.Rel(path))
		if e.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		for name, other := range made {
			if links && os.SameFile(info, other) {
				return os.Link(name, target)
			}
		}
		made[target] = info
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, data, info.Mode())
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// digestsOf are the digests of all manifests and data files of a whole root, and their names.
func digestsOf(t *testing.T, root cohort.Root) map[[32]byte]string {
	t.Helper()
	all := map[[32]byte]string{}
	for name, data := range tree(t, root) {
		if strings.HasPrefix(name, "data/") || strings.HasPrefix(name, "manifests/") {
			all[sha256.Sum256([]byte(data))] = name
		}
	}
	return all
}

// copiesIn are those of these files that have a whole copy anywhere in a root.
func copiesIn(t *testing.T, root cohort.Root, of map[[32]byte]string) map[string]bool {
	t.Helper()
	here := map[string]bool{}
	for _, data := range tree(t, root) {
		if name, ok := of[sha256.Sum256([]byte(data))]; ok {
			here[name] = true
		}
	}
	return here
}

// TestSubsets harms each subset of the newest manifest, its data files, the public files and the data files before, in each way, and
// lets each command meet that. No whole copy is ever lost, nobody says that all is well with fewer rows, and a repair
// brings back all that a whole copy allows.
func TestSubsets(t *testing.T) {
	t.Run("one file", func(t *testing.T) { subsets(t, cohort.Settings{}) })
	t.Run("per cohort", func(t *testing.T) { subsets(t, cohort.Settings{Snapshots: cohort.PerCohort}) })
}

func subsets(t *testing.T, s cohort.Settings) {
	whole := fourFolds(t, s)
	of := digestsOf(t, whole)
	n, tried := 0, 0
	defer func() { t.Logf("figure: %d roots with a subset of their files harmed", tried) }()
	for _, links := range []bool{true, false} {
		for how, harm := range harms {
			for subset := 1; subset < 1<<len(parts); subset++ {
				if n++; n%sparse != 0 || testing.Short() && n%23 != 0 || s.Snapshots == cohort.PerCohort && n%3 != 0 {
					continue
				}
				tried++
				var names []string
				for i, p := range parts {
					if subset>>i&1 == 1 {
						names = append(names, p.name)
					}
				}
				t.Run(fmt.Sprintf("%s %s, links %v", strings.Join(names, " and "), how, links), func(t *testing.T) {
					t.Parallel()
					make := func() harmed {
						root := copyRoot(t, whole, links)
						for i, p := range parts {
							if subset>>i&1 == 0 {
								continue
							}
							for _, path := range p.files(root) {
								harm(t, root, path, i)
							}
						}
						return harmed{t, root, of, copiesIn(t, root, of)}
					}
					make().fold()
					make().look()
					make().repair()
				})
			}
		}
	}
}

// harmed is a root with harmed files, and the committed files that have a whole copy in it.
type harmed struct {
	*testing.T
	root cohort.Root
	of   map[[32]byte]string
	here map[string]bool
}

// has tells whether each data file of a generation has a whole copy.
func (h harmed) has(g cohort.Generation) bool {
	n := 0
	for name := range h.here {
		if strings.HasPrefix(name, "data/") && strings.Contains(name, "-"+g.String()+"-") {
			n++
		}
	}
	return n == 5 // two pairs and the actions
}

// want are the rows that the whole copies allow.
func (h harmed) want() map[string]string {
	if h.has(4) || h.has(3) {
		return allFour
	}
	return withoutThree
}

// keeps wants that every committed file that had a whole copy has one.
func (h harmed) keeps(after string) {
	h.Helper()
	now := copiesIn(h.T, h.root, h.of)
	for name := range h.here {
		if !now[name] {
			h.Errorf("after %s, no whole copy of %s is left", after, name)
		}
	}
}

// mayRefuse tells whether a repair has nothing to begin with: the newest manifest says nothing about the one before, and the files of
// both are gone. What is below may be of a compactor that slept.
func (h harmed) mayRefuse(err error) bool {
	return errors.Is(err, audit.ErrNoGeneration) && !h.has(4) && !h.has(3) && !h.here["manifests/"+cohort.Generation(4).String()+".json"]
}

// fold folds twice.
func (h harmed) fold() {
	h.Helper()
	for range 2 {
		report, err := compactor.Fold(context.Background(), compactor.Config{Root: h.root})
		if err != nil && !generation.IsDamage(err) {
			h.Errorf("Fold = %v, want damage", err)
		}
		h.keeps("a fold")
		if err != nil {
			status, serr := audit.ReadStatus(context.Background(), compactor.Config{Root: h.root})
			if serr == nil && status.Whole() && !strings.Contains(err.Error(), "checksum") && !strings.Contains(err.Error(), "not those that were committed") {
				h.Errorf("Fold = %v, and status finds nothing", err)
			}
			continue
		}
		if damage(h.T, h.root) == "" {
			if diff := cmp.Diff(allFour, values(h.T, h.root)); diff != "" {
				h.Errorf("Fold = %+v, check finds nothing, and rows are (-want +got):\n%s", report, diff)
			}
		}
	}
}

// look wants that check and a repair without Apply find the damage, that they agree, and that they change nothing.
func (h harmed) look() {
	h.Helper()
	before := tree(h.T, h.root)
	found := damage(h.T, h.root)
	r, err := audit.Repair(h.Context(), compactor.Config{Root: h.root}, audit.RepairOptions{})
	if err != nil && !h.mayRefuse(err) {
		h.Fatalf("Repair = %+v, %v", r, err)
	}
	if r.Whole() != (found == "") {
		h.Errorf("Repair = %+v, whole %v, and check finds %q", r, r.Whole(), found)
	}
	// Without a trace of generation 4 it is a root of three generations.
	if traces := len(dataOf(h.root, 4)) > 0 || exists(h.root.Manifest(4)) || exists(h.root.Index()) || exists(publicSnapshots(h.root)); found == "" && traces {
		h.Error("check finds nothing")
	}
	if _, err := audit.ReadStatus(h.Context(), compactor.Config{Root: h.root}); err != nil && !generation.IsDamage(err) {
		h.Errorf("ReadStatus = %v", err)
	}
	delete(before, "compact.lock")
	after := tree(h.T, h.root)
	delete(after, "compact.lock")
	if diff := cmp.Diff(before, after); diff != "" {
		h.Error("looking changed files")
	}
}

// repair wants all rows that the whole copies allow, and nothing left to repair.
func (h harmed) repair() {
	h.Helper()
	before := tree(h.T, h.root)
	r, err := audit.Repair(h.Context(), compactor.Config{Root: h.root}, audit.RepairOptions{Apply: true})
	if h.mayRefuse(err) {
		after := tree(h.T, h.root)
		delete(before, "compact.lock")
		delete(after, "compact.lock")
		if !cmp.Equal(before, after) {
			h.Errorf("Repair = %v, and files changed", err)
		}
		return
	}
	if err != nil {
		h.Fatalf("Repair = %+v, %v", r, err)
	}
	h.keeps("a repair")
	got := values(h.T, h.root)
	if diff := cmp.Diff(h.want(), got); diff != "" {
		h.Errorf("Repair = %+v: rows (-want +got):\n%s", r, diff)
	}
	if r.Lossless() && !cmp.Equal(got, allFour) {
		h.Errorf("Repair = %+v says that nothing is lost, and rows are %v", r, got)
	}
	if got := damage(h.T, h.root); got != "" {
		h.Errorf("after a repair, check finds %s", got)
	}
	again, err := audit.Repair(h.Context(), compactor.Config{Root: h.root}, audit.RepairOptions{})
	if err != nil || !again.Whole() {
		h.Errorf("after a repair, Repair = %+v, %v", again, err)
	}
	if gen, err := newest(durable.OS, h.root); err != nil || gen.Generation != r.Generation {
		h.Errorf("the newest generation is %v, %v; the repair says %v", gen.Generation, err, r.Generation)
	}
}
