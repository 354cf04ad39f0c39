package generation

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

// fields compares what a manifest says, not what is remembered of its file, nor how its settings are indented.
var fields = cmp.Options{
	cmpopts.IgnoreUnexported(Manifest{}),
	cmp.Transformer("value", func(raw json.RawMessage) (value any) {
		if err := json.Unmarshal(raw, &value); err != nil && raw != nil {
			return err.Error()
		}
		return value
	}),
}

// sample is a manifest of version 1.
func sample() *Manifest {
	const token = "0123456789abcdef"
	return &Manifest{
		Version: 1, Generation: 7, Token: token, RootID: "01JE0000000000000000000000", Parent: strings.Repeat("ab", 32),
		CreatedAt: "2026-03-01T10:00:00Z", Host: "h", PID: 4, Program: "compactd test", NextSeq: 12, HighestStamp: 99,
		Schema:    index.Schema{{Name: "metrics.auc", Kind: index.Double}},
		Index:     DataFile{cohort.IndexName(7, token), 100, 11, 0x00c0ffee, nil},
		Snapshots: Snapshots{{"", DataFile{cohort.SnapshotsName(7, token), 200, 11, 0xdeadbeef, nil}}},
		Streams: []Watermark{
			{Stream: journal.Stream{Cohort: "a", ID: "01JE0000000000000000000001"}, Position: journal.Position{Offset: 5, Seq: 2, CRC: 9},
				Torn: 3, Grown: 1772359200000000000, Reaped: 1772445600000000000},
			{Stream: journal.Stream{Cohort: "b", ID: "01JE0000000000000000000000"}, Position: journal.Position{Offset: 6, Seq: 3, CRC: 8, Sealed: true}, Damaged: true},
		},
	}
}

// sampleToday is a manifest of the version that is written now, with every field set that a whole generation may have.
func sampleToday() *Manifest {
	m := sample()
	m.Version = manifestVersion
	m.Narrow = 4
	m.Streams[1].Stuck = true
	m.CreatedAt = "2026-03-01T10:00:00.000000Z"
	m.Settings = json.RawMessage(`{"version":1,"root_id":"01JE0000000000000000000000","key":["run_id","phase"],` +
		`"max_record_bytes":16777216,"dir_mode":"0777","file_mode":"0666"}`)
	m.Schema = index.Schema{{Name: "symbol", Kind: index.String, ID: 100}, {Name: "metrics.auc", Kind: index.Double, ID: 101}}
	m.Columns = index.Columns{
		Declared: index.Schema{{Name: "symbol", Kind: index.String}},
		Gone:     index.Schema{{Name: "tags.scratch", Kind: index.String, ID: 102}},
		Max:      1000, NextID: 103,
	}
	m.Verb, m.User, m.Changed = DidImport, "ada", &Changed{Added: 2, Replaced: 3, Raised: 4, Withdrawn: 5, Returned: 6, Imported: 1}
	m.Lock = &Lock{Provider: "etcd", Fence: 41}
	m.At = 1772359200000000000
	m.Firsts = Firsts{
		Hour: &First{6, strings.Repeat("ab", 32), 1772355600000000000},
		Day:  &First{2, strings.Repeat("cd", 32), 1772272800000000000},
	}
	m.Retention = &Retention{All: 2 * time.Hour, Hourly: 48 * time.Hour, Daily: 240 * time.Hour, Reserve: 1 << 30}
	m.Ahead = &Ahead{Stamp: 99, Stream: "a/01JE0000000000000000000001", Host: "node-7"}
	m.Merged = &Merged{GroupsCopied: 3, GroupsWritten: 1, RowsCopied: 8, RowsWritten: 3, Bytes: Bytes{Written: 10_000, Copied: 4096, Cloned: 8192}}
	m.Index = DataFile{m.Index.Name, 22_388, 11, 0xdf20fcf0, Sections{
		{Size: 4096, CRC32C: 0x05060708, Fresh: true}, {Size: 6000, CRC32C: 0x090a0b0c, Rows: 8, First: 1}, {Size: 2192, CRC32C: 0x0d0e0f10},
		{Size: 5200, CRC32C: 0x11121314, Rows: 3, First: 9, Fresh: true}, {Size: 2992, CRC32C: 0x15161718, Fresh: true}, {Size: 1908, CRC32C: 0x191a1b1c, Fresh: true},
	}}
	m.Index.CRC32C = m.Index.Sections.crc()
	m.Snapshots[0].Sections = Sections{{Size: 200, CRC32C: 0xdeadbeef, Rows: 11, First: 1, Fresh: true}}
	return m
}

