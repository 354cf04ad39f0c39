package compactor_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
)

// keepsOn is the retention of a root on a disk.
func keepsOn(t *testing.T, disk durable.FS, root cohort.Root) generation.Retention {
	t.Helper()
	m, err := newest(disk, root)
	if err != nil {
		t.Fatal(err)
	}
	return m.Keeps()
}

func TestChangeRetention(t *testing.T) {
	for name, root := range map[string]cohort.Root{"never folded": newRoot(t), "folded": prepared(t)} {
		t.Run(name, func(t *testing.T) {
			cfg := compactor.Config{Root: root}
			before := newestOn(t, root)
			if got, want := before.Keeps(), (generation.Retention{All: time.Hour, Hourly: 24 * time.Hour, Daily: 720 * time.Hour}); got != want {
				t.Errorf("by default %+v, want %+v", got, want)
			}
			daily, reserve := 48*time.Hour, int64(5<<30)
			m, err := compactor.ChangeRetention(t.Context(), cfg, compactor.RetentionChange{Daily: &daily, Reserve: &reserve})
			want := generation.Retention{All: time.Hour, Hourly: 24 * time.Hour, Daily: daily, Reserve: reserve}
			if err != nil || m.Keeps() != want || m.Generation != before.Generation+1 || m.Verb != generation.DidRetention {
				t.Fatalf("generation %d (%s) keeps %+v, %v; want %+v", uint64(m.Generation), m.Verb, m.Keeps(), err, want)
			}
			if before.Generation > 0 && (m.Index.Name != before.Index.Name || m.Index.CRC32C != before.Index.CRC32C) {
				t.Errorf("the index was written again")
			}
			again, err := compactor.ChangeRetention(t.Context(), cfg, compactor.RetentionChange{Daily: &daily})
			if err != nil || again.Generation != m.Generation {
				t.Errorf("the same again is generation %d, %v; want %d", uint64(again.Generation), err, uint64(m.Generation))
			}
			for _, bad := range []time.Duration{-1, time.Second / 2} {
				if m, err := compactor.ChangeRetention(t.Context(), cfg, compactor.RetentionChange{All: &bad}); err == nil {
					t.Errorf("all %v is taken: %+v", bad, m.Keeps())
				}
			}
			appendTo(t, root, "c", thirdLines...)
			foldNow(t, cfg)
			if got := keepsOn(t, durable.OS, root); got != want {
				t.Errorf("after a fold %+v, want %+v", got, want)
			}
		})
	}
}

// TestChangeRetentionAnywhere cuts the power before each change of the disk, and lets each fail: the retention is that before or
// after, no row is another, and the change may be made again.
func TestChangeRetentionAnywhere(t *testing.T) {
	t.Logf("-seed %d", *seed)
	rnd := rand.New(rand.NewPCG(*seed, 45))
	root := prepared(t)
	foldNow(t, compactor.Config{Root: root})
	want := valuesOn(t, durable.OS, root)
	none := time.Duration(0)
	change := compactor.RetentionChange{Daily: &none}
	states := 0
	for k := 0; ; k++ {
		disk := loaded(t, root)
		fault := &durabletest.Fault{FS: disk, Hook: durabletest.StopAt(k)}
		if _, err := compactor.ChangeRetention(t.Context(), keepFew(root, fault), change); err == nil && fault.Calls() <= k {
			break
		}
		for _, mode := range durabletest.Modes() {
			states++
			reboot := disk.Crash(mode, rnd)
			m, err := compactor.ChangeRetention(t.Context(), keepFew(root, reboot), change)
			if err != nil || m.Keeps().Daily != 0 || m.Keeps().Hourly != 24*time.Hour {
				t.Fatalf("power lost before change %d, %v: again: %+v, %v", k, mode, m.Keeps(), err)
			}
			foldNow(t, keepFew(root, reboot))
			if diff := cmp.Diff(want, valuesOn(t, reboot, root)); diff != "" || damageOn(t, reboot, root) != "" {
				t.Fatalf("power lost before change %d, %v: %s; rows (-want +got):\n%s", k, mode, damageOn(t, reboot, root), diff)
			}
		}
	}
	t.Logf("figure: %d crash states of a change of retention", states)
	if states < 50 {
		t.Errorf("%d states", states)
	}
}

