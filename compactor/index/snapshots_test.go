package index

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
)

func TestSnapshotLine(t *testing.T) {
	const own = `"run_id":"r","stage":"T","timestamp":"2023-11-14T22:13:20.000000Z","snapshot_seq":1`
	for _, tt := range []struct{ name, record, want string }{
		{"nothing", `{"run_id":"r","stage":"T"}`, `"r:T":{` + own + `}`},
		{"whole record", `{"a":25000, "run_id":"r","b":25000.0 ,"stage":"T","c":1E5,"record_id":"x"}`,
			`"r:T":{` + own + `,"a":25000,"b":25000.0,"c":1E5,"record_id":"x"}`},
		{"snapshot", `{"run_id":"r","stage":"T","a":1,"snapshot":{ "n" : 1.50, "run_id":"other","timestamp":0,"stage":[],"snapshot_seq":9,"x":{"y":[1, 2]}}}`,
			`"r:T":{` + own + `,"n" : 1.50,"x":{"y":[1, 2]}}`},
		{"snapshot scalar", `{"run_id":"r","stage":"T","snapshot":"s"}`, `"r:T":{` + own + `,"snapshot":"s"}`},
		{"last snapshot counts", `{"snapshot":{"a":1},"run_id":"r","stage":"T","snapshot":{"a":2}}`, `"r:T":{` + own + `,"a":2}`},
		{"phase stays", `{"run_id":"r","phase":"T"}`, `"r:T":{` + own + `,"phase":"T"}`},
		{"names keep their bytes", `{"run_id":"r","stage":"T","\u00e9\ud800":"\u00e9","日\"":"\\","r\u0075n_id":"r"}`,
			`"r:T":{` + own + `,"\u00e9\ud800":"\u00e9","日\"":"\\"}`},
		{"keys are quoted", `{"run_id":"a\"b\\\u2028:<c>","stage":"T"}`,
			`"a\"b\\\u2028:<c>:T":{"run_id":"a\"b\\\u2028:<c>","stage":"T","timestamp":"2023-11-14T22:13:20.000000Z","snapshot_seq":1}`},
		{"timestamp as given", `{"run_id":"r","stage":"T","timestamp":"2026-01-31T12:00:00.10+01:00"}`,
			`"r:T":{"run_id":"r","stage":"T","timestamp":"2026-01-31T12:00:00.10+01:00","snapshot_seq":1}`},
	} {
		p := puts(1, record(t, tt.record))
		want := "{\n" + tt.want + "\n}\n"
		got := snapshots(t, nil, p, nil)
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
		for s, err := range Snapshots(bytes.NewReader(got)) {
			if err != nil || s.Key != p[0].Key || s.Seq != 1 {
				t.Errorf("%s: read back as %q %d, %v", tt.name, s.Key, s.Seq, err)
			}
		}
		if again := snapshots(t, got, nil, nil); !bytes.Equal(again, got) {
			t.Errorf("%s: another merge changes it to %s", tt.name, again)
		}
	}
}

func TestSnapshotsReplace(t *testing.T) {
	a := puts(1, runRecord(t, 1, ""), runRecord(t, 2, ""), runRecord(t, 3, ""))
	old := snapshots(t, nil, a, nil)
	none := snapshots(t, old, nil, map[cohort.Key]cohort.Seq{a[0].Key: 1, a[1].Key: 2, a[2].Key: 3})
	if string(none) != "{\n}\n" || string(snapshots(t, nil, nil, nil)) != "{\n}\n" {
		t.Errorf("empty snapshots are %q", none)
	}
	if got := snapshots(t, none, a, nil); !bytes.Equal(got, old) {
		t.Errorf("snapshots made of empty ones are %s", got)
	}
	for i := range a {
		got := snapshots(t, old, nil, map[cohort.Key]cohort.Seq{a[i].Key: 1})
		if n := bytes.Count(got, []byte("\n")); n != 4 || bytes.Contains(got, []byte(a[i].Key)) {
			t.Errorf("without %s: %s", a[i].Key, got)
		}
	}
}

func TestSnapshotsLongLines(t *testing.T) {
	long := runRecord(t, 2, `,"blob":"`+strings.Repeat("x", 15<<20)+`"`)
	old := snapshots(t, nil, puts(1, runRecord(t, 1, ""), long, runRecord(t, 3, "")), nil)
	got := snapshots(t, old, puts(4, long), map[cohort.Key]cohort.Seq{"r2:TRAINING": 2})
	text := func(b []byte) string { return strings.ReplaceAll(string(b), " ", "") } // the line after the long one begins a section
	if len(text(got)) != len(text(old)) {
		t.Errorf("snapshots of %d bytes became %d", len(old), len(got))
	}
}

