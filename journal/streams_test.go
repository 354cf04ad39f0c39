package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
)

func TestHeader(t *testing.T) {
	root := newRoot(t)
	settings := openRoot(t, root).Settings
	w := newWriter(t, root, Options{Program: "test 1.2"})
	appendRuns(t, w, 1, 1)
	s := streams(t, root)[0]
	for e, err := range Entries(root.Segment(s.Cohort, s.ID), s) {
		if err != nil {
			t.Fatal(err)
		}
		var h Header
		if err := json.Unmarshal(e.Payload, &h); err != nil {
			t.Fatal(err)
		}
		if _, ok := cohort.ParseTime(h.Started); !ok {
			t.Errorf("started is %q", h.Started)
		}
		host, _ := os.Hostname()
		want := Header{settings.RootID, "c", host, bootID(), os.Getpid(), userName(), h.Started, "test 1.2"}
		if diff := cmp.Diff(want, h); diff != "" || e.Kind != "header" || e.Seq != 1 {
			t.Errorf("%s %d (-want +got):\n%s", e.Kind, e.Seq, diff)
		}
		break
	}
	lock, err := os.ReadFile(root.WriterLock(s.Cohort, s.ID))
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("\npid %d\nstarted ", os.Getpid()); !strings.Contains(string(lock), want) {
		t.Errorf("writer.lock holds %q, want %q in it", lock, want)
	}
	if free, err := durable.LockIsFree(root.WriterLock(s.Cohort, s.ID)); free || err != nil {
		t.Errorf("lock of a living writer is free: %t, %v", free, err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if free, err := durable.LockIsFree(root.WriterLock(s.Cohort, s.ID)); !free || err != nil {
		t.Errorf("lock of a closed writer is free: %t, %v", free, err)
	}
}

func TestStreams(t *testing.T) {
	root := newRoot(t)
	id := func(last string) cohort.StreamID { return aStream[:25] + cohort.StreamID(last) }
	for _, s := range []Stream{{"b", id("1")}, {"a", id("2")}, {"a", id("1")}, {"c=1", id("0")}} {
		if err := os.MkdirAll(root.Stream(s.Cohort, s.ID), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{".hidden", "sp ace", "a/not-a-ulid", "a/" + strings.ToLower(string(id("3")))} {
		if err := os.Mkdir(filepath.Join(root.Cohorts(), dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"file", "a/" + string(id("4"))} {
		if err := os.WriteFile(filepath.Join(root.Cohorts(), file), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	wantUnknown := []string{".hidden", "a/" + string(id("4")), "a/" + strings.ToLower(string(id("3"))), "a/not-a-ulid", "file", "sp ace"}
	if os.Symlink(root.Cohort("a"), root.Cohort("link")) == nil &&
		os.Symlink(root.Stream("a", id("1")), root.Stream("b", id("5"))) == nil {
		wantUnknown = append(wantUnknown, "b/"+string(id("5")), "link")
	}
	want := []Stream{{"c=1", id("0")}, {"a", id("1")}, {"b", id("1")}, {"a", id("2")}}
	list := func(dir cohort.Root, fsys durable.FS) (got []Stream, unknown []string, err error) {
		places, unknown, err := Root{Dir: dir, FS: fsys}.Streams()
		for _, p := range places {
			got = append(got, p.Stream)
		}
		return got, unknown, err
	}
	got, unknown, err := list(root, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("streams (-want +got):\n%s", diff)
	}
	for i := range unknown {
		unknown[i], _ = filepath.Rel(root.Cohorts(), unknown[i])
		unknown[i] = filepath.ToSlash(unknown[i])
	}
	slices.Sort(unknown)
	slices.Sort(wantUnknown)
	if diff := cmp.Diff(wantUnknown, unknown); diff != "" {
		t.Errorf("unknown (-want +got):\n%s", diff)
	}

	unreadable := dirErrors{durable.OS, root.Cohort("a"), syscall.EACCES}
	got, _, err = list(root, unreadable)
	if !errors.Is(err, syscall.EACCES) || len(got) != 2 {
		t.Errorf("Streams with an unreadable cohort = %v, %v, want the streams of the others", got, err)
	}
	gone := dirErrors{durable.OS, root.Cohort("a"), fs.ErrNotExist}
	if got, _, err = list(root, gone); err != nil || len(got) != 2 {
		t.Errorf("Streams with a cohort that disappears = %v, %v", got, err)
	}
	if got, _, err = list(root, dirErrors{durable.OS, root.Cohorts(), syscall.EIO}); !errors.Is(err, syscall.EIO) {
		t.Errorf("Streams of an unreadable root = %v, %v", got, err)
	}
	if got, _, err = list(root+"/none", nil); err != nil || got != nil {
		t.Errorf("Streams without cohorts/ = %v, %v", got, err)
	}
}

// TestStreamsThatMoved lists a stream in reaped/ beside the others, and in quarantine/ apart from them.
func TestStreamsThatMoved(t *testing.T) {
	dir := newRoot(t)
	r := openRoot(t, dir)
	var moved []Stream
	for n := range 3 {
		w := newWriter(t, dir, Options{})
		appendRuns(t, w, n, n)
		moved = append(moved, w.stream.Stream)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	here, reaped, quarantined := r.InCohort(moved[0]), r.InReaped(moved[1]), moved[2]
	for from, to := range map[Stream]string{reaped.Stream: reaped.Dir, quarantined: dir.Quarantined("c", quarantined.ID)} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.Rename(r.InCohort(from).Dir, to)); err != nil {
			t.Fatal(err)
		}
	}
	got, unknown, err := r.Streams()
	if err != nil || len(unknown) > 0 {
		t.Fatalf("Streams: unknown %v, %v", unknown, err)
	}
	want := []Place{here, reaped}
	slices.SortFunc(want, func(a, b Place) int { return strings.Compare(string(a.ID), string(b.ID)) })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Streams (-want +got):\n%s", diff)
	}
	for _, p := range got {
		in, err := r.Open(p, Position{})
		if err != nil {
			t.Fatal(err)
		}
		if in.dead != p.Reaped { // what that means is in TestDamage
			t.Errorf("%v: taken for dead: %t", p, in.dead)
		}
		if c := drain(t, in); len(c.Records) != 1 || c.Err != "" {
			t.Errorf("%v: %+v, want one record", p, c)
		}
	}
	kept, err := r.Quarantined()
	if diff := cmp.Diff([]Stream{quarantined}, kept); diff != "" || err != nil {
		t.Errorf("Quarantined: %v (-want +got):\n%s", err, diff)
	}
}

// dirErrors fails to list one directory.
type dirErrors struct {
	durable.FS
	dir string
	err error
}

func (d dirErrors) ReadDir(name string) ([]fs.DirEntry, error) {
	if name == d.dir {
		return nil, d.err
	}
	return d.FS.ReadDir(name)
}

// TestOneSegment writes more than the library would put into one file by itself: a second one would be
// a change of the directory that nobody syncs.
func TestOneSegment(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 22 MB")
	}
	root := newRoot(t)
	w := newWriter(t, root, Options{SealBytes: 64 << 20})
	for n := range 2 {
		big, err := cohort.ParseRecord(fmt.Appendf(nil, `{"run_id":"r-%d","stage":"T","x":"%s"}`, n, strings.Repeat("x", 11<<20)), 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Append([]cohort.Record{big}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	s := streams(t, root)[0]
	want := []string{root.Stream(s.Cohort, s.ID), root.Segment(s.Cohort, s.ID), root.WriterLock(s.Cohort, s.ID)}
	if diff := cmp.Diff(want, tree(t, root.Stream(s.Cohort, s.ID))); diff != "" {
		t.Errorf("files of the stream (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(runs(0, 1), all(t, root)); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

// takenNames is a file system on which the first names that are chosen for a stream exist already.
type takenNames struct {
	durable.FS
	taken int
	tried []string
}

func (f *takenNames) Mkdir(name string, perm fs.FileMode) error {
	if _, err := cohort.ParseStreamID(filepath.Base(name)); err != nil {
		return f.FS.Mkdir(name, perm)
	}
	f.tried = append(f.tried, name)
	if err := f.FS.Mkdir(name, perm); err != nil || len(f.tried) > f.taken {
		return err
	}
	return fs.ErrExist
}

// TestNameIsTaken shows that a stream is never made in a directory that somebody else made.
func TestNameIsTaken(t *testing.T) {
	for taken := range mkdirTries + 1 {
		root := newRoot(t)
		settings := openRoot(t, root).Settings
		disk := &takenNames{FS: durable.OS, taken: taken}
		durable.OS = disk
		s, err := newStream(root, "c", settings)
		durable.OS = disk.FS
		if taken == mkdirTries {
			if !errors.Is(err, fs.ErrExist) {
				t.Errorf("newStream without a free name = %v, want fs.ErrExist", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(disk.tried) != taken+1 || s.dir() != disk.tried[taken] {
			t.Errorf("stream %s, names tried %q", s.dir(), disk.tried)
		}
		if err := s.abandon(); err != nil {
			t.Error(err)
		}
		for _, dir := range disk.tried[:taken] {
			if diff := cmp.Diff([]string{dir}, tree(t, dir)); diff != "" {
				t.Errorf("a directory of somebody else (-want +got):\n%s", diff)
			}
		}
	}
}

// TestReaderChangesNothing reads a stream with files beside it that would make the library delete and
// rename segments, and streams that do not exist.
func TestReaderChangesNothing(t *testing.T) {
	root := newRoot(t)
	w := newWriter(t, root, Options{})
	appendRuns(t, w, 1, 3)
	s := streams(t, root)[0]
	for _, name := range []string{"00000000000000000002.START", "00000000000000000001.END", "00000000000000000003", ".TEMP"} {
		if err := os.WriteFile(filepath.Join(root.Stream(s.Cohort, s.ID), name), []byte("x"), 0o444); err != nil {
			t.Fatal(err)
		}
	}
	content := func() map[string]string {
		out := map[string]string{}
		for _, path := range tree(t, string(root)) {
			data, _ := os.ReadFile(path) // directories have none
			out[path] = string(data)
		}
		return out
	}
	before := content()
	if diff := cmp.Diff(runs(1, 3), all(t, root)); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	for range Entries(root.Segment(s.Cohort, s.ID), s) {
	}
	for _, missing := range []Stream{{"typo", s.ID}, {"c", aStream}} {
		if _, err := readerOf(root, missing, Position{}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Open of %v = %v, want fs.ErrNotExist", missing, err)
		}
	}
	if diff := cmp.Diff(before, content()); diff != "" {
		t.Errorf("reading changes (-before +after):\n%s", diff)
	}
}
