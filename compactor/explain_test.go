package compactor_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/internal/durable"
)

// explain asks for what is known, which must be something.
func explain(t *testing.T, root cohort.Root, asked string) audit.Explanation {
	t.Helper()
	e, err := audit.Explain(context.Background(), compactor.Config{Root: root}, asked)
	if err != nil {
		t.Fatalf("Explain %q: %v", asked, err)
	}
	return e
}

// writesTold are the writes of all keys of an Explanation, each on a line without what differs from run to run.
func writesTold(e audit.Explanation) (lines []string) {
	for _, h := range e.Keys {
		for i, w := range h.Writes {
			b := fmt.Sprintf("%s %d: %s by %s", h.Key, i+1, w.RecordID, w.User)
			if len(w.RecordID) == 26 {
				b = fmt.Sprintf("%s %d: ULID by %s", h.Key, i+1, w.User)
			}
			if w.First > 0 {
				b += fmt.Sprintf(" in %d-%d", uint64(w.First), uint64(w.Last))
			}
			for word, is := range map[string]bool{"": true, " since": w.Since} {
				if is {
					b += word
				}
			}
			if w.Current {
				b += " current"
			}
			if w.Unfolded {
				b += " unfolded"
			}
			for _, at := range []struct {
				word string
				n    int
			}{{"raises", w.Raises}, {"replaces", w.Replaces}, {"replaced by", w.ReplacedBy}} {
				if at.n > 0 {
					b += fmt.Sprintf(", %s %d", at.word, at.n)
				}
			}
			for _, d := range w.Differs {
				b += fmt.Sprintf(", %s %s>%s", d.Field, d.Before, d.After)
			}
			if dir, _, ok := strings.Cut(filepath.ToSlash(w.Path), "/"); ok {
				b += " (" + dir + ")"
			}
			if len(w.Unknown) > 0 {
				b += " ? " + strings.Join(w.Unknown, "; ")
			}
			lines = append(lines, b)
		}
	}
	return lines
}

const (
	goneStream = " ? when it was written, and with which program: its stream was folded and deleted, with its header"
	wasBefore  = "whether it was visible before: the generation before is not kept, or cannot be read"
)

// TestExplain follows one key through folds: writes that replace others, one that another replaced within one fold, a repeat, and one that
// no fold has read. Then its streams are deleted, and its generations.
func TestExplain(t *testing.T) {
	root := newRoot(t)
	by := func(user string, lines ...string) {
		t.Setenv("USER", user)
		appendTo(t, root, "c", lines...)
	}
	fold := func() { foldNow(t, compactor.Config{Root: root, KeepGenerations: 100}) }
	by("ann", `{"run_id":"a","stage":"S","v":1,"metrics":{"auc":25000},"record_id":"one"}`)
	fold()
	by("bob", `{"run_id":"a","stage":"S","v":2,"metrics":{"auc":25000.0},"record_id":"two"}`, `{"run_id":"a","stage":"S","metrics":{"auc":1},"list":[1],"record_id":"three"}`)
	fold()
	want := []string{
		"a:S 1: one by ann in 1-1 since, replaced by 2" + goneStream,
		"a:S 2: two by bob, replaces 1, replaced by 3, v 1>2 (reaped)", // 25000 and 25000.0 are one number
		"a:S 3: three by bob in 2-2 since current, replaces 2, list >[1], metrics.auc 25000>1, v 2> (reaped)",
	}
	if diff := cmp.Diff(want, writesTold(explain(t, root, "a:S"))); diff != "" {
		t.Errorf("after two folds (-want +got):\n%s", diff)
	}
	by("cyd", `{"run_id":"a","stage":"S","metrics":{"auc":1},"list":[1],"record_id":"three"}`)
	by("dan", `{"run_id":"a","stage":"S","metrics":{"auc":null},"list":[1],"snapshot":{"x":1},"record_id":"four"}`, `{"run_id":"b","stage":"S","record_id":"other"}`)
	want = append(want[:2],
		"a:S 3: three by bob in 2-2 since current, replaces 2, replaced by 5, list >[1], metrics.auc 25000>1, v 2> (reaped)",
		"a:S 4: three by cyd unfolded, raises 3 (cohorts)",
		`a:S 5: four by dan unfolded, replaces 3, metrics.auc 1>, snapshot >{"x":1} (cohorts)`)
	if diff := cmp.Diff(want, writesTold(explain(t, root, "a:S"))); diff != "" {
		t.Errorf("with what is not folded (-want +got):\n%s", diff)
	}
	if e := explain(t, root, "a"); len(e.Keys) != 1 || e.Generations != 2 || e.First != 1 || e.Newest != 2 || e.Streams != 3 || len(e.Unread) > 0 {
		t.Errorf("looked at %+v", e)
	}
	fold()
	for i := range 3 {
		by("eve", `{"run_id":"c","stage":"S","v":`+strconv.Itoa(i)+`}`)
		fold()
	}
	want = []string{ // two and the repeat were never in an index, so nothing is left of them
		"a:S 1: one by ann in 1-1 since, replaced by 2" + goneStream,
		"a:S 2: three by bob in 2-2 since, replaces 1, replaced by 3, list >[1], metrics.auc 25000>1, v 1>" + goneStream,
		"a:S 3: four by dan in 3-6 since current, replaces 2, metrics.auc 1>" + goneStream,
	}
	if diff := cmp.Diff(want, writesTold(explain(t, root, "a:S"))); diff != "" {
		t.Errorf("after the streams are deleted (-want +got):\n%s", diff)
	}
	foldNow(t, compactor.Config{Root: root, KeepAge: -1})
	by("eve", `{"run_id":"c","stage":"S","v":9}`)
	foldNow(t, compactor.Config{Root: root, KeepAge: -1, KeepGenerations: 2})
	got := writesTold(explain(t, root, "a:S"))
	if len(got) != 1 || !strings.HasPrefix(got[0], "a:S 1: four by dan in ") || !strings.HasSuffix(got[0], goneStream+"; "+wasBefore) {
		t.Errorf("after the generations are swept: %q", got)
	}
}

