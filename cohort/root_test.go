package cohort_test

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
)

const (
	aStream = cohort.StreamID("01JQ4Z8E7N3V5T0X9YABCDEFGH")
	aToken  = cohort.Token("0123456789abcdef")
	lastGen = cohort.Generation(1<<64 - 1)
)

func TestParseStreamID(t *testing.T) {
	tests := []struct {
		text string
		ok   bool
	}{
		{string(aStream), true},
		{"00000000000000000000000000", true},
		{"7ZZZZZZZZZZZZZZZZZZZZZZZZZ", true},

		{"", false},
		{"8ZZZZZZZZZZZZZZZZZZZZZZZZZ", false},  // over 128 bits
		{"01jq4z8e7n3v5t0x9yabcdefgh", false},  // lower case
		{"01JQ4Z8E7N3V5T0X9YABCDEFG", false},   // 25
		{"01JQ4Z8E7N3V5T0X9YABCDEFGHJ", false}, // 27
		{"01JQ4Z8E7N3V5T0X9YABCDEFGI", false},  // I, L, O and U are not in the alphabet
		{"01JQ4Z8E7N3V5T0X9YABCDEFGL", false},
		{"01JQ4Z8E7N3V5T0X9YABCDEFGO", false},
		{"01JQ4Z8E7N3V5T0X9YABCDEFGU", false},
		{"01JQ4Z8E7N3V5T0X9YABCDEFG ", false},
		{" 1JQ4Z8E7N3V5T0X9YABCDEFGH", false},
		{"../Q4Z8E7N3V5T0X9YABCDEFGH", false},
		{"01JQ4Z8E7N3V5T0X9YABCDE/..", false},
		{"01JQ4Z8E7N3V5T0X9YABCDEF\x00H", false},
		{"01JQ4Z8E7N3V5T0X9YABCDEFé", false}, // 26 bytes
	}
	for _, test := range tests {
		id, err := cohort.ParseStreamID(test.text)
		if got := err == nil; got != test.ok {
			t.Errorf("ParseStreamID(%q) accepts it: %v, want %v", test.text, got, test.ok)
		}
		if err == nil && id.String() != test.text {
			t.Errorf("ParseStreamID(%q) = %q, want the same text", test.text, id)
		}
	}
}

func TestParseToken(t *testing.T) {
	tests := []struct {
		text string
		ok   bool
	}{
		{string(aToken), true},
		{"0000000000000000", true},
		{"ffffffffffffffff", true},

		{"", false},
		{"0123456789abcde", false},
		{"0123456789abcdef0", false},
		{"0123456789abcdef00", false},
		{"0123456789ABCDEF", false},
		{"0123456789abcdeg", false},
		{"0x23456789abcdef", false},
		{"0123456789abcde/", false},
		{"0123456789abcde\n", false},
	}
	for _, test := range tests {
		token, err := cohort.ParseToken(test.text)
		if got := err == nil; got != test.ok {
			t.Errorf("ParseToken(%q) accepts it: %v, want %v", test.text, got, test.ok)
		}
		if err == nil && string(token) != test.text {
			t.Errorf("ParseToken(%q) = %q, want the same text", test.text, token)
		}
	}
}

func TestManifestName(t *testing.T) {
	root := cohort.Root("r")
	for _, want := range []cohort.Generation{1, 2, 1 << 32, lastGen} {
		name := filepath.Base(root.Manifest(want))
		if got, ok := cohort.ParseManifestName(name); !ok || got != want {
			t.Errorf("ParseManifestName(%q) = %d, %v, want %d", name, got, ok, want)
		}
	}
	for _, name := range []string{
		"", ".json", "1.json", "00000000000000000001", "00000000000000000000.json",
		"00000000000000000001.json.tmp", "00000000000000000001.JSON", ".00000000000000000001.json",
		"000000000000000000001.json", "0000000000000000000a.json", "+0000000000000000001.json",
		"18446744073709551616.json", "00000000000000000001.json.json",
	} {
		if got, ok := cohort.ParseManifestName(name); ok {
			t.Errorf("ParseManifestName(%q) = %d, want it refused", name, got)
		}
	}
}

func TestDataName(t *testing.T) {
	for _, g := range []cohort.Generation{1, 20, lastGen} {
		for _, name := range []string{
			cohort.IndexName(g, aToken), cohort.SnapshotsName(g, aToken),
			cohort.CohortSnapshotsName(g, aToken, 1), cohort.CohortSnapshotsName(g, aToken, 1_000_000),
		} {
			if got, token, ok := cohort.ParseDataName(name); !ok || got != g || token != aToken {
				t.Errorf("ParseDataName(%q) = %d, %s, %v, want %d, %s", name, got, token, ok, g, aToken)
			}
		}
	}
	for _, name := range []string{
		"", ".parquet", "index-", "index-.parquet",
		"index-00000000000000000001-0123456789abcdef.json",
		"snapshots-00000000000000000001-0123456789abcdef.parquet",
		"00000000000000000001-0123456789abcdef.parquet",
		"index-00000000000000000000-0123456789abcdef.parquet",
		"index-1-0123456789abcdef.parquet",
		"index-00000000000000000001.parquet",
		"index-00000000000000000001-.parquet",
		"index-00000000000000000001-0123456789ABCDEF.parquet",
		"index-00000000000000000001-0123456789abcdef-.parquet",
		"index-00000000000000000001-0123456789abcdef.parquet.tmp",
		"Index-00000000000000000001-0123456789abcdef.parquet",
		"index-00000000000000000001-0123456789abcdef-000001.parquet",
		"snapshots-00000000000000000001-0123456789abcdef-1.json",
		"snapshots-00000000000000000001-0123456789abcdef-0000001.json",
		"snapshots-00000000000000000001-0123456789abcdef-00000a.json",
		"snapshots-00000000000000000001-0123456789abcdef-000001-000001.json",
		"index-index-00000000000000000001-0123456789abcdef.parquet",
	} {
		if g, token, ok := cohort.ParseDataName(name); ok {
			t.Errorf("ParseDataName(%q) = %d, %s, want it refused", name, g, token)
		}
	}
}

