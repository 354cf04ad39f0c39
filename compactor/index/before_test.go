package index

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/runfold/runfold/cohort"
)

// TestBefore compares Before with a walk over all rows, for roots of any size, runs that are and are not there, and
// rows that are passed over.
func TestBefore(t *testing.T) {
	rnd := rand.New(rand.NewPCG(*seed, 7))
	t.Logf("-seed %d", *seed)
	for range 10 {
		n := rnd.IntN(60)
		var recs []cohort.Record
		for i := range n {
			r := runRecord(t, i, []string{`,"target":"x"`, `,"target":"y"`, `,"target":7`, ``}[rnd.IntN(4)]+
				[]string{`,"view":1`, `,"view":"v"`, `,"view":[1]`, ``}[rnd.IntN(4)]) // of one of them the column holds no text
			r.RunID, r.Stage = fmt.Sprint("r", rnd.IntN(1+n/2)), []string{"S", "T"}[rnd.IntN(2)]
			r.Cohort = []cohort.ID{"c", "d"}[rnd.IntN(2)]
			recs = append(recs, r)
		}
		all := puts(1, recs...)
		without := map[cohort.Key]bool{}
		for i := range all {
			all[i].Key = cohort.Key(fmt.Sprint("key-", i)) // as a wide key lets a run have several rows
			if rnd.IntN(8) == 0 {
				without[all[i].Key] = true
			}
		}
		if rnd.IntN(2) == 0 {
			without = nil
		}
		data, _ := mergeWith(t, nil, all, groupSize{7, 1 << 20})
		f := open(t, data)
		for _, id := range []cohort.ID{"c", "d", "e"} {
			for _, stage := range []string{"S", "T", "U"} {
				for run := range n/2 + 2 {
					q := Lookup{Cohort: id, Stage: stage, RunID: fmt.Sprint("r", run), Without: without}
					for name, text := range map[string]string{
						"": "", "target": []string{"x", "7", ""}[rnd.IntN(3)], "view": []string{"1", "v", ""}[rnd.IntN(3)],
					} {
						if q.Fields = nil; name != "" {
							q.Fields = map[string]string{name: text}
						}
						if q.Key = nil; rnd.IntN(3) == 0 {
							q.Key = func(k cohort.Key) bool { return len(k)%2 == 0 }
						}
						want, keys := walkBefore(all, q)
						h, ok, own, err := f.Before(q)
						if err != nil || h.Seq != want || ok != (want > 0) || own != (len(keys) > 0) {
							t.Fatalf("%d rows: Before(%+v) = seq %d, %v, %v, %v; want seq %d, keys %q", n, q, h.Seq, ok, own, err, want, keys)
						}
						if got, err := f.KeysOf(q); err != nil || !slices.Equal(got, keys) {
							t.Fatalf("%d rows: KeysOf(%+v) = %q, %v, want %q", n, q, got, err, keys)
						}
					}
				}
			}
		}
	}
}

// walkBefore is what Before and KeysOf say, the long way.
func walkBefore(all []Put, q Lookup) (seq cohort.Seq, own []cohort.Key) {
	last := cohort.Seq(0)
	for _, p := range all {
		switch {
		case q.Without[p.Key], p.Record.Cohort != q.Cohort, p.Record.Stage != q.Stage, q.Key != nil && !q.Key(p.Key):
		case q.Fields["target"] != p.Record.Target && hasKey(q.Fields, "target"), q.Fields["view"] != p.Record.View && hasKey(q.Fields, "view"):
		case p.Record.RunID == q.RunID:
			own, seq = append(own, p.Key), last
		default:
			last = p.Seq
		}
	}
	if own == nil {
		seq = last
	}
	return seq, own
}

func hasKey(m map[string]string, name string) bool {
	_, ok := m[name]
	return ok
}

// TestBeforeReadsTheEnd: what stands in the last row group costs no more than that, in however large an index.
func TestBeforeReadsTheEnd(t *testing.T) {
	keys := randomKeys(0, 6000)
	data := indexOf(t, keys, groupSize{500, 1 << 30})
	m := &metered{ReaderAt: bytes.NewReader(data)}
	f, err := Open(m, int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	m.n = 0
	h, ok, own, err := f.Before(Lookup{Cohort: "default", Stage: "TRAINING", RunID: "r5999"})
	if err != nil || !ok || !own || h.RunID != "r5998" {
		t.Fatalf("Before = %+v, %v, %v, %v", h, ok, own, err)
	}
	if m.n > len(data)/6 {
		t.Errorf("%d of %d bytes were read for a run of the last of 12 row groups", m.n, len(data))
	}
}