func TestSnapshotsDamage(t *testing.T) {
	old := snapshots(t, nil, puts(1, runRecord(t, 1, `,"a":[1]`), runRecord(t, 2, "")), nil)
	read := func(data []byte) (n int, err error) {
		for _, err := range Snapshots(bytes.NewReader(data)) {
			if err != nil {
				return n, err
			}
			n++
		}
		return n, nil
	}
	for n := range len(old) {
		if _, err := read(old[:n]); !errors.Is(err, ErrDamaged) {
			t.Errorf("snapshots cut at %d: %v", n, err)
		}
		if _, err := MergeSnapshots(new(bytes.Buffer), oldSnapshots(old[:n]), nil, nil, nil); !errors.Is(err, ErrDamaged) {
			t.Errorf("merge of snapshots cut at %d: %v", n, err)
		}
	}
	text := string(old)
	for _, bad := range []string{
		text + "\n", text + "{", strings.Replace(text, "},\n", "}\n", 1), strings.Replace(text, "}\n}", "},\n}", 1),
		strings.Replace(text, `_seq":2`, `_seq":1`, 1), strings.Replace(text, `_seq":2`, `_seq":02`, 1), strings.Replace(text, `_seq":2`, `_seq":0`, 1),
		strings.Replace(text, `"r1:`, `"\u00721:`, 1), strings.Replace(text, `"a":[1]`, `"a":[`, 1), "{}\n", "", "[\n]\n",
		strings.ReplaceAll(text, "\n", "\r\n"), strings.Replace(text, `"stage"`, ` "stage"`, 1), "{\n\n}\n", "{\n,\n}\n",
	} {
		if _, err := read([]byte(bad)); !errors.Is(err, ErrDamaged) {
			t.Errorf("snapshots %q: %v", bad, err)
		}
	}
	_, err := MergeSnapshots(new(bytes.Buffer), &OldSnapshots{R: failingAfter(old, 0), Size: int64(len(old))}, nil, nil, nil)
	if !errors.Is(err, errDisk) || errors.Is(err, ErrDamaged) {
		t.Errorf("reading fails: %v", err)
	}
	_, err = MergeSnapshots(&failingWriter{50}, oldSnapshots(old), nil, nil, nil)
	if !errors.Is(err, errDisk) {
		t.Errorf("writing fails: %v", err)
	}
	if _, err := MergeSnapshots(new(bytes.Buffer), oldSnapshots(old), puts(2, runRecord(t, 9, "")), nil, nil); err == nil {
		t.Error("a seq that is taken is accepted")
	}
}

// TestCopyOfDamage: what is copied as bytes must at least have the frame of a file of ours, and its length.
func TestCopyOfDamage(t *testing.T) {
	old := snapshots(t, nil, puts(1, runRecord(t, 1, `,"a":[1]`), runRecord(t, 2, "")), nil)
	for _, replaced := range []map[cohort.Key]cohort.Seq{nil, {"r1:TRAINING": 1}} {
		for n := range len(old) {
			from := &OldSnapshots{R: bytes.NewReader(old[:n]), Size: int64(len(old)), Next: 3}
			if _, err := MergeSnapshots(new(bytes.Buffer), from, nil, nil, replaced); err == nil {
				t.Errorf("cut at %d, %d replaced: no error", n, len(replaced))
			}
		}
		for _, bad := range []string{"[" + string(old[1:]), string(old[:len(old)-2]) + "]\n"} {
			from := &OldSnapshots{R: strings.NewReader(bad), Size: int64(len(bad)), Next: 3}
			if _, err := MergeSnapshots(new(bytes.Buffer), from, nil, nil, replaced); !errors.Is(err, ErrDamaged) {
				t.Errorf("%q, %d replaced: %v", bad, len(replaced), err)
			}
		}
	}
}

type failingReader struct {
	data []byte
	left int
}

func (r *failingReader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, errDisk
	}
	n := copy(p[:min(len(p), r.left)], r.data)
	r.data, r.left = r.data[n:], r.left-n
	return n, nil
}

