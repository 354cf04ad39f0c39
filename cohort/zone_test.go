package cohort_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the tests know each zone wherever they run

	"github.com/runfold/runfold/cohort"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func ExampleRecord_AssumeZone() {
	r, err := cohort.ParseRecord([]byte(`{"run_id":"r-17", "timestamp":"2026-03-01T12:00:00.5", "stage":"TRAINING"}`), 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.Validate())

	r, err = r.AssumeZone(time.FixedZone("", 2*60*60))
	fmt.Println(string(r.JSON), err, r.Validate())
	// Output:
	// timestamp "2026-03-01T12:00:00.5" has no zone: add one, such as Z or +02:00, or use journal-append --assume-zone UTC
	// {"run_id":"r-17", "timestamp":"2026-03-01T12:00:00.5+02:00", "stage":"TRAINING"} <nil> <nil>
}

func TestAssumeZone(t *testing.T) {
	berlin, newYork, lordHowe := zone(t, "Europe/Berlin"), zone(t, "America/New_York"), zone(t, "Australia/Lord_Howe")
	tests := []struct {
		text string
		loc  *time.Location
		want string // the text, or what the error says of it
	}{
		{"2026-03-01T12:00:00", time.UTC, "2026-03-01T12:00:00Z"},
		{"2026-03-01T12:00:00.123456", time.UTC, "2026-03-01T12:00:00.123456Z"},
		{"2026-03-01t12:00:00", time.UTC, "2026-03-01t12:00:00Z"},
		{"2026-12-31T23:59:60", time.UTC, "2026-12-31T23:59:60Z"},
		{"2026-03-01T12:00:00", time.FixedZone("", 0), "2026-03-01T12:00:00+00:00"},
		{"2026-03-01T12:00:00", time.FixedZone("", 9*3600+1800), "2026-03-01T12:00:00+09:30"},
		{"2026-03-01T12:00:00", time.FixedZone("", -12*3600), "2026-03-01T12:00:00-12:00"},
		{"2026-03-01T12:00:00", time.FixedZone("", 14*3600), "2026-03-01T12:00:00+14:00"},
		{"0001-01-01T00:00:00", time.FixedZone("", 3600), "0001-01-01T00:00:00+01:00"},

		{"2026-01-01T00:00:00", berlin, "2026-01-01T00:00:00+01:00"},
		{"2026-07-01T00:00:00", berlin, "2026-07-01T00:00:00+02:00"},
		{"2026-07-01T00:00:00", newYork, "2026-07-01T00:00:00-04:00"},
		{"2026-01-01T00:00:00", zone(t, "Europe/London"), "2026-01-01T00:00:00+00:00"},
		{"2026-01-01T00:00:00", zone(t, "Asia/Kathmandu"), "2026-01-01T00:00:00+05:45"},

		{"2026-03-29T01:59:59.999", berlin, "2026-03-29T01:59:59.999+01:00"},
		{"2026-03-29T02:00:00", berlin, "never was in Europe/Berlin, where clocks went forward over it: write its offset"},
		{"2026-03-29T02:59:59.999", berlin, "never was in Europe/Berlin, where clocks went forward over it: write its offset"},
		{"2026-03-29T03:00:00", berlin, "2026-03-29T03:00:00+02:00"},
		{"2026-10-25T01:59:59.999", berlin, "2026-10-25T01:59:59.999+02:00"},
		{"2026-10-25T02:00:00", berlin, "was twice in Europe/Berlin, where clocks went back: write its offset, +02:00 or +01:00"},
		{"2026-10-25T02:59:59.999", berlin, "was twice in Europe/Berlin, where clocks went back: write its offset, +02:00 or +01:00"},
		{"2026-10-25T03:00:00", berlin, "2026-10-25T03:00:00+01:00"},
		{"2026-11-01T01:30:00", newYork, "was twice in America/New_York, where clocks went back: write its offset, -04:00 or -05:00"},
		{"2026-04-05T01:45:00", lordHowe, "was twice in Australia/Lord_Howe, where clocks went back: write its offset, +11:00 or +10:30"},
		{"2011-12-30T12:00:00", zone(t, "Pacific/Apia"), "never was in Pacific/Apia, where clocks went forward over it: write its offset"}, // a whole day
		{"1930-01-01T00:00:00", zone(t, "Europe/Amsterdam"), "had the offset +00:19:32 in Europe/Amsterdam, for which RFC 3339 has no form: write another one"},

		// These have a zone, or are nothing that needs one.
		{"2026-03-29T02:30:00Z", berlin, "2026-03-29T02:30:00Z"},
		{"2026-03-29T02:30:00z", berlin, "2026-03-29T02:30:00z"},
		{"2026-03-29T02:30:00+05:00", berlin, "2026-03-29T02:30:00+05:00"},
		{"2026-03-29 02:30:00", berlin, "2026-03-29 02:30:00"},
		{"2026-03-29", berlin, "2026-03-29"},
		{"yesterday", berlin, "yesterday"},
		{"", berlin, ""},
	}
	for _, test := range tests {
		before := mustParse(t, with(`"timestamp":"`+test.text+`","x":1`))
		r, err := before.AssumeZone(test.loc)
		if err != nil {
			if want := `timestamp "` + test.text + `" ` + test.want; err.Error() != want {
				t.Errorf("AssumeZone(%v) of %q: %q, want %q", test.loc, test.text, err, want)
			}
			continue
		}
		if want := with(`"timestamp":"` + test.want + `","x":1`); string(r.JSON) != want || r.Timestamp != test.want {
			t.Errorf("AssumeZone(%v) of %q = %s, %q, want %s", test.loc, test.text, r.JSON, r.Timestamp, want)
		}
		if !r.Unchanged() {
			t.Errorf("AssumeZone(%v) of %q is a record that has to be parsed again", test.loc, test.text)
		}
		if !before.Unchanged() {
			t.Errorf("AssumeZone(%v) of %q changes the record that it was given", test.loc, test.text)
		}
	}
}

