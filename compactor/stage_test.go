package compactor_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/lock"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
	"github.com/runfold/runfold/journal"
)

// meeting is a root at which compactors meet that no lock keeps apart.
type meeting struct {
	// prepare makes the root. What later does, if it is not nil, writers do while the compactors are at work.
	prepare func(t *testing.T) (root cohort.Root, later func())
	a, b    act // what the two do; folds if not given
}

// act is what a compactor does. An import brings rows of its own.
type act struct {
	name string
	do   func(compactor.Config) error
}

var (
	folds   = act{"fold", foldOnce}
	batches = act{"fold in batches", func(cfg compactor.Config) error {
		cfg.BatchBytes = 1
		return foldOnce(cfg)
	}}
	changesColumns = act{"change columns", func(cfg compactor.Config) error {
		return changeOnce(cfg, compactor.ColumnChange{Declare: retype.Declare, Drop: []string{"v"}}) // what is declared, and dropped again
	}}
	importsOne = act{"import one", func(cfg compactor.Config) error {
		return importOf(cfg, `{"x:S": {"snapshot_seq": 8, "v": 4}, "y:S": {"snapshot_seq": 9, "v": 4}, "d:S": {"snapshot_seq": 7, "v": 4}}`)
	}}
	importsTwo = act{"import two", func(cfg compactor.Config) error { // it beats the other one in y, and not in x
		return importOf(cfg, `{"x:S": {"snapshot_seq": 3, "v": 5}, "y:S": {"snapshot_seq": 12, "v": 5}, "z:S": {"v": 5}}`)
	}}
)

// meetings have something of everything that a compactor does.
var meetings = map[string]meeting{
	"first fold": {prepare: func(t *testing.T) (cohort.Root, func()) {
		root := newRoot(t)
		appendTo(t, root, "c", firstLines...)
		appendTo(t, root, "d", secondLines...)
		return root, func() { appendTo(t, root, "e", thirdLines...) }
	}},
	"nothing to fold": {prepare: func(t *testing.T) (cohort.Root, func()) {
		return newRoot(t), nil
	}},
	"rows replaced": {prepare: func(t *testing.T) (cohort.Root, func()) {
		root := prepared(t)
		return root, func() { appendTo(t, root, "c", thirdLines...) }
	}},
	"many batches": {prepare: func(t *testing.T) (cohort.Root, func()) {
		root := prepared(t)
		appendTo(t, root, "d", `{"run_id":"e","stage":"S","v":5}`)
		return root, func() { appendTo(t, root, "c", thirdLines...) }
	}, a: batches, b: batches},
	"actions": {prepare: func(t *testing.T) (cohort.Root, func()) {
		root := actedIn(t, newRoot(t))
		return root, func() { appendTo(t, root, "c", thirdActs...) }
	}},
	"snapshots per cohort": {prepare: func(t *testing.T) (cohort.Root, func()) {
		root := actedIn(t, newCohortsRoot(t))
		appendTo(t, root, "d", `{"run_id":"e","stage":"S","v":5}`, `{"action":"withdraw","run_id":"e"}`)
		return root, func() { appendTo(t, root, "d", thirdLines...) }
	}},
	"streams to sweep": {prepare: streamsToSweep},
	"heal": {prepare: func(t *testing.T) (cohort.Root, func()) {
		root := prepared(t)
		t.Cleanup(func() { foldNow(t, compactor.Config{Root: root}) })
		unpublish(t, root)
		return root, func() { appendTo(t, root, "c", thirdLines...) }
	}},
	"heal and no more": {prepare: func(t *testing.T) (cohort.Root, func()) {
		root := prepared(t)
		foldNow(t, compactor.Config{Root: root})
		t.Cleanup(func() { foldNow(t, compactor.Config{Root: root}) })
		unpublish(t, root)
		return root, nil
	}},
	"generations to sweep": {prepare: func(t *testing.T) (cohort.Root, func()) {
		root := actedIn(t, newRoot(t))
		for range 3 {
			foldNow(t, compactor.Config{Root: root})
			appendTo(t, root, "c", thirdActs...)
		}
		return root, func() { appendTo(t, root, "d", thirdLines...) }
	}},
	"damage": {prepare: func(t *testing.T) (cohort.Root, func()) {
		root := newDamagedRoot(t)
		appendTo(t, root, "c", firstLines[0], `{"run_id":"lost","stage":"S","v":7}`, firstLines[1])
		flipEntry(t, root, 2)
		appendTo(t, root, "d", secondLines...)
		return root, func() { appendTo(t, root, "c", thirdLines...) }
	}},
	"dead writers": {prepare: func(t *testing.T) (cohort.Root, func()) {
		root := deadWriters(t)
		return root, func() { appendTo(t, root, "c", thirdLines...) }
	}, a: batches},
	"a live stream":     {prepare: liveStream},
	"import, then fold": {prepare: toImport(true), a: importsOne},
	"import, then withdrawal of it": {prepare: func(t *testing.T) (cohort.Root, func()) {
		root, _ := toImport(true)(t)
		return root, func() { appendTo(t, root, "old", `{"action":"withdraw","run_id":"x"}`) }
	}, a: importsOne},
	"import, then fold of nothing": {prepare: toImport(false), a: importsOne},
	"fold, then import": {prepare: func(t *testing.T) (cohort.Root, func()) {
		root := prepared(t)
		return root, func() { appendTo(t, root, "c", thirdLines...) }
	}, b: importsOne},
	"change columns, then fold": {prepare: toImport(true), a: changesColumns},
	"fold, then change columns": {prepare: streamsToSweep, b: changesColumns},
	"two changes of columns":    {prepare: toImport(true), a: changesColumns, b: changesColumns},
	"two imports":               {prepare: toImport(true), a: importsOne, b: importsTwo},
}

