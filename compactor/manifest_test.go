package compactor

import (
	"bytes"
	"encoding/json"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

// sample is a manifest with every field set.
func sample() *Manifest {
	const token = "0123456789abcdef"
	return &Manifest{
		Version: 1, Generation: 7, Token: token, RootID: "01JE0000000000000000000000", Parent: strings.Repeat("ab", 32),
		CreatedAt: "2026-03-01T10:00:00Z", Host: "h", PID: 4, Program: "compactd test", NextSeq: 12, HighestStamp: 99,
		Schema:    index.Schema{{Name: "metrics.auc", Kind: cohort.Double}},
		Index:     DataFile{cohort.IndexName(7, token), 100, 11, 0x00c0ffee},
		Snapshots: Snapshots{{"", DataFile{cohort.SnapshotsName(7, token), 200, 11, 0xdeadbeef}}},
		Streams: []Watermark{
			{Stream: journal.Stream{Cohort: "a", ID: "01JE0000000000000000000001"}, Position: journal.Position{Offset: 5, Seq: 2, CRC: 9},
				Torn: 3, Grown: 1772359200000000000, Reaped: 1772445600000000000},
			{Stream: journal.Stream{Cohort: "b", ID: "01JE0000000000000000000000"}, Position: journal.Position{Offset: 6, Seq: 3, CRC: 8, Sealed: true}, Damaged: true},
		},
	}
}

// samplePerCohort is one of a root whose cohorts have snapshots of their own: one was written by this commit, one by
// an earlier one.
func samplePerCohort() *Manifest {
	m := sample()
	m.Version = 2
	m.Snapshots = Snapshots{
		{"a", DataFile{cohort.CohortSnapshotsName(7, m.Token, 1), 120, 6, 0xdeadbeef}},
		{"b", DataFile{cohort.CohortSnapshotsName(3, "fedcba9876543210", 12), 80, 5, 0x0badf00d}},
	}
	return m
}

func TestManifestRoundTrip(t *testing.T) {
	none := samplePerCohort() // a fold of seals
	none.Snapshots, none.Index.Rows = Snapshots{}, 0
	for name, want := range map[string]*Manifest{"one file": sample(), "per cohort": samplePerCohort(), "no cohort yet": none} {
		got, err := decodeManifest(want.encode())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: decoded manifest (-want +got):\n%s", name, diff)
		}
		if !bytes.Equal(got.encode(), want.encode()) {
			t.Errorf("%s: encoding is not the same twice", name)
		}
	}
}

// TestSnapshotsWith puts files in the place of those of the same cohorts.
func TestSnapshotsWith(t *testing.T) {
	old := Snapshots{{"b", DataFile{Name: "b1", Rows: 1}}, {"d", DataFile{Name: "d1", Rows: 2}}}
	got := old.with(Snapshots{{"a", DataFile{Name: "a2", Rows: 4}}, {"d", DataFile{Name: "d2", Rows: 8}}})
	want := Snapshots{{"a", DataFile{Name: "a2", Rows: 4}}, {"b", DataFile{Name: "b1", Rows: 1}}, {"d", DataFile{Name: "d2", Rows: 8}}}
	if diff := cmp.Diff(want, got); diff != "" || got.rows() != 13 {
		t.Errorf("%d rows, want 13 (-want +got):\n%s", got.rows(), diff)
	}
	if _, ok := got.of("c"); ok {
		t.Error("there is a file of c")
	}
}

// vector is the first block of a format page that is marked so.
func vector(t *testing.T, page string) string {
	t.Helper()
	return vectors(t, page)[0]
}

// vectors are all of them.
func vectors(t *testing.T, page string) (all []string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "docs", "format", page))
	if err != nil {
		t.Fatal(err)
	}
	for rest := string(data); ; {
		_, from, ok := strings.Cut(rest, "\n```vector\n")
		block, behind, closed := strings.Cut(from, "```\n")
		if !ok && len(all) > 0 {
			return all
		}
		if !ok || !closed {
			t.Fatalf("%s has no vector", page)
		}
		all, rest = append(all, block), behind
	}
}