// samplePerCohort is one of a root whose cohorts have snapshots of their own: one was written by this commit, one by
// an earlier one.
func samplePerCohort() *Manifest {
	m := sample()
	m.Version = 2
	m.Snapshots = Snapshots{
		{"a", DataFile{cohort.CohortSnapshotsName(7, m.Token, 1), 120, 6, 0xdeadbeef, nil}},
		{"b", DataFile{cohort.CohortSnapshotsName(3, "fedcba9876543210", 12), 80, 5, 0x0badf00d, nil}},
	}
	return m
}

func TestManifestRoundTrip(t *testing.T) {
	none := samplePerCohort() // a fold of seals
	none.Snapshots, none.Index.Rows = Snapshots{}, 0
	perCohort := sampleToday()
	perCohort.Snapshots = samplePerCohort().Snapshots
	for name, want := range map[string]*Manifest{
		"today": sampleToday(), "today, per cohort": perCohort, "one file": sample(), "per cohort": samplePerCohort(), "no cohort yet": none,
	} {
		got, err := DecodeManifest(want.Encode())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, &got, fields); diff != "" {
			t.Errorf("%s: decoded manifest (-want +got):\n%s", name, diff)
		}
		if !bytes.Equal(got.Encode(), want.Encode()) {
			t.Errorf("%s: encoding is not the same twice", name)
		}
	}
}

// TestSnapshotsWith puts files in the place of those of the same cohorts.
func TestSnapshotsWith(t *testing.T) {
	old := Snapshots{{"b", DataFile{Name: "b1", Rows: 1}}, {"d", DataFile{Name: "d1", Rows: 2}}}
	got := old.with(Snapshots{{"a", DataFile{Name: "a2", Rows: 4}}, {"d", DataFile{Name: "d2", Rows: 8}}})
	want := Snapshots{{"a", DataFile{Name: "a2", Rows: 4}}, {"b", DataFile{Name: "b1", Rows: 1}}, {"d", DataFile{Name: "d2", Rows: 8}}}
	if diff := cmp.Diff(want, got); diff != "" || got.Rows() != 13 {
		t.Errorf("%d rows, want 13 (-want +got):\n%s", got.Rows(), diff)
	}
	if _, ok := got.Of("c"); ok {
		t.Error("there is a file of c")
	}
}

// vectors are the blocks of a format page that are marked so.
func vectors(t *testing.T, page string) (all []string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "docs", "format", page))
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
	page, all := vectors(t, "manifest.md"), []*Manifest{sampleToday(), sample(), samplePerCohort()}
	if len(page) != len(all) {
		t.Fatalf("manifest.md has %d vectors, want %d", len(page), len(all))
	}
	for i, m := range all {
		if diff := cmp.Diff(page[i], string(m.Encode())); diff != "" {
			t.Errorf("manifest.md, vector %d (-page +code):\n%s", i+1, diff)
		}
	}
}

// resealed is an encoded manifest with a part replaced and its checksum made good again.
func resealed(t *testing.T, old, new string) []byte {
	t.Helper()
	return resealedOf(t, sample(), old, new)
}

func resealedOf(t *testing.T, m *Manifest, old, new string) []byte {
	t.Helper()
	data := m.Encode()
	if !bytes.Contains(data, []byte(old)) {
		t.Fatalf("the sample has no %q", old)
	}
	_, body, _ := bytes.Cut(bytes.Replace(data, []byte(old), []byte(new), 1), []byte("\n"))
	return cohort.SealManifest(body)
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
		"stream without a ULID":   {`"a/01JE0000000000000000000001"`, `"a/b"`},
		"crc32c":                  {`"crc32c": "00c0ffee"`, `"crc32c": "C0FFEE"`},
		"column type":             {`"double"`, `"float"`},
		"not JSON":                {`"rows": 11`, `"rows": `},
		"wrong type":              {`"rows": 11`, `"rows": "11"`},
	} {
		if _, err := DecodeManifest(resealed(t, change[0], change[1])); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: DecodeManifest = %v, want ErrCorrupt", name, err)
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
		if _, err := DecodeManifest(resealedOf(t, samplePerCohort(), change[0], change[1])); !errors.Is(err, ErrCorrupt) {
			t.Errorf("per cohort, %s: DecodeManifest = %v, want ErrCorrupt", name, err)
		}
	}
	if _, err := DecodeManifest(resealed(t, `"version": 1`, `"version": 2`)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("version 2 with one file for all: DecodeManifest = %v, want ErrCorrupt", err)
	}
}