// TestExplainLate shows a write that came after a later one: a fold met it when it was superseded, and no generation has it.
func TestExplainLate(t *testing.T) {
	root := newRoot(t)
	early := openWriter(t, root, "c")
	appendLines(t, early, `{"run_id":"a","stage":"S","v":1,"record_id":"early"}`)
	from := onlyStream(t, root)
	aside := filepath.Join(t.TempDir(), "aside")
	if err := os.Rename(filepath.Dir(from), aside); err != nil { // as on a share that does not show it yet
		t.Fatal(err)
	}
	early.Close() // it says that its stream was moved
	appendTo(t, root, "c", `{"run_id":"a","stage":"S","v":2,"record_id":"late"}`)
	foldNow(t, compactor.Config{Root: root})
	if err := os.Rename(aside, filepath.Dir(from)); err != nil {
		t.Fatal(err)
	}
	if got := writesTold(explain(t, root, "a")); len(got) != 2 || !strings.Contains(got[0], "early by ") || !strings.Contains(got[0], " unfolded, replaced by 2") {
		t.Errorf("before the fold that reads it: %q", got)
	}
	foldNow(t, compactor.Config{Root: root})
	got := writesTold(explain(t, root, "a"))
	if len(got) != 2 || strings.Contains(got[0], " in ") || strings.Contains(got[0], "unfolded") || !strings.Contains(got[1], "in 1-2 since current, replaces 1, v 1>2") {
		t.Errorf("after it: %q", got)
	}
}

// TestExplainWhatIsMeant finds keys by key, run id, and run id with stage, in a root whose key has more fields.
func TestExplainWhatIsMeant(t *testing.T) {
	form, err := cohort.ParseKeyForm([]string{"run_id", "phase", "target"})
	if err != nil {
		t.Fatal(err)
	}
	root := audited(t, newRootWith(t, cohort.Settings{Key: form}))
	lines := []string{
		`{"run_id":"a","stage":"S","target":"x"}`, `{"run_id":"a","stage":"S","target":"y"}`, `{"run_id":"a","stage":"T","target":"x"}`,
		`{"run_id":"a:S","stage":"T","target":"x"}`, `{"run_id":"ab","stage":"S","target":"x"}`,
	}
	asked := map[string]string{
		"a": "a:S:x a:S:y a:T:x", "a:S": "a:S:T:x a:S:x a:S:y", "a:S:x": "a:S:x", "a:S:T": "a:S:T:x", "a:T": "a:T:x", "ab": "ab:S:x", "ab:S:x": "ab:S:x",
	}
	appendTo(t, root, "c", lines[:3]...)
	foldNow(t, compactor.Config{Root: root})
	appendTo(t, root, "c", lines[3:]...) // some are in the index, some only in streams
	for what, want := range asked {
		var keys []string
		for _, h := range explain(t, root, what).Keys {
			keys = append(keys, string(h.Key))
		}
		if got := strings.Join(keys, " "); got != want {
			t.Errorf("Explain %q finds %q, want %q", what, got, want)
		}
	}
	for _, what := range []string{"", "b", "a:", "a:S:", ":", "a:S:z", "S"} {
		e, err := audit.Explain(context.Background(), compactor.Config{Root: root}, what)
		if !errors.Is(err, audit.ErrUnknownRun) || len(e.Keys) != 0 || e.Generations != 1 || e.Streams != 2 {
			t.Errorf("Explain %q = %+v, %v, want ErrUnknownRun", what, e, err)
		}
	}
}

