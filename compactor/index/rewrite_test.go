package index

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"github.com/runfold/runfold/cohort"
)

// rewriteSample is an index of ten row groups of 60 rows, and what happens to its rows: some of three groups are replaced, a stamp of a fourth one is
// raised, and all rows of a fifth one go. Five groups lose nothing.
func rewriteSample(t testing.TB) (data []byte, again []Put, moves Moves) {
	t.Helper()
	var recs []cohort.Record
	for i := range 600 {
		recs = append(recs, runRecord(t, i, fmt.Sprintf(`,"a":%d,"s":"x%d","metrics":{"m":0.%d},"list":[%d]`, i, i%7, i, i)))
	}
	data, _ = mergeWith(t, nil, puts(1, recs...), groupSize{60, 1 << 20})
	again = puts(601, runRecord(t, 5, `,"a":-1`), runRecord(t, 130, ``), runRecord(t, 131, `,"s":"new"`), runRecord(t, 599, `,"a":7`), runRecord(t, 700, ``))
	raised := *puts(250, recs[249])[0].Record
	raised.Stamp++
	again = append(again, Put{Key: "r249:TRAINING", Seq: 250, Record: &raised, Raise: true})
	for i := 360; i < 420; i++ {
		moves.Out = append(moves.Out, cohort.Key(fmt.Sprintf("r%d:TRAINING", i)))
	}
	return data, again, moves
}

// rewrite merges the sample as a fold does. If serial, the rows of each group that is not taken over go the way of new ones.
func rewrite(t testing.TB, old []byte, again []Put, moves Moves, serial bool, to *taking) (Stats, error) {
	t.Helper()
	f := open(t, old)
	if serial {
		f.Anew()
	}
	keys := moves.Out
	for _, p := range again {
		keys = append(keys, p.Key)
	}
	found, err := f.Find(keys)
	if err != nil {
		t.Fatal(err)
	}
	to.old, to.sizes = old, Sizes{GroupRows: 60}
	return MergeMoved(to, f, found, f.Schema().Extend(recordsOf(again)), again, moves, nil, nil, meta(2))
}

// TestRewrite encodes touched row groups with one core and with many. The files are the same, byte for byte. They have the rows that a merge
// has which encodes all of them in one goroutine, each group stays one for itself, and what is not touched is taken over.
func TestRewrite(t *testing.T) {
	data, again, moves := rewriteSample(t)
	var serial taking
	if _, err := rewrite(t, data, again, moves, true, &serial); err != nil {
		t.Fatal(err)
	}
	var before *taking
	for _, cores := range []int{1, 2, 16} {
		out := new(taking)
		func() {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
			stats, err := rewrite(t, data, again, moves, false, out)
			if err == nil {
				err = Verify(bytes.NewReader(out.Bytes()), int64(out.Len()), stats.Rows)
			}
			if err != nil {
				t.Fatal(err)
			}
			if want := (Stats{Rows: 541, GroupsCopied: 5, GroupsWritten: 5, RowsCopied: 300, RowsWritten: 241, Extra: stats.Extra}); !cmp.Equal(want, stats) {
				t.Errorf("%d cores: %+v, want %+v", cores, stats, want)
			}
		}()
		if diff := cmp.Diff(rows(t, serial.Bytes()), rows(t, out.Bytes())); diff != "" {
			t.Fatalf("%d cores (-serial +got):\n%s", cores, diff)
		}
		var sizes []int64
		for _, g := range open(t, out.Bytes()).file.RowGroups() {
			sizes = append(sizes, g.NumRows())
		}
		if want := []int64{59, 60, 58, 60, 60, 60, 60, 60, 59, 5}; !cmp.Equal(want, sizes) {
			t.Errorf("%d cores: row groups of %v rows, want %v", cores, sizes, want)
		}
		checkPlaces(t, out.Bytes())
		if before != nil && (!bytes.Equal(before.Bytes(), out.Bytes()) || !cmp.Equal(before.cuts, out.cuts)) {
			t.Errorf("%d cores write another file", cores)
		}
		before = out
	}
	// A later merge, and what looks at the filters, find in it what they find in any index.
	f := open(t, before.Bytes())
	found, err := f.Find([]cohort.Key{"r5:TRAINING", "r130:TRAINING", "r249:TRAINING", "r360:TRAINING", "r6:TRAINING"})
	if err != nil || found["r5:TRAINING"].Seq != 601 || found["r130:TRAINING"].Seq != 602 || found["r249:TRAINING"].Version.Stamp != again[5].Record.Stamp ||
		len(found) != 4 || found["r6:TRAINING"].Seq != 7 {
		t.Errorf("found %+v, %v", found, err)
	}
}

// TestRewriteSections: a row group that is encoded again is divided into the same sections as a new one.
func TestRewriteSections(t *testing.T) {
	data, again, moves := rewriteSample(t)
	out := taking{}
	if _, err := rewrite(t, data, again, moves, false, &out); err != nil {
		t.Fatal(err)
	}
	var got []int64
	for _, c := range out.cuts {
		got = append(got, c.Rows)
	}
	// The head; of each group its rows and then its filters, or both at once where it was taken over, which taking counts as 1.
	if want := []int64{0, 59, 0, 1, 58, 0, 1, 60, 0, 1, 1, 1, 59, 0, 5, 0}; !cmp.Equal(want, got) {
		t.Errorf("sections of %v rows, want %v", got, want)
	}
}