// TestManifestOfTodayThatBreaksARule is TestManifestThatBreaksARule for what version 3 brought.
func TestManifestOfTodayThatBreaksARule(t *testing.T) {
	for name, change := range map[string][2]string{
		"too many columns":           {`"max": 1000`, `"max": 2001`},
		"declared against its name":  {`    "name": "symbol"`, `    "name": "metrics.n"`},
		"id of a fixed column":       {`"id": 101`, `"id": 11`},
		"id that two columns have":   {`"id": 101`, `"id": 100`},
		"column type":                {`"double"`, `"float"`},
		"column that a fixed one is": {`"name": "metrics.auc"`, `"name": "_digest"`},
		"member that no column has":  {`"id": 101`, `"key": 101`},
		"time before all":            {`"at": 1772359200000000000`, `"at": -1`},
		"first that is itself":       {`"generation": 6`, `"generation": 7`},
		"first without a digest":     {`"sha256": "abab`, `"sha256": "ab`},
		"retention below zero":       {`"hourly_seconds": 172800`, `"hourly_seconds": -1`},
		"retention without an end":   {`"hourly_seconds": 172800`, `"hourly_seconds": 9223372037`},
		"reserve below zero":         {`"reserve_bytes": 1073741824`, `"reserve_bytes": -1`},
		"a section is missing":       {`4096:05060708+ 6000:`, `6000:`},
		"a section has other rows":   {`6000:090a0b0c:8:1`, `6000:090a0b0c:7:1`},
		"a filter ends anywhere":     {`6000:090a0b0c:8:1 2192:`, `6001:090a0b0c:8:1 2192:`},
		"a section without a size":   {`4096:05060708+`, `0:05060708+`},
		"snapshots of another one":   {`"name": "snapshots-00000000000000000007-0123456789abcdef.json"`, `"name": "snapshots-00000000000000000006-0123456789abcdef.json"`},
	} {
		if _, err := DecodeManifest(resealedOf(t, sampleToday(), change[0], change[1])); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: DecodeManifest = %v, want ErrCorrupt", name, err)
		}
	}
}

func TestNewerManifestIsNotDamage(t *testing.T) {
	_, err := DecodeManifest(resealed(t, `"version": 1`, `"version": 6`))
	if !errors.Is(err, cohort.ErrNewer) || errors.Is(err, ErrCorrupt) {
		t.Errorf("DecodeManifest of version 6 = %v, want ErrNewer and not ErrCorrupt", err)
	}
	m := sampleToday()
	m.Requires = []string{"withdrawals"}
	if _, err := DecodeManifest(m.Encode()); !errors.Is(err, cohort.ErrNewer) || errors.Is(err, ErrCorrupt) {
		t.Errorf("DecodeManifest of one that requires what we do not know = %v, want ErrNewer and not ErrCorrupt", err)
	}
}

// TestDamagedManifest flips each bit and cuts at each byte.
func TestDamagedManifest(t *testing.T) {
	data := sampleToday().Encode()
	for i := range data {
		if _, err := DecodeManifest(data[:i]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut at %d: %v, want ErrCorrupt", i, err)
		}
		for bit := range 8 {
			flipped := bytes.Clone(data)
			flipped[i] ^= 1 << bit
			if _, err := DecodeManifest(flipped); !errors.Is(err, ErrCorrupt) {
				t.Errorf("bit %d of byte %d: %v, want ErrCorrupt", bit, i, err)
			}
		}
	}
}

func FuzzDecodeManifest(f *testing.F) {
	f.Add(sampleToday().Encode())
	f.Add(sample().Encode())
	f.Add([]byte("{\"crc32c\":\"00000000\",\n}"))
	f.Fuzz(func(t *testing.T, body []byte) {
		if i := bytes.IndexByte(body, '\n'); i >= 0 { // let the fuzzer get behind the checksum
			rest := body[i+1:]
			body = cohort.SealManifest(bytes.Clone(rest))
		}
		m, err := DecodeManifest(body)
		if err != nil {
			return
		}
		again, err := DecodeManifest(m.Encode())
		if err != nil {
			t.Fatalf("what was decoded does not decode again: %v", err)
		}
		if diff := cmp.Diff(m, again, fields); diff != "" {
			t.Errorf("decode, encode, decode (-first +second):\n%s", diff)
		}
	})
}

