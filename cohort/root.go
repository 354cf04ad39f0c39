package cohort

import (
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"
)

// Root is the directory that holds everything: cohort.Root("runs"). Its methods build the paths in it, without any I/O.
// Every path of the layout is built and parsed only here; docs/format/README.md draws the layout.
type Root string

// StreamID is the ULID that names one stream: 26 characters of Crockford's base 32, upper case.
type StreamID string

const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// ParseStreamID accepts exactly the canonical spelling of a ULID.
func ParseStreamID(s string) (StreamID, error) {
	if len(s) != 26 || s[0] > '7' {
		return "", fmt.Errorf("stream %q is not a ULID", s)
	}
	for i := 0; i < len(s); i++ {
		if strings.IndexByte(crockford, s[i]) < 0 {
			return "", fmt.Errorf("stream %q is not a ULID", s)
		}
	}
	return StreamID(s), nil
}

func (id StreamID) String() string { return string(id) }

// Token marks the files of one attempt to commit: 16 lower-case hex digits, chosen at random.
type Token string

// ParseToken accepts exactly the spelling that the type describes.
func ParseToken(s string) (Token, error) {
	if _, err := hex.DecodeString(s); err != nil || len(s) != 16 || s != strings.ToLower(s) {
		return "", fmt.Errorf("token %q is not 16 lower-case hex digits", s)
	}
	return Token(s), nil
}

// segmentName is the name that tidwall/wal gives to the first segment of a log, and the only one of
// a stream. Part of the format, do not change.
const segmentName = "00000000000000000001"

func (r Root) path(elem ...string) string {
	return filepath.Join(append([]string{string(r)}, elem...)...)
}

func (r Root) String() string { return string(r) }

// Settings is runfold.json: what was fixed when the root was made.
func (r Root) Settings() string { return r.path("runfold.json") }

// Cohorts is the directory of all cohorts.
func (r Root) Cohorts() string { return r.path("cohorts") }

// Cohort is the directory that holds the streams of one cohort.
func (r Root) Cohort(id ID) string { return r.path("cohorts", string(id)) }

// Stream is the directory of one writer's stream.
func (r Root) Stream(id ID, s StreamID) string { return r.path("cohorts", string(id), string(s)) }

// Segment is the one file of a stream that holds its entries.
func (r Root) Segment(id ID, s StreamID) string { return SegmentIn(r.Stream(id, s)) }

// SegmentIn is the segment of a stream whose directory may lie anywhere, for example in quarantine.
func SegmentIn(dir string) string { return filepath.Join(dir, segmentName) }

// WriterLock is the file whose lock the writer of a stream holds while it lives.
func (r Root) WriterLock(id ID, s StreamID) string {
	return filepath.Join(r.Stream(id, s), "writer.lock")
}

// Manifests is the directory of the commit log.
func (r Root) Manifests() string { return r.path("manifests") }

// Manifest is the commit of one generation.
func (r Root) Manifest(g Generation) string { return r.path("manifests", g.String()+".json") }

// ParseManifestName reads the last element of a Manifest path.
func ParseManifestName(name string) (Generation, bool) {
	digits, ok := strings.CutSuffix(name, ".json")
	if !ok {
		return 0, false
	}
	g, err := ParseGeneration(digits)
	return g, err == nil
}

// DataDir is the directory of the immutable data files.
func (r Root) DataDir() string { return r.path("data") }

// Data is the data file with the given name, as a manifest states it.
func (r Root) Data(name string) string { return r.path("data", name) }

// IndexName names the index data file of one attempt at a generation.
func IndexName(g Generation, t Token) string {
	return "index-" + g.String() + "-" + string(t) + ".parquet"
}

// SnapshotsName names the snapshots data file of one attempt at a generation.
func SnapshotsName(g Generation, t Token) string {
	return "snapshots-" + g.String() + "-" + string(t) + ".json"
}

// CohortSnapshotsName names the n-th of the snapshots data files of one attempt, in a root that has one for
// each cohort. The manifest says which cohort it belongs to: the name of a cohort could be too long for a part of a file name.
func CohortSnapshotsName(g Generation, t Token, n int) string {
	return fmt.Sprintf("snapshots-%v-%s-%06d.json", g, t, n)
}

// WithdrawnIndexName names the data file with the withdrawn rows of one attempt at a generation.
func WithdrawnIndexName(g Generation, t Token) string {
	return "withdrawn-" + g.String() + "-" + string(t) + ".parquet"
}

// WithdrawnSnapshotsName names the data file with the snapshots of withdrawn rows. In a root that has a file for each cohort n counts
// them from 1, else it is 0.
func WithdrawnSnapshotsName(g Generation, t Token, n int) string {
	if n == 0 {
		return "withdrawn-" + g.String() + "-" + string(t) + ".json"
	}
	return fmt.Sprintf("withdrawn-%v-%s-%06d.json", g, t, n)
}

