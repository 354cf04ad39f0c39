package journal

import (
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
)

const caseOnly = "in letter case only"

// TestCohortsThatDifferInCase shows that a second spelling is not made, in whichever way the first one was made.
func TestCohortsThatDifferInCase(t *testing.T) {
	root := newRoot(t)
	appendRuns(t, newWriter(t, root, Options{}), 1, 1)
	if _, err := Create(root, "C", Options{}); err == nil || !strings.Contains(err.Error(), caseOnly) {
		t.Errorf("Create of C beside c = %v, want an error about letter case", err)
	}
}

// noDots is a file system that leaves out dots at the end of names, as Windows does.
type noDots struct{ durable.FS }

func (n noDots) Stat(name string) (fs.FileInfo, error) {
	return n.FS.Stat(strings.TrimRight(name, "."))
}
func (n noDots) Mkdir(name string, perm fs.FileMode) error {
	return n.FS.Mkdir(strings.TrimRight(name, "."), perm)
}

// TestCohortsThatDifferInDots shows that no cohort is written to under a name that Windows takes for that of another.
func TestCohortsThatDifferInDots(t *testing.T) {
	root := newRoot(t)
	appendRuns(t, newWriter(t, root, Options{}), 1, 1)
	for _, id := range []cohort.ID{"c.", "c..", "C."} {
		_, err := Create(root, id, Options{})
		if want := "cohort \"" + string(id) + "\" differs from the existing \"c\" in dots at the end"; !strings.HasPrefix(message(err), want) {
			t.Errorf("Create of %s beside c = %v, want %s", id, err, want)
		}
	}
	fsys, dir := noDots{durabletest.New()}, cohort.Root("runs")
	for range 2 {
		if err := makeCohort(fsys, dir, "d.", 0o755); err == nil {
			t.Error("d. was made where dots at the end do not count")
		}
	}
	for _, id := range []cohort.ID{"d", "d.e", "e"} {
		if err := makeCohort(fsys, dir, id, 0o755); err != nil {
			t.Errorf("make %s: %v", id, err)
		}
	}
}

// TestExistingCohortIsUsable makes a directory beside a cohort that differs from it in letter case only, as a person may. The
// cohort is used as before, by Writers that were there and by new ones; so is the other one, which exists now, too.
func TestExistingCohortIsUsable(t *testing.T) {
	root := newRoot(t)
	before := newWriter(t, root, Options{SealBytes: 1})
	appendRuns(t, before, 1, 1)
	if err := durable.OS.Mkdir(root.Cohort("C"), 0o755); err != nil {
		t.Skip("letter case does not count here:", err)
	}
	appendRuns(t, before, 2, 2) // to a new stream
	appendRuns(t, newWriter(t, root, Options{}), 3, 3)
	other, err := Create(root, "C", Options{})
	if err != nil {
		t.Fatal(err)
	}
	appendRuns(t, other, 4, 4)
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(runs(1, 4), all(t, root)); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

// oneCase is a file system on which letter case does not count in the names of cohorts: a directory is found under any
// spelling and listed under the one that it was made with.
type oneCase struct{ durable.FS }

func (o oneCase) spell(name string) string {
	entries, _ := o.FS.ReadDir(filepath.Dir(name))
	for _, e := range entries {
		if strings.EqualFold(e.Name(), filepath.Base(name)) {
			return filepath.Join(filepath.Dir(name), e.Name())
		}
	}
	return name
}

func (o oneCase) Stat(name string) (fs.FileInfo, error) { return o.FS.Stat(o.spell(name)) }
func (o oneCase) Mkdir(name string, perm fs.FileMode) error {
	return o.FS.Mkdir(o.spell(name), perm)
}

// meeting calls a function once, just before a directory is made.
type meeting struct {
	durable.FS
	do func()
}

func (m *meeting) Mkdir(name string, perm fs.FileMode) error {
	if do := m.do; do != nil {
		m.do = nil
		do()
	}
	return m.FS.Mkdir(name, perm)
}

// TestRaceOfSpellings lets two processes make Churn and churn at once. Neither sees the other's name, and churn is made first.
// Where letter case counts, both go on. Where it does not count, churn goes on, and nothing is written under the name of Churn,
// then and later.
func TestRaceOfSpellings(t *testing.T) {
	for _, one := range []bool{false, true} {
		root := cohort.Root("runs")
		var fsys durable.FS = durabletest.New()
		if one {
			fsys = oneCase{fsys}
		}
		makes := func(fsys durable.FS, id cohort.ID) string { return message(makeCohort(fsys, root, id, 0o755)) }
		got := map[string]string{}
		got["Churn"] = makes(&meeting{fsys, func() { got["churn"] = makes(fsys, "churn") }}, "Churn")
		got["Churn again"], got["churn again"] = makes(fsys, "Churn"), makes(fsys, "churn")
		refused := ""
		if one {
			refused = `cohort "Churn" differs from the existing "churn" in letter case only: use that name, or another one`
		}
		want := map[string]string{"churn": "", "churn again": "", "Churn": refused, "Churn again": refused}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("one case only: %t: errors (-want +got):\n%s", one, diff)
		}
	}
}
