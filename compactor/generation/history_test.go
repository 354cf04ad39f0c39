package generation

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
)

// lines is the history as a line each: number, verb, rows, by how many there are more, and what is wrong.
func (r *timed) lines(t *testing.T) (out []string) {
	t.Helper()
	for c, err := range r.History() {
		if err != nil {
			t.Fatal(err)
		}
		line := fmt.Sprint(uint64(c.Generation), " ", c.Verb, " ", c.Rows)
		if c.Grown != nil {
			line += fmt.Sprint(" +", *c.Grown)
		}
		if c.RepairedFrom != nil {
			line += fmt.Sprint(" from ", uint64(*c.RepairedFrom))
		}
		if c.Void {
			line += " void"
		}
		if c.Err != nil {
			line += " unreadable"
		}
		out = append(out, line)
	}
	return out
}

// drafted is a draft of a compactor that has read the newest generation and sleeps.
func (r *timed) drafted(t *testing.T) *Draft {
	t.Helper()
	newest, err := r.Newest()
	if err != nil {
		t.Fatal(err)
	}
	d, err := r.Draft(newest, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (r *timed) removeManifest(t *testing.T, g cohort.Generation) {
	t.Helper()
	if err := durable.Remove(r.FS, r.Root.Manifest(g)); err != nil {
		t.Fatal(err)
	}
}

// goBack commits what an earlier generation has, as a repair does.
func (r *timed) goBack(t *testing.T, to cohort.Generation) {
	t.Helper()
	good, err := r.Read(to)
	if err != nil {
		t.Fatal(err)
	}
	newest, err := r.Newest()
	if err != nil {
		t.Fatal(err)
	}
	d, err := r.DraftAgain(good, newest.Generation)
	if err == nil {
		_, err = d.Commit()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestHistory(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(t *testing.T, r *timed)
		want []string
	}{
		"never folded": {func(*testing.T, *timed) {}, nil},
		"folds": {func(t *testing.T, r *timed) {
			for i := range 3 {
				r.commit(t, time.Minute, i == 1)
			}
		}, []string{"3 fold 2 +1", "2 fold 1 +0", "1 fold 1 +1"}},
		// The first of each hour is linked to the one before, whatever is gone between.
		"thinned": {func(t *testing.T, r *timed) {
			for range 5 {
				r.commit(t, 30*time.Minute, false) // 00:30 01:00 01:30 02:00 02:30
			}
			r.removeManifest(t, 3)
		}, []string{"5 fold 5 +1", "4 fold 4", "2 fold 2 +1", "1 fold 1 +1"}},
		"a compactor that slept": {func(t *testing.T, r *timed) {
			r.commit(t, time.Minute, false)
			slept := r.drafted(t)
			for range 3 {
				r.commit(t, time.Minute, false)
			}
			r.removeManifest(t, 2)
			if _, err := r.finish(slept, false); !errors.Is(err, ErrConflict) {
				t.Fatalf("a commit that is too late: %v", err)
			}
		}, []string{"4 fold 4 +1", "3 fold 3", "2 fold 2 +1 void", "1 fold 1 +1"}},
		// The one that it is void against is gone as well: only the links tell.
		"a compactor that slept, thinned": {func(t *testing.T, r *timed) {
			r.commit(t, time.Minute, false)
			slept := r.drafted(t)
			r.commit(t, time.Minute, false)
			r.commit(t, time.Minute, false)
			r.commit(t, time.Hour, false)
			r.removeManifest(t, 2)
			if _, err := r.finish(slept, false); !errors.Is(err, ErrConflict) {
				t.Fatalf("a commit that is too late: %v", err)
			}
			r.removeManifest(t, 3)
		}, []string{"4 fold 4", "2 fold 2 +1 void", "1 fold 1 +1"}},
		// Somebody put the first of an hour aside, which retention would have kept: what is before it is not void because of that.
		"a first that is missing": {func(t *testing.T, r *timed) {
			for range 6 {
				r.commit(t, 30*time.Minute, false)
			}
			r.removeManifest(t, 4)
		}, []string{"6 fold 6 +1", "5 fold 5", "3 fold 3 +1", "2 fold 2 +1", "1 fold 1 +1"}},
		"a repair": {func(t *testing.T, r *timed) {
			for range 4 {
				r.commit(t, time.Minute, false)
			}
			r.goBack(t, 2)
			r.commit(t, time.Minute, false)
		}, []string{"6 fold 3 +1", "5 repair 2 from 2", "4 fold 4 +1 void", "3 fold 3 +1 void", "2 fold 2 +1", "1 fold 1 +1"}},
		"a damaged manifest": {func(t *testing.T, r *timed) {
			for range 4 {
				r.commit(t, time.Minute, false)
			}
			if err := durable.Replace(r.FS, r.Root.Manifest(3), []byte("{}"), 0o444); err != nil {
				t.Fatal(err)
			}
		}, []string{"4 fold 4", "3  0 unreadable", "2 fold 2 +1", "1 fold 1 +1"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newTimed(t)
			c.do(t, r)
			if diff := cmp.Diff(c.want, r.lines(t)); diff != "" {
				t.Errorf("history (-want +got):\n%s", diff)
			}
		})
	}
}

// TestHistoryOfOlderVersions: what they did not say is not guessed. The number of rows says how many keys came.
func TestHistoryOfOlderVersions(t *testing.T) {
	r := newTimed(t)
	if err := durable.MkdirAll(r.FS, r.Root.Manifests(), 0o777); err != nil {
		t.Fatal(err)
	}
	var before *Manifest
	for g := range cohort.Generation(3) {
		m := sample()
		m.Generation, m.Parent = g+1, ""
		m.Index.Name, m.Snapshots[0].Name = cohort.IndexName(g+1, m.Token), cohort.SnapshotsName(g+1, m.Token)
		m.Index.Rows += int64(g)
		m.Snapshots[0].Rows += int64(g)
		if before != nil {
			m.Parent = before.digest
		}
		if err := durable.Replace(r.FS, r.Root.Manifest(m.Generation), m.Encode(), 0o444); err != nil {
			t.Fatal(err)
		}
		m.digest = digestOf(m.Encode())
		before = m
	}
	for c := range r.History() {
		if c.Changed != nil || c.User != "" {
			t.Errorf("generation %d: changed %+v, user %q: want unknown", uint64(c.Generation), c.Changed, c.User)
		}
	}
	r.removeManifest(t, 1)
	if diff := cmp.Diff([]string{"3  13 +1", "2  12"}, r.lines(t)); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
}

// TestSweptMeanwhile: a manifest that goes after the listing is no line and no error.
func TestSweptMeanwhile(t *testing.T) {
	r := newTimed(t)
	for range 3 {
		r.commit(t, time.Minute, false)
	}
	var got []string
	for c, err := range r.History() {
		if err != nil || c.Err != nil {
			t.Fatal(err, c.Err)
		}
		got = append(got, fmt.Sprint(uint64(c.Generation), " ", c.Void))
		if c.Generation == 3 {
			r.removeManifest(t, 1)
		}
	}
	if diff := cmp.Diff([]string{"3 false", "2 false"}, got); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
}

// TestAt asks for generations of times. They were committed at 00:30, 01:00, ..., 03:00; the one of 02:00 is gone, and the one of
// 01:30 is void.
func TestAt(t *testing.T) {
	r := newTimed(t)
	begin := r.now
	for range 3 {
		r.commit(t, 30*time.Minute, false)
	}
	r.goBack(t, 2) // at 01:30, as 4
	for range 3 {
		r.commit(t, 30*time.Minute, false)
	}
	r.removeManifest(t, 5)
	for at, want := range map[string]string{
		"29m": "no generation is kept that was committed at or before 2026-03-01T00:29:00.000000Z: the oldest one that is kept is 1 of 2026-03-01T00:30:00.000000Z",
		"30m": "1, then 2", "59m59s": "1, then 2", "1h": "2, then 4", "89m": "2, then 4", "90m": "4, then 6", "2h": "4, then 6", "150m": "6, then 7", "3h": "7, then 0", "100h": "7, then 0",
	} {
		after, err := time.ParseDuration(at)
		if err != nil {
			t.Fatal(err)
		}
		m, next, err := r.At(begin.Add(after))
		got := fmt.Sprintf("%d, then %d", uint64(m.Generation), uint64(next))
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("At(%s) = %s; want %s", at, got, want)
		}
	}
	if len(r.told) > 0 {
		t.Errorf("told %q", r.told)
	}
	for g, want := range map[cohort.Generation]string{
		1: "<nil>",
		3: "generation 3 is void: it is not of the history of the newest one: the nearest ones that are kept are 2 of 2026-03-01T01:00:00.000000Z and 4 of 2026-03-01T01:30:00.000000Z",
		5: "generation 5 is not kept: the nearest ones that are kept are 4 of 2026-03-01T01:30:00.000000Z and 6 of 2026-03-01T02:30:00.000000Z",
		9: "generation 9 is not kept: the newest one is 7 of 2026-03-01T03:00:00.000000Z",
	} {
		_, err := r.Kept(g)
		if got := fmt.Sprint(err); got != want {
			t.Errorf("Kept(%d) = %s; want %s", uint64(g), got, want)
		}
		if err != nil && !errors.As(err, new(*NotKeptError)) {
			t.Errorf("Kept(%d) = %v: no NotKeptError", uint64(g), err)
		}
	}
}

// TestAtUnreadable: a manifest that cannot be read and may be the answer is an error, and no earlier generation takes its place.
func TestAtUnreadable(t *testing.T) {
	r := newTimed(t)
	begin := r.now
	for range 4 {
		r.commit(t, 30*time.Minute, false)
	}
	if err := durable.Replace(r.disk, r.Root.Manifest(3), []byte("{}"), 0o666); err != nil {
		t.Fatal(err)
	}
	for at, want := range map[time.Duration]cohort.Generation{30 * time.Minute: 1, 59 * time.Minute: 1, time.Hour: 0, 90 * time.Minute: 0, 119 * time.Minute: 0, 2 * time.Hour: 4} {
		m, _, err := r.At(begin.Add(at))
		if m.Generation != want || (want == 0) != IsDamage(err) {
			t.Errorf("At(%v) = %d, %v; want %d, and damage if that is 0", at, m.Generation, err, want)
		}
	}
}

// TestClocksDisagree: the clock of the machine that committed the first generation was an hour ahead. The order is that of the numbers,
// and it is told.
func TestClocksDisagree(t *testing.T) {
	r := newTimed(t)
	begin := r.now
	r.commit(t, time.Hour, false)
	r.now = begin
	r.commit(t, time.Minute, false)
	m, _, err := r.At(begin.Add(2 * time.Minute))
	want := []string{"generation 1 was committed before 2, although the clock of its machine said a later time: the order is that of the numbers"}
	if diff := cmp.Diff(want, r.told); diff != "" || m.Generation != 2 || err != nil {
		t.Errorf("At = %d, %v; want 2; told (-want +got):\n%s", uint64(m.Generation), err, diff)
	}
	r.told = nil
	if m, _, err := r.At(begin.Add(2 * time.Hour)); m.Generation != 2 || err != nil || len(r.told) > 0 {
		t.Errorf("At = %d, %v; want 2, and nothing told: %q", uint64(m.Generation), err, r.told)
	}
}
