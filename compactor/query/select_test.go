package query

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/runfold/runfold/compactor/index"
)

// mayMatter tells whether the first row group is read.
func mayMatter(t testing.TB, e Expr, f *index.File) (may bool) {
	t.Helper()
	c := e.choice()
	look := c.Group
	c.Group = func(g index.Group) (bool, error) {
		var err error
		may, err = look(g)
		return may, err
	}
	for _, err := range f.Choose(t.Context(), c) {
		if err != nil {
			t.Fatal(err)
		}
	}
	return may
}

// TestGroups: which row groups are passed over.
func TestGroups(t *testing.T) {
	f := indexOf(t, `{"run_id":"b1","stage":"T","n":5,"metrics":{"m":0.5},"s":"kim","only":1}
{"run_id":"b7","stage":"T","n":9,"metrics":{"m":0.75},"s":"lee"}`)
	withExtra := indexOf(t, `{"run_id":"b1","stage":"T","n":5,"metrics":{"m":0.5},"s":"kim","only":1}
{"run_id":"b7","stage":"T","n":9,"metrics":{"m":0.75},"s":"lee","list":[]}`)
	for text, want := range map[string][2]bool{ // without an _extra, and with one
		"n = 5":                           {true, true},
		"n > 9":                           {false, true},
		"n >= 9":                          {true, true},
		"n < 5 or n > 9":                  {false, true},
		"not (n >= 5 and n <= 9)":         {false, true},
		"not n >= 5":                      {false, true},
		"n = 7 and metrics.m = 0.7":       {true, true},
		"n = 7 and metrics.m = 0.8":       {false, true},
		"metrics.m < 0.5":                 {false, true},
		"metrics.m != 0.5":                {true, true},
		"n = '5'":                         {false, true},
		"s = 'ki'":                        {false, true},
		"s like 'k%'":                     {true, true},
		"s like 'm%'":                     {false, true},
		"s like 'ki__'":                   {true, true},
		"s in ('a', 'z')":                 {false, true},
		"n in (1, 2, 10)":                 {false, true},
		"n is null":                       {false, true},
		"n is not null":                   {true, true},
		"only is null":                    {true, true},
		"run_id = 'b1'":                   {true, true},
		"run_id = 'b4'":                   {false, false}, // the filter knows
		"run_id in ('a1', 'b4')":          {false, false},
		"run_id in ('a1', 'b7')":          {true, true},
		"run_id != 'b4'":                  {true, true},
		"snapshot_seq > 2":                {false, false},
		"timestamp > '2026-01-31'":        {false, false},
		"timestamp is null":               {true, true},
		"cohort_id = 'churn_us'":          {false, false},
		"_digest = '0123456789abcdef'":    {true, true},
		"n > 9 or run_id = 'b1'":          {true, true},
		"n > 9 and run_id = 'b1'":         {false, true},
		"stage != 'T'":                    {false, false},
		"not stage = 'T' and n = 5":       {false, false},
		"stage = 'T' or snapshot_seq = 9": {true, true},
	} {
		e, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := [2]bool{mayMatter(t, e, f), mayMatter(t, e, withExtra)}; got != want {
			t.Errorf("%s: read %v, want %v", text, got, want)
		}
	}
}

