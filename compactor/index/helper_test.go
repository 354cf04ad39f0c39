package index

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/runfold/runfold/cohort"
)

var seed = flag.Uint64("seed", 0, "seed of the random tests; 0 chooses one")

const (
	testToken  = cohort.Token("0123456789abcdef")
	testStream = cohort.StreamID("01JZZZZZZZZZZZZZZZZZZZZZZZ")
)

// meta is what the tests write into footers.
func meta(g cohort.Generation) Meta {
	return Meta{Generation: g, Token: testToken, Program: "runfold test"}
}

// record parses one record and gives it what an append would.
func record(t testing.TB, text string) cohort.Record {
	t.Helper()
	r, err := cohort.ParseRecord([]byte(text), 0)
	if err == nil {
		err = r.Validate()
	}
	if err != nil {
		t.Fatalf("record %.200s: %v", text, err)
	}
	r.Cohort, r.Stream, r.Stamp = "default", testStream, 1_700_000_000_000_000_000
	r.Written = r.Stamp.Time()
	if r.ID == "" {
		r.ID = "id"
	}
	return r
}

// puts numbers records from first on.
func puts(first cohort.Seq, recs ...cohort.Record) []Put {
	out := make([]Put, len(recs))
	for i, r := range recs {
		out[i] = Put{Key: cohort.KeyForm{}.Of(r), Seq: first + cohort.Seq(i), Record: &r}
	}
	return out
}

func recordsOf(puts []Put) []cohort.Record {
	var recs []cohort.Record
	for _, p := range puts {
		recs = append(recs, *p.Record)
	}
	return recs
}

// open opens an index that the test made.
func open(t testing.TB, data []byte) *File {
	t.Helper()
	if data == nil {
		return nil
	}
	f, err := Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return f
}

// merge folds puts into an index and checks what it made.
func merge(t testing.TB, old []byte, puts []Put) ([]byte, Stats) {
	t.Helper()
	return mergeWith(t, old, puts, fullGroup)
}

// mergeOnly folds puts into an index with row groups of a size.
func mergeOnly(t testing.TB, old []byte, puts []Put, size groupSize) ([]byte, Stats) {
	t.Helper()
	f := open(t, old)
	var schema Schema
	var found map[cohort.Key]Found
	gen := cohort.Generation(1)
	if f != nil {
		schema, gen = f.Schema(), f.meta.Generation+1
		var keys []cohort.Key
		for _, p := range puts {
			keys = append(keys, p.Key)
		}
		var err error
		if found, err = f.Find(keys); err != nil {
			t.Fatalf("Find: %v", err)
		}
	}
	out := taking{old: old}
	stats, err := mergeSized(&out, f, found, schema.Extend(recordsOf(puts)), puts, nil, meta(gen), size)
	if err != nil {
		t.Fatalf("Merge: %v", err)
	}
	return out.Bytes(), stats
}

// mergeWith is mergeOnly that checks what it made.
func mergeWith(t testing.TB, old []byte, puts []Put, size groupSize) ([]byte, Stats) {
	t.Helper()
	data, stats := mergeOnly(t, old, puts, size)
	if err := Verify(bytes.NewReader(data), int64(len(data)), stats.Rows); err != nil {
		t.Fatalf("Verify: %v", err)
	}
	return data, stats
}

// taking is a Target in memory. It takes over what an old file has, unseen.
type taking struct {
	bytes.Buffer
	old   []byte
	was   []LineSection // of old; nil: all bytes that begin at a multiple of Align
	cuts  []LineSection
	taken int64
	sizes Sizes
}

func (w *taking) Sizes() Sizes { return w.sizes }

func (w *taking) Cut(rows int64, first cohort.Seq) {
	from := int64(0)
	if n := len(w.cuts); n > 0 {
		from = w.cuts[n-1].From + w.cuts[n-1].Size
	}
	if size := int64(w.Len()) - from; size > 0 {
		w.cuts = append(w.cuts, LineSection{from, size, rows, first})
	}
}

