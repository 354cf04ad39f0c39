package query

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/jsonscan"
)

// naiveValue is what a cell shows of a name: of a text in a column, the token beside it.
func naiveValue(values []any, inColumn bool) any {
	if len(values) == 0 {
		return nil
	}
	if s, ok := values[0].(string); ok && inColumn {
		for _, v := range values[1:] {
			if _, is := v.(string); !is && fmt.Sprint(v) == s {
				return v
			}
		}
	}
	return values[0]
}

// compareNaiveValues is negative if a stands before b.
func compareNaiveValues(a, b any, descending bool) int {
	rank := func(v any) int {
		switch v.(type) {
		case json.Number:
			return 0
		case string:
			return 1
		case bool:
			return 2
		case nil:
			return 4
		}
		return 3
	}
	if c := cmp.Compare(rank(a), rank(b)); c != 0 {
		return c
	}
	c := 0
	switch a := a.(type) {
	case json.Number:
		b := b.(json.Number)
		c = fraction(a, isDouble(a)).Cmp(fraction(b, isDouble(b)))
	case string:
		c = strings.Compare(a, b.(string))
	case bool:
		if a != b.(bool) {
			c = map[bool]int{true: 1, false: -1}[a]
		}
	case nil:
	default:
		x, _ := json.Marshal(a)
		y, _ := json.Marshal(b)
		c = strings.Compare(string(x), string(y))
	}
	if descending {
		return -c
	}
	return c
}