// TestRewriteFails: an error of one row group ends the merge, with its number, and no goroutine stays.
func TestRewriteFails(t *testing.T) {
	data, again, moves := rewriteSample(t)
	before := runtime.NumGoroutine()
	f := open(t, data)
	found, err := f.Find(append(moves.Out, again[0].Key, again[1].Key, again[2].Key, again[3].Key, again[5].Key))
	if err != nil {
		t.Fatal(err)
	}
	g := f.file.Metadata().RowGroups[2].Columns[0].MetaData
	bad := bytes.Clone(data)
	bad[g.DataPageOffset+g.TotalCompressedSize/2] ^= 4
	f = open(t, bad)
	_, err = MergeMoved(&taking{old: bad, sizes: Sizes{GroupRows: 60}}, f, found, f.Schema(), again, moves, nil, nil, meta(2))
	if !errors.Is(err, ErrDamaged) || !strings.HasPrefix(err.Error(), "row group 2: ") {
		t.Errorf("a flipped bit in row group 2: %v", err)
	}
	f = open(t, data)
	if _, err := mergeSized(&failingWriter{20_000}, f, found, f.Schema(), again, nil, meta(2), groupSize{60, 1 << 20}); !errors.Is(err, errDisk) {
		t.Errorf("a full disk: %v", err)
	}
	nobody := Put{Key: "r1000:TRAINING", Seq: 9, Record: again[5].Record, Raise: true}
	if _, err := mergeSized(io.Discard, f, nil, f.Schema(), []Put{nobody}, nil, meta(2), groupSize{60, 1 << 20}); !errors.Is(err, ErrDamaged) {
		t.Errorf("a stamp of a row that is not there: %v", err)
	}
	for range 1000 {
		if runtime.Gosched(); runtime.NumGoroutine() <= before {
			return
		}
	}
	t.Errorf("%d goroutines stay", runtime.NumGoroutine()-before)
}

// TestRewriteBounds: the memory of row groups that are encoded at one time is bounded, and a group that would become too large with the new
// columns goes the way of new rows.
func TestRewriteBounds(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(64))
	for columns, want := range map[int]int{10: 5, 100: 2, 500: 1} {
		var s Schema
		for i := range columns {
			s = append(s, Column{Name: fmt.Sprint("c", i), Kind: Double, ID: int32(100 + i)})
		}
		w := &writer{layout: newLayout(s), full: fullGroup}
		if got := w.rewritesAtOnce(); got != want {
			t.Errorf("%d columns: %d row groups at once, want %d", columns, got, want)
		}
	}
	data, _, _ := rewriteSample(t)
	for columns, want := range map[int]bool{1: true, 100: false} {
		f := open(t, data)
		var s strings.Builder
		for i := range columns {
			fmt.Fprintf(&s, `,"new%d":1`, i)
		}
		again := puts(601, runRecord(t, 900, s.String()))
		to := newLayout(f.Schema().Extend(recordsOf(again)))
		m := merger{out: &writer{layout: to, out: &sink{to: &taking{}}, full: groupSize{60, 64 << 10}}, encoder: newEncoder(to), puts: again}
		for i, p := range m.plan(f) {
			if p.rewrite != want || p.copy {
				t.Errorf("%d new columns: row group %d: %+v", columns, i, p)
			}
		}
	}
}

