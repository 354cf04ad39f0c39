package compactor_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
)

// onClones is a disk on which files share blocks.
func onClones(before *durabletest.CrashFS) *durabletest.CrashFS {
	disk := afresh(before)
	disk.Clones = true
	return disk
}

// small are files of many parts, in tests.
var small = index.Sizes{GroupRows: 20, Lines: 2000}

func runLines(stem string, n int) (lines []string) {
	for i := range n {
		lines = append(lines, fmt.Sprintf(`{"run_id":"%s%03d","stage":"S","v":1,"note":"%s"}`, stem, i, strings.Repeat("y", 100)))
	}
	return lines
}

// settled is a root with rows that two folds have written, so that the next one may share their blocks, and with rows that one has. What a stream
// holds changes one of those, and brings another. want are the rows after that.
func settled(t *testing.T) (root cohort.Root, want map[string]string) {
	t.Helper()
	root = newDamagedRoot(t)
	appendTo(t, root, "c", runLines("w", 50)...)
	foldNow(t, compactor.Config{Root: root, Sizes: small})
	appendTo(t, root, "c", `{"run_id":"a","stage":"S","v":1}`, `{"run_id":"b","stage":"S","v":1}`)
	foldNow(t, compactor.Config{Root: root, Sizes: small})
	want = values(t, root)
	// The last one is not there, and could be in the first row group: its filter is asked.
	appendTo(t, root, "c", `{"run_id":"a","stage":"S","v":2}`, `{"run_id":"d","stage":"S","v":3}`, `{"run_id":"w0105","stage":"S","v":4}`)
	want["a:S"], want["d:S"], want["w0105:S"] = "2", "3", "4"
	return root, want
}

// TestPowerLossWithSharedBlocks: a fold that shares blocks loses nothing, wherever the power goes.
func TestPowerLossWithSharedBlocks(t *testing.T) {
	t.Parallel()
	root, want := settled(t)
	if r := foldNow(t, compactor.Config{Root: root, FS: onClones(loaded(t, root)), Lock: yes{}, Sizes: small}); r.Cloned == 0 {
		t.Fatalf("nothing is shared: %+v", r.Bytes)
	}
	losePowerAnywhere(t, root, want, 1, onClones)
}

// TestSharesWhatStoodTwice: what a fold has written, the next one reads and copies, and only the ones after that share it. On a disk that cannot
// share, and on one that says no in the middle, all is copied, and the rows are the same.
func TestSharesWhatStoodTwice(t *testing.T) {
	var clones [4][]generation.Bytes
	for kind := range clones {
		root := newDamagedRoot(t)
		appendTo(t, root, "c", runLines("w", 100)...)
		appendTo(t, root, "c", runLines("x", 100)...)
		disk := durable.FS(cloning{durable.OS})
		if kind == 0 {
			disk = durable.OS
		}
		var n atomic.Int64 // both files are written at the same time
		fsys := &durabletest.Fault{FS: disk, Hook: func(_ int, op, _ string) error {
			if op == "clone" && (n.Add(1)%2 == 0 && kind == 2 || kind == 3) {
				return syscall.EIO
			}
			return nil
		}}
		cfg := compactor.Config{Root: root, FS: fsys, Lock: yes{}, Sizes: small}
		for i := range 5 {
			if i > 0 {
				appendTo(t, root, "c", fmt.Sprintf(`{"run_id":"n%d","stage":"S","v":1}`, i))
			}
			clones[kind] = append(clones[kind], foldNow(t, cfg).Bytes)
			if got := damage(t, root); got != "" {
				t.Fatalf("disk %d, fold %d: check finds %s", kind, i, got)
			}
		}
		if rows := values(t, root); len(rows) != 204 {
			t.Errorf("disk %d: %d rows", kind, len(rows))
		}
	}
	for i, b := range clones[1] {
		whole := int64(200 * 100) // of the snapshots at least
		switch {
		case i == 0 && (b.Written < whole || b.Copied+b.Cloned > 0),
			i == 1 && (b.Copied < whole || b.Cloned > 0),
			i > 1 && (b.Cloned < whole || b.Copied > 2*4096): // a section and a row group that the fold before has ended
			t.Errorf("fold %d: %+v", i, b)
		}
	}
	for _, kind := range []int{0, 3} {
		for i, b := range clones[kind] {
			if b.Cloned != 0 || i > 0 && b.Copied != clones[1][i].Copied+clones[1][i].Cloned {
				t.Errorf("disk %d cannot share, fold %d: %+v", kind, i, b)
			}
		}
	}
	if some := clones[2][3]; some.Cloned == 0 || some.Copied <= clones[1][3].Copied {
		t.Errorf("a disk that says no in the middle: %+v", clones[2])
	}
}