// lived is a root on a disk in memory that has a commit now and then for some days: imports, as they need no stream. It is
// the time of the last commit there.
func lived(t *testing.T, root cohort.Root) (disk *durabletest.CrashFS, cfg compactor.Config, now *time.Time) {
	t.Helper()
	disk = loaded(t, root)
	clock := time.Now().Truncate(24 * time.Hour).Add(24 * time.Hour)
	disk.Clock = func() time.Time { return clock }
	cfg = compactor.Config{Root: root, FS: disk, Lock: yes{}, Now: disk.Clock}
	for i := range 30 {
		clock = clock.Add(2*time.Hour + 10*time.Minute)
		rec := parse(t, fmt.Sprintf(`{"run_id":"i%02d","stage":"S","v":1}`, i))
		rec.Cohort = "c"
		if _, err := compactor.Import(t.Context(), cfg, []compactor.Imported{{Record: rec}}, false); err != nil {
			t.Fatal(err)
		}
	}
	return disk, cfg, &clock
}

// TestFoldsThin: folds keep what the rule names, each of these can be read, check finds nothing, and status says what it costs.
func TestFoldsThin(t *testing.T) {
	root := prepared(t)
	disk, cfg, now := lived(t, root)
	foldNow(t, cfg)
	gens, err := generations(disk, root)
	if err != nil {
		t.Fatal(err)
	}
	var got []int
	for _, g := range gens {
		got = append(got, int(g))
		keys, err := keysOf(cfg, g)
		m, merr := manifest(disk, root, g)
		if err != nil || merr != nil || int64(len(keys)) != m.Index.Rows {
			t.Errorf("generation %d: %d rows, %v, %v", uint64(g), len(keys), err, merr)
		}
	}
	// 1 is of today. The others come every 130 minutes from 02:10 of tomorrow on: 2 to 31, and the fold. Of the last 24 h all stay.
	want := []int{1, 2, 13, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("generations at %v (-want +got):\n%s", now, diff)
	}
	if found := damageOn(t, disk, root); found != "" {
		t.Errorf("check finds %s", found)
	}
	for _, p := range checkOn(t, disk, root) {
		if strings.Contains(p.Reason, "void") {
			t.Errorf("check takes what thinned retention keeps for %v", p)
		}
	}
	s, err := audit.ReadStatus(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	m, err := newest(disk, root)
	if err != nil {
		t.Fatal(err)
	}
	if cost := dataBytes(t, disk, root) - m.Index.Size - m.Snapshots[0].Size; s.Generations != len(gens) || s.HistoryBytes != cost || cost == 0 {
		t.Errorf("status: %d generations, %d bytes of history; want %d and %d", s.Generations, s.HistoryBytes, len(gens), cost)
	}
}

func dataBytes(t *testing.T, disk durable.FS, root cohort.Root) (n int64) {
	t.Helper()
	entries, err := disk.ReadDir(root.DataDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		n += info.Size()
	}
	return n
}

// TestFoldMakesRoom: a fold that finds no room drops the oldest generations that only retention keeps, no more than it needs, and goes on. Where nothing
// is left to drop it fails, and changes nothing.
func TestFoldMakesRoom(t *testing.T) {
	root := prepared(t)
	disk, cfg, _ := lived(t, root)
	foldNow(t, cfg)
	if err := disk.Load(withStream(t, root)); err != nil {
		t.Fatal(err)
	}
	little := int64(1) // what the owner of the disk wants to be free: then only a fold that finds no room drops anything
	if _, err := compactor.ChangeRetention(t.Context(), cfg, compactor.RetentionChange{Reserve: &little}); err != nil {
		t.Fatal(err)
	}
	gens, err := generations(disk, root)
	if err != nil {
		t.Fatal(err)
	}
	m, err := newest(disk, root)
	if err != nil {
		t.Fatal(err)
	}
	first, err := manifest(disk, root, gens[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		size int64 // of the disk for data
		full bool
		gone int
	}{
		"nothing to drop is enough": {dataBytes(t, disk, root), true, 0},
		"one byte too little":       {dataBytes(t, disk, root) + m.Index.Size + m.Snapshots[0].Size + margin, false, 1},
		"room":                      {dataBytes(t, disk, root) + m.Index.Size + m.Snapshots[0].Size + 2*margin, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			disk := disk.Crash(durabletest.Mode{Names: durabletest.All, Data: durabletest.All}, nil)
			said := &notices{}
			cfg := cfg
			cfg.FS, cfg.Notify = disk, said.add
			cfg.Free = func(string) (int64, error) { return c.size - dataBytes(t, disk, root), nil }
			_, err := compactor.Fold(t.Context(), cfg)
			if durable.IsFull(err) != c.full || err != nil && !c.full {
				t.Fatalf("Fold = %v", err)
			}
			if c.full {
				return
			}
			left, err := generations(disk, root)
			if err != nil {
				t.Fatal(err)
			}
			if got := slices.Index(left, gens[c.gone]); got != 0 {
				t.Errorf("generations %v are left of %v: want the first %d to go", left, gens, c.gone)
			}
			if _, err := disk.Stat(root.Data(first.Index.Name)); (err != nil) != (c.gone > 0) {
				t.Errorf("the index of the first generation: %v", err)
			}
			if told := strings.Contains(said.text(), "older generations go before their time"); told != (c.gone > 0) {
				t.Errorf("told %q", said.text())
			}
			if _, ok := valuesOn(t, disk, root)["d:S"]; ok && damageOn(t, disk, root) != "" {
				t.Errorf("check finds %s", damageOn(t, disk, root))
			}
		})
	}
}

// TestSleeperIsNoSecondHistory: a compactor slept while others committed, and thinned retention kept the generation on which it built and not the one whose number
// it takes. That looks like two copies of a root that met; but no row of it is missing, so it is swept like any void one.
func TestSleeperIsNoSecondHistory(t *testing.T) {
	root := newRoot(t)
	appendTo(t, root, "c", firstLines[0])
	foldNow(t, compactor.Config{Root: root})
	appendTo(t, root, "c", secondLines[0])
	disk := loaded(t, root)
	clock := time.Now()
	disk.Clock = func() time.Time { return clock }
	once := true
	slept := &durabletest.Fault{FS: disk, Hook: func(_ int, op, name string) error {
		if !once || op != "create" || filepath.Dir(name) != root.Manifests() {
			return nil
		}
		once = false
		clock = clock.Add(3 * time.Hour)
		foldNow(t, compactor.Config{Root: root, FS: disk, Lock: yes{}})
		if err := disk.Load(withStream(t, root)); err != nil {
			t.Fatal(err)
		}
		foldNow(t, compactor.Config{Root: root, FS: disk, Lock: yes{}})
		m, err := manifest(disk, root, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{root.Manifest(2), root.Data(m.Index.Name), root.Data(m.Snapshots[0].Name)} { // as a sweep does
			if err := durable.Remove(disk, name); err != nil {
				t.Fatal(err)
			}
		}
		return nil
	}}
	said := &notices{}
	report, err := compactor.Fold(context.Background(), compactor.Config{Root: root, FS: slept, Lock: yes{}, Notify: said.add})
	if err != nil || report.Conflicts != 1 || !report.Clean() {
		t.Errorf("the fold that slept: %+v, %v", report, err)
	}
	if _, err := keysOf(compactor.Config{Root: root, FS: disk}, 2); !errors.As(err, new(*generation.NotKeptError)) {
		t.Errorf("RunsOf the void generation = %v; want NotKeptError", err)
	}
	if _, err := manifest(disk, root, 2); err != nil {
		t.Errorf("the void generation: %v", err)
	}
	if text := said.text(); text != "another compactor committed generation 3 first: folding again" {
		t.Errorf("told %q", text)
	}
	if got := damageOn(t, disk, root); got != "" {
		t.Errorf("check finds %s", got)
	}
	copied := disk.Crash(durabletest.Mode{Names: durabletest.All, Data: durabletest.All}, nil)
	if done := eraseNow(t, compactor.Config{Root: root, FS: copied, Lock: yes{}}, compactor.Erasure{RunID: "a"}); !done.IsDone() {
		t.Errorf("an erasure beside the void generation leaves %+v", done.Holding)
	}
	clock = clock.Add(3 * time.Hour)
	if err := disk.Load(withStream(t, root)); err != nil {
		t.Fatal(err)
	}
	foldNow(t, compactor.Config{Root: root, FS: disk, Lock: yes{}, KeepGenerations: 1})
	gens, err := generations(disk, root)
	if want := []cohort.Generation{1, 3, 4}; err != nil || !slices.Equal(gens, want) {
		t.Errorf("generations %v, %v: want %v, as 2 is void", gens, err, want)
	}
}

// TestRepairKeepsRetention goes back to a generation from before the retention was changed, and to none.
func TestRepairKeepsRetention(t *testing.T) {
	for back := range 2 {
		root := newDamagedRoot(t)
		cfg := compactor.Config{Root: root}
		for n := range 1 + back {
			appendTo(t, root, "c", [][]string{firstLines, secondLines}[n]...)
			foldNow(t, cfg)
		}
		two := 2 * time.Hour
		m, err := compactor.ChangeRetention(context.Background(), cfg, compactor.RetentionChange{All: &two})
		if err != nil {
			t.Fatal(err)
		}
		spoil(t, root, "index", m.Generation)
		did, err := audit.Repair(context.Background(), cfg, audit.RepairOptions{Apply: true})
		if err != nil {
			t.Fatal(err)
		}
		if now := newestOn(t, root); did.Good != cohort.Generation(back) || now.Keeps().All != two {
			t.Errorf("back to generation %d, keeps %v", did.Good, now.Keeps())
		}
	}
}

// TestEveryCommitSaysWhatItDid makes a commit of each kind, and looks at what its manifest says.
func TestEveryCommitSaysWhatItDid(t *testing.T) {
	root := newDamagedRoot(t)
	cfg := compactor.Config{Root: root}
	none := time.Duration(0)
	for _, step := range []struct {
		do   func() error
		verb generation.Verb
		did  *generation.Changed
	}{
		{func() error { appendTo(t, root, "c", firstLines...); return foldOnce(cfg) }, generation.DidFold, &generation.Changed{Added: 2}},
		{func() error { appendTo(t, root, "c", secondLines...); return foldOnce(cfg) }, generation.DidFold, &generation.Changed{Added: 1, Replaced: 1}},
		{func() error { return importsOne.do(cfg) }, generation.DidImport, &generation.Changed{Added: 3, Imported: 3}},
		{func() error { return importOf(cfg, `{"x:S": {"snapshot_seq": 10, "v": 6}}`) }, generation.DidImport, &generation.Changed{Replaced: 1, Imported: 1}},
		{func() error { return changeOnce(cfg, compactor.ColumnChange{Max: 400}) }, generation.DidColumns, &generation.Changed{}},
		{func() error {
			_, err := compactor.ChangeRetention(t.Context(), cfg, compactor.RetentionChange{Daily: &none})
			return err
		}, generation.DidRetention, &generation.Changed{}},
		{func() error {
			appendTo(t, root, "c", thirdLines...)
			if err := foldOnce(cfg); err != nil {
				return err
			}
			spoil(t, root, "index", newestOn(t, root).Generation)
			_, err := audit.Repair(t.Context(), cfg, audit.RepairOptions{Apply: true})
			return err
		}, generation.DidFold, nil},
	} {
		if err := step.do(); err != nil {
			t.Fatal(step.verb, err)
		}
		m := newestOn(t, root)
		if diff := cmp.Diff(step.did, m.Changed); m.Verb != step.verb || step.did != nil && diff != "" || m.User == "" {
			t.Errorf("generation %d: %q by %q, want %q (-want +got):\n%s", uint64(m.Generation), m.Verb, m.User, step.verb, diff)
		}
	}
	repaired := newestOn(t, root)
	for repaired.RepairedFrom == nil && repaired.Generation > 1 {
		var err error
		if repaired, err = manifest(durable.OS, root, repaired.Generation-1); err != nil {
			t.Fatal(err)
		}
	}
	if repaired.Verb != generation.DidRepair || repaired.Changed != nil {
		t.Errorf("the repair says %q, %+v", repaired.Verb, repaired.Changed)
	}
}