// TestVectors reads the vectors of docs/format/snapshots.md: a record on one line, "=>", and the line that it becomes as the put
// with seq 1. It was appended at 2023-11-14T22:13:20Z, or "=> nobody knows when".
func TestVectors(t *testing.T) {
	page, err := os.ReadFile("../../docs/format/snapshots.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, block := range strings.Split(string(page), "```vector\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		in, rest, ok := strings.Cut(block, "\n=>")
		when, want, more := strings.Cut(rest, "\n")
		if !ok || !more || when != "" && when != " nobody knows when" {
			t.Fatalf("vector %q has no =>", block)
		}
		p := puts(1, record(t, in))[0]
		if when != "" {
			p.Record.Written = time.Time{}
		}
		got := appendSnapshotLine(nil, p, *p.Record)
		if string(got) != strings.TrimSpace(want) {
			t.Errorf("vector %s\n got %s\nwant %s", in, got, want)
		}
		n++
	}
	if n == 0 {
		t.Error("docs/format/snapshots.md has no vectors")
	}
}

// FuzzSnapshots: what Snapshots accepts, MergeSnapshots copies byte for byte.
func FuzzSnapshots(f *testing.F) {
	f.Add(snapshots(f, nil, puts(1, runRecord(f, 1, `,"a":[1]`), runRecord(f, 2, "")), nil))
	f.Add([]byte("{\n}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, err := range Snapshots(bytes.NewReader(data)) {
			if err != nil {
				return
			}
		}
		var out bytes.Buffer
		if _, err := MergeSnapshots(&out, oldSnapshots(data), nil, nil, nil); err != nil {
			t.Fatalf("MergeSnapshots of %q: %v", data, err)
		}
		if !bytes.Equal(out.Bytes(), data) {
			t.Fatalf("MergeSnapshots makes %q of %q", out.Bytes(), data)
		}
		copied(t, data, nil, nil, data)
		copied(t, data, nil, map[cohort.Key]cohort.Seq{"of nobody": 1}, data)
	})
}

func TestForeignSnapshots(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"ours", "{\n\"a:b\":{\"x\":1},\n\"c:d\":{}\n}\n", `a:b={"x":1} 0;c:d={} 0;`},
		{"empty", " { } ", ``},
		{"pretty", "\xef\xbb\xbf{\r\n  \"a\" : {\n    \"x\" : [ 1.50,\n 2 ],\t\"s\":\"a  b\"\n  }\n}", `a={ "x" : [ 1.50, 2 ], "s":"a  b" } 0;`},
		{"not finite", `{"a":{"x":NaN,"y":[-Infinity,Infinity],"s":"NaN"},"b":NaN}`, `a={"x":null,"y":[null,null],"s":"NaN"} 3;b=null 1;`},
		{"escapes", `{"a\u0062\"\\":{"x":"}\"]\\"}}`, `ab"\={"x":"}\"]\\"} 0;`},
		{"any value", `{"a":1,"b":"x","c":[],"d":true}`, `a=1 0;b="x" 0;c=[] 0;d=true 0;`},
		{"twice", `{"a":1,"a":2}`, `a=1 0;a=2 0;`},
		{"nothing", ``, `!`}, {"more", `{} []`, `!`}, {"array", `[]`, `?`}, {"lines", "{\"a\":1}\n{\"a\":2}\n", `a=1 0;?`},
		{"CSV", "run_id,phase\nr,S\n", `?`}, {"gzip", "\x1f\x8b\x08\x00", `?`}, {"parquet", "PAR1....PAR1", `?`}, {"number", "7", `?`},
		{"cut", `{"a":{"x":1`, `!`},
		{"cut behind", `{"a":{"x":1}`, `a={"x":1} 0;!`}, {"comma", `{"a":1,}`, `a=1 0;!`}, {"no comma", `{"a":1 "b":2}`, `a=1 0;!`},
		{"joined by space", `{"a":[1 2]}`, `!`}, {"bad number", `{"a":01}`, `!`}, {"bad word", `{"a":nan}`, `!`},
		{"bad brackets", `{"a":[}]}`, `!`}, {"no colon", `{"a" 1}`, `!`}, {"no name", `{a:1}`, `!`}, {"no value", `{"a":}`, `!`},
	} {
		var got strings.Builder
		for s, err := range ForeignSnapshots(strings.NewReader(tt.in)) {
			if err != nil {
				if errors.Is(err, ErrDamaged) == errors.Is(err, ErrUnsupported) {
					t.Errorf("%s: %v", tt.name, err)
				}
				if errors.Is(err, ErrUnsupported) {
					got.WriteString("?")
				} else {
					got.WriteString("!")
				}
				continue
			}
			fmt.Fprintf(&got, "%s=%s %d;", s.Key, s.Value, s.NonFinite)
		}
		if got.String() != tt.want {
			t.Errorf("%s: ForeignSnapshots of %s is %s, want %s", tt.name, tt.in, got.String(), tt.want)
		}
	}
	for _, err := range ForeignSnapshots(&failingReader{[]byte(`{"a":{"x":1},"b":2}`), 9}) {
		if !errors.Is(err, errDisk) || errors.Is(err, ErrDamaged) {
			t.Errorf("reading fails: %v", err)
		}
	}
}

func FuzzForeignSnapshots(f *testing.F) {
	f.Add([]byte(`{"a":{"x":NaN,"y":[-Infinity,Infinity]},"b" : "s"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for s, err := range ForeignSnapshots(bytes.NewReader(data)) {
			if err == nil && len(s.Value) == 0 {
				t.Fatalf("empty value in %q", data)
			}
		}
	})
}