// TestExplainElsewhere finds writes in quarantine/, reads past damage and tells of it, and of rows that nobody appended or that an older
// program folded.
func TestExplainElsewhere(t *testing.T) {
	t.Setenv("USER", "ann")
	root := newDamagedRoot(t)
	appendTo(t, root, "c", `{"run_id":"a","stage":"S","v":1,"record_id":"one"}`, `{"run_id":"a","stage":"S","v":2,"record_id":"two"}`, `{"run_id":"a","stage":"S","v":3,"record_id":"three"}`)
	flipEntry(t, root, 2)
	from := filepath.Dir(onlyStream(t, root))
	want := []string{"a:S 1: one by ann, replaced by 2", "a:S 2: three by ann, replaces 1, v 1>3"}
	for _, dir := range []string{"cohorts", "quarantine"} {
		suffix := " unfolded"
		if dir == "quarantine" {
			suffix = ""
			to := filepath.Join(root.Quarantine("c"), filepath.Base(from))
			if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(from, to); err != nil {
				t.Fatal(err)
			}
		}
		e := explain(t, root, "a")
		lines := []string{}
		for _, line := range want {
			lines = append(lines, strings.Replace(line, " by ann", " by ann"+suffix, 1)+" ("+dir+")")
		}
		if diff := cmp.Diff(lines, writesTold(e)); diff != "" || len(e.Unread) != 1 || e.Streams != 1 {
			t.Errorf("in %s/: not read %q, %d streams (-want +got):\n%s", dir, e.Unread, e.Streams, diff)
		}
	}

	root = newRoot(t)
	if err := importOf(compactor.Config{Root: root}, `{"x:S": {"snapshot_seq": 8, "v": 4}}`); err != nil {
		t.Fatal(err)
	}
	e := explain(t, root, "x")
	if got := writesTold(e); len(got) != 1 || !strings.HasSuffix(got[0], "by  in 1-1 since current ? it was imported: nobody appended it to this root") {
		t.Errorf("an imported row: %q", got)
	}
	if e.Keys[0].Writes[0].Time != "" {
		t.Errorf("an imported row has the time %s", e.Keys[0].Writes[0].Time)
	}
	const byHeader = " ? who wrote it: its stream was folded and deleted, with its header, and the row does not say it"
	for _, version := range []string{"v1", "v2"} {
		got := writesTold(explain(t, copyOf(t, filepath.Join("testdata/formats", version, "root")), "a"))
		if last := got[len(got)-1]; !strings.Contains(last, " current") || !strings.Contains(last, byHeader) {
			t.Errorf("a row of %s: %q", version, got)
		}
	}
}

// TestExplainVoid looks at no generation that a repair made void.
func TestExplainVoid(t *testing.T) {
	root := newDamagedRoot(t)
	appendTo(t, root, "c", `{"run_id":"a","stage":"S","v":1}`)
	foldNow(t, compactor.Config{Root: root})
	appendTo(t, root, "c", `{"run_id":"a","stage":"S","v":2}`)
	foldNow(t, compactor.Config{Root: root})
	spoil(t, root, "index", 2)
	if err := repairOnce(compactor.Config{Root: root}); err != nil {
		t.Fatal(err)
	}
	e := explain(t, root, "a")
	if len(e.Unread) > 0 || e.Newest < 3 {
		t.Errorf("generations to %d, not read %q", e.Newest, e.Unread)
	}
	if last := e.Keys[0].Writes[1]; !last.Current || last.First < 3 {
		t.Errorf("the last write is in the generations %d to %d, current: %v", last.First, last.Last, last.Current)
	}
}

