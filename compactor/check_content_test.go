package compactor_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

// forged writes data files that hold what is given, whatever sense it makes, and a manifest that fits
// them byte for byte; edit may change that.
func forged(t *testing.T, root cohort.Root, rows, snapshots []index.Put, edit func(*generation.Manifest)) {
	t.Helper()
	const token = "0123456789abcdef"
	m := &generation.Manifest{
		Version: 1, Token: token, CreatedAt: "2026-03-01T10:00:00Z", Host: "h", PID: 4, Program: "compactd test", HighestStamp: 99,
	}
	m.Generation, m.RootID, m.Parent, m.NextSeq, m.Streams = 1, openRoot(t, root).Settings.RootID, "", 100, []generation.Watermark{}
	var recs []cohort.Record
	for _, p := range rows {
		recs = append(recs, *p.Record)
	}
	m.Schema = index.Schema(nil).Extend(recs)
	m.Index = store(t, root, cohort.IndexName(1, token), func(w io.Writer) (int64, error) {
		stats, err := index.Merge(w, nil, nil, m.Schema, rows, nil, index.Meta{Generation: 1, Token: token, Program: "test"})
		return stats.Rows, err
	})
	m.Snapshots = generation.Snapshots{{DataFile: store(t, root, cohort.SnapshotsName(1, token), func(w io.Writer) (int64, error) {
		return index.MergeSnapshots(w, nil, snapshots, nil, nil)
	})}}
	m.Snapshots[0].Rows = m.Index.Rows
	if edit != nil {
		edit(m)
	}
	put(t, root.Manifest(1), m.Encode())
}

func store(t *testing.T, root cohort.Root, name string, fill func(io.Writer) (int64, error)) generation.DataFile {
	t.Helper()
	var b bytes.Buffer
	rows, err := fill(&b)
	if err != nil {
		t.Fatal(err)
	}
	put(t, root.Data(name), b.Bytes())
	public := root.Index()
	if strings.HasSuffix(name, ".json") {
		public = root.Snapshots()
	}
	put(t, public, b.Bytes())
	return generation.DataFile{Name: name, Size: int64(b.Len()), Rows: rows, CRC32C: generation.CRC(crc32.Checksum(b.Bytes(), crc32.MakeTable(crc32.Castagnoli)))}
}

func putOf(run string, seq cohort.Seq, stamp cohort.Stamp) index.Put {
	r, err := cohort.ParseRecord([]byte(`{"run_id":"`+run+`","stage":"S","timestamp":"2026-01-01T00:00:00Z"}`), 0)
	if err != nil {
		panic(err)
	}
	r.Cohort, r.Stamp, r.ID = "c", stamp, "id-"+run
	return index.Put{Key: cohort.KeyForm{}.Of(r), Seq: seq, Record: &r}
}

// TestCheckReadsTheContent gives Check files whose checksums are in order and whose content is not: what
// a bug of ours would write.
func TestCheckReadsTheContent(t *testing.T) {
	a, b, c := putOf("a", 1, 10), putOf("b", 2, 20), putOf("c", 3, 30)
	for name, test := range map[string]struct {
		rows, snapshots []index.Put
		edit            func(*generation.Manifest)
		want            []string
	}{
		"in order": {rows: []index.Put{a, b, c}, snapshots: []index.Put{a, b, c}},
		"key twice": {rows: []index.Put{a, putOf("a", 2, 20)}, snapshots: []index.Put{a, putOf("a", 2, 20)}, want: []string{
			`damage: INDEX: key "a:S" stands twice, again in row 2`}},
		"seq to come": {rows: []index.Put{a, b}, snapshots: []index.Put{a, b}, edit: func(m *generation.Manifest) { m.NextSeq = 2 }, want: []string{
			`damage: INDEX: row 2 has snapshot_seq 2: it must be above 1 and below 2`}},
		"stamp to come": {rows: []index.Put{a, b}, snapshots: []index.Put{a, b}, edit: func(m *generation.Manifest) { m.HighestStamp = 15 }, want: []string{
			`damage: INDEX: row 2 has a stamp above the manifest's highest`}},
		"stamps to come": {rows: []index.Put{a, b, c}, snapshots: []index.Put{a, b, c}, edit: func(m *generation.Manifest) { m.HighestStamp = 5 }, want: []string{
			`damage: INDEX: row 1 has a stamp above the manifest's highest; the same 2 times more in this file`}},
		"wrong count": {rows: []index.Put{a, b}, snapshots: []index.Put{a, b}, edit: func(m *generation.Manifest) { m.Index.Rows, m.Snapshots[0].Rows = 3, 3 }, want: []string{
			`damage: INDEX: has 2 readable rows, its manifest says 3`}},
		"snapshot missing": {rows: []index.Put{a, b, c}, snapshots: []index.Put{a, b}, want: []string{
			`damage: SNAPSHOTS: has 2 entries, the index has 3 rows`}},
		"snapshot too many": {rows: []index.Put{a, b}, snapshots: []index.Put{a, b, c}, want: []string{
			`damage: SNAPSHOTS: entry 3 ("c:S") has no row in the index`}},
		"another snapshot": {rows: []index.Put{a, b}, snapshots: []index.Put{a, c}, want: []string{
			`damage: SNAPSHOTS: entry 2 is "c:S" with seq 3, the index has "b:S" with seq 2 there`}},
		"another seq": {rows: []index.Put{a, b}, snapshots: []index.Put{a, putOf("b", 9, 20)}, want: []string{
			`damage: SNAPSHOTS: entry 2 is "b:S" with seq 9, the index has "b:S" with seq 2 there`}},
	} {
		t.Run(name, func(t *testing.T) {
			root := newDamagedRoot(t)
			forged(t, root, test.rows, test.snapshots, test.edit)
			var got []string
			for _, p := range check(t, root) {
				text := strings.NewReplacer(
					root.Rel(root.Data(cohort.IndexName(1, "0123456789abcdef"))), "INDEX",
					root.Rel(root.Data(cohort.SnapshotsName(1, "0123456789abcdef"))), "SNAPSHOTS").Replace(p.String())
				if p.Damage {
					text = "damage: " + text
				}
				got = append(got, text)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("check (-want +got):\n%s", diff)
			}
		})
	}
}

