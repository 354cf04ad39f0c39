package cohort_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
)

// FuzzParseRecord: whatever comes in, there is no panic, and what is accepted is one line of JSON
// that reads back as itself and whose members are those that encoding/json sees.
func FuzzParseRecord(f *testing.F) {
	for _, seed := range []string{
		with(`"metrics":{"auc":0.71,"n":25000.0},"tags":null`),
		"\ufeff" + with(`"x":[NaN,-Infinity,"NaN"]`),
		"{\r\n\"run\\u005fid\":\"\\ud83d\\ude00\",\n \"phase\" : \"S\" , \"x\":{\"a\":[]} }",
		`{"a":1,"a":"\"}","":[],"timestamp":"2026-03-01T12:00:00Z"}`,
		utf16Bytes(with(`"x":1`), false, true),
		`{"run_id":"\ud800"}`,
		nested(20),
		`[]`,
		`"`,
		`{"\`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		r, err := cohort.ParseRecord(data, 1<<20)
		if !bytes.Equal(data, before) {
			t.Errorf("ParseRecord(%q) changes the data to %q", before, data)
		}
		if err != nil {
			if diff := cmp.Diff(cohort.Record{}, r, fields); diff != "" {
				t.Errorf("ParseRecord(%q) with an error (-want +got):\n%s", data, diff)
			}
			return
		}
		if !json.Valid(r.JSON) || bytes.ContainsAny(r.JSON, "\r\n") {
			t.Errorf("ParseRecord(%q).JSON = %q, want one line of JSON", data, r.JSON)
		}
		compareMembers(t, r)
		again, err := cohort.ParseRecord(r.JSON, 1<<20)
		again.NonFinite = r.NonFinite
		if diff := cmp.Diff(r, again, fields); diff != "" || err != nil {
			t.Errorf("ParseRecord(%q): %v (-first +again):\n%s", r.JSON, err, diff)
		}
		if r.Validate() == nil && r.Timestamp != "" {
			text := strings.ToUpper(strings.Replace(r.Timestamp, ":60", ":59", 1)) // what time.Parse does not know
			if _, err := time.Parse(time.RFC3339Nano, text); err != nil {
				t.Errorf("Validate accepts the timestamp %q: %v", r.Timestamp, err)
			}
		}
	})
}

// compareMembers compares the members of a record with what encoding/json makes of the same object.
func compareMembers(t testing.TB, r cohort.Record) {
	t.Helper()
	var want map[string]json.RawMessage
	if err := json.Unmarshal(r.JSON, &want); err != nil {
		t.Fatalf("Unmarshal(%q): %v", r.JSON, err)
	}
	got := make(map[string]json.RawMessage)
	for name, value := range r.Members {
		got[string(name)] = value
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Members of %q (-want +got):\n%s", r.JSON, diff)
	}
}