// TestExplainSweptMeanwhile: others fold, and sweep the newest generation, before its index is opened. The next one is looked at.
func TestExplainSweptMeanwhile(t *testing.T) {
	root := newRoot(t)
	cfg := compactor.Config{Root: root, KeepAge: -1, KeepGenerations: 1}
	appendTo(t, root, "c", `{"run_id":"a","stage":"S"}`)
	foldNow(t, cfg)
	disk := happening{durable.OS, before{root.Data(newestOn(t, root).Index.Name): func() {
		for v := range 2 {
			appendTo(t, root, "c", fmt.Sprintf(`{"run_id":"b","stage":"S","v":%d}`, v))
			foldNow(t, cfg)
		}
	}}}
	e, err := audit.Explain(context.Background(), compactor.Config{Root: root, FS: disk}, "a")
	if got := writesTold(e); err != nil || len(got) != 1 || !strings.Contains(got[0], " current") || len(e.Unread) > 0 || e.Generations != 2 {
		t.Errorf("Explain = %q, %v, of %d generations, not read %q", got, err, e.Generations, e.Unread)
	}
}

// TestExplainBounded keeps the newest of many writes, and says so.
func TestExplainBounded(t *testing.T) {
	root := newRoot(t)
	w := openWriter(t, root, "c")
	var recs []cohort.Record
	for i := range 1100 {
		recs = append(recs, parse(t, fmt.Sprintf(`{"run_id":"a","stage":"S","v":%d}`, i)))
	}
	if err := errors.Join(w.Append(recs), w.Close()); err != nil {
		t.Fatal(err)
	}
	foldNow(t, compactor.Config{Root: root})
	h := explain(t, root, "a").Keys[0]
	last := h.Writes[len(h.Writes)-1]
	if len(h.Writes) != 1000 || !h.Older || !last.Current || len(last.Differs) != 1 || last.Differs[0] != (audit.FieldDifference{Field: "v", Before: "1098", After: "1099"}) {
		t.Errorf("%d writes, older %v, last %+v", len(h.Writes), h.Older, last)
	}
	if first := h.Writes[0]; first.Replaces != 0 || first.ReplacedBy != 2 {
		t.Errorf("the first that is shown replaces %d and is replaced by %d", first.Replaces, first.ReplacedBy)
	}
}