// TestFlipBeforeSharing flips a byte of each section of the files of the newest generation. The next fold finds it in all that it reads: in what is
// fresh, which it would copy, and in a filter that it asks. It finds nothing in rows that the next generation has from the one
// before: that has them whole, and check finds the damage.
func TestFlipBeforeSharing(t *testing.T) {
	root, want := settled(t)
	before := loaded(t, root)
	m := newestOn(t, root)
	found, asked, shared := 0, 0, 0
	for _, f := range m.Files() {
		at := int64(0)
		for i, sec := range f.Sections {
			disk := onClones(before)
			if err := disk.Flip(root.Data(f.Name), at+sec.Size/2); err != nil {
				t.Fatal(err)
			}
			at += sec.Size
			_, err := compactor.Fold(context.Background(), compactor.Config{Root: root, FS: disk, Lock: yes{}, Sizes: small})
			when := fmt.Sprintf("%s, section %d of %d (%+v)", f.Name, i, len(f.Sections), sec)
			switch {
			case generation.IsDamage(err):
				found++
				if !sec.Fresh {
					asked++
				}
				if now, err := newest(disk, root); err != nil || now.Generation != m.Generation {
					t.Errorf("%s: generation %d after a fold that found damage, %v", when, now.Generation, err)
				}
			case err != nil || sec.Fresh:
				t.Errorf("%s: Fold = %v, want damage", when, err)
			default:
				shared++
				if got := damageOn(t, disk, root); got == "" {
					t.Errorf("%s: check does not find it", when)
				}
				if diff := cmp.Diff(want, valuesOn(t, disk, root)); diff != "" {
					t.Errorf("%s: rows of the next generation (-want +got):\n%s", when, diff)
				}
			}
		}
	}
	if found < 6 || asked != 1 || shared < 2 {
		t.Errorf("%d flips were found, %d in filters that were asked, and %d were shared", found, asked, shared)
	}
	disk := onClones(before)
	foldNow(t, compactor.Config{Root: root, FS: disk, Lock: yes{}, Sizes: small})
	if diff := cmp.Diff(want, valuesOn(t, disk, root)); diff != "" {
		t.Errorf("rows without a flip (-want +got):\n%s", diff)
	}
}

// TestFlipInTheEarlier flips a byte of each section of the generation whose blocks the next fold shares. The newest generation has the damage then, and the
// one before it has not: a repair loses nothing. A fold that compares what it shares finds it at once.
func TestFlipInTheEarlier(t *testing.T) {
	root, want := settled(t)
	before := loaded(t, root)
	first, err := newestStoreOf(t, root).Read(1)
	if err != nil {
		t.Fatal(err)
	}
	shared := 0
	for _, f := range first.Files() {
		at := int64(0)
		for i, sec := range f.Sections {
			when := fmt.Sprintf("%s, section %d of %d (%+v)", f.Name, i, len(f.Sections), sec)
			flipped := func() *durabletest.CrashFS {
				disk := onClones(before)
				if err := disk.Flip(root.Data(f.Name), at+sec.Size/2); err != nil {
					t.Fatal(err)
				}
				return disk
			}
			disk := flipped()
			cfg := compactor.Config{Root: root, FS: disk, Lock: yes{}, Sizes: small}
			foldNow(t, cfg)
			m, err := newest(disk, root)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(damageOn(t, disk, root), m.Index.Name) || strings.Contains(damageOn(t, disk, root), m.Snapshots[0].Name) {
				shared++
				repaired, err := audit.Repair(t.Context(), cfg, audit.RepairOptions{Apply: true})
				if err != nil || !repaired.Lossless() {
					t.Errorf("%s: Repair = %v, %+v", when, err, repaired)
				}
				scrubbed := compactor.Config{Root: root, FS: flipped(), Lock: yes{}, Sizes: small, Scrub: 1}
				if _, err := compactor.Fold(t.Context(), scrubbed); !generation.IsDamage(err) {
					t.Errorf("%s: a fold that compares all that it shares says %v", when, err)
				}
			}
			if diff := cmp.Diff(want, valuesOn(t, disk, root)); diff != "" {
				t.Errorf("%s: rows (-want +got):\n%s", when, diff)
			}
			at += sec.Size
		}
	}
	if shared < 4 {
		t.Errorf("only %d sections were shared", shared)
	}
}

