package journal

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
)

var errFault = errors.New("injected")

// seam stands between a Writer and its streams. Its calls are numbered from 0: create, write, close. If ahead is set, the calls that write
// zeros ahead, and all syncs, are numbered as well.
type seam struct {
	t     *testing.T
	ahead bool
	fail  func(call int) bool
	how   string // what happens before a call fails: "nothing", "half" of it, or "all"
	calls []string
	mu    sync.Mutex
}

func (s *seam) install(w *Writer) {
	create := w.create
	w.create = func() (*stream, error) {
		failed := s.call("create")
		if failed && s.how == "nothing" {
			return nil, errFault
		}
		st, err := create()
		if err != nil {
			return nil, err
		}
		if failed {
			st.abandon()
			return nil, errFault
		}
		seg := &seamSegment{segment: st.seg, seam: s, path: st.path()}
		st.seg = seg
		if st.spare = nil; s.ahead {
			st.spare = &seamSpare{newSpareFile(s.t, st.path()), seg}
		}
		return st, nil
	}
}

// call counts a call and tells whether it fails.
func (s *seam) call(op string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, op)
	return s.fail != nil && s.fail(len(s.calls)-1)
}

type seamSegment struct {
	segment
	*seam
	path  string
	wrote int64
	dead  bool
}

func (s *seamSegment) write(first uint64, frames [][]byte) error {
	if s.dead {
		s.t.Errorf("write of entry %d after an error", first)
	}
	s.dead = s.call("write")
	switch {
	case !s.dead:
		err := s.segment.write(first, frames)
		for _, f := range frames {
			s.wrote += int64(entrySize(len(f)))
		}
		s.dead = err != nil
		return err
	case s.how == "half":
		s.appendHalf(frames)
	case s.how == "all":
		if err := s.segment.write(first, frames); err != nil {
			s.t.Error(err)
		}
	}
	return errFault
}

func (s *seamSegment) sync() error {
	if !s.ahead {
		return s.segment.sync()
	}
	return s.around("sync", s.segment.sync)
}

// around makes a call that is numbered. None may follow on this segment once one has failed.
func (s *seamSegment) around(op string, do func() error) error {
	if s.dead {
		s.t.Errorf("%s after an error", op)
	}
	s.dead = s.call(op)
	if s.dead && s.how == "nothing" {
		return errFault
	}
	if err := do(); err != nil {
		s.t.Error(err)
	}
	if s.dead {
		return errFault
	}
	return nil
}

// appendHalf leaves what a full disk leaves.
func (s *seamSegment) appendHalf(frames [][]byte) {
	var all []byte
	for _, f := range frames {
		all = append(binary.AppendUvarint(all, uint64(len(f))), f...)
	}
	file, err := os.OpenFile(s.path, os.O_WRONLY, 0)
	if err == nil {
		_, err = file.WriteAt(all[:len(all)/2], s.wrote)
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		s.t.Error(err)
	}
}

func (s *seamSegment) close() error {
	s.dead = true
	failed := s.call("close")
	if err := s.segment.close(); err != nil {
		s.t.Error(err)
	}
	if failed {
		return errFault
	}
	return nil
}

// copies are the forms in which each run stands in the streams of a root. There is no damage in them.
func copies(t testing.TB, root cohort.Root) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for _, s := range streams(t, root) {
		r, err := readerOf(root, s, Position{})
		if err != nil {
			t.Fatal(err)
		}
		got := drain(t, r)
		if got.Damage != nil || got.Err != "" {
			t.Errorf("stream %v: damage %v, %s", s, got.Damage, got.Err)
		}
		for _, rec := range got.Records {
			_, run, _ := strings.Cut(rec, `"run_id":"`)
			run, _, _ = strings.Cut(run, `"`)
			out[run] = append(out[run], rec)
		}
	}
	return out
}

