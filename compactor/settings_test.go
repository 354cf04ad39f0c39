package compactor_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
	"github.com/runfold/runfold/journal"
)

// TestRestoreSettingsAnywhere cuts the power before each change that RestoreSettings makes, and lets each of its calls fail. Afterwards
// runfold.json is what it was or what it must become, and a second call ends right; what was there is in quarantine/.
func TestRestoreSettingsAnywhere(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(*seed, 36))
	t.Logf("-seed %d", *seed)
	root := prepared(t)
	right, err := os.ReadFile(root.Settings())
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(t *testing.T, disk durable.FS){
		"lost":      func(*testing.T, durable.FS) {},
		"empty":     func(t *testing.T, disk durable.FS) { create(t, disk, root.Settings(), "") },
		"another":   func(t *testing.T, disk durable.FS) { create(t, disk, root.Settings(), string(anotherID(right))) },
		"directory": func(t *testing.T, disk durable.FS) { mkdir(t, disk, root.Settings()) },
	} {
		t.Run(name, func(t *testing.T) {
			states := 0
			for k := 0; ; k += sparse {
				disk := loaded(t, root)
				if err := durable.Remove(disk, root.Settings()); err != nil {
					t.Fatal(err)
				}
				spoil(t, disk)
				fault := &durabletest.Fault{FS: disk, Hook: durabletest.StopAt(k)}
				r, err := audit.RestoreSettings(compactor.Config{Root: root, FS: fault}, true)
				if err == nil && fault.Calls() <= k {
					if !r.Applied || r.Manifests != 1 || r.Streams != 2 || (r.Kept == "") != (name == "lost") {
						t.Errorf("RestoreSettings = %+v", r)
					}
					t.Logf("figure: %d crash states of making runfold.json anew (%s)", states, name)
					return
				}
				for _, mode := range durabletest.Modes() {
					states++
					reboot := disk.Crash(mode, rnd)
					cfg := compactor.Config{Root: root, FS: reboot, Lock: yes{}}
					if _, err := audit.RestoreSettings(cfg, true); err != nil {
						t.Fatalf("power lost before change %d, %v: RestoreSettings = %v", k, mode, err)
					}
					got, err := durable.Read(reboot, root.Settings(), 1<<20)
					if err != nil || !bytes.Equal(got, right) {
						t.Fatalf("power lost before change %d, %v: runfold.json is %q, %v", k, mode, got, err)
					}
					completesOn(t, reboot, root, fmt.Sprintf("power lost before change %d, %v", k, mode))
				}
			}
		})
	}
}

// anotherID is a runfold.json with one bit of its root id flipped.
func anotherID(settings []byte) []byte {
	other := bytes.Clone(settings)
	i := bytes.Index(other, []byte(`"root_id": "01`)) + len(`"root_id": "01`) + 20
	other[i] = map[bool]byte{true: '1', false: '0'}[other[i] == '0']
	return other
}