func newestStoreOf(t *testing.T, root cohort.Root) *generation.Store {
	t.Helper()
	store, err := compactor.Config{Root: root}.Store()
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// TestCheckComparesSections: a manifest whose sections do not fit the file is told, although the checksum of the file fits.
func TestCheckComparesSections(t *testing.T) {
	root := newDamagedRoot(t)
	appendTo(t, root, "c", runLines("w", 3)...)
	foldNow(t, compactor.Config{Root: root})
	m := newestOn(t, root)
	_, members, _ := bytes.Cut(read(t, root.Manifest(1)), []byte("\n"))
	was := m.Index.Sections[1].CRC32C
	members = bytes.Replace(members, []byte(was.String()), []byte((was ^ 1).String()), 1)
	overwrite(t, root.Manifest(1), func([]byte) []byte { return cohort.SealManifest(members) })
	if got := damage(t, root); !strings.Contains(got, m.Index.Name) || !strings.Contains(got, "sections") {
		t.Errorf("check finds %q", got)
	}
	appendTo(t, root, "c", runLines("x", 1)...)
	if _, err := compactor.Fold(context.Background(), compactor.Config{Root: root}); !generation.IsDamage(err) {
		t.Errorf("Fold = %v, want damage", err)
	}
}

// TestScrub: a share of what is shared is compared with each fold, and all of it in turn.
func TestScrub(t *testing.T) {
	root := newDamagedRoot(t)
	appendTo(t, root, "c", runLines("w", 400)...)
	cfg := compactor.Config{Root: root, FS: cloning{durable.OS}, Lock: yes{}, Sizes: small}
	for i := range 2 {
		foldNow(t, cfg)
		appendTo(t, root, "c", fmt.Sprintf(`{"run_id":"n%d","stage":"S","v":1}`, i))
	}
	cfg.Scrub = 0.125
	var sum, cloned int64
	for i := range 8 {
		b := foldNow(t, cfg).Bytes
		sum += b.Scrubbed
		cloned += b.Cloned
		if b.Scrubbed >= b.Cloned/2 {
			t.Errorf("fold %d: %+v", i, b)
		}
		appendTo(t, root, "c", fmt.Sprintf(`{"run_id":"s%d","stage":"S","v":1}`, i))
	}
	if whole := cloned / 8; sum < whole*9/10 || sum > whole*11/10 {
		t.Errorf("in 8 folds %d bytes were compared, and each shared %d", sum, whole)
	}
}

// cloning is a disk whose files share blocks, as far as a program can tell: what a clone has is what the other file had.
type cloning struct{ durable.FS }

func (c cloning) Create(name string, perm fs.FileMode) (durable.WriteFile, error) {
	w, err := c.FS.Create(name, perm)
	if err != nil {
		return nil, err
	}
	return cloner{w}, nil
}

type cloner struct{ durable.WriteFile }

func (c cloner) Clone(from durable.ReadFile, off, n int64) error {
	_, err := io.Copy(struct{ io.Writer }{c.WriteFile}, io.NewSectionReader(from, off, n))
	return err
}
