package tracker

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/runfold/runfold/cohort"
)

// TestCohortOf keeps names that a cohort may have, and tells apart all others.
func TestCohortOf(t *testing.T) {
	for name, want := range map[string]string{
		"plain_name.v1":                "plain_name.v1",
		"a=b-c":                        "a=b-c",
		"My model (v2)":                "My-model-v2-503dd830",
		"My-model-(v2":                 "My-model--v2-0db4bcca",
		"../../etc/passwd":             "etc-passwd-3754d6cb",
		".hidden":                      "hidden-16924190",
		"":                             "experiment-e3b0c442",
		"größe":                        "gr-e-d353a267",
		"/Users/ann@example.org/churn": "Users-ann-example.org-churn-186e1ef6",
		"\xff\n":                       "experiment-",
		strings.Repeat("x", 200):       strings.Repeat("x", 200),
		strings.Repeat("x", 201):       strings.Repeat("x", 150) + "-",
	} {
		id, changed := CohortOf(name)
		if _, err := cohort.ParseID(string(id)); err != nil {
			t.Errorf("CohortOf(%q): %v", name, err)
		}
		if !strings.HasPrefix(string(id), want) || !strings.HasSuffix(want, "-") && string(id) != want {
			t.Errorf("CohortOf(%q) = %s, want %s", name, id, want)
		}
		if changed != (string(id) != name) {
			t.Errorf("CohortOf(%q) = %s, changed %v", name, id, changed)
		}
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0.0", 1: "1.0", -3: "-3.0", 0.1: "0.1", 1e-05: "1e-05", 1e16: "1e+16", 123456789012345680: "1.2345678901234568e+17", 5e-324: "5e-324",
		1e15: "1000000000000000.0", math.Inf(1): "", math.MaxFloat64: "1.7976931348623157e+308", math.Copysign(0, -1): "-0.0",
	} {
		if got := Number(v); got != want {
			t.Errorf("Number(%v) = %s, want %s", v, got, want)
		}
	}
	if Number(math.NaN()) != "" {
		t.Error("NaN has a token")
	}
}

func TestNumberOf(t *testing.T) {
	for text, want := range map[string]string{
		"1": "1", "0.5": "0.5", "1e-05": "1e-05", "nan": "", "inf": "", "-inf": "", "1e400": "", "+1.5": "1.5", ".5": "0.5", "12345678901234567890": "12345678901234567890",
		"x": "no", "": "no", "1 ": "no", "0x10": "no",
	} {
		token, _, ok := NumberOf(text)
		if !ok {
			token = "no"
		}
		if token != want {
			t.Errorf("NumberOf(%q) = %q, want %q", text, token, want)
		}
	}
}

func TestScalar(t *testing.T) {
	var f Fields
	for _, text := range []string{"1", "1.50", "007", "True", "1e999", " 1", "1 ", "-", "NaN", "-0", "1e5", "null", "ü"} {
		f.Scalar(text, text)
	}
	const want = `{"1":1,"1.50":1.50,"007":"007","True":"True","1e999":"1e999"," 1":" 1","1 ":"1 ","-":"-","NaN":"NaN","-0":-0,"1e5":1e5,"null":"null","ü":"ü"}`
	if got := string(f.Bytes()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestFlat(t *testing.T) {
	var f Fields
	f.Flat([]byte(`{"a":1,"b":{"c":{"d":"x"},"e":[1,{"y":2}]},"empty":{ },"skip":{"z":1}}`), func(path string, _ []byte) bool { return path == "skip" })
	if got, want := string(f.Bytes()), `{"a":1,"b.c.d":"x","b.e":[1,{"y":2}],"empty":{ }}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	deep := strings.Repeat(`{"a":`, 50) + "1" + strings.Repeat("}", 50)
	f = Fields{}
	f.Flat([]byte(deep), nil)
	if f.Len() != 1 || !strings.Contains(string(f.Bytes()), `{"a":{"a":`) {
		t.Errorf("deep: %s", f.Bytes())
	}
}

func TestFromPython(t *testing.T) {
	for text, want := range map[string]string{
		"{\"a\": NaN,\n \"b\": [Infinity, -Infinity, \"NaN\"]}": `{"a":null,"b":[null,null,"NaN"]}`,
		"\xff":                       "no",
		"{":                          "no",
		"":                           "no",
		strings.Repeat("[", 1000):    "no",
		" 12345678901234567890.10\n": "12345678901234567890.10",
	} {
		value, _, ok := FromPython([]byte(text))
		got := string(value)
		if !ok {
			got = "no"
		}
		if got != want {
			t.Errorf("FromPython(%.40q) = %s, want %s", text, got, want)
		}
	}
}

// TestSeries keeps at most so many points, whatever is added, with the first and the last.
func TestSeries(t *testing.T) {
	for _, most := range []int{0, 1, 2, 3, 10, 1000} {
		for n := range 300 {
			s := NewSeries(most)
			for i := range n {
				s.Add(Point{Step: Number(float64(i)), Value: "1"})
			}
			points := s.points(most)
			if len(points) != min(most, n) {
				t.Fatalf("%d of %d points are %d", most, n, len(points))
			}
			if len(points) > 0 && points[len(points)-1].Step != Number(float64(n-1)) || len(points) > 1 && points[0].Step != "0.0" {
				t.Fatalf("%d of %d points: %v", most, n, points)
			}
			for i := 1; i < len(points); i++ {
				if points[i].Step == points[i-1].Step {
					t.Fatalf("%d of %d points: %v stands twice", most, n, points[i])
				}
			}
		}
	}
}

func TestTime(t *testing.T) {
	berlin, err := cohort.ParseZone("Europe/Berlin")
	if err != nil {
		t.Skip(err)
	}
	for text, want := range map[string]string{
		"2026-01-31T12:00:00.5": "2026-01-31T11:00:00.5Z 1", "2026-01-31 12:00:00": "2026-01-31T11:00:00Z 1", "2026-01-31T12:00:00Z": "2026-01-31T12:00:00Z 0",
		"2026-10-25T02:30:00": "no", "yesterday": "no", "": "no",
	} {
		var r Run
		got := "no"
		if at, ok := r.Time(text, Options{Zone: berlin}); ok {
			got = at.UTC().Format(time.RFC3339Nano) + " " + string(rune('0'+r.Zoned))
		}
		if got != want {
			t.Errorf("Time(%q) = %s, want %s", text, got, want)
		}
	}
}