// ActionsName names the data file with the actions in force.
func ActionsName(g Generation, t Token) string {
	return "actions-" + g.String() + "-" + string(t) + ".ndjson"
}

// ErasedName names the data file with the tombstones.
func ErasedName(g Generation, t Token) string {
	return "erased-" + g.String() + "-" + string(t) + ".ndjson"
}

// dataKinds are the prefix and the suffix of each kind of data file.
var dataKinds = [...]struct {
	prefix, suffix string
	numbered       bool // there may be one for each cohort
}{
	{"index-", ".parquet", false}, {"snapshots-", ".json", true},
	{"withdrawn-", ".parquet", false}, {"withdrawn-", ".json", true}, {"actions-", ".ndjson", false},
	{"erased-", ".ndjson", false},
}

// ParseDataName reads any kind of data file name.
func ParseDataName(name string) (Generation, Token, bool) {
	for _, k := range dataKinds {
		body, ok := strings.CutSuffix(name, k.suffix)
		body, hasPrefix := strings.CutPrefix(body, k.prefix)
		if !ok || !hasPrefix {
			continue
		}
		digits, token, _ := strings.Cut(body, "-")
		if cut, n, ok := strings.Cut(token, "-"); ok && k.numbered && isNumber(n) {
			token = cut
		}
		g, gerr := ParseGeneration(digits)
		t, terr := ParseToken(token)
		return g, t, gerr == nil && terr == nil
	}
	return 0, "", false
}

// isNumber tells whether n is spelled as CohortSnapshotsName spells it.
func isNumber(n string) bool {
	return len(n) >= 6 && len(n) <= 9 && strings.Trim(n, "0123456789") == "" && (len(n) == 6 || n[0] != '0')
}

// Index is the published index.parquet.
func (r Root) Index() string { return r.path("index.parquet") }

// Snapshots is the published snapshot_index.json.
func (r Root) Snapshots() string { return r.path("snapshot_index.json") }

// SnapshotsOf is the published snapshot_index.json of one cohort, in a root that has one for each, or that of
// all if id is empty.
func (r Root) SnapshotsOf(id ID) string {
	if id == "" {
		return r.Snapshots()
	}
	return r.path("cohorts", string(id), "snapshot_index.json")
}

// Delta is the directory of the Delta table, which shows generations to other engines.
func (r Root) Delta() string { return r.path("delta") }

// CompactLock is the lock file of the running compactor.
func (r Root) CompactLock() string { return r.path("compact.lock") }

// CompactLease is the name beside which a compactor says who it is that holds another lock than that file, or none. It begins like CompactLock:
// the time of each such file is one that the storage gave.
func (r Root) CompactLease() string { return r.path("compact.lock.lease") }

// Verdict is doctor.json: what was measured of the root's file system.
func (r Root) Verdict() string { return r.path("doctor.json") }

// ReapedDir is the directory of all streams that will be deleted.
func (r Root) ReapedDir() string { return r.path("reaped") }

// Reaped is the path to which the directory of a stream is moved before it is deleted.
func (r Root) Reaped(id ID, s StreamID) string { return r.path("reaped", string(id), string(s)) }

// QuarantineDir is the directory of all that was damaged.
func (r Root) QuarantineDir() string { return r.path("quarantine") }

// Quarantine is the directory that keeps what was damaged in the streams of one cohort.
func (r Root) Quarantine(id ID) string { return r.path("quarantine", string(id)) }

// DamagedGenerations is the directory that keeps damaged manifests and data files. No cohort has its name.
func (r Root) DamagedGenerations() string { return r.path("quarantine", ".generations") }

// DamagedSettings is the n-th runfold.json that was put aside; n begins at 1.
func (r Root) DamagedSettings(n int) string {
	return filepath.Join(r.DamagedGenerations(), fmt.Sprintf("runfold-%06d.json", n))
}

// Damaged is the note about the damage at one offset of a stream: its place, reason and bytes.
func (r Root) Damaged(id ID, s StreamID, offset int64) string {
	return filepath.Join(r.Quarantine(id), fmt.Sprintf("%s-%020d.json", s, offset))
}

// Quarantined is the path to which the directory of a damaged stream is moved. It is not deleted.
func (r Root) Quarantined(id ID, s StreamID) string {
	return filepath.Join(r.Quarantine(id), string(s))
}

// Rel is path relative to the root, for messages and notes. If path is not in the root, Rel returns it unchanged.
func (r Root) Rel(path string) string {
	rel, err := filepath.Rel(string(r), path)
	if err != nil || strings.HasPrefix(rel, "..") {
		return path
	}
	return filepath.ToSlash(rel)
}