// TestVectors keeps the format pages and the code equal.
func TestVectors(t *testing.T) {
	for i, m := range []*Manifest{sample(), samplePerCohort()} {
		page := vectors(t, "manifest.md")
		if i >= len(page) {
			t.Fatalf("manifest.md has %d vectors, want more", len(page))
		}
		if diff := cmp.Diff(page[i], string(m.encode())); diff != "" {
			t.Errorf("manifest.md, vector %d (-page +code):\n%s", i+1, diff)
		}
	}
	page := vector(t, "quarantine.md")
	var note damageNote
	if err := json.Unmarshal([]byte(page), &note); err != nil {
		t.Fatal(err)
	}
	again, err := json.MarshalIndent(note, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(page, string(again)+"\n"); diff != "" {
		t.Errorf("quarantine.md (-page +code):\n%s", diff)
	}
}

// resealed is an encoded manifest with a part replaced and its checksum made good again.
func resealed(t *testing.T, old, new string) []byte {
	t.Helper()
	return resealedOf(t, sample(), old, new)
}

func resealedOf(t *testing.T, m *Manifest, old, new string) []byte {
	t.Helper()
	data := m.encode()
	if !bytes.Contains(data, []byte(old)) {
		t.Fatalf("the sample has no %q", old)
	}
	_, body, _ := bytes.Cut(bytes.Replace(data, []byte(old), []byte(new), 1), []byte("\n"))
	head := checksumHead + CRC(crc32.Checksum(body, castagnoli)).String() + "\",\n"
	return append([]byte(head), body...)
}

func TestManifestThatBreaksARule(t *testing.T) {
	for name, change := range map[string][2]string{
		"version 0":               {`"version": 1`, `"version": 0`},
		"generation 0":            {`"generation": 7`, `"generation": 0`},
		"token":                   {`"token": "0123456789abcdef"`, `"token": "../../../../etc"`},
		"data file of no one":     {`index-00000000000000000007-0123456789abcdef.parquet`, `../../secret.parquet`},
		"data file of the future": {`"generation": 7`, `"generation": 6`},
		"unequal rows":            {`"rows": 11`, `"rows": 10`},
		"next_seq 0":              {`"next_seq": 12`, `"next_seq": 0`},
		"unsorted streams":        {`"a/01JE`, `"c/01JE`},
		"stream that leaves":      {`"a/01JE`, `"../01JE`},
		"stream that is none":     {`"a/01JE0000000000000000000001"`, `"a/b"`},
		"crc32c":                  {`"crc32c": "00c0ffee"`, `"crc32c": "C0FFEE"`},
		"column type":             {`"double"`, `"float"`},
		"not JSON":                {`"rows": 11`, `"rows": `},
		"wrong type":              {`"rows": 11`, `"rows": "11"`},
	} {
		if _, err := decodeManifest(resealed(t, change[0], change[1])); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: decodeManifest = %v, want ErrCorrupt", name, err)
		}
	}
	for name, change := range map[string][2]string{
		"version 1 with a list":   {`"version": 2`, `"version": 1`},
		"cohort twice":            {`"cohort": "b"`, `"cohort": "a"`},
		"cohort that leaves":      {`"cohort": "a"`, `"cohort": "../a"`},
		"cohort of no name":       {`"cohort": "a"`, `"cohort": ""`},
		"data file of no one":     {`snapshots-00000000000000000003-fedcba9876543210-000012.json`, `../../secret.json`},
		"data file of the future": {`snapshots-00000000000000000003`, `snapshots-00000000000000000008`},
		"data file of all":        {`-fedcba9876543210-000012.json`, `-fedcba9876543210.json`},
		"an index":                {`snapshots-00000000000000000003-fedcba9876543210-000012.json`, `index-00000000000000000003-fedcba9876543210.parquet`},
		"unequal rows":            {`"rows": 5`, `"rows": 4`},
		"rows below zero":         {`"rows": 5`, `"rows": -5`},
	} {
		if _, err := decodeManifest(resealedOf(t, samplePerCohort(), change[0], change[1])); !errors.Is(err, ErrCorrupt) {
			t.Errorf("per cohort, %s: decodeManifest = %v, want ErrCorrupt", name, err)
		}
	}
	if _, err := decodeManifest(resealed(t, `"version": 1`, `"version": 2`)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("version 2 with one file for all: decodeManifest = %v, want ErrCorrupt", err)
	}
}

