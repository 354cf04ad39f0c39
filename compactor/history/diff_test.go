package history

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
)

// model is what a generation has under each key, as text, and how often it was written until then.
type model map[string]struct {
	says   string
	writes int
}

// step writes some rows, some of them as they are.
func (m model) step(t *testing.T, rnd *rand.Rand, root cohort.Root) {
	t.Helper()
	lines := map[cohort.ID][]string{}
	for range 1 + rnd.IntN(30) {
		id, run := cohort.ID(fmt.Sprint("c", rnd.IntN(3))), fmt.Sprint("r", rnd.IntN(60))
		says := fmt.Sprintf(`"timestamp":"2026-01-01T00:00:00Z","v":%d,"metrics":{"m":%d.5}`, rnd.IntN(3), rnd.IntN(2))
		if rnd.IntN(3) > 0 {
			says += fmt.Sprintf(`,"snapshot":{"w":[%d]}`, rnd.IntN(5)/4)
		}
		key := run + ":S"
		if had := m[key]; had.writes > 0 && rnd.IntN(3) == 0 {
			var where string
			where, says, _ = strings.Cut(had.says, " ")
			id = cohort.ID(where)
		}
		if slices.ContainsFunc(slices.Concat(slices.Collect(maps.Values(lines))...), func(l string) bool { return strings.Contains(l, `"`+run+`"`) }) {
			continue // writes of one key from two writers have no order that the test knows
		}
		lines[id] = append(lines[id], fmt.Sprintf(`{"run_id":"%s","stage":"S",%s}`, run, says))
		had := m[key]
		had.says, had.writes = fmt.Sprintf("%s %s", id, says), had.writes+1
		m[key] = had
	}
	for id, some := range lines {
		appendTo(t, root, id, some...)
	}
}

// diff is what Compare must say.
func diff(was, now model) (d Diff) {
	for key, n := range now {
		w, ok := was[key]
		switch {
		case !ok:
			d.Added++
		case w.says != n.says:
			d.Changed++
		case w.writes != n.writes:
			d.Again++
		}
	}
	for key := range was {
		if _, ok := now[key]; !ok {
			d.Gone++
		}
	}
	return d
}

// TestCompareAny compares each two of some generations, at once and in parts of a few keys, with one file of snapshots and with one for each cohort.
func TestCompareAny(t *testing.T) {
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("-seed=%d", s)
	rnd := rand.New(rand.NewPCG(s, 1))
	for _, form := range []cohort.SnapshotsForm{"", cohort.PerCohort} {
		root, now, all := newRoot(t, cohort.Settings{Snapshots: form}), model{}, map[cohort.Generation]model{}
		for range 6 {
			now.step(t, rnd, root)
			all[fold(t, root)] = maps.Clone(now)
		}
		store := storeOf(t, root)
		for from, was := range all {
			for to, is := range all {
				for _, most := range []int{0, 7} {
					got, err := Compare(t.Context(), store, from, to, DiffOptions{Limit: 5, most: most})
					if err != nil {
						t.Fatalf("Compare %d to %d: %v", from, to, err)
					}
					want := diff(was, is)
					listed(t, got, was, is)
					want.From, want.To, want.Rows = from, to, got.Rows
					want.LeftOut = max(0, want.Added-5) + max(0, want.Gone-5) + max(0, want.Changed-5)
					if diff := cmp.Diff(want, got, cmp.AllowUnexported(Value{})); diff != "" {
						t.Fatalf("%q, %d to %d, %d keys at once (-want +got):\n%s", form, from, to, most, diff)
					}
				}
			}
		}
	}
}

// listed looks at the rows that are listed.
func listed(t *testing.T, d Diff, was, now model) {
	t.Helper()
	for _, r := range d.Rows {
		w, n := was[string(r.Key)].says, now[string(r.Key)].says
		id, _, _ := strings.Cut(n, " ")
		if r.Change == Gone {
			id, _, _ = strings.Cut(w, " ")
		}
		if (w != "") != (r.Was > 0) || (n != "") != (r.Now > 0) || string(r.Cohort) != id || (r.Change == Changed) != (len(r.Fields) > 0) {
			t.Errorf("listed %+v, was %q, is %q", r, w, n)
		}
		for _, f := range r.Fields {
			for _, side := range []struct {
				says  string
				value Value
			}{{w, f.Was}, {n, f.Now}} {
				if side.value.JSON != nil && !strings.Contains(side.says, strings.Trim(string(side.value.JSON), `"`)) {
					t.Errorf("%s: %s is %s in %s", r.Key, f.Name, side.value.JSON, side.says)
				}
			}
		}
	}
}

// TestRaised appends one record twice. The row gets another stamp and stays the row that it is.
func TestRaised(t *testing.T) {
	root := newRoot(t, cohort.Settings{})
	line := `{"run_id":"r","stage":"S","record_id":"one","v":1}`
	appendTo(t, root, "c", line)
	first := fold(t, root)
	appendTo(t, root, "c", line, `{"run_id":"r2","stage":"S"}`)
	fold(t, root)
	got, err := Compare(t.Context(), storeOf(t, root), first, 0, DiffOptions{Limit: 5})
	if err != nil || got.Added != 1 || got.Changed+got.Again+got.Gone != 0 {
		t.Errorf("Compare = %+v, %v, want one row added", got, err)
	}
}

