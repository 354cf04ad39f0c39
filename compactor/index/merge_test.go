package index

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/jsonscan"
)

func TestReplace(t *testing.T) {
	old, _ := merge(t, nil, puts(1, runRecord(t, 1, `,"a":1`), runRecord(t, 2, `,"a":2`), runRecord(t, 3, `,"a":3`)))
	data, stats := merge(t, old, puts(4, runRecord(t, 2, `,"a":4`), runRecord(t, 4, `,"a":5`)))
	if stats.Rows != 4 {
		t.Errorf("Merge says %d rows, want 4", stats.Rows)
	}
	var got []string
	for h, err := range open(t, data).Identities() {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s %d", h.Key, h.Seq))
	}
	want := []string{"r1:TRAINING 1", "r3:TRAINING 3", "r2:TRAINING 4", "r4:TRAINING 5"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("keys and seqs (-want +got):\n%s", diff)
	}
}

func TestInterleave(t *testing.T) {
	a := puts(10, runRecord(t, 1, ""), runRecord(t, 2, ""))
	a[1].Seq = 20
	old, _ := merge(t, nil, a)
	b := puts(5, runRecord(t, 3, ""), runRecord(t, 4, ""), runRecord(t, 5, ""))
	b[1].Seq, b[2].Seq = 15, 25
	data, _ := merge(t, old, b)
	snaps := snapshots(t, snapshots(t, nil, a, nil), b, nil)
	var got, lines []cohort.Seq
	for h, err := range open(t, data).Identities() {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, h.Seq)
	}
	for s, err := range Snapshots(bytes.NewReader(snaps)) {
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, s.Seq)
	}
	want := []cohort.Seq{5, 10, 15, 20, 25}
	if !cmp.Equal(want, got) || !cmp.Equal(want, lines) {
		t.Errorf("seqs of rows %v and of snapshots %v, want %v", got, lines, want)
	}
}

func TestMergeRefuses(t *testing.T) {
	old := puts(2, runRecord(t, 1, `,"a":1`))
	data, _ := merge(t, nil, old)
	f := open(t, data)
	twice := puts(2, runRecord(t, 2, ""))
	for _, tt := range []struct {
		name   string
		schema Schema
		puts   []Put
		meta   Meta
		found  map[cohort.Key]Found
	}{
		{"a seq that is taken", f.Schema(), twice, meta(2), nil},
		{"puts out of order", f.Schema(), []Put{{Key: "a:b", Seq: 9, Record: old[0].Record}, {Key: "a:c", Seq: 8, Record: old[0].Record}}, meta(2), nil},
		{"generation 0", f.Schema(), nil, meta(0), nil},
		{"no token", f.Schema(), nil, Meta{Generation: 1}, nil},
		{"a found key that is not there", f.Schema(), puts(3, runRecord(t, 9, "")), meta(2), map[cohort.Key]Found{"r9:TRAINING": {}}},
	} {
		if _, err := Merge(new(bytes.Buffer), f, tt.found, tt.schema, tt.puts, nil, tt.meta); err == nil {
			t.Errorf("Merge accepts %s", tt.name)
		} else {
			t.Logf("%s: %v", tt.name, err)
		}
	}
}

func TestFind(t *testing.T) {
	var all []cohort.Record
	for i := range 1000 {
		all = append(all, runRecord(t, i, fmt.Sprintf(`,"target":"t%d","symbol":%d,"view":null`, i, i)))
	}
	data, _ := mergeWith(t, nil, puts(1, all...), groupSize{300, 1 << 20})
	f := open(t, data)
	keys := []cohort.Key{"r0:TRAINING", "r999:TRAINING", "r500:TRAINING", "r5:TRAINING", "r5:TRAININ", "r5:TRAINING:", "", "zzz", "r1000:TRAINING"}
	found, err := f.Find(keys)
	if err != nil {
		t.Fatalf("Find: %v", err)
	}
	if len(found) != 4 {
		t.Errorf("Find returns %d keys, want 4", len(found))
	}
	want := Found{cohort.Version{Stamp: 1_700_000_000_000_000_000, RecordID: "id", Digest: all[500].Digest()},
		cohort.Facets{Cohort: "default", Target: "t500", Symbol: "500"}, 501, 1}
	if diff := cmp.Diff(want, found["r500:TRAINING"], cmp.AllowUnexported(Found{})); diff != "" {
		t.Errorf("Find of r500 (-want +got):\n%s", diff)
	}
	if found, err := f.Find(nil); err != nil || len(found) != 0 {
		t.Errorf("Find of no keys is %v, %v", found, err)
	}
}

