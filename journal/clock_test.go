package journal

import (
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
)

// later moves a Writer's clock forward from its next call on.
func later(w *Writer, by time.Duration) {
	w.clock.since = func(t time.Time) time.Duration { return time.Since(t) + by }
}

// TestStampsIncrease looks at the stamps of all entries, seals too, over many rolls and a Writer whose
// clock jumps back and forth.
func TestStampsIncrease(t *testing.T) {
	root := newRoot(t)
	w := newWriter(t, root, Options{SealBytes: 900})
	var last cohort.Stamp
	for n := 1; n <= 40; n++ {
		later(w, time.Duration(n%7-3)*time.Second)
		recs := []cohort.Record{rec(t, n), rec(t, n)}
		if err := w.Append(recs); err != nil {
			t.Fatal(err)
		}
		for _, r := range recs {
			if r.Stamp <= last {
				t.Errorf("run %d: stamp %d after %d", n, r.Stamp, last)
			}
			last = r.Stamp
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	last = 0
	for _, s := range inOrder(t, root) {
		for e, err := range Entries(root.Segment(s.Cohort, s.ID), s) {
			if err != nil {
				t.Fatal(err)
			}
			if e.Stamp < last || e.Stamp == last && e.Kind == "seal" {
				t.Errorf("%v: %s %d has stamp %d after %d", s, e.Kind, e.Seq, e.Stamp, last)
			}
			last = e.Stamp
		}
	}
}

// TestStampBase shows that stamps start at the time that the storage gave to the stream's directory. They do not start at the
// time of this machine's clock, and not at that of the segment, which on SMB is the same. A directory without a time is an exception.
func TestStampBase(t *testing.T) {
	none, fat := time.Unix(0, 0), time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)
	past, future := time.Unix(0, 1_100_000_000_000_000_123), time.Unix(0, 1_900_000_000_000_000_456) // before 2038
	for _, test := range []struct{ dir, segment, want time.Time }{
		{past, past, past}, {future, future, future}, {past, future, past}, {future, past, future},
		{none, past, past}, {fat, future, future},
	} {
		root := newRoot(t)
		w := newWriter(t, root, Options{})
		w.clock.since = func(time.Time) time.Duration { return 5 }
		create := w.create
		w.create = func() (*stream, error) {
			st, err := create()
			if err != nil {
				return nil, err
			}
			if err := errors.Join(os.Chtimes(st.path(), test.segment, test.segment), os.Chtimes(st.dir(), test.dir, test.dir)); err != nil {
				t.Fatal(err)
			}
			if st.info, err = os.Lstat(st.path()); err == nil {
				err = st.begin()
			}
			return st, err
		}
		recs := []cohort.Record{rec(t, 1), rec(t, 2)}
		if err := w.Append(recs); err != nil {
			t.Fatal(err)
		}
		want := w.stream.made // some file systems round it, or have times of 32 bits
		if test.want == test.segment && test.want != test.dir {
			want = w.stream.info.ModTime()
		}
		if base := cohort.Stamp(want.UnixNano()); recs[0].Stamp != base+5 || recs[1].Stamp != base+6 {
			t.Errorf("%v: stamps %d, %d, want them to begin at %d", test, recs[0].Stamp, recs[1].Stamp, base)
		}
	}
}

// TestStampFloor puts manifests beside the streams: stamps start above the highest of the newest whole
// one, if it is later than the time of the directory.
func TestStampFloor(t *testing.T) {
	const future = 4_000_000_000_000_000_000
	manifest := func(stamp int64) string {
		body := fmt.Sprintf("\"version\":1,\n\"highest_stamp\":%d}\n", stamp)
		return fmt.Sprintf("{\"crc32c\":\"%08x\",\n%s", crcOf(body), body)
	}
	flipped := strings.Replace(manifest(future), "4000", "6000", 1)
	tests := []struct {
		name      string
		manifests []string // 1, 2, ...
		want      cohort.Stamp
	}{
		{"none", nil, 0},
		{"an older stamp", []string{manifest(7)}, 0},
		{"a later stamp", []string{manifest(future)}, future + 1},
		{"the newest counts", []string{manifest(future + 100), manifest(future)}, future + 1},
		{"the newest is cut off", []string{manifest(future), manifest(future + 100)[:40]}, future + 1},
		{"the newest is empty", []string{manifest(future), ""}, future + 1},
		{"the newest has a flipped bit", []string{manifest(future), flipped}, future + 1},
		{"all are damaged", []string{"{}", "[]", "x"}, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := newRoot(t)
			for i, m := range test.manifests {
				if err := os.WriteFile(root.Manifest(cohort.Generation(i+1)), []byte(m), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			for _, name := range []string{"notes.txt", "99999999999999999999.json", "zz.json", ".x.1.tmp"} {
				if err := os.WriteFile(filepath.Join(root.Manifests(), name), []byte(manifest(future+999)), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			w := newWriter(t, root, Options{})
			w.clock.since = func(time.Time) time.Duration { return 0 }
			recs := []cohort.Record{rec(t, 1)}
			if err := w.Append(recs); err != nil {
				t.Fatal(err)
			}
			want := test.want
			if want == 0 {
				want = cohort.Stamp(w.stream.made.UnixNano())
			}
			if !beginsAt(recs[0].Stamp, want) {
				t.Errorf("stamp %d, want %d", recs[0].Stamp, want)
			}
		})
	}
}

func crcOf(text string) uint32 { return crc32.Checksum([]byte(text), castagnoli) }

// TestClock goes through the two clocks that a stamp is made of, and those that stand still.
func TestClock(t *testing.T) {
	elapsed := time.Duration(0)
	began := time.Now()
	c := clock{since: func(start time.Time) time.Duration {
		if !start.Equal(began) {
			t.Errorf("the clock runs since %v, want the time at which the directory was made, %v", start, began)
		}
		return elapsed
	}}
	var got []cohort.Stamp
	next := func(d time.Duration) {
		elapsed = d
		got = append(got, c.next())
	}
	begin := func(at int64, floor cohort.Stamp) { c.begin(time.Unix(0, at), began, floor) }
	begin(1000, 0)
	next(0)
	next(0)       // a clock that stands still
	next(50)      // and goes on
	next(20)      // and back
	begin(900, 0) // a second stream on a file system whose clock was set back
	next(0)
	next(48)
	begin(900, 2000) // a manifest is ahead of it
	next(0)
	begin(9000, 2000)
	next(7)
	want := []cohort.Stamp{1000, 1001, 1050, 1051, 1052, 1100, 2001, 9007}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("stamps (-want +got):\n%s", diff)
	}
}