var thirdLines = []string{`{"run_id":"a","stage":"S","v":3}`, `{"run_id":"d","stage":"S","v":3}`}

// thirdActs withdraws a row and writes it again, takes out another one, and brings back one.
var thirdActs = append([]string{`{"action":"withdraw","run_id":"a"}`, `{"action":"withdraw","run_id":"b"}`, `{"action":"undo","run_id":"s"}`}, thirdLines...)

func toImport(later bool) func(*testing.T) (cohort.Root, func()) {
	return func(t *testing.T) (cohort.Root, func()) {
		root := newRoot(t)
		appendTo(t, root, "c", firstLines...)
		foldNow(t, compactor.Config{Root: root})
		if !later {
			return root, nil
		}
		return root, func() { appendTo(t, root, "c", thirdLines...) }
	}
}

// streamsToSweep is a root whose last fold ended after its commit, before it swept anything.
func streamsToSweep(t *testing.T) (cohort.Root, func()) {
	root := newRoot(t)
	for _, id := range []cohort.ID{"c", "c", "d"} {
		appendTo(t, root, id, firstLines...)
	}
	fault := &durabletest.Fault{FS: durable.OS, Hook: func(_ int, _, name string) error {
		if strings.HasPrefix(root.Rel(name), "reaped") {
			return durabletest.ErrStopped
		}
		return nil
	}}
	foldNow(t, compactor.Config{Root: root, FS: fault})
	if n := streamsLeft(t, root); n != 3 {
		t.Fatalf("%d streams are left, want 3", n)
	}
	appendTo(t, root, "c", secondLines...)
	return root, func() { appendTo(t, root, "d", thirdLines...) }
}

// liveStream is a root with a writer that goes on meanwhile.
func liveStream(t *testing.T) (cohort.Root, func()) {
	root := newRoot(t)
	w := openWriter(t, root, "c")
	t.Cleanup(func() { w.Close() })
	appendLines(t, w, firstLines...)
	foldNow(t, compactor.Config{Root: root})
	appendLines(t, w, secondLines...)
	return root, func() { appendLines(t, w, thirdLines...) }
}