// TestNewestIsTheHighestNumber ignores other names and refuses to pass over damage.
func TestNewestIsTheHighestNumber(t *testing.T) {
	root := cohort.Root(t.TempDir())
	s := New(Store{Root: root})
	if err := os.Mkdir(root.Manifests(), 0o755); err != nil {
		t.Fatal(err)
	}
	if h, err := s.Newest(); err != nil || h.Generation != 0 || h.NextSeq != 1 {
		t.Errorf("Newest of a fresh root = %d, next %d, %v; want 0, 1", h.Generation, h.NextSeq, err)
	}
	for g := range cohort.Generation(11) {
		m := sample()
		m.Generation = g + 1
		m.Index.Name, m.Snapshots[0].Name = cohort.IndexName(g+1, m.Token), cohort.SnapshotsName(g+1, m.Token)
		put(t, root.Manifest(g+1), m.Encode())
	}
	put(t, root.Manifests()+"/12.json", []byte("{}"))
	put(t, root.Manifests()+"/99999999999999999999.json", []byte("{}"))
	put(t, root.Manifests()+"/.00000000000000000012.json.ab.tmp", nil)
	if h, err := s.Newest(); err != nil || h.Generation != 11 {
		t.Errorf("Newest = %d, %v; want 11", h.Generation, err)
	}
	put(t, root.Manifest(12), nil)
	if _, err := s.Newest(); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Newest with an empty manifest 12 = %v, want ErrCorrupt", err)
	}
}

func put(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := durable.Replace(durable.OS, name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestOutline: an outline is the manifest without its sections, whatever stands in its texts, and damage is found all the same.
func TestOutline(t *testing.T) {
	for _, program := range []string{"", `a", "sections": "4096:05060708`, `"sections": "`, `\"sections": "`, "sections"} {
		for _, m := range []*Manifest{sample(), sampleToday()} {
			m.Program = program
			data := m.Encode()
			got, err := decode(data, digestOf(data), true)
			if err != nil {
				t.Fatalf("program %q: %v", program, err)
			}
			whole, err := DecodeManifest(data)
			if err != nil {
				t.Fatalf("program %q: %v", program, err)
			}
			if got.Index.Sections != nil || got.Snapshots[0].Sections != nil || got.digest != whole.digest || got.Program != program {
				t.Errorf("program %q: %+v", program, got)
			}
			whole.Index.Sections, whole.Snapshots[0].Sections = nil, nil
			if diff := cmp.Diff(whole, got, fields); diff != "" {
				t.Errorf("program %q (-whole +outline):\n%s", program, diff)
			}
			for i := range data {
				bad := bytes.Clone(data)
				bad[i] ^= 1
				if _, err := decode(bad, digestOf(bad), true); err == nil {
					t.Fatalf("program %q: a flipped bit in byte %d is not seen", program, i)
				}
			}
		}
	}
}

// TestOutlineOfNewer: sections that a newer program spells in another way do not hide its version.
func TestOutlineOfNewer(t *testing.T) {
	data := func(version int) []byte {
		return cohort.SealManifest(fmt.Appendf(nil, ` "version": %d,
 "index": {
  "sections": "4096:05060708 \"of another kind\""
 }
}
`, version))
	}
	for _, outline := range []bool{true, false} {
		if _, err := decode(data(manifestVersion+1), "", outline); !errors.Is(err, cohort.ErrNewer) {
			t.Errorf("of a newer version, outline %t: %v, want ErrNewer", outline, err)
		}
		if _, err := decode(data(manifestVersion), "", outline); !errors.Is(err, ErrCorrupt) {
			t.Errorf("of today's version, outline %t: %v, want ErrCorrupt", outline, err)
		}
	}
}

// TestWithoutSections: only a member of that name loses its text.
func TestWithoutSections(t *testing.T) {
	const manifest = `{
 "index": {
  "sections": "%s"
 },
 "a\"sections": "stays",
 "b": "\"sections\": \"stays"
}`
	if got, want := string(withoutSections(fmt.Appendf(nil, manifest, "4096:05060708"))), fmt.Sprintf(manifest, ""); got != want {
		t.Errorf("withoutSections = %s\nwant %s", got, want)
	}
}
