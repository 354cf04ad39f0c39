//go:build unix

package compactor_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
)

// without is what a fold tells where calls of a kind are not available.
var without = map[string]string{
	"link": string(durable.HardLinks), "syncdir": string(durable.DirSync), "statfs": generation.FreeSpace,
}

// TestErrnosOfFold lets the calls of a fold fail with each errno of the table: each call alone, and all of a kind. What the table says
// happens, and the next fold ends as if nothing had been.
func TestErrnosOfFold(t *testing.T) {
	root := prepared(t)
	whole, faults := loaded(t, root), 0
	defer func() { t.Logf("figure: %d calls of a fold failed, with %d errnos", faults, len(durabletest.Errnos())) }()
	for _, row := range durabletest.Errnos() {
		for n, step := durabletest.Every, 1; ; n += step {
			disk := afresh(whole)
			fault, met := row.Inject(disk, n)
			said := &notices{}
			cfg := anywhere(root, fault)
			cfg.Notify = said.add
			report, err := compactor.Fold(context.Background(), cfg)
			if n >= met() {
				break
			}
			step = sparse
			if testing.Short() {
				step = 5
			}
			faults++
			when := fmt.Sprintf("%v at %d", row, n)
			isTold := err != nil || !report.Clean() || said.text() != ""
			switch row.Then {
			case durabletest.GoesOn, durabletest.Told:
				if err != nil || !report.Clean() {
					t.Errorf("%s: Fold = %v, %s", when, err, said.text())
				}
				what := without[row.Op]
				if row.Op == "statfs" && n >= 0 { // one asks for the free space, the others whether it is SMB
					what = ""
				}
				if what != "" && countWithout(said, what) != 1 {
					t.Errorf("%s: told %q, want %q once", when, said.text(), what)
				}
			case durabletest.Fails, durabletest.Again:
				if n == durabletest.Every && err == nil {
					t.Errorf("%s: no error", when)
				}
				if err != nil && durable.IsFull(err) != (row.Then == durabletest.Again) {
					t.Errorf("%s: Fold = %v, which has the wrong exit code", when, err)
				}
				if err != nil && row.Op != "open" && generation.IsDamage(err) {
					t.Errorf("%s: Fold = %v, and nothing is damaged", when, err)
				}
				if sync := row.Op == "fsync" || row.Op == "syncdir"; sync && !isTold {
					t.Errorf("%s: nobody was told", when)
				}
			}
			if err == nil && report.Clean() && report.Unseen == 0 { // it was acknowledged
				shows(t, disk, root, when)
				if row.Op != "syncdir" || row.Then != durabletest.GoesOn {
					shows(t, disk.Crash(durabletest.Mode{Names: durabletest.None, Data: durabletest.None}, nil), root, when+", then the power is lost")
				}
			}
			completesOn(t, disk, root, when)
		}
	}
}

// shows wants all rows of prepared, in the newest generation and by the public names.
func shows(t *testing.T, disk durable.FS, root cohort.Root, when string) {
	t.Helper()
	if diff := cmp.Diff(bothRows, valuesOn(t, disk, root)); diff != "" {
		t.Errorf("%s: rows (-want +got):\n%s", when, diff)
	}
	store := generation.New(generation.Store{FS: disk, Root: root})
	m, err := store.Newest()
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := store.IsPublished(m); err != nil || !ok {
		t.Errorf("%s: generation %d is published: %v, %v", when, m.Generation, ok, err)
	}
}

func countWithout(said *notices, what string) (n int) {
	for _, notice := range said.list {
		if w, ok := notice.(generation.Without); ok && w.What == what {
			n++
		}
	}
	return n
}

// anywhere is the Config of the tests in which something fails anywhere.
func anywhere(root cohort.Root, fsys durable.FS) compactor.Config {
	return compactor.Config{Root: root, FS: fsys, Lock: yes{}, KeepAge: -1, KeepGenerations: 1, DeadAfter: -1, ReapGrace: -1}
}