// sourceOf is a source of random records: some in an index, some after it, of which one may take the place of a row of the index. rows are all of
// it.
func sourceOf(t *testing.T, r *rand.Rand, records string) (src Source, rows []naiveRow, columns []map[string]bool) {
	t.Helper()
	lines := strings.Split(records, "\n")
	cut := 1 + r.IntN(len(lines))
	src = Source{Index: indexOf(t, strings.Join(lines[:cut], "\n")), Gone: map[cohort.Key]bool{}}
	src.Schema = src.Index.Schema()
	gone := ""
	if r.IntN(3) == 0 {
		gone = fmt.Sprintf("r%d", r.IntN(cut))
	}
	for line, err := range src.Index.Rows() {
		if err != nil {
			t.Fatal(err)
		}
		row := parseNaive(t, line)
		if row["run_id"][0] == gone {
			src.Gone[cohort.Key(row["_key"][0].(string))] = true
			continue
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(line, &members); err != nil {
			t.Fatal(err)
		}
		in := map[string]bool{}
		for name := range members {
			in[name] = true
		}
		rows, columns = append(rows, row), append(columns, in)
	}
	typer := index.NewTyper(src.Schema)
	for i, line := range lines[cut:] {
		rec, err := cohort.ParseRecord([]byte(line), 0)
		if err != nil {
			t.Fatal(err)
		}
		rec.Cohort, rec.Stamp, rec.ID = "churn_us", 1_800_000_000_000_000_000, fmt.Sprint("new-", i)
		typed := typer.Row(index.Put{Key: cohort.KeyForm{}.Of(rec), Seq: cohort.Seq(cut + i + 1)}, rec)
		src.Fresh = append(src.Fresh, typed)
		row, in := naiveRow{"run_id": {rec.RunID}, "phase": {rec.Stage}, "cohort_id": {"churn_us"}, "snapshot_seq": {json.Number(fmt.Sprint(cut + i + 1))}}, map[string]bool{}
		if !typed.Time.IsZero() {
			row["timestamp"] = []any{cohort.FormatTime(typed.Time)}
		}
		extra := naiveRow{}
		if typed.Extra != nil {
			extra = parseNaive(t, typed.Extra)
		}
		for i, c := range src.Schema {
			if typed.Values[i] != nil {
				row[c.Name] = parseNaive(t, fmt.Appendf(nil, `{"v":%s}`, index.Token(typed.Values[i])))["v"]
				in[c.Name] = true
			}
		}
		for name, values := range extra {
			row[name] = append(row[name], values...)
		}
		rows, columns = append(rows, row), append(columns, in)
	}
	return src, rows, columns
}

// TestRowsNaive compares rows and their order with those of a plain sort of everything.
func TestRowsNaive(t *testing.T) {
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("-seed=%d", s)
	r := rand.New(rand.NewPCG(s, 1))
	sources := 100
	if testing.Short() {
		sources = 40
	}
	for range sources {
		records := randomRecords(r, 2+r.IntN(10))
		src, rows, columns := sourceOf(t, r, records)
		for range 30 {
			q := Query{Columns: []string{"run_id"}}
			n := naive{"", func(naiveRow) *bool { return truthValue(true) }}
			var err error
			if r.IntN(2) == 0 {
				n = randomNaive(r, r.IntN(3))
				if q.Where, err = Parse(n.text); err != nil {
					t.Fatal(err)
				}
			}
			if r.IntN(4) == 0 {
				q.Cohort = pick(r, []cohort.ID{"churn_eu", "churn_us", "churn"})
			}
			if r.IntN(4) == 0 {
				q.Stage = "b"
			}
			for range r.IntN(3) {
				q.Sort = append(q.Sort, Order{pick(r, naiveNames), r.IntN(2) == 0})
			}
			shown := pick(r, naiveNames)
			q.Columns = append(q.Columns, shown)
			var at []int
			for i, row := range rows {
				is := n.of(row)
				if is != nil && *is && (q.Cohort == "" || row["cohort_id"][0] == string(q.Cohort)) && (q.Stage == "" || row["phase"][0] == q.Stage) {
					at = append(at, i)
				}
			}
			slices.SortStableFunc(at, func(i, j int) int {
				for _, o := range q.Sort {
					c := compareNaiveValues(naiveValue(rows[i][o.Column], columns[i][o.Column]), naiveValue(rows[j][o.Column], columns[j][o.Column]), o.Descending)
					if c != 0 {
						return c
					}
				}
				return 0
			})
			if n, err := q.Count(t.Context(), src); err != nil || n != int64(len(at)) {
				t.Fatalf("%+v\ncounts %d, want %d, %v, of\n%s", q, n, len(at), err, records)
			}
			if q.Numbers = len(q.Sort) > 0 && r.IntN(3) == 0; q.Numbers {
				at = slices.DeleteFunc(at, func(i int) bool {
					_, is := naiveValue(rows[i][q.Sort[0].Column], columns[i][q.Sort[0].Column]).(json.Number)
					return !is
				})
			}
			q.Offset, q.Limit = int64(r.IntN(3)), int64(r.IntN(4))
			at = at[min(int(q.Offset), len(at)):]
			if q.Limit > 0 {
				at = at[:min(int(q.Limit), len(at))]
			}
			var got, want []string
			for row, err := range q.Rows(t.Context(), src) {
				if err != nil {
					t.Fatalf("%+v: %v", q, err)
				}
				line := row.Cells[0].Text()
				if !row.Cells[1].IsNull() {
					line += " " + naiveText(t, row.Cells[1].JSON())
				}
				if row.Fresh >= 0 && src.Fresh[row.Fresh].RunID != row.Cells[0].Text() {
					t.Fatalf("row %d of those that are not folded is %s, not %s", row.Fresh, src.Fresh[row.Fresh].RunID, line)
				}
				got = append(got, line)
			}
			for _, i := range at {
				line := rows[i]["run_id"][0].(string)
				if v := naiveValue(rows[i][shown], columns[i][shown]); v != nil {
					data, err := json.Marshal(v)
					if err != nil {
						t.Fatal(err)
					}
					line += " " + naiveText(t, data)
				}
				want = append(want, line)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%+v\nyields %q\nwant   %q, of\n%s", q, got, want, records)
			}
		}
	}
}

// naiveText is a value in one spelling.
func naiveText(t *testing.T, data []byte) string {
	t.Helper()
	if n := json.Number(data); jsonscan.KindOf(data) == jsonscan.Int || jsonscan.KindOf(data) == jsonscan.Double && isDouble(n) {
		return fraction(n, isDouble(n)).RatString()
	}
	return string(index.OneSpelling(data))
}

// TestRowsOfGroups: of several row groups that are read at once the answer is the same as of one after another, whatever is left out.
func TestRowsOfGroups(t *testing.T) {
	if testing.Short() {
		t.Skip("makes 102,000 rows")
	}
	const n = 102_000
	f := benchIndex(t, n)
	if len(f.Groups()) < 3 {
		t.Fatalf("%d row groups", len(f.Groups()))
	}
	src := Source{Index: f, Gone: map[cohort.Key]bool{"r-1:TRAINING": true}}
	e, err := Parse("metrics.auc > 0.5 and params.lr = 0.01")
	if err != nil {
		t.Fatal(err)
	}
	type want struct {
		auc float64
		seq int
	}
	var all []want
	for i := range n {
		auc := float64(i*7%n) / n
		if auc > 0.5 && i%3 == 2 && i*7919%n != 1 {
			all = append(all, want{auc, i + 1})
		}
	}
	for _, c := range []struct {
		sort  string
		order func(a, b want) int
	}{
		{"", func(a, b want) int { return a.seq - b.seq }},
		{"-snapshot_seq", func(a, b want) int { return b.seq - a.seq }},
		{"-metrics.auc", func(a, b want) int { return cmp.Or(-cmp.Compare(a.auc, b.auc), a.seq-b.seq) }},
		{"metrics.auc,-snapshot_seq", func(a, b want) int { return cmp.Or(cmp.Compare(a.auc, b.auc), b.seq-a.seq) }},
		{"params.depth,metrics.loss", func(a, b want) int { return cmp.Or((a.seq-1)%12-(b.seq-1)%12, b.seq-a.seq) }},
	} {
		slices.SortFunc(all, c.order)
		for _, w := range []struct{ offset, limit int }{{0, 20}, {1000, 7}, {len(all) - 3, 0}, {len(all) + 1, 5}} {
			q := Query{Where: e, Columns: []string{"snapshot_seq", "params.layers"}, Offset: int64(w.offset), Limit: int64(w.limit)}
			if c.sort != "" {
				if q.Sort, err = ParseOrder(c.sort); err != nil {
					t.Fatal(err)
				}
			}
			wanted := all[min(w.offset, len(all)):]
			if w.limit > 0 {
				wanted = wanted[:min(w.limit, len(wanted))]
			}
			i := 0
			for row, err := range q.Rows(t.Context(), src) {
				if err != nil {
					t.Fatal(err)
				}
				list := ""
				if (wanted[i].seq-1)%10 == 0 {
					list = "[64,64]"
				}
				if row.Cells[0].Text() != fmt.Sprint(wanted[i].seq) || row.Cells[1].Text() != list {
					t.Fatalf("sort %q, %+v: row %d is %s %s, want %d %s", c.sort, w, i, row.Cells[0].Text(), row.Cells[1].Text(), wanted[i].seq, list)
				}
				i++
			}
			if i != len(wanted) {
				t.Fatalf("sort %q, %+v: %d rows, want %d", c.sort, w, i, len(wanted))
			}
		}
	}
	rows := 0
	for row, err := range (Query{Columns: []string{"run_id"}, Offset: 99_990}).Rows(t.Context(), Source{Index: f}) {
		if err != nil || row.Fresh != -1 {
			t.Fatal(row, err)
		}
		rows++
	}
	if rows != n-99_990 {
		t.Errorf("%d rows after the first 99990", rows)
	}
	for range (Query{}).Rows(t.Context(), src) {
		break // nothing goes on after that: the race detector and goroutines that write would tell
	}
	if got, more, err := src.Distinct(t.Context(), "stage", 1); err != nil || !more || len(got) != 1 {
		t.Errorf("Distinct: %q, %v, %v", got, more, err)
	}
}

// TestSortKinds: values of all types in one column, in both directions.
func TestSortKinds(t *testing.T) {
	src := Source{Index: indexOf(t, `{"run_id":"int","stage":"T","v":7}
{"run_id":"text","stage":"T","v":"a"}
{"run_id":"null","stage":"T","v":null}
{"run_id":"double","stage":"T","v":7.5}
{"run_id":"true","stage":"T","v":true}
{"run_id":"large","stage":"T","v":123456789012345678901234567890}
{"run_id":"list","stage":"T","v":[1]}
{"run_id":"Text","stage":"T","v":"A"}
{"run_id":"false","stage":"T","v":false}
{"run_id":"huge","stage":"T","v":-1e400}`)}
	for sort, want := range map[string]string{
		"v":          "huge int double large Text text false true list null",
		"-v":         "large double int huge text Text true false list null",
		"-v,-run_id": "large double int huge text Text true false list null",
		"run_id":     "Text double false huge int large list null text true",
	} {
		orders, err := ParseOrder(sort)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for row, err := range (Query{Columns: []string{"run_id"}, Sort: orders}).Rows(t.Context(), src) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, row.Cells[0].Text())
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %s, want %s", sort, strings.Join(got, " "), want)
		}
	}
}