// TestCopy looks at what is copied and what is not, with row groups of 100 rows.
func TestCopy(t *testing.T) {
	size := groupSize{100, 1 << 20}
	var recs []cohort.Record
	for i := range 350 {
		recs = append(recs, runRecord(t, i, fmt.Sprintf(`,"a":%d,"b":"x%d","list":[%d]`, i, i, i)))
	}
	old, _ := mergeWith(t, nil, puts(1, recs...), size)
	for _, tt := range []struct {
		name   string
		puts   []Put
		copied int
	}{
		{"nothing", nil, 4}, // the last group is half full
		{"a new row", puts(351, runRecord(t, 999, `,"a":1`)), 4},
		{"a replaced row", puts(351, runRecord(t, 150, `,"a":1`)), 3},
		{"rows replaced everywhere", puts(351, runRecord(t, 0, ``), runRecord(t, 150, ``), runRecord(t, 250, ``), runRecord(t, 349, ``)), 0},
		{"a new column", puts(351, runRecord(t, 999, `,"new":1`)), 0},
		{"a widened column", puts(351, runRecord(t, 999, `,"a":1.5`)), 0},
	} {
		data, stats := mergeWith(t, old, tt.puts, size)
		if stats.GroupsCopied != tt.copied || stats.RowsCopied+stats.RowsWritten != stats.Rows {
			t.Errorf("%s: stats are %+v, want %d groups copied", tt.name, stats, tt.copied)
		}
		checkRows(t, data, old, tt.puts)
		if again, stats := mergeWith(t, data, nil, size); !cmp.Equal(rows(t, again), rows(t, data)) {
			t.Errorf("%s: rows differ after another merge, %+v", tt.name, stats)
		}
	}
}

