package acceptance

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/journal"
)

// TestRemakeHostile appends hostile records, makes them again from their rows and lines, and appends those to another root and to the same
// one. Rows and lines say the same, and what is made of them is the same again.
func TestRemakeHostile(t *testing.T) {
	rounds := 10
	if testing.Short() {
		rounds = 2
	}
	for range rounds {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		rnd := rand.New(rand.NewPCG(seed, 31))
		from := newRandomRecords(rnd)
		root := libraryRoot(t)
		var recs []cohort.Record
		for range 200 {
			if r, err := cohort.ParseRecord([]byte(from.next()), 0); err == nil && r.Validate() == nil {
				recs = append(recs, r)
			}
		}
		appended(t, root, time.Now, recs[:len(recs)/2])
		want := appended(t, root, func() time.Time { return time.Time{} }, recs[len(recs)/2:])
		other := libraryRoot(t)
		for name, to := range map[string]cohort.Root{"another root": other, "the same root": root} {
			got := remadeIn(t, to, want)
			if diff := cmp.Diff(want.sums(), got.sums()); diff != "" {
				t.Fatalf("%s (-first +again):\n%s", name, diff)
			}
			for key, r := range got {
				if again, err := index.Remake(r.row, r.line, cohort.KeyForm{}, 0); err != nil || to == root && string(again.JSON) != string(r.made(t).JSON) {
					t.Errorf("%s: %q made again once more: %s, %v", name, key, again.JSON, err)
				}
			}
		}
	}
}

// whole is a row and its line.
type whole struct {
	row  index.Content
	line index.Snapshot
}

func (w whole) made(t *testing.T) cohort.Record {
	t.Helper()
	r, err := index.Remake(w.row, w.line, cohort.KeyForm{}, 0)
	if err != nil {
		t.Fatalf("line %s: %v", w.line.Value, err)
	}
	return r
}

type wholes map[cohort.Key]whole

// sums are what rows and lines say, for a comparison, with the line for a person.
func (w wholes) sums() map[cohort.Key]string {
	out := map[cohort.Key]string{}
	for key, r := range w {
		out[key] = fmt.Sprintf("%x %x", r.row.Sum(), r.line.Sum(r.row.Identity))
	}
	return out
}

// remadeIn appends all records that w says, made again, those without a timestamp with the clock that they have.
func remadeIn(t *testing.T, root cohort.Root, w wholes) (got wholes) {
	t.Helper()
	byClock := map[time.Time][]cohort.Record{}
	for _, r := range w {
		made, clock := r.made(t), time.Unix(1, 0)
		made.ID = ""
		if made.Timestamp == "" {
			clock = made.Written
		}
		byClock[clock] = append(byClock[clock], made)
	}
	for clock, recs := range byClock {
		got = appended(t, root, func() time.Time { return clock }, recs)
	}
	return got
}

// appended appends records and folds them.
func appended(t *testing.T, dir cohort.Root, now func() time.Time, recs []cohort.Record) wholes {
	t.Helper()
	w, err := journal.Create(dir, "default", journal.Options{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Append(recs); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := compactor.Fold(context.Background(), compactor.Config{Root: dir}); err != nil {
		t.Fatal(err)
	}
	return wholesOf(t, dir)
}

// newestOf is the newest generation of a root. The caller closes its data.
func newestOf(t *testing.T, dir cohort.Root) (generation.Manifest, *generation.Data) {
	t.Helper()
	store, err := generation.Open(dir, journal.RootOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := store.Newest()
	if err != nil {
		t.Fatal(err)
	}
	data, err := store.Data(m)
	if err != nil {
		t.Fatal(err)
	}
	return m, data
}

// wholesOf are all rows of a root with their lines.
func wholesOf(t *testing.T, dir cohort.Root) wholes {
	t.Helper()
	m, data := newestOf(t, dir)
	defer data.Close()
	lines, err := data.Snapshots(m.Snapshots[0])
	if err != nil {
		t.Fatal(err)
	}
	defer lines.Close()
	seqs := make([]cohort.Seq, m.NextSeq)
	for i := range seqs {
		seqs[i] = cohort.Seq(i)
	}
	out := wholes{}
	for c, err := range data.Index.Contents(seqs) {
		if err != nil {
			t.Fatal(err)
		}
		out[c.Key] = whole{row: c}
	}
	for l, err := range index.LinesOf(lines, seqs) {
		if err != nil {
			t.Fatal(err)
		}
		out[l.Key] = whole{out[l.Key].row, l}
	}
	return out
}

func libraryRoot(t *testing.T) cohort.Root {
	t.Helper()
	root := cohort.Root(filepath.Join(t.TempDir(), "runs"))
	if _, _, err := journal.InitRoot(root, cohort.Settings{}, journal.RootOptions{}); err != nil {
		t.Fatal(err)
	}
	return root
}