// TestFiles: several files are one, also in what names there are; a file that is nil has no rows.
func TestFiles(t *testing.T) {
	a := indexOf(t, `{"run_id":"a","stage":"T","metrics":{"x":1}}`)
	b := indexOf(t, `{"run_id":"b","stage":"T","list":[1]}`)
	for text, want := range map[string]string{
		"metrics.x = 1":                        "a",
		"metrics.x = 1 or list is not null":    "a b",
		"metrics.x is null":                    "b",
		"metrics.x is null or list is null":    "a b",
		"metrics.x = '1' or list is not null":  "hint: metrics.x has numbers, and no row has a value there that can be compared with '1': write 1\nb",
		"run_id > 'a' and not list is null":    "b",
		"metrics.y = 1 or run_id is not null":  "no column and no row has the name \"metrics.y\": did you mean metrics.x? (at character 1)\n  metrics.y = 1 or run_id i...\n  ^",
		"snapshot_seq = 1 and stage like '_%'": "a b",
	} {
		if got := selected(t, text, nil, a, nil, b); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	if got := selected(t, "metrics.y = 1", nil, nil); got != "none" {
		t.Errorf("no file: %s", got)
	}
	from := func(f, other *index.File) string {
		e, err := Parse("list is not null")
		if err != nil {
			t.Fatal(err)
		}
		out := ""
		for h, err := range SelectFrom(t.Context(), e, f, other) {
			if err != nil {
				return "an error"
			}
			out += h.RunID
		}
		return out
	}
	if got := [...]string{from(b, a), from(a, b), from(a, nil), from(nil, b)}; got != [...]string{"b", "", "an error", ""} {
		t.Errorf("rows of one file, names of two: %q", got)
	}
	for range SelectFrom(t.Context(), Expr{}, a) {
		t.Error("the zero Expr selects a row")
	}
	for range Select(t.Context(), Expr{}, a) {
		t.Error("the zero Expr selects a row")
	}
	if hints, err := Hints(t.Context(), Expr{}, a); hints != nil || err != nil {
		t.Errorf("hints of the zero Expr: %v, %v", hints, err)
	}
}

// TestError: errors are of one type, with the place in bytes.
func TestError(t *testing.T) {
	_, err := Parse("größe = \x00")
	var e *Error
	if !errors.As(err, &e) || e.Offset != len("größe = ") {
		t.Fatalf("%#v", err)
	}
	if want := "the character '\uFFFD' means nothing here: a name with such characters stands in double quotes, and a text in single quotes (at character 9)\n  größe = \uFFFD\n          ^"; err.Error() != want {
		t.Errorf("%q\nwant\n%q", err, want)
	}
	deep := strings.Repeat("(", 100_000) + "n = 1" + strings.Repeat(")", 100_000)
	if _, err := Parse(deep); !errors.As(err, &e) || !strings.Contains(e.Message, "too deep") {
		t.Errorf("%.200v", err)
	}
	if _, err := Parse(strings.Repeat("not ", 100_000) + "n = 1"); !errors.As(err, &e) || !strings.Contains(e.Message, "too deep") {
		t.Errorf("%.200v", err)
	}
	if _, err := Parse(strings.Repeat("n = 1 or ", 100_000) + "n = 1"); err != nil {
		t.Errorf("%.200v", err)
	}
}

// TestManyTexts: a long list finds what it holds.
func TestManyTexts(t *testing.T) {
	f := indexOf(t, `{"run_id":"r7","stage":"T"}
{"run_id":"r70000","stage":"T"}`)
	var ids []string
	for i := range 20_000 {
		ids = append(ids, fmt.Sprintf("'r%d'", i))
	}
	if got := selected(t, "run_id in ("+strings.Join(ids, ",")+")", f); got != "r7" {
		t.Errorf("%.200s", got)
	}
}

// FuzzParse: no text makes a panic. What parses can be asked of rows, and parses to the same again.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"metrics.auc > 0.7 and params.lr = 0.01", "not (a in (1, 'x', true) or b not like '%_\\%' escape '\\')", `"a ""b" is not null`,
		"timestamp >= '2026-01-31T12:00:00Z'", "x = 'it''s", "a=-.5e-3", "n < 1e9999999999999999999999", "stage <> 'T' or ((n == 1))", "größe like '_%'"} {
		f.Add(text)
	}
	file := indexOf(f, `{"run_id":"r1","stage":"T","a":1,"b":"x","n":2.5,"c":true,"x":[1],"timestamp":"2026-01-31T12:00:00Z"}
{"run_id":"r2","stage":"T","a":"x","b":7,"n":1e400,"c":"true"}`)
	f.Fuzz(func(t *testing.T, text string) {
		e, err := Parse(text)
		if err != nil {
			var at *Error
			if !errors.As(err, &at) || at.Offset < 0 || at.Offset > len(text) || strings.Count(err.Error(), "\n") != 2 && strings.TrimSpace(text) != "" {
				t.Fatalf("%q: %#v", text, err)
			}
			return
		}
		again, err := Parse(e.String())
		if err != nil || !slices.Equal(again.Names(), e.Names()) {
			t.Fatalf("%q: again %v: %v", text, again.Names(), err)
		}
		for _, err := range Select(t.Context(), e, file) {
			var at *Error
			if err != nil && !errors.As(err, &at) {
				t.Fatalf("%q: %v", text, err)
			}
		}
		if _, err := Hints(t.Context(), e, file); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
	})
}