func unpublish(t *testing.T, root cohort.Root) {
	t.Helper()
	for _, name := range []string{root.Index(), root.Snapshots()} {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

// versions say which record stands under a key, or must stand there.
type versions map[cohort.Key]cohort.Version

func (v versions) add(more versions) versions {
	sum := versions{}
	for _, m := range []versions{v, more} {
		for key, version := range m {
			if has, ok := sum[key]; !ok || has.Compare(version) < 0 {
				sum[key] = version
			}
		}
	}
	return sum
}

// stage is a meeting that was prepared: a disk to copy, and what comes onto it later.
type stage struct {
	meeting
	root    cohort.Root
	base    *durabletest.CrashFS
	acked   versions // what writers were told is durable, before the compactors begin
	arrived []arrival
	brings  map[string]versions // by the act that brings rows of its own
	kept    []string            // the notes and segments that must not be lost
}

// arrival is what a writer adds to one stream.
type arrival struct {
	stream journal.Stream
	grown  []byte // the segment, where the stream stood before; nil: a new stream
	acked  versions
}

var whole = durabletest.Mode{Names: durabletest.All, Data: durabletest.All}

func (m meeting) stage(t *testing.T) *stage {
	t.Helper()
	s := &stage{meeting: m}
	if s.a.do == nil {
		s.a = folds
	}
	if s.b.do == nil {
		s.b = folds
	}
	root, later := m.prepare(t)
	s.root, s.base = root, loaded(t, root)
	s.acked = s.rowsOf(t, s.base)
	before := map[journal.Stream][]byte{}
	for _, st := range listed(t, root) {
		records, damaged := streamVersions(t, root, st)
		s.acked, s.kept = s.acked.add(records), append(s.kept, damaged...)
		before[st] = readSegment(t, root, st)
	}
	s.brings = map[string]versions{}
	for _, a := range []act{importsOne, importsTwo} {
		s.brings[a.name] = broughtBy(t, a)
	}
	if later == nil {
		return s
	}
	later()
	for _, st := range listed(t, root) {
		now, records := readSegment(t, root, st), versions(nil)
		records, _ = streamVersions(t, root, st)
		switch old, ok := before[st]; {
		case !ok:
			s.arrived = append(s.arrived, arrival{st, nil, records})
		case !bytes.Equal(old, now):
			s.arrived = append(s.arrived, arrival{st, now, records})
		}
	}
	if len(s.arrived) == 0 {
		t.Fatal("nothing arrives later")
	}
	return s
}

func readSegment(t *testing.T, root cohort.Root, st journal.Stream) []byte {
	t.Helper()
	data, err := os.ReadFile(root.Segment(st.Cohort, st.ID))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// streamVersions reads a whole stream of the real root: its winners, and if it is damaged what must be kept.
func streamVersions(t *testing.T, root cohort.Root, st journal.Stream) (out versions, kept []string) {
	t.Helper()
	at := openRoot(t, root)
	place := at.InCohort(st)
	place.Reaped = true // nobody writes it any more
	r, err := at.Open(place, journal.Position{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	out = versions{}
	for {
		rec, err := r.Next()
		var damage *journal.CorruptError
		switch {
		case errors.As(err, &damage):
			kept = append(kept, root.Damaged(st.Cohort, st.ID, damage.Offset))
		case errors.Is(err, io.EOF):
			return out, kept
		case err != nil:
			t.Fatal(err)
		case rec.Action != cohort.NoAction:
			out[actionKey(rec)] = rec.Version()
		default:
			out = out.add(versions{cohort.KeyForm{}.Of(rec): rec.Version()})
		}
	}
}

// actionKey stands for an action among versions: no row has such a key.
func actionKey(r cohort.Record) cohort.Key { return cohort.Key("action " + r.ID) }

// broughtBy is what an import brings to an empty root: in any other, more of it may lose.
func broughtBy(t *testing.T, a act) versions {
	t.Helper()
	root := newRoot(t)
	if err := a.do(compactor.Config{Root: root}); err != nil {
		t.Fatal(err)
	}
	return (&stage{root: root}).rowsOf(t, durable.OS)
}

// rowsOf are the rows that are public, or would be if the newest generation were, those that are withdrawn, and the actions in force. Each
// must be there once. Whether a row stands where the actions say, check tells.
func (s *stage) rowsOf(t *testing.T, fsys durable.FS) versions {
	t.Helper()
	out := versions{}
	store := generation.New(generation.Store{FS: fsys, Root: s.root})
	m, err := store.Newest()
	if err != nil {
		t.Fatal(err)
	}
	d, err := store.Data(m)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, d := range []*generation.Data{d, d.Withdrawn} {
		if d == nil || d.Index == nil {
			continue
		}
		for row, err := range d.Index.Identities() {
			if err != nil {
				t.Fatal(err)
			}
			if _, twice := out[row.Key]; twice {
				t.Errorf("key %q stands twice", row.Key)
			}
			out[row.Key] = row.Version
		}
	}
	for r, err := range d.Actions() {
		if err != nil {
			t.Fatal(err)
		}
		out[actionKey(r)] = r.Version()
	}
	return out
}

// config is that of a compactor which keeps nothing longer than it must, and shares no lock with others.
func (s *stage) config(disk *durabletest.CrashFS, seen durable.FS) compactor.Config {
	return compactor.Config{Root: s.root, FS: seen, Lock: touching{disk, s.root.CompactLock()}, KeepAge: -1, KeepGenerations: 1, DeadAfter: -1, ReapGrace: -1}
}

// touching is a Locker that always says yes, and leaves the times of its files as a lock file does.
type touching struct {
	fsys durable.FS
	path string
}

func (l touching) Lock(context.Context) (lock.Held, error) { return touched{l: l}, l.touch() }

// touched is that lock while it is held.
type touched struct {
	lock.Without
	l touching
}

func (t touched) Unlock() error { return t.l.touch() }

func (l touching) touch() error {
	for _, path := range []string{l.path, l.path + ".holder"} {
		if err := l.write(path); err != nil {
			return err
		}
	}
	return nil
}

func (l touching) write(path string) error {
	if err := l.fsys.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	w, err := l.fsys.Create(path, 0o644)
	if err != nil {
		return err
	}
	return w.Close()
}

// arrive does what a writer does until it acknowledges. A stream that is no longer in its place takes nothing
// more: its writer sees that, and is told nothing (R5).
func (s *stage) arrive(t *testing.T, disk *durabletest.CrashFS, a arrival) (acked versions) {
	t.Helper()
	dir := s.root.Stream(a.stream.Cohort, a.stream.ID)
	if a.grown == nil {
		if err := disk.Load(dir); err != nil {
			t.Fatal(err)
		}
	} else if _, err := disk.Stat(dir); err != nil {
		return nil
	} else if err := durable.Replace(disk, cohort.SegmentIn(dir), a.grown, 0o644); err != nil {
		t.Fatal(err)
	}
	s.syncCohort(t, disk, a.stream.Cohort)
	return a.acked
}

// syncCohort is what every writer does after its first append: names of others become durable with it.
func (s *stage) syncCohort(t *testing.T, disk *durabletest.CrashFS, id cohort.ID) {
	t.Helper()
	for _, dir := range []string{s.root.Cohort(id), s.root.Cohorts(), string(s.root)} {
		if err := disk.SyncDir(dir); err != nil {
			t.Fatal(err)
		}
	}
}

// promise is what must hold whatever happened: what is sure stands in the index, unless something that may be
// there beats it, and nothing else does.
type promise struct {
	sure  versions
	maybe []versions
}

// broken tells what rows do not hold.
func (p promise) broken(rows versions) error {
	for key, want := range p.sure {
		if has, ok := rows[key]; !ok || has.Compare(want) < 0 {
			return fmt.Errorf("key %q has version %v, want %v", key, has, want)
		}
	}
	for key, has := range rows {
		known := has == p.sure[key]
		for _, m := range p.maybe {
			known = known || has == m[key]
		}
		if !known {
			return fmt.Errorf("key %q has version %v, which nobody wrote", key, has)
		}
	}
	return nil
}

// survive folds once more what a reboot found, and tells what was broken.
func (s *stage) survive(t *testing.T, disk *durabletest.CrashFS, p promise) error {
	t.Helper()
	if err := foldOnce(s.config(disk, disk)); err != nil {
		return fmt.Errorf("the next fold: %w", err)
	}
	if err := p.broken(s.rowsOf(t, disk)); err != nil {
		return err
	}
	if found := damageOn(t, disk, s.root); found != "" {
		return fmt.Errorf("check finds %s", found)
	}
	return s.leftovers(disk)
}

// leftovers looks for temporary files that stay, and for damage that was not kept.
func (s *stage) leftovers(disk durable.FS) error {
	for _, note := range s.kept {
		if _, err := disk.Stat(note); err != nil {
			return fmt.Errorf("a note of damage is lost: %w", err)
		}
		id, stream := filepath.Base(filepath.Dir(note)), filepath.Base(note)[:26]
		places := []string{s.root.Stream(cohort.ID(id), cohort.StreamID(stream)), s.root.Reaped(cohort.ID(id), cohort.StreamID(stream)), s.root.Quarantined(cohort.ID(id), cohort.StreamID(stream))}
		found := false
		for _, dir := range places {
			_, err := disk.Stat(cohort.SegmentIn(dir))
			found = found || err == nil
		}
		if !found {
			return fmt.Errorf("damaged stream %s/%s is lost", id, stream)
		}
	}
	for _, dir := range []string{string(s.root), s.root.DataDir(), s.root.Manifests()} {
		entries, err := disk.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if durable.IsTemp(e.Name()) {
				return fmt.Errorf("%s is left in %s", e.Name(), s.root.Rel(dir))
			}
		}
	}
	return nil
}

var fingerprintSeed = maphash.MakeSeed()

// fingerprint tells disks apart by names and content.
func fingerprint(t *testing.T, fsys durable.FS, root cohort.Root) uint64 {
	t.Helper()
	var h maphash.Hash
	h.SetSeed(fingerprintSeed)
	var walk func(dir string)
	walk = func(dir string) {
		entries, err := fsys.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			h.WriteString(path + "\x00")
			if e.IsDir() {
				walk(path)
				continue
			}
			data, err := durable.Read(fsys, path, 1<<30)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprint(&h, len(data))
			h.Write(data)
		}
	}
	walk(string(root))
	return h.Sum64()
}