func mustParse(t testing.TB, data string) cohort.Record {
	t.Helper()
	r, err := cohort.ParseRecord([]byte(data), 0)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestAssumeZoneKeepsBytes: what is not the timestamp that counts stays byte for byte, escapes and spaces too.
func TestAssumeZoneKeepsBytes(t *testing.T) {
	for in, want := range map[string]string{
		`{ "timestamp" : "2026-03-01T12:00:00" ,	"run_id":"r","n":1.50E3 }`:             `{ "timestamp" : "2026-03-01T12:00:00Z" ,	"run_id":"r","n":1.50E3 }`,
		`{"timestamp":"2026\u002d03-01T12:00:00"}`:                                      `{"timestamp":"2026\u002d03-01T12:00:00Z"}`,
		`{"time\u0073tamp":"2026-03-01T12:00:00"}`:                                      `{"time\u0073tamp":"2026-03-01T12:00:00Z"}`,
		`{"timestamp":"2026-03-01T12:00:0\u0030"}`:                                      `{"timestamp":"2026-03-01T12:00:0\u0030Z"}`,
		`{"timestamp":"a","timestamp":"2026-03-01T12:00:00","t":"2026-03-01T12:00:00"}`: `{"timestamp":"a","timestamp":"2026-03-01T12:00:00Z","t":"2026-03-01T12:00:00"}`,
		`{"timestamp":"2026-03-01T12:00:00","timestamp":null}`:                          `{"timestamp":"2026-03-01T12:00:00","timestamp":null}`,
		`{"tags":{"timestamp":"2026-03-01T12:00:00"}}`:                                  `{"tags":{"timestamp":"2026-03-01T12:00:00"}}`,
		`{"timestamp":null}`: `{"timestamp":null}`,
	} {
		r, err := mustParse(t, in).AssumeZone(time.UTC)
		if err != nil || string(r.JSON) != want {
			t.Errorf("AssumeZone of %s = %s, %v, want %s", in, r.JSON, err, want)
		}
		again := mustParse(t, string(r.JSON))
		if again.Timestamp != r.Timestamp {
			t.Errorf("AssumeZone of %s has the timestamp %q, and its JSON %q", in, r.Timestamp, again.Timestamp)
		}
	}
	var p cohort.Parser
	r, err := p.Parse([]byte(with(`"timestamp":"2026-03-01T12:00:00","x":1`)), 0)
	if err == nil {
		r, err = r.AssumeZone(time.UTC)
	}
	if err != nil {
		t.Fatal(err)
	}
	compareMembers(t, r) // where the members stood is not where they stand
	byHand := cohort.Record{RunID: "r", Stage: "S", Timestamp: "2026-03-01T12:00:00", JSON: []byte(`{"run_id":"r","stage":"S"}`)}
	if _, err := byHand.AssumeZone(time.UTC); err == nil || !strings.Contains(err.Error(), "use cohort.ParseRecord") {
		t.Errorf("AssumeZone of a record whose JSON has no timestamp: %v", err)
	}
}

// TestLeapSecond: second 60 is taken at the end of a month in UTC alone, and comes after the second before it and before the next one.
func TestLeapSecond(t *testing.T) {
	order := []string{
		"2016-12-31T23:59:59Z", "2016-12-31T23:59:59.999999Z", "2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z",
	}
	for i := range len(order) - 1 {
		a, b := mustRecord(t, with(`"timestamp":"`+order[i]+`"`)).Time(), mustRecord(t, with(`"timestamp":"`+order[i+1]+`"`)).Time()
		if !a.Before(b) {
			t.Errorf("%s is %s and %s is %s: not in order", order[i], a, order[i+1], b)
		}
	}
	for _, text := range []string{
		"2016-12-31T23:59:60Z", "2016-12-31t23:59:60.75z", "2017-01-01T08:59:60+09:00", "2016-12-31T18:59:60.123456789-05:00",
	} {
		r := mustRecord(t, with(`"timestamp":"`+text+`"`))
		if got, want := r.Time().UTC().Format(time.RFC3339Nano), "2016-12-31T23:59:59.999999999Z"; got != want {
			t.Errorf("Time of %q = %s, want %s", text, got, want)
		}
		if r.TimeText() != text {
			t.Errorf("TimeText of %q = %q", text, r.TimeText())
		}
	}
	for _, text := range []string{"2016-06-30T23:59:60Z", "2024-02-29T23:59:60Z"} {
		mustRecord(t, with(`"timestamp":"`+text+`"`)) // the end of any month may get one
	}
	for _, text := range []string{
		"2016-12-31T12:00:60Z", "2016-12-30T23:59:60Z", "2016-12-31T23:59:60+01:00", "2016-12-31T22:59:60Z", "2024-02-28T23:59:60Z",
	} {
		want := `timestamp "` + text + `" has second 60, which only the last minute of a month in UTC may have`
		if _, err := valid(with(`"timestamp":"` + text + `"`)); message(err) != want {
			t.Errorf("Validate with timestamp %q = %q, want %q", text, message(err), want)
		}
	}
}