// checkRows compares an index with an old one and what was put on top.
func checkRows(t *testing.T, data, old []byte, puts []Put) {
	t.Helper()
	gone := map[string]bool{}
	for _, p := range puts {
		gone[string(jsonscan.Quote(string(p.Key)))] = true
	}
	var want []string
	for _, r := range rows(t, old) {
		if l := logical(t, r); !gone[l["_key"]] {
			want = append(want, fmt.Sprint(l))
		}
	}
	var got []string
	for _, r := range rows(t, data) {
		if l := logical(t, r); !gone[l["_key"]] {
			got = append(got, fmt.Sprint(l))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// TestSmallGroups makes sure that small row groups neither stay for ever nor are encoded for ever.
func TestSmallGroups(t *testing.T) {
	size := groupSize{20, 1 << 20}
	var recs []cohort.Record
	for i := range 100 {
		recs = append(recs, runRecord(t, i, ``))
	}
	data, _ := mergeWith(t, nil, puts(1, recs...), size)
	seq := cohort.Seq(101)
	for i := 20; i < 38; i++ { // the second group shrinks to 2 rows
		data, _ = mergeWith(t, data, puts(seq, recs[i]), size)
		seq++
	}
	if _, stats := mergeWith(t, data, nil, size); stats.RowsWritten != 0 {
		t.Errorf("a small group between two large ones, or at the end, is encoded again for nothing: %+v", stats)
	}
	for i := 40; i < 58; i++ { // and the third
		data, _ = mergeWith(t, data, puts(seq, recs[i]), size)
		seq++
	}
	groups := open(t, data).file.RowGroups()
	for i, g := range groups[:len(groups)-1] {
		if i > 0 && g.NumRows()+groups[i-1].NumRows() < 10 {
			t.Errorf("row groups %d and %d are small: %d and %d rows", i-1, i, groups[i-1].NumRows(), g.NumRows())
		}
	}
}

// TestTail adds as many rows with each fold, and looks at the row groups: those at the end are as many as there are doublings, and no row is encoded
// again more often than that, until its group is large.
func TestTail(t *testing.T) {
	const full, each, folds = 256, 4, 96 // 64 doublings of a fold's rows make half a group
	size := groupSize{full, 1 << 30}
	var data []byte
	var recs []cohort.Record
	written := int64(0)
	for fold := range folds {
		var add []cohort.Record
		for range each {
			add = append(add, runRecord(t, len(recs)+len(add), ``))
		}
		was := data
		var stats Stats
		data, stats = mergeWith(t, data, puts(cohort.Seq(len(recs)+1), add...), size)
		recs = append(recs, add...)
		written += stats.RowsWritten
		if was != nil {
			checkRows(t, data, was, puts(cohort.Seq(len(recs)-each+1), add...))
		}
		var small []int64
		for _, g := range open(t, data).file.RowGroups() {
			switch n := g.NumRows(); {
			case n < full/2:
				small = append(small, n)
			case len(small) > 0:
				t.Fatalf("fold %d: a group of %d rows stands after small ones of %v", fold, n, small)
			}
		}
		for i := 1; i < len(small); i++ {
			if small[i-1] < 2*small[i] {
				t.Fatalf("fold %d: the small groups at the end have %v rows", fold, small)
			}
		}
	}
	if times := float64(written) / float64(len(recs)); times > 4 { // 1, 2, 4, 8, 16 and 32 folds make a group: each row is in half of these mergers
		t.Errorf("a row was encoded %.1f times", times)
	} else {
		t.Logf("figure: a row was encoded %.1f times until it stood in a large group", times)
	}
}

// TestThousandFolds adds a few rows and replaces one, recent or not, a thousand times. The number of row groups stays in
// proportion to the rows, and a fold rewrites a few groups and never the whole file.
func TestThousandFolds(t *testing.T) {
	rnd := rand.New(rand.NewPCG(*seed, 9))
	t.Logf("-seed %d", *seed)
	size := groupSize{150, 1 << 20}
	folds := manyFolds
	if testing.Short() {
		folds = 150
	}
	var data []byte
	seq, run, most, written := cohort.Seq(1), 0, 0, int64(0)
	for fold := range folds {
		var recs []cohort.Record
		if run > 0 {
			back := run
			if fold%2 == 0 {
				back = min(run, 20)
			}
			recs = append(recs, runRecord(t, run-1-rnd.IntN(back), ``))
		}
		for range 1 + rnd.IntN(2) {
			recs = append(recs, runRecord(t, run, ``))
			run++
		}
		var stats Stats
		data, stats = mergeOnly(t, data, puts(seq, recs...), size)
		seq += cohort.Seq(len(recs))
		groups, bound := stats.GroupsCopied+stats.GroupsWritten, 4+4*int(stats.Rows)/int(size.rows)
		if groups > bound {
			t.Fatalf("fold %d: %d rows stand in %d row groups, want at most %d", fold, stats.Rows, groups, bound)
		}
		if stats.RowsWritten > 5*size.rows {
			t.Fatalf("fold %d writes %d of %d rows for %d that are new", fold, stats.RowsWritten, stats.Rows, len(recs))
		}
		most, written = max(most, groups), written+stats.RowsWritten
	}
	t.Logf("figure: %d folds made %d rows in at most %d row groups of %d, and wrote %d rows each", folds, run, most, size.rows, written/int64(folds))
}

// TestGroupBytes makes sure that a row group ends by its bytes too.
func TestGroupBytes(t *testing.T) {
	text := strings.Repeat("x", 3000)
	var recs []cohort.Record
	for i := range 100 {
		recs = append(recs, runRecord(t, i, fmt.Sprintf(`,"big":["%s"]`, text)))
	}
	data, stats := mergeWith(t, nil, puts(1, recs...), groupSize{1000, 100_000})
	if stats.GroupsWritten < 3 || stats.GroupsWritten > 5 {
		t.Errorf("300 kB of rows stand in %d groups of 100 kB", stats.GroupsWritten)
	}
	if _, stats := mergeWith(t, data, nil, groupSize{1000, 100_000}); stats.GroupsCopied < 3 {
		t.Errorf("groups that are full by bytes are not copied: %+v", stats)
	}
}

// logical is a row without the difference between a column and _extra, numbers in one spelling.
func logical(t testing.TB, row string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for name, value := range jsonscan.Members([]byte(row)) {
		if name != columnExtra {
			out[name] = canonical(value)
			continue
		}
		for name, value := range jsonscan.Members(value) {
			out[name] = canonical(value)
		}
	}
	return out
}

// canonical is a JSON value as an index may spell it.
func canonical(value []byte) string {
	switch jsonscan.KindOf(value) {
	case jsonscan.String:
		return string(jsonscan.Quote(jsonscan.Text(value)))
	case jsonscan.Int:
		if n, err := strconv.ParseInt(string(value), 10, 64); err == nil {
			return strconv.FormatInt(n, 10)
		}
	case jsonscan.Double:
		f, err := strconv.ParseFloat(string(value), 64)
		if err != nil {
			return string(value)
		}
		if f == math.Trunc(f) && math.Abs(f) < 1<<62 {
			return strconv.FormatInt(int64(f), 10)
		}
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	return string(value)
}

// randomRecord makes a record over few keys and few names, so that kinds and keys collide.
func randomRecord(t testing.TB, r *rand.Rand) cohort.Record {
	t.Helper()
	values := []string{`1`, `-7`, `0`, `9007199254740993`, `99999999999999999999`, `0.5`, `1e3`, `25000.0`, `1e400`,
		`""`, `"x"`, `"ü\u2028\n\""`, `true`, `null`, `[1,{"a":2}]`, `{"x":1.50}`, `-0.0`}
	value := func() string { return values[r.IntN(len(values))] }
	b := fmt.Appendf(nil, `{"run_id":"r%d","stage":"S%d"`, r.IntN(30), r.IntN(3))
	for _, name := range []string{"a", "b", "c", "näme"} {
		if r.IntN(2) == 0 {
			b = fmt.Appendf(b, `,"%s":%s`, name, value())
		}
	}
	for _, group := range []string{"metrics", "params", "tags"} {
		if r.IntN(2) == 0 {
			b = fmt.Appendf(b, `,"%s":{"x":%s, "y%d" : %s}`, group, value(), r.IntN(20), value())
		}
	}
	if r.IntN(3) == 0 {
		b = fmt.Appendf(b, `,"snapshot":{"v":%s,"run_id":"other"}`, value())
	}
	rec := record(t, string(append(b, '}')))
	rec.Stamp = cohort.Stamp(r.Int64N(1 << 60))
	return rec
}

// fold is the last write of each key among recs, with seqs from first on.
func fold(first cohort.Seq, recs []cohort.Record) []Put {
	last := map[cohort.Key]int{}
	for i, r := range recs {
		last[cohort.KeyForm{}.Of(r)] = i
	}
	var out []Put
	for i, r := range recs {
		if key := (cohort.KeyForm{}).Of(r); last[key] == i {
			out = append(out, Put{Key: key, Seq: first + cohort.Seq(i), Record: &r})
		}
	}
	return out
}

// TestAnySplit is the property that makes a fold worth its name: one sequence of records, put in any
// number of merges, gives the same rows and the same snapshots, byte for byte in the snapshots.
func TestAnySplit(t *testing.T) {
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("-seed=%d", s)
	r := rand.New(rand.NewPCG(s, 0))
	rounds := 20 / fewer
	if testing.Short() {
		rounds = 5
	}
	for range rounds {
		var recs []cohort.Record
		for range 20 + r.IntN(200) {
			recs = append(recs, randomRecord(t, r))
		}
		size := groupSize{int64(2 + r.IntN(40)), 1 << 20}
		whole, _ := mergeWith(t, nil, fold(1, recs), size)
		wholeSnaps := snapshots(t, nil, fold(1, recs), nil)

		var data, snaps []byte
		have := map[cohort.Key]bool{}
		for at := 0; at < len(recs); {
			n := min(1+r.IntN(60), len(recs)-at)
			puts := fold(cohort.Seq(at+1), recs[at:at+n])
			data, _ = mergeWith(t, data, puts, size)
			replaced := map[cohort.Key]cohort.Seq{}
			for _, p := range puts {
				if have[p.Key] {
					replaced[p.Key] = 1
				}
				have[p.Key] = true
			}
			snaps = snapshots(t, snaps, puts, replaced)
			at += n
		}
		if !bytes.Equal(snaps, wholeSnaps) {
			t.Fatalf("snapshots differ:\n%s\n%s", snaps, wholeSnaps)
		}
		var got, want []map[string]string
		for _, row := range rows(t, data) {
			got = append(got, logical(t, row))
		}
		for _, row := range rows(t, whole) {
			want = append(want, logical(t, row))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("rows differ (-whole +split):\n%s", diff)
		}
		checkAgainstRecords(t, got, fold(1, recs))
	}
}

// checkAgainstRecords compares rows with the records themselves.
func checkAgainstRecords(t *testing.T, rows []map[string]string, puts []Put) {
	t.Helper()
	if len(rows) != len(puts) {
		t.Fatalf("%d rows of %d keys", len(rows), len(puts))
	}
	var f flattener
	for i, p := range puts {
		want := map[string]string{}
		for _, m := range f.flatten(*p.Record) {
			want[m.column] = canonical(m.value)
		}
		got := rows[i]
		if got["_key"] != canonical(jsonscan.Quote(string(p.Key))) || got["snapshot_seq"] != p.Seq.String() {
			t.Fatalf("row %d is %v, want %s and %d", i, got, p.Key, p.Seq)
		}
		for name := range got {
			if isFixed(name) {
				delete(got, name)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("row of %s (-want +got):\n%s", p.Record.JSON, diff)
		}
	}
}

// TestManyPuts: so many puts that they are encoded by all cores are the same rows in the same order, and an
// error in the middle ends the merge.
func TestManyPuts(t *testing.T) {
	r := rand.New(rand.NewPCG(*seed, 7))
	var all []Put
	for i := range 3*parallel + 17 {
		rec := randomRecord(t, r)
		all = append(all, Put{Key: cohort.Key(fmt.Sprint("r", i, ":T")), Seq: cohort.Seq(i + 1), Record: &rec})
	}
	size := groupSize{1000, 1 << 20}
	schema := Schema(nil).Extend(recordsOf(all))
	whole, stats := mergeWith(t, nil, all, size)
	var parts []byte
	for from := 0; from < len(all); from += parallel / 2 {
		var out bytes.Buffer
		part := all[from:min(from+parallel/2, len(all))]
		if _, err := mergeSized(&out, open(t, parts), nil, schema, part, nil, meta(cohort.Generation(from+1)), size); err != nil {
			t.Fatal(err)
		}
		parts = out.Bytes()
	}
	if diff := cmp.Diff(rows(t, parts), rows(t, whole)); diff != "" {
		t.Fatalf("rows (-few at a time +all at once):\n%.2000s", diff)
	}
	if stats.Rows != int64(len(all)) {
		t.Errorf("%d rows, want %d", stats.Rows, len(all))
	}

	for _, at := range []int{0, parallel / 2, len(all) - 1} {
		lazy := slices.Clone(all)
		for i := range lazy {
			lazy[i].Record, lazy[i].N = nil, int32(i)
		}
		load := func(p Put) (cohort.Record, error) {
			if int(p.N) == at {
				return cohort.Record{}, errDisk
			}
			return *all[p.N].Record, nil
		}
		if _, err := mergeSized(io.Discard, nil, nil, schema, lazy, load, meta(1), size); !errors.Is(err, errDisk) {
			t.Errorf("record %d cannot be loaded: %v", at, err)
		}
		if _, err := mergeSized(&failingWriter{10 * at}, nil, nil, schema, all, nil, meta(1), size); !errors.Is(err, errDisk) {
			t.Errorf("the disk fails at byte %d: %v", 10*at, err)
		}
	}
}