// TestOneFault lets each call of a Writer's life fail once, in three ways. Every Append is
// acknowledged all the same. If a record stands in two streams, both are the same record.
func TestOneFault(t *testing.T) {
	for _, how := range []string{"nothing", "half", "all"} {
		if testing.Short() && how != "half" {
			continue
		}
		for k := 0; ; k++ {
			root := newRoot(t)
			w := newWriter(t, root, Options{SealBytes: 600})
			s := &seam{t: t, how: how, fail: func(call int) bool { return call == k }}
			s.install(w)
			appendRuns(t, w, 1, 6)
			err := w.Close()
			if len(s.calls) <= k {
				if k < 12 || err != nil {
					t.Errorf("%d calls: %v, %v", k, s.calls, err)
				}
				t.Logf("figure: %d faults injected into appends, with %s done", k, how)
				break
			}
			if err != nil && !errors.Is(err, errFault) {
				t.Errorf("call %d, %s: Close = %v", k, s.calls[k], err)
			}
			got := copies(t, root)
			if diff := cmp.Diff(runs(1, 6), slices.Sorted(maps.Keys(got))); diff != "" {
				t.Errorf("call %d, %s, fails with %s done (-acknowledged +found):\n%s", k, s.calls[k], how, diff)
			}
			for run, forms := range got {
				if len(slices.Compact(forms)) != 1 {
					t.Errorf("call %d, %s, fails with %s done: %s stands there as %q", k, s.calls[k], how, run, forms)
				}
			}
		}
	}
}

// TestTwoFaults lets each call fail, and all later ones. What was acknowledged is there. The Writer
// returns its first error from then on, and makes no more calls.
func TestTwoFaults(t *testing.T) {
	for _, how := range []string{"nothing", "half", "all"} {
		if testing.Short() && how != "half" {
			continue
		}
		for k := range 8 {
			root := newRoot(t)
			w := newWriter(t, root, Options{SealBytes: 600})
			s := &seam{t: t, how: how, fail: func(call int) bool { return call >= k }}
			s.install(w)
			var acked []string
			var first error
			calls := 0
			for n := 1; n <= 6; n++ {
				recs := []cohort.Record{rec(t, n)}
				err := w.Append(recs)
				switch {
				case first == nil && err == nil:
					acked = append(acked, recs[0].RunID)
				case first == nil:
					first, calls = err, len(s.calls)
					if !errors.Is(err, errFault) || recs[0].ID == "" {
						t.Errorf("call %d, %s: Append = %v, record %+v", k, s.calls[k], err, recs[0])
					}
				case err != first:
					t.Errorf("Append of a dead Writer = %v, want %v", err, first)
				}
			}
			if first == nil || len(s.calls) != calls {
				t.Errorf("call %d: error %v, %d calls after it", k, first, len(s.calls)-calls)
			}
			if err := w.Close(); err != nil {
				t.Errorf("Close of a dead Writer = %v", err)
			}
			got := copies(t, root)
			for _, run := range acked {
				if len(got[run]) == 0 {
					t.Errorf("call %d: %s was acknowledged and is not there", k, run)
				}
			}
			if len(got) > len(acked)+1 {
				t.Errorf("call %d: %d runs are there, %d were acknowledged and 1 tried", k, len(got), len(acked))
			}
		}
	}
}

// TestAppendAgain takes records whose Append failed, and appends them to another Writer. They are the same records with the same
// ids, and later writes.
func TestAppendAgain(t *testing.T) {
	root := newRoot(t)
	w := newWriter(t, root, Options{})
	s := &seam{t: t, how: "all"}
	s.fail = func(call int) bool { return s.calls[call] == "write" }
	s.install(w)
	recs := []cohort.Record{rec(t, 1), rec(t, 2)}
	if err := w.Append(recs); !errors.Is(err, errFault) {
		t.Fatalf("Append = %v", err)
	}
	ids, stamp := []string{recs[0].ID, recs[1].ID}, recs[1].Stamp
	if err := newWriter(t, root, Options{}).Append(recs); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(ids, []string{recs[0].ID, recs[1].ID}); diff != "" || recs[0].Stamp <= stamp {
		t.Errorf("stamp %d after %d, ids (-first +second):\n%s", recs[0].Stamp, stamp, diff)
	}
	for run, forms := range copies(t, root) {
		slices.Sort(forms)
		if len(forms) != 3 || len(slices.Compact(forms)) != 2 {
			t.Errorf("%s stands there as %q", run, forms)
		}
	}
}