// TestCells: what is shown is what was written.
func TestCells(t *testing.T) {
	src := Source{Index: indexOf(t, `{"run_id":"a","stage":"T","timestamp":"2026-01-31T12:00:00+01:00","record_id":"x","metrics":{"m":0.710,"n":25000.0,"s":1e-7},"k":"text","list":[1, 2],"ok":true,"i":12}
{"run_id":"b","stage":"T","metrics":{"m":"failed","n":9007199254740993},"k":1.50,"list":"\ud800","i":1.0}
{"run_id":"c","stage":"T","k":true,"metrics":{"m":-0.0},"params":{"x":""}}`)}
	columns := []string{"run_id", "stage", "cohort_id", "snapshot_seq", "timestamp", "record_id", "metrics.m", "metrics.n", "metrics.s", "k", "list", "ok", "i", "params.x"}
	var got []string
	for row, err := range (Query{Columns: columns}).Rows(t.Context(), src) {
		if err != nil {
			t.Fatal(err)
		}
		var texts, tokens []string
		for _, c := range row.Cells {
			texts, tokens = append(texts, c.Text()), append(tokens, string(c.JSON()))
			if !jsonscan.Valid(c.JSON()) {
				t.Errorf("%s is no JSON", c.JSON())
			}
		}
		got = append(got, strings.Join(texts, "|"), strings.Join(tokens, " "))
	}
	want := []string{
		`a|T|churn_eu|1|2026-01-31T11:00:00.000000Z|x|0.71|25000|1e-07|text|[1, 2]|true|12|`,
		`"a" "T" "churn_eu" 1 "2026-01-31T11:00:00.000000Z" "x" 0.71 25000 1e-07 "text" [1, 2] true 12 null`,
		`b|T|churn_eu|2||id-2|failed|9007199254740993||1.50|` + "\ufffd" + `||1|`,
		`"b" "T" "churn_eu" 2 null "id-2" "failed" 9007199254740993 null 1.50 "\ud800" null 1 null`,
		`c|T|churn_eu|3||id-3|-0|||true||||`,
		`"c" "T" "churn_eu" 3 null "id-3" -0 null null true null null null ""`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestLists: the names of --columns and --sort.
func TestLists(t *testing.T) {
	for text, want := range map[string]string{
		"a,b":                      "[a b]",
		"stage, record_id":         "[stage record_id]",
		`"a,b",metrics.*`:          "[a,b metrics.*]",
		`"say ""hi""" , x y,7,and`: `[say "hi" x y 7 and]`,
		"":                         "the name of a column is missing",
		"a,":                       "the name of a column is missing (at character 3)",
		",a":                       "the name of a column is missing (at character 1)",
		`a"b"`:                     "a quote belongs around the whole name (at character 2)",
		`"a"b`:                     "names have a comma between them; a name with other characters stands in double quotes (at character 4)",
		`"a`:                       `the name that begins here has no " at its end (at character 1)`,
		`""`:                       "a name is empty (at character 1)",
		"-a":                       "a - before a name is for sorting (at character 1)",
	} {
		columns, err := ParseColumns(text)
		got := fmt.Sprint(columns)
		if err != nil {
			got, _, _ = strings.Cut(err.Error(), "\n")
		}
		if got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	if got, err := ParseOrder(`-metrics.auc, +b,"-c"`); err != nil || fmt.Sprint(got) != "[{metrics.auc true} {b false} {-c false}]" {
		t.Errorf("%v, %v", got, err)
	}
	for _, name := range []string{"metrics.auc", "and", "a b", `"`, "7", "größe", "a,b"} {
		if got, err := ParseColumns(SpellName(name)); err != nil || len(got) != 1 || got[0] != name {
			t.Errorf("%s is spelled %s, and read as %q, %v", name, SpellName(name), got, err)
		}
	}
}

// TestHintsOfLists: nothing is equal to a list.
func TestHintsOfLists(t *testing.T) {
	f := indexOf(t, `{"run_id":"a","stage":"T","layers":[1],"mixed":[1]}
{"run_id":"b","stage":"T","layers":{"n":1}}`)
	for text, want := range map[string]string{
		"layers = '[1]'":     "[layers has lists and objects, and no row has a value there that can be compared with '[1]']",
		"mixed like '%1%'":   "[mixed has lists, and no row has a value there that can be compared with '%1%']",
		"layers is not null": "[]",
	} {
		e, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Hints(t.Context(), e, f); err != nil || fmt.Sprint(got) != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
}

// TestNames: names that nothing has, and those that end with *.
func TestNames(t *testing.T) {
	src := Source{Index: indexOf(t, `{"run_id":"a","stage":"T","metrics":{"auc":1,"acc":2},"list":[1]}`)}
	rec, err := cohort.ParseRecord([]byte(`{"run_id":"b","stage":"T","metrics":{"new":3}}`), 0)
	if err != nil {
		t.Fatal(err)
	}
	src.Schema = src.Index.Schema()
	src.Fresh = []index.Typed{index.NewTyper(src.Schema).Row(index.Put{Key: "b:T", Seq: 2}, rec)}
	e, err := Parse("metrics.new = 3")
	if err != nil {
		t.Fatal(err)
	}
	for row, err := range (Query{Where: e, Columns: []string{"metrics.new", "list"}}).Rows(t.Context(), src) {
		if err != nil || row.Cells[0].Text() != "3" || !row.Cells[1].IsNull() {
			t.Errorf("%v, %v", row, err)
		}
	}
	var unknown *NameError
	for _, err := range (Query{Sort: []Order{{Column: "auc"}}}).Rows(t.Context(), src) {
		if !errors.As(err, &unknown) || err.Error() != `no column and no row has the name "auc": did you mean metrics.acc or metrics.auc?` && err.Error() != `no column and no row has the name "auc": did you mean metrics.auc or metrics.acc?` {
			t.Errorf("%v", err)
		}
	}
	for _, err := range (Query{Columns: []string{"metrics.acu"}}).Rows(t.Context(), Source{}) {
		t.Errorf("of no rows: %v", err)
	}
	for want, of := range map[string][]string{
		"[metrics.auc metrics.acc metrics.new]":                                                    {"metrics.*"},
		"[metrics.acc metrics.auc metrics.new run_id]":                                             {"metrics.acc", "metrics.*", "run_id"},
		"[run_id stage cohort_id snapshot_seq timestamp record_id metrics.auc metrics.acc _extra]": {"*"},
		"[list]":        {"li*"},
		"[metrics.new]": {"metrics.n*"},
	} {
		if got, err := src.Expand(t.Context(), of); err != nil || fmt.Sprint(got) != want {
			t.Errorf("%q: %v, %v", of, got, err)
		}
	}
	if _, err := src.Expand(t.Context(), []string{"params.*"}); !errors.As(err, &unknown) {
		t.Errorf("%v", err)
	}
	for _, err := range (Query{Sort: []Order{{Column: "metrics.auc DESC"}}}).Rows(t.Context(), src) {
		if err == nil || !strings.HasSuffix(err.Error(), "to sort descending write -metrics.auc") {
			t.Errorf("%v", err)
		}
	}
	for _, err := range (Query{Columns: []string{"*.auc"}}).Rows(t.Context(), src) {
		if !errors.As(err, &unknown) || !strings.Contains(err.Error(), "is the last one of a name") {
			t.Errorf("%v", err)
		}
	}
	if got, err := (Source{}).Expand(t.Context(), []string{"run_id", "metrics.*"}); err != nil || fmt.Sprint(got) != "[run_id]" {
		t.Errorf("of no rows: %v, %v", got, err)
	}
}

// TestTextBytes cuts what is long, whatever it is, and no key.
func TestTextBytes(t *testing.T) {
	long := strings.Repeat("long ", 20)
	f := indexOf(t, `{"run_id":"`+long+`","stage":"S","text":"`+long+`","list":["`+long+`"],"params":{"n":1234567890123456789},"metrics":{"m":"`+long+`\\n"}}`)
	q := Query{Columns: []string{"run_id", "text", "list", "metrics.m", "_extra", "params.n", "_key"}, TextBytes: 12}
	for row, err := range q.Rows(t.Context(), Source{Index: f}) {
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range row.Cells {
			if text := c.Text(); !json.Valid(c.JSON()) {
				t.Errorf("%q has no JSON", text)
			}
			got = append(got, c.Text())
		}
		if want := []string{long[:12], long[:12], `["long long `, long[:12], `{"list":["lo`, "1234567890123456789", long + ":S"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