// TestRewriteOrder: rows that come between two row groups stand there, and what is encoded again must follow what stands before.
func TestRewriteOrder(t *testing.T) {
	var recs []cohort.Record
	for i := range 180 {
		recs = append(recs, runRecord(t, i, fmt.Sprintf(`,"a":%d`, i)))
	}
	all := puts(0, recs...)
	for i := range all {
		all[i].Seq = cohort.Seq(10 * (i + 1))
	}
	data, _ := mergeWith(t, nil, all, groupSize{60, 1 << 20})
	between := puts(0, runRecord(t, 900, ``), runRecord(t, 61, `,"a":1.5`), runRecord(t, 121, `,"new":true`), runRecord(t, 2, ``))
	for i, seq := range []cohort.Seq{5, 605, 1205, 1805} { // the four places around three groups
		between[i].Seq = seq
	}
	var serial, out taking
	_, err := rewrite(t, data, between, Moves{}, true, &serial)
	if err == nil {
		_, err = rewrite(t, data, between, Moves{}, false, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(rows(t, serial.Bytes()), rows(t, out.Bytes())); diff != "" {
		t.Errorf("(-serial +got):\n%s", diff)
	}
	if n := len(open(t, out.Bytes()).file.RowGroups()); n != 7 {
		t.Errorf("%d row groups, want three of old rows and four of a new one", n)
	}

	f := open(t, data)
	w, err := newWriter(new(taking), f.layout, fullGroup, meta(2))
	if err != nil {
		t.Fatal(err)
	}
	for i, number := range []int{0, 1, 1} {
		g := &rewritten{done: make(chan struct{})}
		g.encode(&merger{out: w, meta: meta(2)}, f, number, 0)
		if err := w.adopt(g); (err != nil) != (i == 2) || i == 2 && !errors.Is(err, ErrDamaged) {
			t.Errorf("row group %d: %v", number, err)
		}
		if want := []int64{600, 1200, 1200}[i]; w.seq != want {
			t.Errorf("after row group %d the last seq is %d, want %d", number, w.seq, want)
		}
	}
}

// TestRewriteColumns replaces and raises random rows, many and few, so that all of a batch of values go, its first and its last one. What is written column
// by column is what is written row by row.
func TestRewriteColumns(t *testing.T) {
	rnd := rand.New(rand.NewPCG(*seed, 11))
	t.Logf("-seed %d", *seed)
	const n = 3*scanBatch + 7
	var recs []cohort.Record
	for i := range n {
		recs = append(recs, randomRun(t, rnd, i))
	}
	data, _ := mergeWith(t, nil, puts(1, recs...), groupSize{n, 8 << 20})
	for _, goes := range []func(i int) bool{
		func(i int) bool { return i == scanBatch-1 || i == 0 },
		func(i int) bool { return i >= scanBatch && i <= 2*scanBatch },
		func(i int) bool { return i%2 == 0 },
		func(i int) bool { return i < n-1 },
		func(i int) bool { return i == n-1 || i == 7 },
		func(int) bool { return rnd.IntN(5) == 0 },
		func(int) bool { return rnd.IntN(100) == 0 },
		func(int) bool { return false },
	} {
		var moves Moves
		var raised []Put
		for i, r := range recs {
			switch p := puts(cohort.Seq(i+1), r)[0]; {
			case goes(i):
				moves.Out = append(moves.Out, p.Key)
			case rnd.IntN(10) == 0 || len(raised) == 0:
				up := r
				up.Stamp += cohort.Stamp(1 + rnd.IntN(1000))
				p.Record, p.Raise = &up, true
				raised = append(raised, p)
			}
		}
		again := append(puts(n+1, runRecord(t, n+1, "")), raised...)
		var serial, out taking
		_, err := rewrite(t, data, again, moves, true, &serial)
		if err == nil {
			_, err = rewrite(t, data, again, moves, false, &out)
		}
		if err == nil {
			err = Verify(bytes.NewReader(out.Bytes()), int64(out.Len()), int64(n+1-len(moves.Out)))
		}
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(rows(t, serial.Bytes()), rows(t, out.Bytes())); diff != "" {
			t.Fatalf("%d rows leave (-serial +got):\n%s", len(moves.Out), diff)
		}
	}
}

// randomRun is a record whose columns are of all types, and often NULL.
func randomRun(t *testing.T, rnd *rand.Rand, run int) cohort.Record {
	t.Helper()
	members := ""
	for _, m := range []string{`,"i":%d`, `,"f":%d.5`, `,"s":"x%d"`, `,"b":true,"list":[%d]`, `,"target":"t%d"`, `,"timestamp":"2026-01-01T00:00:00.%03dZ"`} {
		if rnd.IntN(3) > 0 {
			members += fmt.Sprintf(m, rnd.IntN(1000))
		}
	}
	r := runRecord(t, run, members)
	if rnd.IntN(2) == 0 {
		r.Writer = fmt.Sprint("w", rnd.IntN(4))
	}
	return r
}

// miscounted is a row group whose footer says another number of rows than its pages have.
type miscounted struct {
	parquet.RowGroup
	rows int64
}

func (m miscounted) NumRows() int64 { return m.rows }

// TestRewriteDamage: a column that has other values than its row group has rows is damage, and so are seqs that do not increase.
func TestRewriteDamage(t *testing.T) {
	var recs []cohort.Record
	for i := range 2*scanBatch + 10 {
		recs = append(recs, runRecord(t, i, ""))
	}
	data, _ := mergeWith(t, nil, puts(1, recs...), fullGroup)
	f := open(t, data)
	for _, tt := range []struct{ rows, after int64 }{
		{2*scanBatch + 9, 0}, {2 * scanBatch, 0}, {scanBatch + 1, 0}, {2*scanBatch + 11, 0}, {3 * scanBatch, 0}, // other counts
		{2*scanBatch + 10, 1}, {2*scanBatch + 10, 5000}, // the seqs 1 and 5000 stand before
		{2*scanBatch + 10, 0},
	} {
		w, err := newWriter(io.Discard, f.layout, fullGroup, meta(2))
		if err != nil {
			t.Fatal(err)
		}
		w.seq = tt.after
		err = (&merger{out: w}).mergeColumns(miscounted{f.file.RowGroups()[0], tt.rows})
		if right := tt.rows == int64(len(recs)) && tt.after == 0; right && err != nil || !right && !errors.Is(err, ErrDamaged) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}
