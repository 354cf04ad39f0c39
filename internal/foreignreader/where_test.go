package foreignreader

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	engine "github.com/runfold/runfold/compactor/query"
	"github.com/runfold/runfold/journal"
)

var seed = flag.Uint64("seed", 0, "seed of the random test; 0 chooses one")

// TestDuckDBSelects compares what random expressions select with what DuckDB selects from index.parquet with the same text. Literals have the
// types of their columns, as DuckDB converts others, and no value stands in _extra, as DuckDB does not look there.
func TestDuckDBSelects(t *testing.T) {
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("-seed=%d", s)
	r := rand.New(rand.NewPCG(s, 0))
	root, data := randomRoot(t, r)
	defer data.Close()
	texts := []string{`"metrics.a" = 9007199254740993.0`, `n = 9007199254740993`, `s like '$%%' escape '$'`, `not (s is null) and n not in (7, -7)`}
	for range 150 {
		texts = append(texts, expression(r, 3))
	}
	selected := 0
	for _, text := range texts {
		e, err := engine.Parse(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		var got, want []string
		for row, err := range engine.Select(t.Context(), e, data.Index) {
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			got = append(got, row.RunID)
		}
		for _, row := range query(t, "select run_id from read_parquet(?) where "+text+" order by snapshot_seq", root.Index()) {
			want = append(want, row[0])
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s\nselects %q, DuckDB selects %q", text, got, want)
		}
		selected += len(got)
	}
	t.Logf("%d expressions, %d rows", len(texts), selected)
	if selected < len(texts) {
		t.Error("the test tests little: its expressions select few rows")
	}
}

// literals of a type, from which the values of the rows are taken, too.
var (
	doubles = []string{"0.0", "-0.0", "0.5", "1.0", "1e300", "-2.5", "9007199254740992.0", "0.1"}
	ints    = []string{"0", "1", "7", "-7", "9007199254740992", "9007199254740993", "9223372036854775807", "-9223372036854775808"}
	words   = []string{"", "a", "ab", "abc", "it''s", "größe", "%", "_", "x_y", "Z"}
	bools   = []string{"true", "false"}
	times   = []string{"2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000001Z", "2026-01-31T14:00:00+02:00", "2025-12-31T23:59:59Z"}
)

func pick[T any](r *rand.Rand, of []T) T { return of[r.IntN(len(of))] }

// randomRoot is a root of 40 rows, and its newest generation.
func randomRoot(t *testing.T, r *rand.Rand) (cohort.Root, *generation.Data) {
	t.Helper()
	root := cohort.Root(filepath.Join(t.TempDir(), "runs"))
	if _, _, err := journal.InitRoot(root, cohort.Settings{}, journal.RootOptions{}); err != nil {
		t.Fatal(err)
	}
	w, err := journal.Create(root, "churn_eu", journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		members := []string{fmt.Sprintf(`"run_id":"r-%d","stage":"S"`, i)}
		for name, of := range map[string][]string{`"metrics":{"a":%s}`: doubles, `"n":%s`: ints, `"s":"%s"`: words, `"ok":%s`: bools, `"timestamp":"%s"`: times} {
			if i == 0 || r.IntN(4) > 0 {
				members = append(members, fmt.Sprintf(name, strings.ReplaceAll(pick(r, of), "''", "'")))
			}
		}
		rec, err := cohort.ParseRecord([]byte("{"+strings.Join(members, ",")+"}"), 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Append([]cohort.Record{rec}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := compactor.Fold(context.Background(), compactor.Config{Root: root}); err != nil {
		t.Fatal(err)
	}
	store, err := generation.Open(root, journal.RootOptions{})
	if err != nil {
		t.Fatal(err)
	}
	newest, err := store.Newest()
	if err != nil {
		t.Fatal(err)
	}
	data, err := store.Data(newest)
	if err != nil {
		t.Fatal(err)
	}
	return root, data
}

// expression is a random one that both languages have.
func expression(r *rand.Rand, depth int) string {
	if depth > 0 && r.IntN(3) > 0 {
		a, b := expression(r, depth-1), expression(r, depth-1)
		return pick(r, []string{"not " + a, "(" + a + ") and " + b, a + " or " + b, a + " and " + b + " or not (" + a + ")"})
	}
	columns := map[string][]string{`"metrics.a"`: doubles, "n": ints, "s": quoted(words), "ok": bools, "timestamp": quoted(times), "run_id": {"'r-1'", "'r-17'", "'r-3'"}}
	name := pick(r, []string{`"metrics.a"`, "n", "s", "ok", "timestamp", "run_id"})
	of := columns[name]
	switch r.IntN(6) {
	case 0:
		return name + " is " + pick(r, []string{"", "not "}) + "null"
	case 1:
		return name + pick(r, []string{" in (", " not in ("}) + pick(r, of) + ", " + pick(r, of) + ")"
	case 2:
		if name == "s" || name == "run_id" {
			return name + pick(r, []string{" like ", " not like "}) + "'" + pick(r, []string{"", "%", "a", "r-1"}) + pick(r, []string{"%", "_", "b", "$%", "ö"}) + pick(r, []string{"", "%", "_"}) + "' escape '$'"
		}
	}
	sign := pick(r, []string{"=", "==", "!=", "<>", "<", "<=", ">", ">="})
	if name == "ok" {
		sign = pick(r, []string{"=", "!="})
	}
	return name + " " + sign + " " + pick(r, of)
}

func quoted(of []string) (texts []string) {
	for _, text := range of {
		texts = append(texts, "'"+text+"'")
	}
	return texts
}
