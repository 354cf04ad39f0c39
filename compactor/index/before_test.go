package index

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/runfold/runfold/cohort"
)

// TestBefore compares Before with a walk over all rows, for roots of any size, runs that are and are not there, and
// rows that are passed over.
func TestBefore(t *testing.T) {
	rnd := rand.New(rand.NewPCG(*seed, 7))
	t.Logf("-seed %d", *seed)
	for range 30 {
		n := rnd.IntN(60)
		var recs []cohort.Record
		for i := range n {
			r := runRecord(t, i, fmt.Sprintf(`,"target":%q`, []string{"x", "y"}[rnd.IntN(2)]))
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
					runID := fmt.Sprint("r", run)
					want, wantOwn := walkBefore(all, id, stage, runID, without)
					h, ok, own, err := f.Before(id, stage, runID, without)
					if err != nil || h.Seq != want || ok != (want > 0) || own != wantOwn {
						t.Fatalf("%d rows: Before(%s, %s, %s) = seq %d, %v, %v, %v; want seq %d, %v", n, id, stage, runID, h.Seq, ok, own, err, want, wantOwn)
					}
				}
			}
		}
	}
}

// walkBefore is what Before says, the long way.
func walkBefore(all []Put, id cohort.ID, stage, runID string, without map[cohort.Key]bool) (seq cohort.Seq, own bool) {
	last := cohort.Seq(0)
	for _, p := range all {
		switch {
		case without[p.Key], p.Record.Cohort != id, p.Record.Stage != stage:
		case p.Record.RunID == runID:
			own, seq = true, last
		default:
			last = p.Seq
		}
	}
	if !own {
		seq = last
	}
	return seq, own
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
	h, ok, own, err := f.Before("default", "TRAINING", "r5999", nil)
	if err != nil || !ok || !own || h.RunID != "r5998" {
		t.Fatalf("Before = %+v, %v, %v, %v", h, ok, own, err)
	}
	if m.n > len(data)/6 {
		t.Errorf("%d of %d bytes were read for a run of the last of 12 row groups", m.n, len(data))
	}
}
