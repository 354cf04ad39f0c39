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
		Snapshots: DataFile{cohort.SnapshotsName(7, token), 200, 11, 0xdeadbeef},
		Streams: []Watermark{
			{Stream: journal.Stream{Cohort: "a", ID: "01JE0000000000000000000001"}, Position: journal.Position{Offset: 5, Seq: 2, CRC: 9},
				Torn: 3, Grown: 1772359200000000000, Reaped: 1772445600000000000},
			{Stream: journal.Stream{Cohort: "b", ID: "01JE0000000000000000000000"}, Position: journal.Position{Offset: 6, Seq: 3, CRC: 8, Sealed: true}, Damaged: true},
		},
	}
}

func TestManifestRoundTrip(t *testing.T) {
	want := sample()
	got, err := decodeManifest(want.encode())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("decoded manifest (-want +got):\n%s", diff)
	}
	if !bytes.Equal(got.encode(), want.encode()) {
		t.Error("encoding is not the same twice")
	}
}

// vector is the first block of a format page that is marked so.
func vector(t *testing.T, page string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "docs", "format", page))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(data), "\n```vector\n")
	block, _, closed := strings.Cut(rest, "```\n")
	if !ok || !closed {
		t.Fatalf("%s has no vector", page)
	}
	return block
}

// TestVectors keeps the format pages and the code equal.
func TestVectors(t *testing.T) {
	if diff := cmp.Diff(vector(t, "manifest.md"), string(sample().encode())); diff != "" {
		t.Errorf("manifest.md (-page +code):\n%s", diff)
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
	data := sample().encode()
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
}

func TestNewerManifestIsNotDamage(t *testing.T) {
	_, err := decodeManifest(resealed(t, `"version": 1`, `"version": 2`))
	if !errors.Is(err, cohort.ErrNewer) || errors.Is(err, ErrCorrupt) {
		t.Errorf("decodeManifest of version 2 = %v, want ErrNewer and not ErrCorrupt", err)
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
		m.Index.Name, m.Snapshots.Name = cohort.IndexName(g+1, m.Token), cohort.SnapshotsName(g+1, m.Token)
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
