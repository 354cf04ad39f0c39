package journal

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
)

// TestVersion1 reads the root of testdata/v1, whose streams the programs of commit 0ac5a63 wrote, before records had a clock. One
// is sealed, one is that of a writer that was killed, and one has the longest id that there is. The files in read/ are
// what compactd dump of that commit said of each stream. Neither is ever written again.
func TestVersion1(t *testing.T) {
	root := cohort.Root(filepath.Join("testdata", "v1", "root"))
	want := map[string][]string{ // by cohort and how the stream ends
		"c, sealed": {
			`{"run_id":"r-1","stage":"TRAINING","timestamp":"2026-03-01T12:00:00+09:00","metrics":{"auc":0.710,"n":25000.0},"tags":{"größe":"ü"}}`,
			`{"run_id":"r-2","phase":"TRAINING","record_id":"mine","metrics":{"loss":null}}`,
			`{"run_id":"r-3","stage":"EVAL", "x" : [1, 2.50, null] }`,
			`{"run_id":"r-2","phase":"TRAINING","record_id":"mine","metrics":{"loss":null}}`,
		},
		"c, open": {
			`{"run_id":"r-4","stage":"TRAINING","n":9007199254740993}`,
			`{"run_id":"r-5","stage":"TRAINING"}`,
		},
		"d, sealed": {`{"run_id":"r-6","stage":"S","record_id":"` + strings.Repeat("k", 255) + `"}`},
	}
	got := map[string][]string{}
	for _, s := range streams(t, root) {
		then := dumpOf(t, s)
		if diff := cmp.Diff(then, entriesOf(t, root, s)); diff != "" {
			t.Errorf("entries of %v (-then +now):\n%s", s, diff)
		}
		var texts []string
		r := opened(t, root, s)
		for _, e := range then {
			if e.Kind != "record" {
				continue
			}
			rec, err := r.Next()
			if err != nil {
				t.Fatalf("%v: %v", s, err)
			}
			texts = append(texts, string(rec.JSON))
			if rec.ID != e.RecordID || rec.Stamp != e.Stamp || !rec.Written.Equal(e.Stamp.Time()) || rec.Cohort != s.Cohort || rec.Stream != s.ID {
				t.Errorf("%v: record %q, %d, written %s; then it was %q, %d", s, rec.ID, rec.Stamp, rec.Written, e.RecordID, e.Stamp)
			}
		}
		if _, err := r.Next(); err != io.EOF || r.Torn() != 0 {
			t.Errorf("%v: %v and %d torn bytes after the last record", s, err, r.Torn())
		}
		ends := "open"
		if r.Position().Sealed {
			ends = "sealed"
		}
		got[string(s.Cohort)+", "+ends] = texts
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

// dumped is a line of compactd dump.
type dumped struct {
	Offset, Size int64
	Kind         string
	Seq          uint64
	Stamp        cohort.Stamp
	RecordID     string `json:"record_id"`
	Payload      json.RawMessage
}

func dumpOf(t *testing.T, s Stream) (out []dumped) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "v1", "read", s.ID.String()+".ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(data) {
		var d dumped
		if err := json.Unmarshal(line, &d); err != nil {
			t.Fatal(err)
		}
		out = append(out, d)
	}
	return out
}

func entriesOf(t *testing.T, root cohort.Root, s Stream) (out []dumped) {
	t.Helper()
	r := opened(t, root, s)
	for {
		f, err := r.frame()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if f.version != 1 {
			t.Errorf("%v: entry %d is of version %d", s, f.seq, f.version)
		}
		var payload bytes.Buffer
		if err := json.Compact(&payload, f.payload); err != nil {
			t.Fatal(err)
		}
		out = append(out, dumped{f.at, f.size, f.kind.String(), f.seq, f.stamp, f.recordID, payload.Bytes()})
	}
}