// TestCheckGroupsRecords gives Check an index without the records that its watermarks call folded: one cause, one problem.
func TestCheckGroupsRecords(t *testing.T) {
	root := newDamagedRoot(t)
	appendTo(t, root, "c", firstLines...)
	appendTo(t, root, "d", secondLines...)
	a := putOf("other", 1, 10)
	forged(t, root, []index.Put{a}, []index.Put{a}, func(m *generation.Manifest) {
		j := openRoot(t, root)
		places, _, err := j.Streams()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range places {
			r, err := j.Open(s, journal.Position{})
			if err != nil {
				t.Fatal(err)
			}
			for err == nil {
				_, err = r.Next()
			}
			m.Streams = append(m.Streams, generation.Watermark{Stream: s.Stream, Position: r.Position()})
			r.Close()
		}
	})
	var got []string
	done, err := audit.Check(t.Context(), compactor.Config{Root: root}, func(p audit.Problem) { got = append(got, p.Reason) })
	want := fmt.Sprintf("was folded and is not in the index; the same %d times more, in 2 files in all", len(firstLines)+len(secondLines)-1)
	if err != nil || done.Problems != 1 || len(got) != 1 || !strings.HasSuffix(got[0], want) {
		t.Errorf("Check = %+v, %v: it says\n%s\nwant one line that ends with %q", done, err, strings.Join(got, "\n"), want)
	}
}

// TestCheckReadsTheChain plants manifests that do not follow from each other.
func TestCheckReadsTheChain(t *testing.T) {
	for name, test := range map[string]struct {
		edit func(m *generation.Manifest)
		gen  cohort.Generation
		want string
	}{
		"void":          {func(m *generation.Manifest) { m.Token = "ffffffffffffffff" }, 1, "note: manifests/00000000000000000001.json: is not an ancestor of the newest generation: void, or left over"},
		"seq goes back": {func(m *generation.Manifest) { m.HighestStamp = 1 }, 2, "damage: manifests/00000000000000000002.json: next_seq 5 and highest_stamp 1 are below those of its parent"},
	} {
		t.Run(name, func(t *testing.T) {
			root, _ := planted(t)
			m, err := manifest(durable.OS, root, test.gen)
			if err != nil {
				t.Fatal(err)
			}
			test.edit(&m)
			put(t, root.Manifest(test.gen), m.Encode())
			var got []string
			for _, p := range check(t, root) {
				kind := "note: "
				if p.Damage {
					kind = "damage: "
				}
				got = append(got, kind+p.String())
			}
			if len(got) == 0 || !strings.HasPrefix(got[0], test.want) {
				t.Errorf("check says\n%s\nwant first %s", strings.Join(got, "\n"), test.want)
			}
		})
	}
}

// TestNewerManifest shows that a root of a newer program is left alone and not called damaged.
func TestNewerManifest(t *testing.T) {
	root := newDamagedRoot(t)
	appendTo(t, root, "c", firstLines...)
	a := putOf("a", 1, 10)
	forged(t, root, []index.Put{a}, []index.Put{a}, func(m *generation.Manifest) { m.Version = 6 })
	_, err := compactor.Fold(context.Background(), compactor.Config{Root: root, KeepAge: -1})
	if !errors.Is(err, cohort.ErrNewer) || generation.IsDamage(err) || !strings.Contains(err.Error(), root.Manifest(1)) {
		t.Errorf("Fold of a newer root = %v, want ErrNewer with the path, and no damage", err)
	}
	if _, err := audit.ReadStatus(context.Background(), compactor.Config{Root: root}); !errors.Is(err, cohort.ErrNewer) {
		t.Errorf("ReadStatus of a newer root = %v, want ErrNewer", err)
	}
	if _, _, err := compactor.Previous(context.Background(), compactor.Config{Root: root}, compactor.Query{Cohort: "c", RunID: "a", Stage: "S"}); !errors.Is(err, cohort.ErrNewer) {
		t.Errorf("Previous in a newer root = %v, want ErrNewer", err)
	}
	if n := streamsLeft(t, root); n != 1 {
		t.Errorf("%d streams, want the one that was there", n)
	}
	if gens, err := generations(durable.OS, root); err != nil || len(gens) != 1 {
		t.Errorf("generations %v, %v; want one", gens, err)
	}
	if _, err := audit.Check(context.Background(), compactor.Config{Root: root}, func(p audit.Problem) { t.Errorf("check finds %v", p) }); !errors.Is(err, cohort.ErrNewer) {
		t.Errorf("Check of a newer root = %v, want ErrNewer", err)
	}
}