func TestNewerManifestIsNotDamage(t *testing.T) {
	_, err := decodeManifest(resealed(t, `"version": 1`, `"version": 3`))
	if !errors.Is(err, cohort.ErrNewer) || errors.Is(err, ErrCorrupt) {
		t.Errorf("decodeManifest of version 3 = %v, want ErrNewer and not ErrCorrupt", err)
	}
}

// TestDamagedManifest flips each bit and cuts at each byte.
func TestDamagedManifest(t *testing.T) {
	data := sample().encode()
	for i := range data {
		if _, err := decodeManifest(data[:i]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut at %d: %v, want ErrCorrupt", i, err)
		}
		for bit := range 8 {
			flipped := bytes.Clone(data)
			flipped[i] ^= 1 << bit
			if _, err := decodeManifest(flipped); !errors.Is(err, ErrCorrupt) {
				t.Errorf("bit %d of byte %d: %v, want ErrCorrupt", bit, i, err)
			}
		}
	}
}

func FuzzDecodeManifest(f *testing.F) {
	f.Add(sample().encode())
	f.Add([]byte("{\"crc32c\":\"00000000\",\n}"))
	f.Fuzz(func(t *testing.T, body []byte) {
		if i := bytes.IndexByte(body, '\n'); i >= 0 { // let the fuzzer get behind the checksum
			rest := body[i+1:]
			head := checksumHead + CRC(crc32.Checksum(rest, castagnoli)).String() + "\",\n"
			body = append([]byte(head), rest...)
		}
		m, err := decodeManifest(body)
		if err != nil {
			return
		}
		again, err := decodeManifest(m.encode())
		if err != nil {
			t.Fatalf("what was decoded does not decode again: %v", err)
		}
		if diff := cmp.Diff(m, again); diff != "" {
			t.Errorf("decode, encode, decode (-first +second):\n%s", diff)
		}
	})
}

// TestLatestIsTheHighestNumber ignores other names and refuses to pass over damage.
func TestLatestIsTheHighestNumber(t *testing.T) {
	root := newDamagedRoot(t)
	if h, err := latest(durable.OS, root); err != nil || h.Generation != 0 || h.NextSeq != 1 {
		t.Errorf("latest of a fresh root = %d, next %d, %v; want 0, 1", h.Generation, h.NextSeq, err)
	}
	for g := range cohort.Generation(11) {
		m := sample()
		m.Generation = g + 1
		m.Index.Name, m.Snapshots[0].Name = cohort.IndexName(g+1, m.Token), cohort.SnapshotsName(g+1, m.Token)
		put(t, root.Manifest(g+1), m.encode())
	}
	put(t, root.Manifests()+"/12.json", []byte("{}"))
	put(t, root.Manifests()+"/99999999999999999999.json", []byte("{}"))
	put(t, root.Manifests()+"/.00000000000000000012.json.ab.tmp", nil)
	if h, err := latest(durable.OS, root); err != nil || h.Generation != 11 {
		t.Errorf("latest = %d, %v; want 11", h.Generation, err)
	}
	put(t, root.Manifest(12), nil)
	if _, err := latest(durable.OS, root); !errors.Is(err, ErrCorrupt) {
		t.Errorf("latest with an empty manifest 12 = %v, want ErrCorrupt", err)
	}
}

func put(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := durable.Replace(durable.OS, name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
