package compactor_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/internal/doctor"
	"github.com/runfold/runfold/journal"
)

// unsealedOf are the streams of a root without a seal, each as its cohort and state.
func unsealedOf(t *testing.T, cfg compactor.Config) (out []string, all []audit.Unsealed) {
	t.Helper()
	s, err := audit.ReadStatus(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range s.Unsealed {
		id, _, _ := strings.Cut(u.Stream, "/")
		out = append(out, id+" "+string(u.State))
	}
	return out, s.Unsealed
}

// TestStatusSaysWhenStreamsGo: status says of each stream without a seal what the next folds will do, and they do it.
func TestStatusSaysWhenStreamsGo(t *testing.T) {
	root := newRoot(t)
	if _, local, err := doctor.IsLocal(string(root)); err != nil || !local {
		t.Skipf("the directory for temporary files is on no file system that is known to be local: %v", err)
	}
	want := func(when string, cfg compactor.Config, want ...string) []audit.Unsealed {
		t.Helper()
		got, all := unsealedOf(t, cfg)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: streams without a seal (-want +got):\n%s", when, diff)
		}
		return all
	}
	cfg := compactor.Config{Root: root}
	abandoned(t, root, "live", firstLines[0])
	appendTo(t, root, "killed", firstLines[1])
	for _, s := range listed(t, root) {
		if s.Cohort == "killed" {
			path := root.Segment(s.Cohort, s.ID)
			cut := lastEntry(t, path, s)
			change(t, path, func(b []byte) []byte { return b[:cut] })
		}
	}
	appendTo(t, root, "sealed", secondLines...)
	want("before a fold", cfg)
	foldNow(t, cfg)

	// No fold moves one of them before Due, by the storage's time, and one does it from then on.
	all := want("where locks do not tell", cfg, "killed "+string(compactor.MayLive), "live "+string(compactor.MayLive))
	marks := map[string]cohort.Stamp{}
	for _, m := range newestOn(t, root).Streams {
		marks[m.Stream.String()] = m.Grown
	}
	for _, u := range all {
		if due := cohort.FormatTime(marks[u.Stream].Time().Add(24 * time.Hour)); u.Due != due || u.Left <= 0 || u.Left > 25*time.Hour {
			t.Errorf("%+v: want due %s", u, due)
		}
	}
	short := compactor.Config{Root: root, DeadAfter: -1, ReapGrace: time.Hour}
	for _, u := range want("with another age", short, "killed "+string(compactor.MayLive), "live "+string(compactor.MayLive)) {
		if u.Left != 0 {
			t.Errorf("%+v: want it due now", u)
		}
	}

	saveVerdict(t, root, doctor.Verdict{Version: 1, Local: true, Checks: []doctor.Check{{Name: doctor.FileLocks, Result: "yes"}}})
	want("where locks tell", cfg, "killed "+string(compactor.WriterEnded), "live "+string(compactor.MayLive))
	if r := foldNow(t, cfg); r.Reaped != 1 {
		t.Errorf("%d streams were reaped, want the one whose writer has ended", r.Reaped)
	}
	all = want("after that fold", short, "live "+string(compactor.MayLive), "killed "+string(compactor.InGrace))
	for _, u := range all {
		if inGrace := u.State == compactor.InGrace; inGrace != (u.Left > 30*time.Minute) {
			t.Errorf("%+v: want the grace of an hour for the one in reaped/, and none for the other", u)
		}
	}
	for range 3 {
		appendTo(t, root, "sealed", thirdLines...)
		foldNow(t, compactor.Config{Root: root, ReapGrace: -1})
	}
	want("after more folds", cfg, "live "+string(compactor.MayLive))
	if n := len(inReaped(t, root, "killed")); n != 0 {
		t.Errorf("%d streams are in reaped/ after the grace, want none", n)
	}
}

// TestFateOfWhatGrew: a stream that has grown since the last fold waits for the next one, and not for its end.
func TestFateOfWhatGrew(t *testing.T) {
	root := newRoot(t)
	w := openWriter(t, root, "c")
	t.Cleanup(func() { w.Close() })
	appendLines(t, w, firstLines...)
	foldNow(t, compactor.Config{Root: root})
	places, _, err := openRoot(t, root).Streams()
	if err != nil {
		t.Fatal(err)
	}
	fates := func() []compactor.Fate {
		return compactor.Fates(openRoot(t, root), compactor.Config{Root: root}, newestOn(t, root), places)
	}
	if got := fates(); len(got) != 1 || got[0].State != compactor.MayLive || got[0].Stream != (journal.Stream{Cohort: "c", ID: places[0].ID}) {
		t.Errorf("fates %+v, want one", got)
	}
	appendLines(t, w, secondLines...)
	if got := fates(); len(got) != 0 {
		t.Errorf("fates %+v of a stream that grew, want none", got)
	}
}