// TestExplainOnlyReads changes nothing, and needs no lock.
func TestExplainOnlyReads(t *testing.T) {
	root := prepared(t)
	lock, err := durable.TryLock(root.CompactLock(), "another compactor\n", 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Unlock()
	before := contents(t, string(root))
	for _, h := range explain(t, root, "a").Keys {
		if len(h.Writes) == 0 {
			t.Errorf("no writes of %s", h.Key)
		}
	}
	if diff := cmp.Diff(before, contents(t, string(root))); diff != "" {
		t.Errorf("Explain changed (-before +after):\n%s", diff)
	}
}

// onList calls do before a directory is listed the first time.
type onList struct {
	durable.FS
	dir string
	do  func()
}

func (o *onList) ReadDir(name string) ([]fs.DirEntry, error) {
	if do := o.do; name == o.dir && do != nil {
		o.do = nil
		do()
	}
	return o.FS.ReadDir(name)
}

// TestExplainFoldedMeanwhile folds and deletes the stream of a write just before the streams are listed: a generation has it.
func TestExplainFoldedMeanwhile(t *testing.T) {
	root := newRoot(t)
	appendTo(t, root, "c", `{"run_id":"b","stage":"S"}`)
	foldNow(t, compactor.Config{Root: root})
	appendTo(t, root, "c", `{"run_id":"a","stage":"S","record_id":"one"}`)
	fsys := &onList{FS: durable.OS, dir: root.Cohorts(), do: func() {
		for i := range 3 {
			foldNow(t, compactor.Config{Root: root})
			appendTo(t, root, "c", fmt.Sprintf(`{"run_id":"b","stage":"S","v":%d}`, i))
		}
	}}
	e, err := audit.Explain(context.Background(), compactor.Config{Root: root, FS: fsys}, "a")
	if got := writesTold(e); err != nil || len(got) != 1 || !strings.Contains(got[0], " current") || fsys.do != nil {
		t.Errorf("Explain = %q, %v", got, err)
	}
}

// TestExplainLive asks while others append, fold and sweep. What was acknowledged before is always known.
func TestExplainLive(t *testing.T) {
	root := newRoot(t)
	appendTo(t, root, "c", `{"run_id":"a","stage":"S","v":0,"record_id":"0"}`)
	done := make(chan struct{})
	var asking sync.WaitGroup
	asking.Go(func() {
		for {
			e, err := audit.Explain(context.Background(), compactor.Config{Root: root}, "a:S")
			if err != nil || len(e.Unread) > 0 {
				t.Errorf("Explain = %v, not read %q", err, e.Unread)
				return
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	for i := range 30 {
		foldNow(t, compactor.Config{Root: root, KeepAge: -1, KeepGenerations: 2})
		appendTo(t, root, "c", fmt.Sprintf(`{"run_id":"a","stage":"S","v":%d,"record_id":"%d"}`, i, i+1))
		e := explain(t, root, "a")
		if last := e.Keys[0].Writes[len(e.Keys[0].Writes)-1]; last.RecordID != strconv.Itoa(i+1) || !last.Unfolded {
			t.Errorf("after append %d the last write is %s, unfolded: %v", i+1, last.RecordID, last.Unfolded)
		}
	}
	close(done)
	asking.Wait()
}

// TestExplainRaised keeps the writer of a row whose stamp a repeat raised, also when both streams are gone.
func TestExplainRaised(t *testing.T) {
	root := newRoot(t)
	for i, user := range []string{"ann", "bob", "eve", "eve", "eve"} {
		t.Setenv("USER", user)
		appendTo(t, root, "c", []string{`{"run_id":"a","stage":"S","record_id":"one"}`, `{"run_id":"a","stage":"S","record_id":"one"}`,
			`{"run_id":"b","stage":"S"}`, `{"run_id":"c","stage":"S"}`, `{"run_id":"d","stage":"S"}`}[i])
		foldNow(t, compactor.Config{Root: root})
	}
	want := []string{"a:S 1: one by ann in 1-1 since" + goneStream, "a:S 2: one by ann in 2-5 since current, raises 1" + goneStream}
	if diff := cmp.Diff(want, writesTold(explain(t, root, "a"))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestExplainWithdrawn tells of withdrawals beside the writes, and where the row stands.
func TestExplainWithdrawn(t *testing.T) {
	root := newRoot(t)
	by := func(user, line string) {
		t.Setenv("USER", user)
		appendTo(t, root, "c", line)
		foldNow(t, compactor.Config{Root: root})
	}
	acts := func() (lines []string) {
		for _, a := range explain(t, root, "a:S").Keys[0].Actions {
			user, _, _ := strings.Cut(a.Writer, "@")
			lines = append(lines, fmt.Sprintf("%s %s by %s, in force %v", a.Action, a.Reason, user, a.InForce))
		}
		return lines
	}
	by("ann", `{"run_id":"a","stage":"S","v":1,"record_id":"one"}`)
	by("bob", `{"action":"withdraw","run_id":"a","reason":"wrong label"}`)
	w := explain(t, root, "a").Keys[0].Writes[0]
	if !w.Withdrawn || w.Current || w.First != 1 || w.Last != 1 || w.WithdrawnFirst != 2 || w.WithdrawnLast != 2 || w.User != "ann" {
		t.Errorf("a withdrawn row: %+v", w)
	}
	if diff := cmp.Diff([]string{"withdraw wrong label by bob, in force true"}, acts()); diff != "" {
		t.Errorf("actions (-want +got):\n%s", diff)
	}
	by("cyd", `{"run_id":"other","stage":"S"}`)
	by("cyd", `{"action":"undo","run_id":"a","stage":"S"}`)
	by("cyd", `{"action":"withdraw","run_id":"a","stage":"T"}`) // of another key
	t.Setenv("USER", "dan")
	appendTo(t, root, "c", `{"action":"protect","run_id":"a"}`)
	appendTo(t, root, "d", `{"action":"withdraw","run_id":"a"}`) // of another cohort
	w = explain(t, root, "a").Keys[0].Writes[0]
	if w.Withdrawn || !w.Current || w.WithdrawnFirst != 2 || w.User != "ann" {
		t.Errorf("a row that came back: %+v", w)
	}
	want := []string{"withdraw wrong label by bob, in force true", "undo  by cyd, in force true", "protect  by dan, in force false"}
	if diff := cmp.Diff(want, acts()); diff != "" {
		t.Errorf("actions, the first of a stream that is gone (-want +got):\n%s", diff)
	}
}