func create(t *testing.T, disk durable.FS, name, text string) {
	t.Helper()
	if err := durable.Create(disk, name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func mkdir(t *testing.T, disk durable.FS, name string) {
	t.Helper()
	if err := durable.MkdirAll(disk, name, 0o755); err != nil {
		t.Fatal(err)
	}
}

// TestRestoreSettingsOfOldRoots tries roots of released versions: their manifests repeat nothing, until a fold of today adds one.
func TestRestoreSettingsOfOldRoots(t *testing.T) {
	versions, err := filepath.Glob("testdata/formats/*/root")
	if err != nil || len(versions) < 3 {
		t.Fatal(versions, err)
	}
	for _, dir := range versions {
		root := copyOf(t, dir)
		right := openRoot(t, root).Settings.Encode()
		cfg := compactor.Config{Root: root}
		lose := func() {
			if err := os.Remove(root.Settings()); err != nil {
				t.Fatal(err)
			}
		}
		lose()
		_, err := audit.RestoreSettings(cfg, true)
		m, merr := newest(durable.OS, root)
		if merr != nil {
			t.Fatal(merr)
		}
		if m.Settings == nil && !errors.Is(err, audit.ErrNoSettings) || m.Settings != nil && err != nil {
			t.Errorf("%s: RestoreSettings = %v with a newest manifest of version %d", dir, err, m.Version)
		}
		if err := durable.Replace(durable.OS, root.Settings(), right, 0o644); err != nil {
			t.Fatal(err)
		}
		appendTo(t, root, "c", firstLines...)
		foldNow(t, cfg)
		lose()
		if _, err := audit.RestoreSettings(cfg, true); err != nil {
			t.Errorf("%s after a fold of today: RestoreSettings = %v", dir, err)
		}
		if diff := cmp.Diff(right, openRoot(t, root).Settings.Encode()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", dir, diff)
		}
	}
}

// TestMixedStopsAFold puts a manifest of another root into the root after it was opened: the fold commits and moves nothing.
func TestMixedStopsAFold(t *testing.T) {
	root := prepared(t)
	store, err := generation.Open(root, journal.RootOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := store.Newest()
	if err != nil {
		t.Fatal(err)
	}
	m.Generation, m.RootID = 7, "01JE0000000000000000000000"
	put(t, root.Manifest(7), m.Encode())
	before := contents(t, string(root))
	if _, err := store.Newest(); !errors.Is(err, journal.ErrMixed) {
		t.Errorf("Newest = %v, want ErrMixed", err)
	}
	cfg := compactor.Config{Root: root}
	if _, err := compactor.Fold(t.Context(), cfg); !errors.Is(err, journal.ErrMixed) {
		t.Errorf("Fold = %v, want ErrMixed", err)
	}
	if _, err := audit.Repair(t.Context(), cfg, audit.RepairOptions{Apply: true}); !errors.Is(err, journal.ErrMixed) {
		t.Errorf("Repair = %v, want ErrMixed", err)
	}
	if _, err := audit.Check(t.Context(), cfg, func(audit.Problem) {}); !errors.Is(err, journal.ErrMixed) {
		t.Errorf("Check = %v, want ErrMixed", err)
	}
	if diff := cmp.Diff(before, contents(t, string(root))); diff != "" {
		t.Errorf("what was refused changes the root (-before +after):\n%s", diff)
	}
	if err := os.Remove(root.Manifest(7)); err != nil {
		t.Fatal(err)
	}
	completesOn(t, durable.OS, root, "without it")
}

// TestBringBackAnywhere stops a repair that brings a stream back at each of its changes, and cuts the power. The next repair ends with
// all rows, and what is damaged stays where it is.
func TestBringBackAnywhere(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(*seed, 37))
	t.Logf("-seed %d", *seed)
	root := newDamagedRoot(t) // a stream stays in quarantine/
	appendTo(t, root, "c", firstLines...)
	foldNow(t, compactor.Config{Root: root})
	appendTo(t, root, "c", secondLines...)
	s := listed(t, root)[0]
	aside := root.Quarantined(s.Cohort, s.ID)
	appendTo(t, root, "d", `{"run_id":"cut","stage":"S","v":9}`)
	cut := listed(t, root)[1]
	segment := root.Segment(cut.Cohort, cut.ID)
	data, err := os.ReadFile(segment)
	if err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{root.Stream(s.Cohort, s.ID): aside, root.Stream(cut.Cohort, cut.ID): root.Quarantined(cut.Cohort, cut.ID)} {
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(cohort.SegmentIn(root.Quarantined(cut.Cohort, cut.ID)), data[:len(data)-3], 0o644); err != nil { // it has no whole end
		t.Fatal(err)
	}
	states := 0
	for k := 0; ; k += sparse {
		disk := loaded(t, root)
		fault := &durabletest.Fault{FS: disk, Hook: durabletest.StopAt(k)}
		cfg := compactor.Config{Root: root, FS: fault, Lock: yes{}}
		r, err := audit.Repair(t.Context(), cfg, audit.RepairOptions{Apply: true})
		if err == nil && fault.Calls() <= k {
			if len(r.Back) != 1 || r.Fold.Rows != 3 {
				t.Errorf("Repair = %+v", r)
			}
			t.Logf("figure: %d crash states of a repair that brings a stream back", states)
			return
		}
		for _, mode := range durabletest.Modes() {
			states++
			when := fmt.Sprintf("power lost before change %d, %v", k, mode)
			cfg.FS = disk.Crash(mode, rnd)
			if _, err := audit.Repair(t.Context(), cfg, audit.RepairOptions{Apply: true}); err != nil {
				t.Fatalf("%s: Repair = %v", when, err)
			}
			if diff := cmp.Diff(bothRows, valuesOn(t, cfg.FS, root)); diff != "" {
				t.Fatalf("%s: rows (-want +got):\n%s", when, diff)
			}
			kept, err := openRootOn(t, cfg.FS, root).Quarantined()
			if err != nil || !slices.Equal(kept, []journal.Stream{cut}) {
				t.Fatalf("%s: in quarantine: %v, %v; want %v", when, kept, err, cut)
			}
		}
	}
}

// TestAnotherKeyStopsAll changes the key in runfold.json. Nothing is folded, repaired or judged with it.
func TestAnotherKeyStopsAll(t *testing.T) {
	root := prepared(t)
	lost := listed(t, root)[0]
	misfit := root.Stream("z", lost.ID) // a repair would move it
	if err := os.CopyFS(misfit, os.DirFS(root.Stream(lost.Cohort, lost.ID))); err != nil {
		t.Fatal(err)
	}
	right, err := os.ReadFile(root.Settings())
	if err != nil {
		t.Fatal(err)
	}
	put(t, root.Settings(), bytes.Replace(right, []byte("\"phase\"\n"), []byte("\"phase\", \"target\"\n"), 1))
	before := contents(t, string(root))
	cfg := compactor.Config{Root: root}
	for name, call := range map[string]func() error{
		"Fold":   func() error { return foldOnce(cfg) },
		"Import": func() error { return importOf(cfg, `{"a:S": {}}`) },
		"Repair": func() error {
			_, err := audit.Repair(t.Context(), cfg, audit.RepairOptions{Apply: true})
			return err
		},
		"Check":      func() error { _, err := audit.Check(t.Context(), cfg, func(audit.Problem) {}); return err },
		"ReadStatus": func() error { _, err := audit.ReadStatus(t.Context(), cfg); return err },
	} {
		var said *journal.SettingsError
		if err := call(); !errors.As(err, &said) || !said.Manifests {
			t.Errorf("%s = %v, want a SettingsError", name, err)
		}
	}
	after := contents(t, string(root))
	for _, lock := range []string{root.CompactLock(), root.CompactLock() + ".holder"} {
		delete(before, lock)
		delete(after, lock)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("what was refused changes the root (-before +after):\n%s", diff)
	}
	put(t, root.Settings(), right)
	if err := os.RemoveAll(root.Cohort("z")); err != nil {
		t.Fatal(err)
	}
	completesOn(t, durable.OS, root, "with the right key")
}

// TestCheckFindsAParentOfAnotherRoot: an earlier program committed on a runfold.json that named another root.
func TestCheckFindsAParentOfAnotherRoot(t *testing.T) {
	root := newDamagedRoot(t)
	appendTo(t, root, "c", firstLines...)
	foldNow(t, compactor.Config{Root: root})
	appendTo(t, root, "c", secondLines...)
	foldNow(t, compactor.Config{Root: root})
	edit := func(g cohort.Generation, to func(m *generation.Manifest)) []byte {
		m, err := manifest(durable.OS, root, g)
		if err != nil {
			t.Fatal(err)
		}
		to(&m)
		data := m.Encode()
		put(t, root.Manifest(g), data)
		return data
	}
	parent := edit(1, func(m *generation.Manifest) { m.RootID = "01JE0000000000000000000000" })
	edit(2, func(m *generation.Manifest) { m.Parent = fmt.Sprintf("%x", sha256.Sum256(parent)) })
	var got []string
	for _, p := range check(t, root) {
		got = append(got, p.String())
	}
	if len(got) != 1 || !strings.Contains(got[0], "its parent to 01JE0000000000000000000000") {
		t.Errorf("check says %q", got)
	}
}

// TestCopiesStayInQuarantine puts whole streams into quarantine/ that must not come back: a copy of one that stands in the root, one that was
// folded to its end, one of another root, and one about which a note tells of damage.
func TestCopiesStayInQuarantine(t *testing.T) {
	root := newDamagedRoot(t)
	quarantine := func(s journal.Stream, from string) {
		t.Helper()
		if err := os.CopyFS(root.Quarantined(s.Cohort, s.ID), os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	appendTo(t, root, "folded", firstLines...)
	s := listed(t, root)[0]
	quarantine(s, root.Stream(s.Cohort, s.ID))
	foldNow(t, compactor.Config{Root: root})
	if err := os.RemoveAll(root.Reaped("folded", "")); err != nil { // as two more folds do; its watermark stays until the next one
		t.Fatal(err)
	}
	w := openWriter(t, root, "open")
	appendLines(t, w, secondLines...)
	s = listed(t, root)[0]
	quarantine(s, root.Stream(s.Cohort, s.ID))
	other := newRoot(t)
	appendTo(t, other, "other", firstLines...)
	s = listed(t, other)[0]
	quarantine(s, other.Stream(s.Cohort, s.ID))
	foldNow(t, compactor.Config{Root: other})
	appendTo(t, root, "noted", firstLines...)
	for _, p := range listed(t, root) {
		if p.Cohort == "noted" {
			s = p
		}
	}
	quarantine(s, root.Stream(s.Cohort, s.ID))
	if err := os.RemoveAll(root.Cohort("noted")); err != nil {
		t.Fatal(err)
	}
	put(t, root.Damaged(s.Cohort, s.ID, 100), []byte(`{"version":1,"length":7}`))
	before := contents(t, root.QuarantineDir())
	for _, apply := range []bool{false, true} {
		r, err := audit.Repair(t.Context(), compactor.Config{Root: root}, audit.RepairOptions{Apply: apply})
		if err != nil || len(r.Back) > 0 {
			t.Errorf("Repair = %v, %v; want none back", r.Back, err)
		}
		if diff := cmp.Diff(before, contents(t, root.QuarantineDir())); diff != "" {
			t.Errorf("quarantine/ (-before +after):\n%.500s", diff)
		}
	}
	put(t, root.Damaged(s.Cohort, s.ID, 100), []byte(`{"version":1,"length":0}`))
	r, err := audit.Repair(t.Context(), compactor.Config{Root: root}, audit.RepairOptions{})
	isNoted := func(p audit.Problem) bool { return p.Path == root.Rel(root.Quarantined(s.Cohort, s.ID)) }
	if err != nil || !slices.ContainsFunc(r.Back, isNoted) {
		t.Errorf("Repair = %v, %v; want the noted one, if its note tells of no damage", r.Back, err)
	}
}
