package compactor_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/internal/durable"
)

// withdrawnOf is what the newest generation has of withdrawals, as text: rows, snapshots, actions.
func withdrawnOf(t testing.TB, fsys durable.FS, root cohort.Root) (out []string) {
	t.Helper()
	store, err := compactor.Config{Root: root, FS: fsys}.Store()
	if err != nil {
		t.Fatal(err)
	}
	m, err := store.Newest()
	if err != nil {
		t.Fatal(err)
	}
	d, err := store.Data(m)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if d.Withdrawn == nil {
		return nil
	}
	for row, err := range d.Withdrawn.Index.Rows() {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(row))
	}
	for _, s := range m.Withdrawn.Snapshots {
		r, err := d.Withdrawn.Snapshots(s)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		r.Close()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(data))
	}
	for r, err := range d.Actions() {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(r.Cohort)+" "+string(r.JSON))
	}
	return out
}

// withActions puts actions among the writes of chains.
func withActions(rnd *rand.Rand, set [][]string) [][]string {
	var out [][]string
	for i, chain := range set {
		var mixed []string
		act := func() {
			for rnd.IntN(3) == 0 {
				stage := [...]string{"", `,"stage":"S"`}[rnd.IntN(2)]
				name := [...]string{"withdraw", "withdraw", "undo", "protect", "unprotect"}[rnd.IntN(5)]
				mixed = append(mixed, fmt.Sprintf(`{"action":%q,"run_id":"r-%d"%s,"reason":"%d"}`, name, i, stage, len(mixed)))
			}
		}
		act()
		for _, line := range chain {
			mixed = append(mixed, line)
			act()
		}
		out = append(out, mixed)
	}
	return out
}

// chainEnd is what a chain says, read line by line: the try of its last write, and "out" before it if that is withdrawn.
func chainEnd(t *testing.T, chain []string) string {
	t.Helper()
	try, out, protected := "", "", false
	for _, line := range chain {
		r := parse(t, line)
		switch r.Action {
		case cohort.NoAction:
			try, out = cohort.FieldText(r.JSON, "try"), ""
		case cohort.Withdraw:
			if !protected {
				out = "out "
			}
		case cohort.Undo:
			out = ""
		case cohort.Protect, cohort.Unprotect:
			protected = r.Action == cohort.Protect
		}
	}
	return out + try
}

// standing is where the rows of a root stand, as chainEnd says it, and what they say.
func standing(t *testing.T, root cohort.Root) (where, content map[string]string) {
	t.Helper()
	content = rows(t, root)
	where = tries(content)
	for _, line := range withdrawnOf(t, durable.OS, root) {
		if !strings.HasPrefix(line, `{"run_id"`) {
			continue
		}
		key := cohort.FieldText([]byte(line), "_key")
		if _, twice := where[key]; twice {
			t.Errorf("%s stands in both pairs", key)
		}
		try := cohort.FieldText([]byte(line), "try")
		if try == "" { // no column had it
			try = cohort.FieldText([]byte(cohort.FieldText([]byte(line), "_extra")), "try")
		}
		where[key] = "out " + try
	}
	return where, content
}

// TestMetamorphicActions is TestMetamorphic with withdrawals, undos and protections among the writes: where a row stands depends on
// what was appended, never on the streams and folds in which it came.
func TestMetamorphicActions(t *testing.T) {
	rnd := rand.New(rand.NewPCG(*seed, 7))
	t.Logf("-seed %d", *seed)
	rounds, keys := 6, 40
	if testing.Short() || sparse > 1 {
		rounds, keys = 2, 20
	}
	set := withActions(rnd, chains(rnd, keys))
	want, outs := map[string]string{}, 0
	for i, chain := range set {
		said := chainEnd(t, chain)
		want[fmt.Sprintf("r-%d:S", i)] = said
		if strings.HasPrefix(said, "out") {
			outs++
		}
	}
	if outs == 0 || outs == keys {
		t.Fatalf("%d of %d runs are withdrawn: the test would show nothing", outs, keys)
	}
	plain := newRoot(t)
	for _, chain := range set {
		appendTo(t, plain, "c", chain...)
	}
	foldNow(t, compactor.Config{Root: plain})
	where, content := standing(t, plain)
	if diff := cmp.Diff(want, where); diff != "" {
		t.Fatalf("rows do not stand where the lines say (-lines +rows):\n%s", diff)
	}
	killed, whole := 0, 0
	for round := range rounds {
		root := newRoot(t)
		if round%2 == 1 {
			root = newCohortsRoot(t)
		}
		scatter(t, rnd, root, set, &killed, &whole)
		foldNow(t, compactor.Config{Root: root, Lock: yes{}})
		got, rows := standing(t, root)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("round %d: where rows stand depends on the split (-plain +split):\n%s", round, diff)
		}
		if diff := cmp.Diff(content, rows); diff != "" {
			t.Fatalf("round %d: rows depend on the split (-plain +split):\n%s", round, diff)
		}
		if n := streamsLeft(t, root); n != 0 {
			t.Errorf("round %d: %d streams are left", round, n)
		}
	}
}