func (w *taking) Takes(from, size int64) bool {
	if w.was == nil {
		return from%Align == 0 && from >= 0 && size > 0 && from+size <= int64(len(w.old))
	}
	return slices.ContainsFunc(w.was, func(s LineSection) bool { return s.From == from && s.Size == size && s.Rows > 0 })
}

func (w *taking) Take(from, size int64) error {
	at, rows, first := int64(w.Len()), int64(1), cohort.Seq(1)
	for _, s := range w.was {
		if s.From == from {
			rows, first = s.Rows, s.First
		}
	}
	w.Write(w.old[from : from+size])
	w.cuts = append(w.cuts, LineSection{at, size, rows, first})
	w.taken += size
	return nil
}

// rows are all rows of an index as text.
func rows(t testing.TB, data []byte) []string {
	t.Helper()
	var out []string
	for row, err := range open(t, data).Rows() {
		if err != nil {
			t.Fatalf("Rows: %v", err)
		}
		if !json.Valid(row) {
			t.Fatalf("Rows: %s is not JSON", row)
		}
		out = append(out, regexp.MustCompile(`,"_digest":"[0-9a-f]{16}"`).ReplaceAllString(string(row), ""))
	}
	return out
}

// snapshots folds puts into a snapshots file and checks what it made.
func snapshots(t testing.TB, old []byte, puts []Put, replaced map[cohort.Key]cohort.Seq) []byte {
	t.Helper()
	var out bytes.Buffer
	n, err := MergeSnapshots(&out, oldSnapshots(old), puts, nil, replaced)
	if err != nil {
		t.Fatalf("MergeSnapshots: %v", err)
	}
	if !json.Valid(out.Bytes()) {
		t.Fatalf("snapshots are not JSON: %.500s", out.Bytes())
	}
	if _, count := lastSeq(t, out.Bytes()); n != count {
		t.Fatalf("MergeSnapshots says %d entries, Snapshots reads %d", n, count)
	}
	copied(t, old, puts, replaced, out.Bytes())
	return out.Bytes()
}

// oldSnapshots is a file of which nothing is known.
func oldSnapshots(data []byte) *OldSnapshots {
	if data == nil {
		return nil
	}
	return &OldSnapshots{R: bytes.NewReader(data), Size: int64(len(data))}
}

// lastSeq reads a whole file.
func lastSeq(t testing.TB, data []byte) (last cohort.Seq, entries int64) {
	t.Helper()
	for s, err := range Snapshots(bytes.NewReader(data)) {
		if err != nil {
			t.Fatalf("Snapshots: %v", err)
		}
		last = s.Seq
		entries++
	}
	return last, entries
}

// copied makes sure that the old lines copied as bytes give the same file, where puts allow it.
func copied(t testing.TB, old []byte, puts []Put, replaced map[cohort.Key]cohort.Seq, want []byte) {
	t.Helper()
	if old == nil {
		return
	}
	last, _ := lastSeq(t, old)
	if len(puts) > 0 && puts[0].Seq <= last {
		return
	}
	from := oldSnapshots(old)
	from.Next = last + 1
	var out bytes.Buffer
	n, err := MergeSnapshots(&out, from, puts, nil, replaced)
	if _, entries := lastSeq(t, want); err != nil || n != entries || !bytes.Equal(out.Bytes(), want) {
		t.Fatalf("copied as bytes: %d entries, %v:\n%s\nwant:\n%s", n, err, out.Bytes(), want)
	}
}

func runRecord(t testing.TB, run int, members string) cohort.Record {
	t.Helper()
	return record(t, fmt.Sprintf(`{"run_id":"r%d","stage":"TRAINING"%s}`, run, members))
}

// plain is a schema without the ids of its columns.
func plain(s Schema) Schema {
	out := Schema{}
	for _, c := range s {
		out = append(out, Column{Name: c.Name, Kind: c.Kind})
	}
	return out
}

// digestOf is the digest of a row as a number.
func digestOf(t testing.TB, data []byte, row int) string {
	t.Helper()
	for h, err := range open(t, data).Identities() {
		if err != nil {
			t.Fatal(err)
		}
		if row == 0 {
			return strconv.FormatInt(int64(h.Version.Digest), 10)
		}
		row--
	}
	t.Fatal("there is no such row")
	return ""
}
