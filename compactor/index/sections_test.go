package index

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"github.com/runfold/runfold/cohort"
)

// TestSectionsOfLines folds and withdraws at random, with sections that hold a few lines. Whatever is taken over, the file is JSON, has the lines that a
// file has which was made at once, and each section begins where it should, with the row that it names.
func TestSectionsOfLines(t *testing.T) {
	var taken int64
	for seed := range uint64(15 / fewer) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		var file []byte
		var sections []LineSection
		next := cohort.Seq(1)
		stands := map[cohort.Key]Put{}
		for range 30 {
			old := &OldSnapshots{R: bytes.NewReader(file), Size: int64(len(file)), Next: next, Sections: sections}
			if file == nil {
				old = nil
			}
			replaced := map[cohort.Key]cohort.Seq{}
			for key, p := range stands {
				if rnd.IntN(60) == 0 || rnd.IntN(400) == 0 && p.Seq > next/2 {
					replaced[key] = p.Seq
					delete(stands, key)
				}
			}
			// Sometimes all lines go but a few, or those in front, or the last ones.
			from, to, more := cohort.Seq(0), cohort.Seq(0), rnd.IntN(4)*rnd.IntN(20)
			switch rnd.IntN(20) {
			case 0:
				to = max(next, 5) - 5
			case 1:
				to = next / 3
			case 2:
				from, to, more = next/2, next, 0
			}
			for key, p := range stands {
				if p.Seq >= from && p.Seq < to {
					replaced[key] = p.Seq
					delete(stands, key)
				}
			}
			var recs []cohort.Record
			for range more {
				recs = append(recs, runRecord(t, int(next)+len(recs), `,"note":"`+strings.Repeat("x", rnd.IntN(900))+`"`))
			}
			all := puts(next, recs...)
			for _, p := range all {
				stands[p.Key] = p
			}
			next += cohort.Seq(len(all))
			out := taking{old: file, was: sections, sizes: Sizes{Lines: 6000}}
			n, err := MergeSnapshots(&out, old, all, nil, replaced)
			if err != nil {
				t.Fatal(err)
			}
			file, sections = slices.Clone(out.Bytes()), out.cuts
			taken += out.taken
			checkSections(t, file, sections)
			if got := keysOf(t, file); n != int64(len(stands)) || !cmp.Equal(got, sortedBySeq(stands)) {
				t.Fatalf("seed %d: %d lines: (-want +got)\n%s", seed, n, cmp.Diff(sortedBySeq(stands), got))
			}
		}
	}
	if taken < 1<<18 {
		t.Errorf("only %d bytes were taken over", taken)
	}
}

func sortedBySeq(stands map[cohort.Key]Put) []string {
	var all []Put
	for _, p := range stands {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b Put) int { return int(a.Seq) - int(b.Seq) })
	keys := []string{}
	for _, p := range all {
		keys = append(keys, fmt.Sprint(p.Seq, " ", p.Key))
	}
	return keys
}

func keysOf(t *testing.T, file []byte) []string {
	t.Helper()
	if !json.Valid(file) {
		t.Fatalf("not JSON: %.200s", file)
	}
	keys := []string{}
	for s, err := range Snapshots(bytes.NewReader(file)) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, fmt.Sprint(s.Seq, " ", s.Key))
	}
	for at := cohort.Seq(1); at < 2000; at += 97 { // by bisection, which lands in spaces, too
		var from []string
		for s, err := range linesFrom(bytes.NewReader(file), int64(len(file)), at, 64) {
			if err != nil {
				t.Fatal(err)
			}
			from = append(from, fmt.Sprint(s.Seq, " ", s.Key))
		}
		if !slices.Equal(from, keys[len(keys)-len(from):]) {
			t.Fatalf("from seq %d: %v", at, from)
		}
	}
	return keys
}

// checkSections makes sure that sections are all of the file, and that their lines are those that they say.
func checkSections(t *testing.T, file []byte, sections []LineSection) {
	t.Helper()
	at := int64(0)
	for i, s := range sections {
		if s.From != at || s.From%Align != 0 || s.Size <= 0 {
			t.Fatalf("section %d: %+v, want one that begins at %d", i, s, at)
		}
		at += s.Size
		lines := newLineReader(bytes.NewReader(file[s.From:at]))
		if s.From > 0 {
			lines.n, lines.more = 1, true
		}
		for n := range s.Rows {
			l, err := lines.next()
			if err != nil || n == 0 && l.seq != s.First {
				t.Fatalf("section %d, %+v, line %d: %d, %v", i, s, n, l.seq, err)
			}
		}
	}
	if at != int64(len(file)) {
		t.Fatalf("sections have %d bytes, the file %d", at, len(file))
	}
}

// TestSplice makes an index from parts of others many times over. Every reader that goes by the page index finds each page where it says, and what
// stands between the row groups is zeros.
func TestSplice(t *testing.T) {
	size := groupSize{rows: 40, bytes: 1 << 30}
	taken := 0
	for seed := range uint64(8) {
		rnd := rand.New(rand.NewPCG(seed, 8))
		var data []byte
		next, n := cohort.Seq(1), 0
		for range 12 {
			var recs []cohort.Record
			for range 1 + rnd.IntN(60) {
				run := n
				if n > 0 && rnd.IntN(12) == 0 {
					run = rnd.IntN(n) // its row is replaced
				}
				n++
				recs = append(recs, runRecord(t, run, fmt.Sprintf(`,"note":"n%d","metrics":{"auc":0.%d}`, run%5, 10+run%80)))
			}
			var stats Stats
			data, stats = mergeWith(t, data, fold(next, recs), size)
			next += cohort.Seq(len(recs))
			taken += stats.GroupsCopied
			checkPlaces(t, data)
		}
	}
	if taken < 100 {
		t.Errorf("only %d row groups were taken over", taken)
	}
}

func checkPlaces(t *testing.T, data []byte) {
	t.Helper()
	f, err := openParquet(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	end := int64(4)
	for i, g := range f.Metadata().RowGroups {
		from, to, ok := groupSpan(&g)
		if !ok || from%Align != 0 || from < end || from-end >= Align || strings.Trim(string(data[end:from]), "\x00") != "" || g.FileOffset != from || int(g.Ordinal) != i {
			t.Fatalf("row group %d at %d to %d after %d, file_offset %d, ordinal %d", i, from, to, end, g.FileOffset, g.Ordinal)
		}
		end = to
		for j, c := range f.RowGroups()[i].ColumnChunks() {
			index, err := c.OffsetIndex()
			if err != nil {
				t.Fatal(err)
			}
			if at := g.Columns[j].MetaData.DataPageOffset; index.Offset(0) != at {
				t.Fatalf("group %d, column %d: the first page is at %d, the page index says %d", i, j, at, index.Offset(0))
			}
			pages := c.Pages()
			for p := range index.NumPages() {
				if err := pages.SeekToRow(index.FirstRowIndex(p)); err != nil {
					t.Fatalf("group %d, column %d, page %d: %v", i, j, p, err)
				}
				page, err := pages.ReadPage()
				if err != nil {
					t.Fatalf("group %d, column %d, page %d: %v", i, j, p, err)
				}
				parquet.Release(page)
			}
			if _, err := pages.ReadPage(); err != io.EOF {
				t.Fatalf("group %d, column %d: after the last page: %v", i, j, err)
			}
			pages.Close()
		}
	}
}