// TestUnfoldedActions asks before a fold has read the actions: the answer is that of a fold that comes now.
func TestUnfoldedActions(t *testing.T) {
	root := newRoot(t)
	appendTo(t, root, "c",
		`{"run_id":"a","stage":"S","target":"x"}`, `{"run_id":"b","stage":"S","target":"x"}`, `{"run_id":"c","stage":"S","target":"y"}`,
		`{"action":"withdraw","run_id":"a","reason":"1"}`)
	foldNow(t, compactor.Config{Root: root})
	appendTo(t, root, "c", `{"action":"undo","run_id":"a"}`, `{"action":"withdraw","run_id":"b","reason":"2"}`, `{"run_id":"d","stage":"S","target":"x"}`,
		`{"action":"withdraw","run_id":"e"}`)
	list := func(unfolded bool) (keys []string) {
		for r, err := range compactor.Runs(t.Context(), compactor.Config{Root: root}, unfolded) {
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, r.RunID)
		}
		return keys
	}
	before := func(run string, where map[string]string) string {
		r, ok, err := compactor.Previous(t.Context(), compactor.Config{Root: root}, compactor.Query{Cohort: "c", Stage: "S", RunID: run, Where: where, Unfolded: true})
		if err != nil || !ok {
			t.Fatalf("Previous(%s, %v) = %v, %v", run, where, ok, err)
		}
		return r.RunID
	}
	if diff := cmp.Diff([]string{"b", "c"}, list(false)); diff != "" {
		t.Errorf("folded runs (-want +got):\n%s", diff)
	}
	want := []string{"c", "d", "a"}
	if diff := cmp.Diff(want, list(true)); diff != "" {
		t.Errorf("runs as if a fold came now (-want +got):\n%s", diff)
	}
	if got := before("e", map[string]string{"target": "x"}); got != "a" {
		t.Errorf("the last run with target x is %s, want a, which comes back", got)
	}
	if got := before("e", map[string]string{"target": "y"}); got != "c" {
		t.Errorf("the last run with target y is %s, want c", got)
	}
	foldNow(t, compactor.Config{Root: root})
	if diff := cmp.Diff(want, list(false)); diff != "" {
		t.Errorf("runs after the fold (-want +got):\n%s", diff)
	}
}

// TestImportOfWithdrawn imports what was withdrawn: it stays out, and comes back with an undo.
func TestImportOfWithdrawn(t *testing.T) {
	root := newRoot(t)
	appendTo(t, root, "c", `{"run_id":"a","stage":"S","v":1}`, `{"action":"withdraw","run_id":"a"}`, `{"action":"withdraw","run_id":"new","stage":"S"}`)
	foldNow(t, compactor.Config{Root: root})
	var recs []compactor.Imported
	for _, line := range []string{`{"run_id":"a","stage":"S","v":0}`, `{"run_id":"new","stage":"S","v":2}`, `{"run_id":"other","stage":"S","v":3}`} {
		r := parse(t, line)
		r.Cohort = "c"
		recs = append(recs, compactor.Imported{Record: r})
	}
	for range 2 {
		got, err := compactor.Import(t.Context(), compactor.Config{Root: root}, recs, false)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%+v", got)
	}
	where, _ := standing(t, root)
	if len(where) != 3 || rows(t, root)["other:S"] == "" || len(rows(t, root)) != 1 {
		t.Errorf("after the import rows stand at %v, and in the index %v", where, rows(t, root))
	}
	appendTo(t, root, "c", `{"action":"undo","run_id":"a"}`, `{"action":"undo","run_id":"new"}`)
	foldNow(t, compactor.Config{Root: root})
	for key, v := range map[string]string{"a:S": "1", "new:S": "2", "other:S": "3"} {
		if got := cohort.FieldText([]byte(rows(t, root)[key]), "v"); got != v && got != v+".0" {
			t.Errorf("%s has v %s, want %s", key, got, v)
		}
	}
}

// TestActionKeepsItsBytes appends an action whose JSON has spaces and escapes. Its digest is made of these bytes: the file of actions has
// them as they are, so that check finds the action of the stream there, and a stream that comes back brings no second one.
func TestActionKeepsItsBytes(t *testing.T) {
	root := newRoot(t)
	const action = `{"action":"withdraw", "run_id" : "a", "reason":"<\u00fc>" }`
	appendTo(t, root, "c", `{"run_id":"a","stage":"S"}`, action)
	saved := t.TempDir()
	if err := os.CopyFS(saved, os.DirFS(root.Cohorts())); err != nil {
		t.Fatal(err)
	}
	foldNow(t, compactor.Config{Root: root})
	if got := damage(t, root); got != "" {
		t.Errorf("after a fold, check finds %s", got)
	}
	for i := range 2 { // until the stream is deleted
		appendTo(t, root, "c", fmt.Sprintf(`{"run_id":"b","stage":"S","v":%d}`, i))
		foldNow(t, compactor.Config{Root: root})
	}
	if err := os.CopyFS(root.Cohorts(), os.DirFS(saved)); err != nil {
		t.Fatal(err)
	}
	foldNow(t, compactor.Config{Root: root})
	all := withdrawnOf(t, durable.OS, root)
	if got := all[len(all)-1]; got != "c "+action || strings.HasPrefix(all[len(all)-2], "c ") {
		t.Errorf("the actions are %q, want one with its bytes", all)
	}
}
