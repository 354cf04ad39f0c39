package journal

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
)

// spareFile writes zeros ahead on any file system, so that these tests run where a Writer would not.
type spareFile struct {
	f    *os.File
	most int64
}

func newSpareFile(t testing.TB, path string) *spareFile {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return &spareFile{f, math.MaxInt64}
}

func (s *spareFile) fill(from, to int64) error {
	_, err := s.f.WriteAt(make([]byte, to-from), from)
	return err
}
func (s *spareFile) cut(size int64) error { return s.f.Truncate(size) }
func (s *spareFile) syncData() error      { return s.f.Sync() }
func (s *spareFile) sync() error          { return s.f.Sync() }
func (s *spareFile) limit() int64         { return s.most }
func (*spareFile) large() int64           { return largeGroup }

// aheadWriter is a Writer whose streams have zeros ahead on every file system. change may be nil.
func aheadWriter(t testing.TB, root cohort.Root, o Options, change func(st *stream)) *Writer {
	t.Helper()
	w := newWriter(t, root, o)
	create := w.create
	w.create = func() (*stream, error) {
		st, err := create()
		if err == nil {
			st.spare = newSpareFile(t, st.path())
		}
		if err == nil && change != nil {
			change(st)
		}
		return st, err
	}
	return w
}

// bytesOf is the bytes of the stream that a Writer has.
func bytesOf(t testing.TB, w *Writer) []byte {
	t.Helper()
	data, err := os.ReadFile(w.stream.path())
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestAhead looks at the size of a stream while it is written: no zeros before the fourth group, then some, never beyond the limit, and none
// after the seal. What a Reader finds is the same at any time, and it finds no torn bytes.
func TestAhead(t *testing.T) {
	const limit = 90 << 10
	root := newRoot(t)
	w := aheadWriter(t, root, Options{SealBytes: limit}, nil)
	grown, first := 0, Stream{}
	for n := 1; n <= 1000; n++ {
		before := int64(0)
		if w.stream != nil {
			before = w.stream.end
		}
		appendRuns(t, w, n, n)
		st := w.stream
		if n == 1 {
			first = st.Stream
		}
		if st.Stream != first {
			break
		}
		data := bytesOf(t, w)
		if int64(len(data)) != st.end || lastOf(data) != int(st.size) {
			t.Fatalf("append %d: %d bytes and %d before the zeros, want %d and %d", n, len(data), lastOf(data), st.end, st.size)
		}
		if n <= firstGroups && st.end != st.size || n == firstGroups+1 && st.end < st.size+leastAhead || st.end > limit {
			t.Errorf("append %d: %d bytes of entries in %d", n, st.size, st.end)
		}
		if st.end != before && n > firstGroups {
			grown++
		}
		if n%50 > 5 && st.end == before {
			continue
		}
		c, _ := read(t, root, st.Stream, Position{})
		if diff := cmp.Diff(content{runs: runs(1, n)}, c, cmp.AllowUnexported(content{})); diff != "" {
			t.Fatalf("append %d (-want +got):\n%s", n, diff)
		}
	}
	if w.stream.Stream == first || grown != 2 {
		t.Errorf("the file grew %d times, want 2, and then another stream", grown)
	}
	data, err := os.ReadFile(root.Segment(first.Cohort, first.ID))
	if c, _ := read(t, root, first, Position{}); err != nil || !c.sealed || c.damage != nil || len(data) > limit || data[len(data)-1] != '}' {
		t.Errorf("sealed: %d bytes, %+v, %v", len(data), c, err)
	}
}

// TestAheadWhereItDoesNotPay: a group that is large, a limit of the system, and little room before the seal.
func TestAheadWhereItDoesNotPay(t *testing.T) {
	large, err := cohort.ParseRecord(fmt.Appendf(nil, `{"run_id":"large","stage":"T","x":%q}`, strings.Repeat("x", largeGroup)), 0)
	if err != nil {
		t.Fatal(err)
	}
	w := aheadWriter(t, newRoot(t), Options{}, func(st *stream) { st.spare.(*spareFile).most = 20000 })
	for range 2 * firstGroups {
		if err := w.Append([]cohort.Record{large}); err != nil {
			t.Fatal(err)
		}
		if w.stream.end != w.stream.size {
			t.Errorf("%d zeros after a large group", w.stream.end-w.stream.size)
		}
	}
	appendRuns(t, w, 1, 1)
	if w.stream.end != w.stream.size {
		t.Errorf("%d zeros beyond the limit of the system", w.stream.end-w.stream.size)
	}
	w = aheadWriter(t, newRoot(t), Options{SealBytes: 600}, nil)
	for n := 1; n <= 20; n++ {
		appendRuns(t, w, n, n)
		if w.stream.end > 600 {
			t.Errorf("%d bytes with zeros, and 600 may be", w.stream.end)
		}
	}
}

// seamSpare numbers the calls of a spare together with those of its segment.
type seamSpare struct {
	*spareFile
	seg *seamSegment
}

func (s *seamSpare) fill(from, to int64) error {
	failed := s.seg.call("fill")
	if failed && s.seg.how == "nothing" {
		return errFault
	}
	if failed && s.seg.how == "half" {
		to = (from + to) / 2
	}
	if err := s.spareFile.fill(from, to); err != nil {
		s.seg.t.Error(err)
	}
	if failed {
		return errFault // the stream goes on: see extend
	}
	return nil
}

func (s *seamSpare) cut(size int64) error {
	return s.seg.around("cut", func() error { return s.spareFile.cut(size) })
}
func (s *seamSpare) syncData() error { return s.seg.around("syncData", s.spareFile.syncData) }
func (s *seamSpare) sync() error     { return s.seg.around("syncCut", s.spareFile.sync) }

// TestOneFaultAhead lets each call fail once of a Writer that writes zeros ahead, and with "fill" the cut after it. Every Append is
// acknowledged all the same. Where the zeros could not be written, the stream goes on without them, and ends without them.
func TestOneFaultAhead(t *testing.T) {
	met := map[string]int{}
	for _, how := range []string{"nothing", "half", "all"} {
		if testing.Short() && how != "half" {
			continue
		}
		for k := 0; ; k++ {
			root := newRoot(t)
			w := newWriter(t, root, Options{SealBytes: 1200})
			s := &seam{t: t, how: how, ahead: true}
			s.fail = func(call int) bool { return call == k || call == k+1 && s.calls[k] == "fill" && k%2 == 0 }
			s.install(w)
			appendRuns(t, w, 1, 15)
			if err := w.Close(); err != nil && !errors.Is(err, errFault) {
				t.Errorf("call %d, %s: Close = %v", k, s.calls[k], err)
			}
			if len(s.calls) <= k {
				t.Logf("figure: %d faults injected into appends with zeros ahead, with %s done", k, how)
				break
			}
			met[s.calls[k]]++
			got := copies(t, root)
			if diff := cmp.Diff(slices.Sorted(slices.Values(runs(1, 15))), slices.Sorted(maps.Keys(got))); diff != "" {
				t.Errorf("call %d, %s, fails with %s done (-acknowledged +found):\n%s", k, s.calls[k], how, diff)
			}
			for run, forms := range got {
				if slices.Sort(forms); len(slices.Compact(forms)) != 1 {
					t.Errorf("call %d, %s, fails with %s done: %s stands there as %q", k, s.calls[k], how, run, forms)
				}
			}
		}
	}
	for _, op := range []string{"write", "sync", "fill", "cut", "syncData", "syncCut", "close"} {
		if met[op] == 0 {
			t.Errorf("no %s failed: %v", op, met)
		}
	}
}

// TestNoRoomForZeros: on a full disk the stream goes on, for good without zeros, and the file ends with its last entry.
func TestNoRoomForZeros(t *testing.T) {
	root := newRoot(t)
	w := newWriter(t, root, Options{})
	s := &seam{t: t, how: "half", ahead: true}
	s.fail = func(call int) bool { return s.calls[call] == "fill" }
	s.install(w)
	appendRuns(t, w, 1, firstGroups+1)
	first := w.stream
	for n := firstGroups + 2; n < 20; n++ {
		if data := bytesOf(t, w); int64(len(data)) != first.size || first.end != first.size {
			t.Fatalf("%d bytes, %d of entries, %d", len(data), first.size, first.end)
		}
		appendRuns(t, w, n, n)
	}
	if w.stream != first || first.spare != nil || slices.Contains(s.calls, "syncData") {
		t.Errorf("it did not go on as before: %v", s.calls)
	}
	if diff := cmp.Diff(runs(1, 19), all(t, root)); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

// TestAheadUnderAttack: the size is looked at before and after each write over zeros as well.
func TestAheadUnderAttack(t *testing.T) {
	root := newRoot(t)
	for name, size := range map[string]func(st *stream) int64{
		"the zeros are cut off":         func(st *stream) int64 { return st.size },
		"some zeros are cut off":        func(st *stream) int64 { return st.end - 1 },
		"an entry is cut off":           func(st *stream) int64 { return st.size - 1 },
		"the file was made longer":      func(st *stream) int64 { return st.end + 1 },
		"the file is empty":             func(*stream) int64 { return 0 },
		"the file is cut while it ends": func(st *stream) int64 { return st.size - 1 },
	} {
		for _, when := range []string{"before", "after"} {
			if when == "after" && strings.Contains(name, "ends") {
				continue // nobody looks after a seal
			}
			w := aheadWriter(t, root, Options{}, nil)
			appendRuns(t, w, 1, 10)
			first := w.stream
			attack := func() error { return os.Truncate(first.path(), size(first)) }
			if when == "before" {
				if err := attack(); err != nil {
					t.Fatal(err)
				}
			} else {
				first.seg = &attackedSegment{first.seg, attack}
			}
			if strings.Contains(name, "ends") {
				before := bytesOf(t, w)
				if err := w.Close(); err == nil {
					t.Errorf("%s, %s: sealed", name, when)
				} else if data, err := os.ReadFile(first.path()); err != nil || !bytes.Equal(data, before) {
					t.Errorf("%s: the file was changed", name)
				}
				continue
			}
			recs := []cohort.Record{rec(t, 11)}
			if err := w.Append(recs); err != nil || recs[0].Stream == first.ID {
				t.Errorf("%s %s the write: acknowledged in the stream that was changed: %v", name, when, err)
			}
		}
	}
}

// TestSealWhileReading opens readers before the zeros are cut off, and reads with them after that. They find all records, no error and no damage.
func TestSealWhileReading(t *testing.T) {
	root := newRoot(t)
	w := aheadWriter(t, root, Options{}, nil)
	const n = 2000 // more than a window
	appendRuns(t, w, 1, n)
	s := w.stream.Stream
	var readers []*Reader
	for i := range 4 {
		r, err := readerOf(root, s, Position{})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		for range i * n / 4 {
			if _, err := r.Next(); err != nil {
				t.Fatal(err)
			}
		}
		readers = append(readers, r)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for i, r := range readers {
		got := 0
		var err error
		for ; err == nil; got++ {
			_, err = r.Next()
		}
		if got += i*n/4 - 1; got != n || r.Torn() != 0 || !r.Position().Sealed || err.Error() != "EOF" {
			t.Errorf("reader %d: %d records, %v, %d torn bytes, %+v", i, got, err, r.Torn(), r.Position())
		}
	}
}

// TestRereadWhileSealing reads records again of a stream that has become shorter since it was opened.
func TestRereadWhileSealing(t *testing.T) {
	root := newRoot(t)
	w := aheadWriter(t, root, Options{}, nil)
	appendRuns(t, w, 1, 10)
	r, err := readerOf(root, w.stream.Stream, Position{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var refs []Ref
	for range 10 {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
		refs = append(refs, r.Ref())
	}
	again, err := readerOf(root, w.stream.Stream, Position{})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range slices.Backward(refs) {
		if got, err := again.Reread(refs[i]); err != nil || got.RunID != fmt.Sprint("r-", i+1) {
			t.Errorf("record %d: %q, %v", i+1, got.RunID, err)
		}
	}
}

// TestReadWhileWritten reads a stream again and again while it is written, and sealed, in both ways: as one that is alive and, as a copy for a
// backup does, as one that is dead. No reader finds damage, an error, or a record that is not the next.
func TestReadWhileWritten(t *testing.T) {
	root := newRoot(t)
	w := aheadWriter(t, root, Options{SealBytes: 100 << 10}, nil)
	appendRuns(t, w, 1, 1)
	var wg sync.WaitGroup
	done := make(chan struct{})
	for _, dead := range []bool{false, true} {
		wg.Go(func() {
			for last := false; !last; {
				select {
				case <-done:
					last = true
				default:
				}
				for _, s := range streams(t, root) {
					at := openRoot(t, root).InCohort(s)
					at.Reaped = dead
					r, err := openRoot(t, root).Open(at, Position{})
					if err != nil {
						if !dead { // in reaped/ a stream has its segment
							t.Error(err)
						}
						continue
					}
					for err == nil {
						_, err = r.Next()
					}
					if err.Error() != "EOF" {
						t.Errorf("dead %t: %v", dead, err)
					}
					r.Close()
				}
			}
		})
	}
	filler := strings.Repeat("x", 3000)
	for n := 2; n < 600; n++ {
		var group []cohort.Record
		for i := range 1 + n%5 {
			r, err := cohort.ParseRecord(fmt.Appendf(nil, `{"run_id":"r-%d-%d","stage":"T","x":"%s"}`, n, i, filler[:n*37%3000]), 0)
			if err != nil {
				t.Fatal(err)
			}
			group = append(group, r)
		}
		if err := w.Append(group); err != nil {
			t.Error(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	close(done)
	wg.Wait()
}

// TestLatePage: a reader that holds a stream for dead has read a page before the writer wrote it, and finds an entry in the next one. It
// reads the page again before it says that it is damaged.
func TestLatePage(t *testing.T) {
	s := newSample(150, false) // less than a window
	cut := s.at[101] + 10      // within an entry
	early := slices.Concat(s.data[:cut], make([]byte, 600), s.data[cut+600:], make([]byte, 5000))
	m := &memFS{data: early}
	r, err := m.reader(inC, Position{})
	if err != nil {
		t.Fatal(err)
	}
	r.dead = true
	for range 50 {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}
	copy(early[cut:], s.data[cut:cut+600])
	rest := drain(t, r)
	if len(rest.Damage) > 0 || len(rest.Records) != 100 || rest.Torn != 0 {
		t.Errorf("damage %q, %d records, %d torn", rest.Damage, len(rest.Records), rest.Torn)
	}
}

// TestLostToZeros: after a power loss zeros stand where a stream was read before. That is a stream that is shorter than it was, as it is without
// zeros. A hole in front of other bytes is not.
func TestLostToZeros(t *testing.T) {
	s := newSample(6, false)
	at := Position{Offset: s.at[5], Seq: 5}
	for keep := range s.at[5] + 1 {
		data := slices.Concat(s.data[:keep], make([]byte, s.at[5]-keep+100_000))
		_, err := (&memFS{data: data}).reader(inC, at)
		var cut *CorruptError
		if want := int64(len(bytes.TrimRight(s.data[:keep], "\x00"))); keep == s.at[5] {
			if err != nil {
				t.Errorf("nothing is lost: %v", err)
			}
		} else if !errors.As(err, &cut) || !IsCutOff(err) || cut.Offset != want || cut.Length != s.at[5]-want {
			t.Fatalf("%d bytes, then zeros: %v", keep, err)
		}
	}
	hole := slices.Concat(s.data[:s.at[5]-9], make([]byte, 9), s.data[s.at[5]:])
	if _, err := (&memFS{data: hole}).reader(inC, at); err != nil {
		t.Errorf("a hole: %v", err)
	}
}

// TestAheadOfBefore reads testdata/ahead, which the Writer of 2026-11-27 made, with a limit of 9000 bytes: a stream whose writer was killed, and one
// with a seal. They are never written again.
func TestAheadOfBefore(t *testing.T) {
	root := cohort.Root(filepath.Join("testdata", "ahead", "root"))
	sizes := map[cohort.ID]int64{"killed": 9000, "sealed": 785}
	for _, s := range streams(t, root) {
		for _, dead := range []bool{false, true} {
			at := openRoot(t, root).InCohort(s)
			at.Reaped = dead
			r, err := openRoot(t, root).Open(at, Position{})
			if err != nil {
				t.Fatal(err)
			}
			size := r.size
			got := drain(t, r)
			if len(got.Records) != 6 || got.Damage != nil || got.Torn != 0 || got.Pos.Sealed != (s.Cohort == "sealed") || size != sizes[s.Cohort] {
				t.Errorf("%v: %+v in %d bytes", s, got, size)
			}
		}
		delete(sizes, s.Cohort)
	}
	if len(sizes) > 0 {
		t.Errorf("no stream of %v", sizes)
	}
}

// TestPowerLoss stops a Writer after each of its calls, and keeps any part of what was not synced: any 512 bytes of a write, the size before
// or the one after it. What was acknowledged is there, what is there was sent, in its order, and only what was not acknowledged can be
// told as damage. Where a seal stands at the end, all is whole.
func TestPowerLoss(t *testing.T) {
	const seed = 64
	rng := rand.New(rand.NewPCG(seed, 1))
	images, sealed := 0, 0
	for round := range 3 {
		root := newRoot(t)
		d := &powerless{t: t, rng: rng, look: func(d *powerless, image []byte) {
			images++
			d.judge(image, &sealed)
		}}
		w := aheadWriter(t, root, Options{SealBytes: []int64{8 << 10, 100 << 10, 1 << 20}[round]}, d.watch)
		filler := strings.Repeat("x", 2000)
		for n := range 30 {
			var group []cohort.Record
			for i := range 1 + rng.IntN(4) {
				r, err := cohort.ParseRecord(fmt.Appendf(nil, `{"run_id":"r-%d-%d","stage":"T","x":"%s"}`, n, i, filler[:rng.IntN(2000)]), 0)
				if err != nil {
					t.Fatal(err)
				}
				group = append(group, r)
			}
			d.sent(group)
			if err := w.Append(group); err != nil {
				t.Fatal(err)
			}
			d.acknowledged()
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("figure: %d images of a disk after a power loss, %d with a seal (seed %d)", images, sealed, seed)
	if images < 5000 || sealed < 20 {
		t.Errorf("%d images, %d with a seal", images, sealed)
	}
}

// powerless knows what of a segment is durable.
type powerless struct {
	t       *testing.T
	rng     *rand.Rand
	look    func(d *powerless, image []byte)
	st      *stream
	durable []byte
	sure    []string // runs that were acknowledged in this stream
	maybe   []string // and those that were sent since
}

func (d *powerless) watch(st *stream) {
	d.st, d.durable, d.sure = st, nil, nil
	st.seg = &powerlessSegment{st.seg, d}
	st.spare = &powerlessSpare{st.spare.(*spareFile), d}
}

func (d *powerless) sent(group []cohort.Record) {
	d.maybe = nil
	for _, r := range group {
		d.maybe = append(d.maybe, r.RunID)
	}
}

func (d *powerless) acknowledged() { d.sure, d.maybe = append(d.sure, d.maybe...), nil }

const sector = 512

// crash looks at images of the disk as a power loss may leave them now.
func (d *powerless) crash() {
	now, err := os.ReadFile(d.st.path())
	if err != nil {
		d.t.Fatal(err)
	}
	for i := range 24 {
		size := len(now)
		if i%2 == 1 {
			size = len(d.durable)
		}
		image := make([]byte, size) // a block that was never written is zero
		copy(image, d.durable)
		for off := 0; off < min(size, len(now)); off += sector {
			end := min(off+sector, size, len(now))
			if keep := i >= 2 && (i < 4 || d.rng.IntN(2) == 1); keep {
				copy(image[off:end], now[off:end])
			}
		}
		d.look(d, image)
	}
}

func (d *powerless) synced(size bool) {
	now, err := os.ReadFile(d.st.path())
	if err != nil {
		d.t.Fatal(err)
	}
	if size {
		d.durable = now
	} else {
		copy(d.durable, now) // what is behind the size that is durable is lost
	}
}

// judge reads an image, as a stream that may go on and as one that is dead.
func (d *powerless) judge(image []byte, sealed *int) {
	d.t.Helper()
	for _, dead := range []bool{false, true} {
		r, err := open(&Reader{fsys: &memFS{data: image}, stream: d.st.Stream, path: "seg", dead: dead})
		if err != nil {
			d.t.Fatal(err)
		}
		var got []string
		var damage *CorruptError
		for {
			rec, err := r.Next()
			if err == nil {
				got = append(got, rec.RunID)
			} else if !errors.As(err, &damage) {
				break
			}
		}
		all := slices.Concat(d.sure, d.maybe)
		if len(got) < len(d.sure) || !slices.Equal(got[:len(d.sure)], d.sure) {
			d.t.Fatalf("dead %t: %d of %d acknowledged records are there, damage %v", dead, len(got), len(d.sure), damage)
		}
		rest := slices.DeleteFunc(slices.Clone(all), func(run string) bool { return !slices.Contains(got, run) })
		if !slices.Equal(rest, got) {
			d.t.Fatalf("dead %t: got %q, sent %q", dead, got, all)
		}
		if damage != nil && !dead {
			d.t.Fatalf("a stream that may go on has damage %v", damage)
		}
		if r.Position().Sealed {
			if *sealed++; damage != nil || len(got) != len(d.sure) {
				d.t.Fatalf("a sealed stream has %d of %d records and damage %v", len(got), len(d.sure), damage)
			}
		}
	}
}

type powerlessSegment struct {
	segment
	d *powerless
}

func (s *powerlessSegment) write(first uint64, frames [][]byte) error {
	err := s.segment.write(first, frames)
	s.d.crash()
	return err
}

func (s *powerlessSegment) sync() error {
	s.d.synced(true)
	s.d.crash()
	return s.segment.sync()
}

type powerlessSpare struct {
	*spareFile
	d *powerless
}

func (s *powerlessSpare) fill(from, to int64) error {
	err := s.spareFile.fill(from, to)
	s.d.crash()
	return err
}

func (s *powerlessSpare) cut(size int64) error {
	err := s.spareFile.cut(size)
	s.d.crash()
	return err
}

func (s *powerlessSpare) syncData() error {
	s.d.synced(false)
	s.d.crash()
	return nil
}

func (s *powerlessSpare) sync() error {
	s.d.synced(true)
	s.d.crash()
	return nil
}