// TestSameSeq compares generations that have given one seq to different writes, as two histories of a root do.
func TestSameSeq(t *testing.T) {
	sides := [2]*side{}
	for i, line := range []string{`{"run_id":"a","stage":"S","record_id":"1","v":1}`, `{"run_id":"b","stage":"S","record_id":"1","v":1}`} {
		root := newRoot(t, cohort.Settings{})
		appendTo(t, root, "c", line, fmt.Sprintf(`{"run_id":"c","stage":"S","record_id":"2","v":%d}`, i), fmt.Sprintf(`{"run_id":"d","stage":"S","record_id":"%d"}`, i))
		fold(t, root)
		side, err := open(storeOf(t, root), 0)
		if err != nil {
			t.Fatal(err)
		}
		defer side.close()
		side.manifest.Index.Name = root.Index() // as one root, they would have other names
		sides[i] = side
	}
	c := comparison{was: sides[0], now: sides[1], most: maxPairs}
	pairs, _, err := c.collect(t.Context(), maxPairs, func(cohort.Key) bool { return true })
	if err != nil || len(pairs) != 4 || pairs["a:S"].now != nil || pairs["b:S"].was != nil || pairs["c:S"].was == nil || pairs["d:S"].was == nil {
		t.Errorf("pairs = %v, %v", pairs, err)
	}
}

// TestLongValue shows a long value by its size, and tells two of one size apart.
func TestLongValue(t *testing.T) {
	root := newRoot(t, cohort.Settings{})
	for _, c := range []string{"a", "b"} {
		appendTo(t, root, "c", fmt.Sprintf(`{"run_id":"r","stage":"S","timestamp":"2026-01-01T00:00:00Z","text":"%s"}`, strings.Repeat(c, 5000)))
		fold(t, root)
	}
	got, err := Compare(t.Context(), storeOf(t, root), 1, 2, DiffOptions{Limit: 5})
	if err != nil || len(got.Rows) != 1 || len(got.Rows[0].Fields) != 1 || got.Rows[0].Fields[0].Was.Size != 5002 {
		t.Errorf("Compare = %+v, %v", got, err)
	}
}

// TestNotKept asks for generations that were swept, or that a repair has left.
func TestNotKept(t *testing.T) {
	root := newDamagedRoot(t, cohort.Settings{})
	for i := range 5 {
		appendTo(t, root, "c", fmt.Sprintf(`{"run_id":"r%d","stage":"S"}`, i))
		if _, err := compactor.Fold(t.Context(), compactor.Config{Root: root, KeepAge: -1}); err != nil {
			t.Fatal(err)
		}
	}
	var gone *generation.NotKeptError
	for _, g := range []cohort.Generation{1, 2, 6} {
		if _, err := Compare(t.Context(), storeOf(t, root), g, 0, DiffOptions{}); !errors.As(err, &gone) || gone.Generation != g {
			t.Errorf("Compare %d: %v", g, err)
		}
	}
	other := newDamagedRoot(t, cohort.Settings{}) // with a manifest that is not of the history of this root
	for i := range 4 {
		appendTo(t, other, "c", fmt.Sprintf(`{"run_id":"r%d","stage":"S"}`, i))
		fold(t, other)
	}
	data, err := os.ReadFile(other.Manifest(4))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(root.Manifest(4), data, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Compare(t.Context(), storeOf(t, root), 4, 0, DiffOptions{}); !errors.As(err, &gone) || !gone.Void {
		t.Errorf("Compare with a void generation: %v", err)
	}
}

// TestCompareDamage makes sure that damage is told as damage: in an index, in snapshots, and in a manifest.
func TestCompareDamage(t *testing.T) {
	for _, what := range []string{"index", "snapshots", "manifest", "no index", "no snapshots"} {
		t.Run(what, func(t *testing.T) {
			root := newDamagedRoot(t, cohort.Settings{})
			for i := range 3 {
				appendTo(t, root, "c", fmt.Sprintf(`{"run_id":"r","stage":"S","v":%d}`, i))
				fold(t, root)
			}
			m, err := storeOf(t, root).Read(2)
			if err != nil {
				t.Fatal(err)
			}
			name := map[string]string{"index": root.Data(m.Index.Name), "snapshots": root.Data(m.Snapshots[0].Name), "manifest": root.Manifest(2)}[strings.TrimPrefix(what, "no ")]
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			data[min(len(data)-1, map[string]int{"index": 4096}[what]+10)] ^= 1
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(what, "no ") {
				data = nil
			} else if err := os.WriteFile(name, data, 0o666); err != nil {
				t.Fatal(err)
			}
			if d, err := Compare(t.Context(), storeOf(t, root), 2, 3, DiffOptions{Limit: 5}); !generation.IsDamage(err) {
				t.Errorf("Compare = %+v, %v, want damage", d, err)
			}
		})
	}
}