// TestStreamUnderAttack changes a stream under its writer. The writer finds out before it acknowledges,
// and what it had not acknowledged goes to a fresh stream.
func TestStreamUnderAttack(t *testing.T) {
	attacks := map[string]func(st *stream) error{
		"its directory is moved":   func(st *stream) error { return os.Rename(st.dir(), filepath.Join(string(st.root), "reaped")) },
		"its directory is removed": func(st *stream) error { return os.RemoveAll(st.dir()) },
		"its segment is removed":   func(st *stream) error { return os.Remove(st.path()) },
		"its segment is emptied":   func(st *stream) error { return os.Truncate(st.path(), 0) },
		"its segment is cut":       func(st *stream) error { return os.Truncate(st.path(), st.size-1) },
		"its cohort is moved": func(st *stream) error {
			return os.Rename(st.root.Cohort(st.Cohort), filepath.Join(string(st.root), "elsewhere"))
		},
		"another process appends to it": func(st *stream) error {
			f, err := os.OpenFile(st.path(), os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteString("x")
			return errors.Join(err, f.Close())
		},
		"its segment is replaced by a copy": func(st *stream) error {
			data, err := os.ReadFile(st.path())
			if err != nil {
				return err
			}
			return durable.Replace(durable.OS, st.path(), data, 0o644)
		},
		"its segment becomes a link to itself": func(st *stream) error {
			moved := filepath.Join(st.dir(), "moved")
			return errors.Join(os.Rename(st.path(), moved), os.Symlink(moved, st.path()))
		},
	}
	for name, attack := range attacks {
		for _, when := range []string{"before the write", "after the write"} {
			t.Run(name+" "+when, func(t *testing.T) {
				if runtime.GOOS == "windows" {
					t.Skip("files that are open cannot be moved")
				}
				root := newRoot(t)
				w := newWriter(t, root, Options{})
				appendRuns(t, w, 1, 1)
				first := w.stream
				s := &seam{t: t}
				if when == "before the write" {
					if err := attack(first); err != nil {
						t.Fatal(err)
					}
				} else {
					first.seg = &attackedSegment{first.seg, func() error { return attack(first) }}
				}
				s.install(w)
				recs := []cohort.Record{rec(t, 2)}
				if err := w.Append(recs); err != nil {
					t.Fatal(err)
				}
				if recs[0].Stream == first.ID || w.stream == first {
					t.Error("acknowledged in the stream that was changed")
				}
				if diff := cmp.Diff([]string{"create", "write"}, s.calls); diff != "" {
					t.Errorf("calls on the second stream (-want +got):\n%s", diff)
				}
				c, _ := read(t, root, Stream{"c", recs[0].Stream}, Position{})
				if diff := cmp.Diff(runs(2, 2), c.runs); diff != "" {
					t.Errorf("second stream (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// attackedSegment is changed right after each write.
type attackedSegment struct {
	segment
	attack func() error
}

func (s *attackedSegment) write(first uint64, frames [][]byte) error {
	return errors.Join(s.segment.write(first, frames), s.attack())
}

// TestOwnStreamNotSeen: only a stream that is not there was moved or removed. Where the storage does not answer, nobody knows.
func TestOwnStreamNotSeen(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("files that are open cannot be moved")
	}
	root := newRoot(t)
	w := newWriter(t, root, Options{})
	appendRuns(t, w, 1, 1)
	dir := w.stream.dir()
	if err := os.Rename(dir, filepath.Join(string(root), "reaped")); err != nil {
		t.Fatal(err)
	}
	if err := w.stream.checkPath(); !errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(err.Error(), "own stream was moved or removed: ") {
		t.Errorf("moved: %v", err)
	}
	if err := os.Symlink(dir, dir); err != nil { // no look at the segment succeeds
		t.Fatal(err)
	}
	if err := w.stream.checkPath(); err == nil || errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(err.Error(), "look at own stream: ") {
		t.Errorf("not seen: %v", err)
	}
	if err := errors.Join(os.Remove(dir), os.Rename(filepath.Join(string(root), "reaped"), dir)); err != nil {
		t.Fatal(err)
	}
}
