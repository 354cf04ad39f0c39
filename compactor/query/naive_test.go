package query

import (
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// The evaluator of this file is another one than that of the package: it takes rows as the JSON that people see, has no idea of
// columns, makes fractions of numbers and regular expressions of patterns, and looks at every row.

// naive is an expression: one of its forms.
type naive struct {
	text string
	of   func(naiveRow) *bool // nil is NULL
}

// naiveRow has the values of each name.
type naiveRow map[string][]any

func parseNaive(t testing.TB, line []byte) naiveRow {
	t.Helper()
	row := naiveRow{}
	var walk func(data []byte, top bool)
	walk = func(data []byte, top bool) {
		d := json.NewDecoder(strings.NewReader(string(data)))
		d.UseNumber()
		if _, err := d.Token(); err != nil {
			t.Fatal(err)
		}
		for d.More() {
			key, err := d.Token()
			if err != nil {
				t.Fatal(err)
			}
			var raw json.RawMessage
			if err := d.Decode(&raw); err != nil {
				t.Fatal(err)
			}
			if name := key.(string); name == "_extra" && top {
				walk(raw, false)
			} else {
				var v any
				n := json.NewDecoder(strings.NewReader(string(raw)))
				n.UseNumber()
				if err := n.Decode(&v); err != nil {
					t.Fatal(err)
				}
				row[name] = append(row[name], v)
			}
		}
	}
	walk(line, true)
	return row
}

func truthValue(b bool) *bool { return &b }

// some is SQL's "or" of a test over the values of a name, without the ones that cannot be tested.
func (r naiveRow) some(name string, test func(any) *bool) *bool {
	var t *bool
	for _, v := range r[name] {
		if is := test(v); is != nil && (t == nil || *is) {
			t = is
		}
	}
	return t
}

// compareNaive is the sign of v minus a literal, nil if they are of different types.
func compareNaive(name string, v, literal any) *int {
	sign := func(c int) *int { return &c }
	switch l := literal.(type) {
	case string:
		s, ok := v.(string)
		if ok && name == "timestamp" {
			a, errA := time.Parse(time.RFC3339Nano, s)
			b, errB := time.Parse(time.RFC3339Nano, l)
			if errA != nil || errB != nil {
				panic(fmt.Sprint(s, l))
			}
			return sign(a.Compare(b.Truncate(time.Microsecond)))
		}
		if ok {
			return sign(strings.Compare(s, l))
		}
	case bool:
		if b, ok := v.(bool); ok && b == l {
			return sign(0)
		} else if ok {
			return sign(1)
		}
	case json.Number:
		if n, ok := v.(json.Number); ok {
			return sign(fraction(n, isDouble(n)).Cmp(fraction(l, isDouble(n) && isDouble(l)))) // a literal is rounded for doubles only
		}
	}
	return nil
}

// fraction is a number, or the nearest double.
func fraction(n json.Number, double bool) *big.Rat {
	if double {
		f, _ := n.Float64()
		return new(big.Rat).SetFloat64(f)
	}
	exact, ok := new(big.Rat).SetString(string(n))
	if !ok {
		panic(n)
	}
	return exact
}

// isDouble tells whether a number is spelled as a double, and not too large for one.
func isDouble(n json.Number) bool {
	_, err := n.Float64()
	return err == nil && strings.ContainsAny(string(n), ".eE")
}

// literals and names of random expressions, among which are those of the random records.
var (
	naiveNumbers = []json.Number{"0", "-0.0", "1", "2", "-1", "0.5", "1e2", "100", "2.5", "9007199254740992", "9007199254740993", "9007199254740993.0", "-9223372036854775808",
		"9223372036854775807", "9223372036854775808", "1e19", "1e300", "123456789012345678901"}
	naiveTexts = []string{"", "a", "ab", "abc", "b", "it's", "größe", "1", "2.5", "true", "r1", "r3", "TRAINING", "x_y", "x%y", "zz"}
	naiveTimes = []string{"2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000001Z", "2026-01-31T14:00:00+02:00", "2025-12-31T23:59:59.999999999Z", "2027-01-01T00:00:00Z"}
	naiveNames = []string{"run_id", "phase", "timestamp", "snapshot_seq", "metrics.auc", "params.lr", "tags.t", "s", "n", "ok", "list"}
)

func pick[T any](r *rand.Rand, of []T) T { return of[r.IntN(len(of))] }

// randomNaive makes an expression and its meaning.
func randomNaive(r *rand.Rand, depth int) naive {
	if depth == 0 || r.IntN(3) == 0 {
		return randomTest(r)
	}
	a := randomNaive(r, depth-1)
	if r.IntN(4) == 0 {
		return naive{word(r, "not") + "(" + a.text + ")", func(row naiveRow) *bool {
			if is := a.of(row); is != nil {
				return truthValue(!*is)
			}
			return nil
		}}
	}
	b := randomNaive(r, depth-1)
	decides := r.IntN(2) == 0 // what one part alone decides: true for or
	joined := map[bool]string{true: "or", false: "and"}[decides]
	return naive{"(" + a.text + ")" + word(r, joined) + "(" + b.text + ")", func(row naiveRow) *bool {
		x, y := a.of(row), b.of(row)
		switch {
		case x != nil && *x == decides, y != nil && *y == decides:
			return truthValue(decides)
		case x == nil || y == nil:
			return nil
		}
		return truthValue(!decides)
	}}
}

// word is a word in any letters, with space around it.
func word(r *rand.Rand, s string) string {
	return " " + pick(r, []string{s, strings.ToUpper(s), strings.ToUpper(s[:1]) + s[1:]}) + pick(r, []string{" ", "\t ", "\n"})
}

func randomTest(r *rand.Rand) naive {
	name := pick(r, naiveNames)
	shown := name
	if r.IntN(4) == 0 {
		shown = `"` + name + `"`
	} else if name == "phase" {
		shown = "stage"
	}
	switch r.IntN(6) {
	case 0:
		not := r.IntN(2) == 0
		return naive{shown + word(r, "is") + map[bool]string{true: word(r, "not")}[not] + word(r, "null"), func(row naiveRow) *bool {
			return truthValue((len(row[name]) == 0) != not)
		}}
	case 1:
		if name != "timestamp" && name != "snapshot_seq" {
			return randomLike(r, name, shown)
		}
	case 2:
		return randomIn(r, name, shown)
	}
	l := randomLiteral(r, name)
	op := pick(r, []string{"=", "==", "!=", "<>", "<", "<=", ">", ">="})
	if _, ok := l.(bool); ok {
		op = pick(r, []string{"=", "!="})
	}
	return naive{shown + pick(r, []string{"", " "}) + op + pick(r, []string{"", " "}) + spell(l), func(row naiveRow) *bool {
		is := row.some(name, func(v any) *bool {
			c := compareNaive(name, v, l)
			if c == nil {
				return nil
			}
			holds := map[string]bool{"=": *c == 0, "==": *c == 0, "!=": *c == 0, "<>": *c == 0, "<": *c < 0, "<=": *c <= 0, ">": *c > 0, ">=": *c >= 0}[op]
			return &holds
		})
		if is != nil && (op == "!=" || op == "<>") {
			return truthValue(!*is)
		}
		return is
	}}
}

func randomLiteral(r *rand.Rand, name string) any {
	switch {
	case name == "timestamp":
		return pick(r, naiveTimes)
	case name == "snapshot_seq":
		return pick(r, naiveNumbers)
	case name == "run_id" || name == "phase" || r.IntN(2) == 0:
		return pick(r, naiveTexts)
	case r.IntN(5) == 0:
		return r.IntN(2) == 0
	}
	return pick(r, naiveNumbers)
}

func spell(l any) string {
	if s, ok := l.(string); ok {
		return "'" + strings.ReplaceAll(s, "'", "''") + "'"
	}
	return fmt.Sprint(l)
}

func randomIn(r *rand.Rand, name, shown string) naive {
	var list []any
	var texts []string
	for range 1 + r.IntN(4) {
		l := randomLiteral(r, name)
		list, texts = append(list, l), append(texts, spell(l))
	}
	return naive{shown + word(r, "in") + "(" + strings.Join(texts, " ,") + ")", func(row naiveRow) *bool {
		return row.some(name, func(v any) *bool {
			var t *bool
			for _, l := range list {
				if c := compareNaive(name, v, l); c != nil && (t == nil || *c == 0) {
					t = truthValue(*c == 0)
				}
			}
			return t
		})
	}}
}

func randomLike(r *rand.Rand, name, shown string) naive {
	var pattern, expression strings.Builder
	for range r.IntN(5) {
		switch c := pick(r, []string{"%", "%", "_", "a", "b", "1", "x", "ö", "T", "$_", "$%"}); c {
		case "%":
			pattern.WriteString(c)
			expression.WriteString(`(?s:.*)`)
		case "_":
			pattern.WriteString(c)
			expression.WriteString(`(?s:.)`)
		default:
			pattern.WriteString(c)
			expression.WriteString(regexp.QuoteMeta(strings.TrimPrefix(c, "$")))
		}
	}
	is := regexp.MustCompile("^" + expression.String() + "$")
	return naive{shown + word(r, "like") + spell(pattern.String()) + word(r, "escape") + "'$'", func(row naiveRow) *bool {
		return row.some(name, func(v any) *bool {
			s, ok := v.(string)
			if !ok {
				return nil
			}
			return truthValue(is.MatchString(s))
		})
	}}
}

// randomRecords are few, so that the bounds of their row group exclude much. The first has each name.
func randomRecords(r *rand.Rand, n int) string {
	value := func() string {
		switch r.IntN(4) {
		case 0:
			data, _ := json.Marshal(pick(r, naiveTexts))
			return string(data)
		case 1:
			return pick(r, []string{"true", "false", "[1]", `{"n":1}`, "1e400", "-1e999"})
		}
		return string(pick(r, naiveNumbers))
	}
	var lines []string
	for i := range n {
		members := []string{fmt.Sprintf(`"run_id":"r%d"`, i), `"stage":"` + pick(r, []string{"TRAINING", "b"}) + `"`}
		if r.IntN(2) == 0 {
			members = append(members, `"timestamp":"`+pick(r, naiveTimes)+`"`)
		}
		some := func(s string) {
			if i == 0 || r.IntN(3) > 0 {
				members = append(members, s)
			}
		}
		if r.IntN(10) == 0 {
			some(`"metrics.auc":` + value())
		}
		some(`"metrics":{"auc":` + value() + `}`)
		some(`"params":{"lr":` + value() + `}`)
		some(`"tags":{"t":` + value() + `}`)
		some(`"s":"` + pick(r, []string{"a", "ab", "abc", "größe", "x_y"}) + `"`)
		some(`"n":` + string(pick(r, naiveNumbers)))
		some(`"ok":` + pick(r, []string{"true", "false"}))
		if i == 0 || r.IntN(8) == 0 {
			members = append(members, `"list":[1,2]`)
		}
		lines = append(lines, "{"+strings.Join(members, ",")+"}")
	}
	return strings.Join(lines, "\n")
}

// TestNaive compares what is selected with what the other evaluator selects, of random records by random expressions.
func TestNaive(t *testing.T) {
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("-seed=%d", s)
	r := rand.New(rand.NewPCG(s, 0))
	files, skipped, chosen, asked := 100, 0, 0, 0
	if testing.Short() {
		files = 30
	}
	for range files {
		records := randomRecords(r, 1+r.IntN(8))
		f := indexOf(t, records)
		var rows []naiveRow
		for line, err := range f.Rows() {
			if err != nil {
				t.Fatal(err)
			}
			rows = append(rows, parseNaive(t, line))
		}
		for range 50 {
			n := randomNaive(r, r.IntN(4))
			e, err := Parse(n.text)
			if err != nil {
				t.Fatalf("%s: %v", n.text, err)
			}
			var got, want []string
			for h, err := range Select(t.Context(), e, f) {
				if err != nil {
					t.Fatalf("%s: %v", n.text, err)
				}
				got = append(got, h.RunID)
			}
			for _, row := range rows {
				if is := n.of(row); is != nil && *is {
					want = append(want, row["run_id"][0].(string))
				}
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%s\nselects %q, want %q, of\n%s", n.text, got, want, records)
			}
			asked, chosen = asked+1, chosen+len(got)
			if len(got) == 0 && !mayMatter(t, e, f) {
				skipped++
			}
		}
	}
	t.Logf("%d expressions, %d rows selected, %d row groups passed over", asked, chosen, skipped)
	if chosen < asked/4 || skipped < asked/20 {
		t.Error("the test tests little: its expressions select few rows, or no row group is passed over")
	}
}