// TestWithoutInScenarios does all that is done to roots where something optional is missing for ever, or cannot be tidied: it succeeds.
func TestWithoutInScenarios(t *testing.T) {
	for name, s := range scenarios {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := s.prepare(t)
			for i, row := range durabletest.Errnos() {
				if row.Then != durabletest.GoesOn || testing.Short() && i%4 != 0 {
					continue
				}
				disk := loaded(t, root)
				fault, _ := row.Inject(disk, durabletest.Every)
				when := fmt.Sprintf("%v always", row)
				if err := s.do(anywhere(root, fault)); err != nil {
					t.Errorf("%s: %v", when, err)
				}
				s.again(t, disk, root, when)
				noTemp(t, disk, root, when)
			}
			for lie, about := range durabletest.LyingStatfs() {
				disk := loaded(t, root)
				if err := s.do(anywhere(root, durabletest.Lies{FS: disk, About: about})); err != nil {
					t.Errorf("statfs: %s: %v", lie, err)
				}
				s.again(t, disk, root, lie)
			}
		})
	}
}

// onSMB is prepared, as a share has it: the public files are copies.
func onSMB(t *testing.T) cohort.Root {
	t.Helper()
	root := prepared(t)
	for _, public := range []string{root.Index(), root.Snapshots()} {
		data, err := os.ReadFile(public)
		if err := errors.Join(err, os.Remove(public), os.WriteFile(public, data, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// TestReaderOnSMB: a program on the same machine reads a public file while others fold, until it is in their way. They open the data
// file all the same, and publish once the reader has closed the public one.
func TestReaderOnSMB(t *testing.T) {
	root := onSMB(t)
	for _, public := range []string{root.Index(), root.Snapshots()} {
		disk := loaded(t, root)
		share := &durabletest.SMB{FS: disk}
		reader, err := share.Open(public)
		if err != nil {
			t.Fatal(err)
		}
		refused := 0
		share.Refused = func(string) {
			refused++
			reader.Close()
		}
		foldNow(t, anywhere(root, share))
		shows(t, disk, root, root.Rel(public))
		if refused != 1 {
			t.Errorf("%s: refused %d times", root.Rel(public), refused)
		}
		if reader, err = share.Open(public); err != nil { // what was published now, and stays open
			t.Fatal(err)
		}
		if got := damageOn(t, share, root); got != "" {
			t.Errorf("%s: check finds\n%s", root.Rel(public), got)
		}
		reader.Close()
	}
}

// TestClocksOnSMB: the clock of the machine that folds is hours off, and its files have that time. Folds go by the time of the
// server, which a new directory has.
func TestClocksOnSMB(t *testing.T) {
	for _, ahead := range []time.Duration{0, -2 * time.Hour, 2 * time.Hour} {
		for generations := range 2 {
			root := newRoot(t)
			appendTo(t, root, "c", firstLines...)
			if generations > 0 {
				foldNow(t, compactor.Config{Root: root})
				appendTo(t, root, "c", secondLines...)
			}
			if err := os.WriteFile(root.CompactLock(), nil, 0o644); err != nil {
				t.Fatal(err)
			}
			disk := loaded(t, root)
			share := &durabletest.SMB{FS: disk, Ahead: ahead}
			store := generation.New(generation.Store{FS: share, Root: root})
			m, err := store.Newest()
			if err != nil {
				t.Fatal(err)
			}
			if off := time.Until(store.Stamp(m).Time()).Abs(); off > time.Minute {
				t.Errorf("files are %v ahead: after %d generations the stamp is %v off", ahead, generations, off)
			}
			said := &notices{}
			cfg := anywhere(root, share)
			cfg.Notify = said.add
			if _, err := compactor.Fold(context.Background(), cfg); err != nil || said.text() != "" {
				t.Errorf("files are %v ahead: Fold = %v, and tells %q", ahead, err, said.text())
			}
			noTemp(t, disk, root, "after a fold on SMB")
		}
	}
}

// TestReaderOnSMBStays waits for a reader that never closes its file. The publication is given up, the other file is published, and
// that is told. The next one publishes.
func TestReaderOnSMBStays(t *testing.T) {
	root := onSMB(t)
	for _, public := range []string{root.Index(), root.Snapshots()} {
		next := loaded(t, root)
		fault := &durabletest.Fault{FS: next, Hook: func(_ int, op, name string) error { // it commits, and publishes nothing
			if op == "rename" && (name == root.Index() || name == root.Snapshots()) {
				return syscall.EIO
			}
			return nil
		}}
		if _, err := compactor.Fold(context.Background(), anywhere(root, fault)); !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
		synctest.Test(t, func(t *testing.T) {
			share := &durabletest.SMB{FS: next}
			reader, err := share.Open(public)
			if err != nil {
				t.Fatal(err)
			}
			store := generation.New(generation.Store{FS: share, Root: root})
			m, err := store.Newest()
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			if err := store.Heal(m); !errors.Is(err, generation.ErrNotPublished) || time.Since(start) > durable.Patience {
				t.Errorf("Heal = %v after %v", err, time.Since(start))
			}
			if old, err := store.Unpublished(m); err != nil || len(old) != 1 || old[0].Name != public {
				t.Errorf("not published: %v, %v; want %s only", old, err, public)
			}
			time.AfterFunc(3*time.Second, func() { reader.Close() })
			if err := store.Heal(m); err != nil {
				t.Errorf("Heal = %v", err)
			}
		})
		shows(t, next, root, public) // not in the bubble: the decoders of zstd live on after it
	}
}

// TestReaderOnSMBBehindAnother: a program has a public file open, and another machine replaces it. Through that handle this machine goes on reading the
// old one. That stops no fold here, and nothing is put into quarantine.
func TestReaderOnSMBBehindAnother(t *testing.T) {
	root := prepared(t)
	for _, public := range []string{root.Index(), root.Snapshots()} {
		disk := loaded(t, root)
		foldNow(t, anywhere(root, disk))
		share := &durabletest.SMB{FS: disk}
		reader, err := share.Open(public)
		if err != nil {
			t.Fatal(err)
		}
		if err := disk.Load(withStream(t, root)); err != nil {
			t.Fatal(err)
		}
		foldNow(t, anywhere(root, disk)) // by the other machine
		if err := disk.Load(withStream(t, root)); err != nil {
			t.Fatal(err)
		}
		before := newestIn(t, disk, root)
		report, err := compactor.Fold(context.Background(), anywhere(root, share))
		if !errors.Is(err, generation.ErrNotPublished) || !report.Clean() || newestIn(t, disk, root) != before+1 {
			t.Errorf("%s: Fold = %+v, %v; generation %d after %d", public, report, err, newestIn(t, disk, root), before)
		}
		if got := quarantined(t, disk, root); len(got) > 0 {
			t.Errorf("%s: quarantine has %v", public, got)
		}
		reader.Close()
		if err := foldOnce(anywhere(root, share)); err != nil {
			t.Errorf("%s: after it is closed: %v", public, err)
		}
		store := generation.New(generation.Store{FS: disk, Root: root})
		m, err := store.Newest()
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := store.IsPublished(m); err != nil || !ok {
			t.Errorf("%s: generation %d is published: %v, %v", public, m.Generation, ok, err)
		}
	}
}

func newestIn(t *testing.T, disk durable.FS, root cohort.Root) cohort.Generation {
	t.Helper()
	m, err := newest(disk, root)
	if err != nil {
		t.Fatal(err)
	}
	return m.Generation
}

// busyName is a file system on which a public name is in use for ever.
type busyName struct {
	durable.FS
	name string
}

func (u busyName) Rename(old, new string) error {
	if new == u.name {
		return durable.ErrInUse
	}
	return u.FS.Rename(old, new)
}

// TestInUseStopsNoFold: a public file that is in use for hours keeps nobody from committing. Each run tells.
func TestInUseStopsNoFold(t *testing.T) {
	root := prepared(t)
	for i, public := range []string{root.Index(), root.Snapshots()} {
		disk := loaded(t, root)
		cfg := anywhere(root, busyName{disk, public})
		cfg.BatchBytes = 1 // many commits
		report, err := compactor.Fold(context.Background(), cfg)
		if !errors.Is(err, generation.ErrNotPublished) || report.Commits < 2 || !report.Clean() {
			t.Errorf("%d: Fold = %d commits, %v", i, report.Commits, err)
		}
		report, err = compactor.Fold(context.Background(), cfg) // it finds nothing to fold
		if !errors.Is(err, generation.ErrNotPublished) || report.Commits != 0 {
			t.Errorf("%d: Fold = %d commits, %v", i, report.Commits, err)
		}
		foldNow(t, anywhere(root, disk))
		shows(t, disk, root, public)
	}
}

// TestEraseNamesPublic names the public file that is in use, and shows the run still.
func TestEraseNamesPublic(t *testing.T) {
	root := toErase(t, newRoot(t))
	foldNow(t, compactor.Config{Root: root})
	for _, public := range []string{root.Index(), root.Snapshots()} {
		cfg := anywhere(root, busyName{loaded(t, root), public})
		done, err := compactor.Erase(context.Background(), cfg, compactor.Erasure{RunID: "person", Apply: true})
		if !errors.Is(err, generation.ErrNotPublished) || len(done.Holding) != 1 || done.Holding[0].Path != root.Rel(public) {
			t.Errorf("%s is in use: left %+v, %v", public, done.Holding, err)
		}
	}
}

// linkless is a file system without hard links: public files are copies.
type linkless struct{ durable.FS }

func (linkless) Link(_, new string) error {
	return &os.LinkError{Op: "link", New: new, Err: syscall.EXDEV}
}

// garbling is a file system without links, whose copies go wrong: of the first files that are copied to the public name, a byte is lost.
type garbling struct {
	linkless
	bad *int // how many copies are still to go wrong
}

func (g garbling) Create(name string, perm fs.FileMode) (durable.WriteFile, error) {
	w, err := g.FS.Create(name, perm)
	if err == nil && strings.HasPrefix(filepath.Base(name), ".index.parquet.") && *g.bad > 0 {
		*g.bad--
		return garbled{w}, nil
	}
	return w, err
}

type garbled struct{ durable.WriteFile }

func (g garbled) Write(p []byte) (int, error) {
	q := slices.Clone(p)
	if len(q) > 0 {
		q[len(q)/2] ^= 1
	}
	return g.WriteFile.Write(q)
}

// TestPublishCompares: a copy that is not what was committed does not stand as published. It is made again, and if that does not
// help, the fold fails. The next fold makes a right one.
func TestPublishCompares(t *testing.T) {
	root := prepared(t)
	for _, bad := range []int{1, 2, 3, 100} {
		disk, left := loaded(t, root), bad
		_, err := compactor.Fold(context.Background(), anywhere(root, garbling{linkless{disk}, &left}))
		if (err == nil) != (bad < 3) || generation.IsDamage(err) {
			t.Errorf("%d bad copies: Fold = %v", bad, err)
		}
		if err == nil {
			shows(t, disk, root, fmt.Sprintf("%d bad copies", bad))
		}
		completesOn(t, disk, root, fmt.Sprintf("%d bad copies", bad))
	}
}

// TestPublishLooksOnce: where public files are copies, a publication looks for each of them among all data files, but looks at each of these once.
func TestPublishLooksOnce(t *testing.T) {
	root := newCohortsRoot(t)
	ids := []cohort.ID{"a", "b", "c", "d"}
	looks := 0
	watched := ""
	fault := &durabletest.Fault{FS: linkless{durable.OS}, Look: func(op, name string) error {
		if op == "stat" && name == watched {
			looks++
		}
		return nil
	}}
	fold := func(of []cohort.ID) int {
		t.Helper()
		for _, id := range of {
			appendTo(t, root, id, fmt.Sprintf(`{"run_id":"r%d","stage":"S","v":1}`, looks))
		}
		looks = 0
		foldNow(t, compactor.Config{Root: root, FS: fault})
		return looks
	}
	fold(ids)
	watched = root.Data(newestOn(t, root).Index.Name)
	fold(ids)
	fold(ids)
	if one, all := fold(ids[:1]), fold(ids); one == 0 || all != one {
		t.Errorf("a fold looks at an old data file %d times where it changes one cohort, %d times where it changes %d", one, all, len(ids))
	}
}