// The layout as DESIGN and docs/format draw it, word for word.
func TestRootLayout(t *testing.T) {
	const root = cohort.Root("R")
	got := map[string]string{
		"Settings":    root.Settings(),
		"Cohorts":     root.Cohorts(),
		"Cohort":      root.Cohort("c"),
		"Stream":      root.Stream("c", aStream),
		"Segment":     root.Segment("c", aStream),
		"WriterLock":  root.WriterLock("c", aStream),
		"Manifests":   root.Manifests(),
		"Manifest":    root.Manifest(7),
		"DataDir":     root.DataDir(),
		"Data":        root.Data(cohort.IndexName(7, aToken)),
		"Snapshots-7": root.Data(cohort.SnapshotsName(7, aToken)),
		"Index":       root.Index(),
		"Snapshots":   root.Snapshots(),
		"SnapshotsOf": root.SnapshotsOf("c"),
		"OfAll":       root.SnapshotsOf(""),
		"CompactLock": root.CompactLock(),
		"Reaped":      root.Reaped("c", aStream),
		"Quarantines": root.QuarantineDir(),
		"Quarantine":  root.Quarantine("c"),
		"Damaged":     root.Damaged("c", aStream, 4096),
		"Quarantined": root.Quarantined("c", aStream),
	}
	for name, path := range got {
		got[name] = filepath.ToSlash(path)
	}
	want := map[string]string{
		"Settings":    "R/runfold.json",
		"SnapshotsOf": "R/cohorts/c/snapshot_index.json",
		"OfAll":       "R/snapshot_index.json",
		"Cohorts":     "R/cohorts",
		"Cohort":      "R/cohorts/c",
		"Stream":      "R/cohorts/c/01JQ4Z8E7N3V5T0X9YABCDEFGH",
		"Segment":     "R/cohorts/c/01JQ4Z8E7N3V5T0X9YABCDEFGH/00000000000000000001",
		"WriterLock":  "R/cohorts/c/01JQ4Z8E7N3V5T0X9YABCDEFGH/writer.lock",
		"Manifests":   "R/manifests",
		"Manifest":    "R/manifests/00000000000000000007.json",
		"DataDir":     "R/data",
		"Data":        "R/data/index-00000000000000000007-0123456789abcdef.parquet",
		"Snapshots-7": "R/data/snapshots-00000000000000000007-0123456789abcdef.json",
		"Index":       "R/index.parquet",
		"Snapshots":   "R/snapshot_index.json",
		"CompactLock": "R/compact.lock",
		"Reaped":      "R/reaped/c/01JQ4Z8E7N3V5T0X9YABCDEFGH",
		"Quarantines": "R/quarantine",
		"Quarantine":  "R/quarantine/c",
		"Damaged":     "R/quarantine/c/01JQ4Z8E7N3V5T0X9YABCDEFGH-00000000000000004096.json",
		"Quarantined": "R/quarantine/c/01JQ4Z8E7N3V5T0X9YABCDEFGH",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("paths of Root(%q) (-want +got):\n%s", root, diff)
	}
}

// No name that ParseID lets through leads out of the directory that is meant for it.
func TestRootPathsStayInside(t *testing.T) {
	root := cohort.Root(t.TempDir())
	for _, test := range names {
		id, err := cohort.ParseID(test.name)
		if err != nil {
			continue
		}
		for _, test := range []struct{ path, dir string }{
			{root.Cohort(id), root.Cohorts()},
			{root.Stream(id, aStream), root.Cohort(id)},
			{root.Segment(id, aStream), root.Stream(id, aStream)},
			{root.WriterLock(id, aStream), root.Stream(id, aStream)},
			{root.Quarantine(id), root.QuarantineDir()},
			{root.Damaged(id, aStream, 0), root.Quarantine(id)},
			{root.Quarantined(id, aStream), root.Quarantine(id)},
			{root.Reaped(id, aStream), filepath.Join(root.String(), "reaped", string(id))},
		} {
			if got := filepath.Dir(test.path); got != test.dir {
				t.Errorf("ID(%q): path %q is in %q, want in %q", id, test.path, got, test.dir)
			}
			if n := len(filepath.Base(test.path)); n > 255 {
				t.Errorf("ID(%q): path %q ends in a name of %d bytes, want at most 255", id, test.path, n)
			}
		}
	}
}

func TestRootRel(t *testing.T) {
	root := cohort.Root(filepath.Join(t.TempDir(), "root"))
	outside := filepath.Join(filepath.Dir(root.String()), "rootless", "x")
	tests := []struct{ path, want string }{
		{root.Segment("c", aStream), "cohorts/c/01JQ4Z8E7N3V5T0X9YABCDEFGH/00000000000000000001"},
		{root.Index(), "index.parquet"},
		{root.String(), "."},
		{outside, outside},
		{filepath.Dir(root.String()), filepath.Dir(root.String())},
	}
	for _, test := range tests {
		if got := root.Rel(test.path); got != test.want {
			t.Errorf("Root(%q).Rel(%q) = %q, want %q", root, test.path, got, test.want)
		}
	}
}
