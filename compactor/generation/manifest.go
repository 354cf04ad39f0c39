package generation

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
)

// Manifest is one commit: it says what the root holds since that generation. It is written once, by
// put-if-absent, and never changes. Its format is in docs/format/manifest.md.
type Manifest struct {
	Version    int               `json:"version"` // of the format
	Generation cohort.Generation `json:"generation"`
	Token      cohort.Token      `json:"token"`
	RootID     string            `json:"root_id"`
	// Parent is the SHA-256 of the file of the generation before, in hex. It is empty for the first.
	Parent    string `json:"parent"`
	CreatedAt string `json:"created_at"` // the wall clock, for people only
	Host      string `json:"host"`
	PID       int    `json:"pid"`
	Program   string `json:"program"`
	// RepairedFrom is set if a repair has gone back: it is the generation whose content this one has again.
	// The generations between the two are void.
	RepairedFrom *cohort.Generation `json:"repaired_from,omitempty"`
	// Verb, User and Changed say what the commit did, and by whom: see Changed. Manifests of older versions do not say it.
	Verb    Verb     `json:"verb,omitempty"`
	User    string   `json:"user,omitempty"` // for people only
	Changed *Changed `json:"changed,omitempty"`
	// Lock says by which lock it was made; nil where none was taken, and in manifests of older programs. It is information.
	Lock *Lock `json:"lock,omitempty"`
	// At is when it was made, by the file system's clock; 0: not known.
	At cohort.Stamp `json:"at,omitempty"`
	// Firsts links it to earlier generations that stay longer than its parent.
	Firsts Firsts `json:"firsts,omitzero"`

	// Requires names what a reader must know to read this generation correctly, beyond the version. A name that it does not know
	// is cohort.ErrNewer. This version knows "withdrawn" and "erased".
	Requires []string `json:"requires,omitempty"`
	// Settings is a copy of runfold.json, in case that is lost. It is nil in manifests of version 1 and 2.
	Settings json.RawMessage `json:"settings,omitempty"`

	NextSeq      cohort.Seq   `json:"next_seq"`
	HighestStamp cohort.Stamp `json:"highest_stamp"` // writers read it: see journal's clock
	// Narrow counts all records so far that gave way to later ones of their key although they look like other results.
	Narrow int64        `json:"narrow,omitempty"`
	Schema index.Schema `json:"schema"`
	// Columns is what the root wants of its columns.
	Columns   index.Columns `json:"columns,omitzero"`
	Retention *Retention    `json:"retention,omitempty"` // of generations; nil: see Keeps
	Delta     bool          `json:"delta,omitempty"`     // folds publish a Delta table, see package view/delta
	Index     DataFile      `json:"index"`
	Snapshots Snapshots     `json:"snapshots"`
	// Withdrawn is nil in a root without actions. Programs that do not know it must not fold such a root: see Requires.
	Withdrawn *Withdrawn `json:"withdrawn,omitempty"`
	// Erased is nil in a root from which nothing was erased. Programs that do not know it must not fold such a root: see Requires.
	Erased *Erased `json:"erased,omitempty"`
	// Ahead is the record whose stamp is furthest ahead of the storage's clock, if one is by more than ten minutes.
	Ahead *Ahead `json:"ahead,omitempty"`
	// Merged says how the index was made. It is nil in older manifests, which do not say it.
	Merged *Merged `json:"merged,omitempty"`
	// Streams holds a watermark for every stream that was on the disk, sorted by name.
	Streams []Watermark `json:"streams"`

	digest string // SHA-256 of the file in hex: a child names its parent by it
}

// Lock is the lock that a compactor held when it committed. Nothing is correct because of it.
type Lock struct {
	Provider string `json:"provider"`        // such as "file" and "etcd"; "none": it went on without one
	Fence    int64  `json:"fence,omitempty"` // what the service gave with it, if it is one
}

func (l Lock) String() string {
	if l.Fence == 0 {
		return l.Provider
	}
	return fmt.Sprintf("%s, fence %d", l.Provider, l.Fence)
}

// Ahead is a record of a writer whose clock ran ahead.
type Ahead struct {
	Stamp  cohort.Stamp `json:"stamp"`
	Stream string       `json:"stream"` // cohort/ULID
	Host   string       `json:"host"`   // as the stream's header says
}

// Merged counts how row groups and rows were written when an index was made. A group without a changed row is
// taken over as it stands, which counts as copied. The counts show how cheap a fold was: it is cheap if most groups were copied, and cheapest if their
// bytes were cloned.
type Merged struct {
	GroupsCopied  int   `json:"groups_copied"`
	GroupsWritten int   `json:"groups_written"`
	RowsCopied    int64 `json:"rows_copied"`
	RowsWritten   int64 `json:"rows_written"`
	Bytes               // of the files with rows and snapshots that the commit made
}

// Add counts one more merge.
func (m *Merged) Add(s index.Stats) {
	m.GroupsCopied += s.GroupsCopied
	m.GroupsWritten += s.GroupsWritten
	m.RowsCopied += s.RowsCopied
	m.RowsWritten += s.RowsWritten
}

// DataFile is what a manifest says of an immutable file under data/.
type DataFile struct {
	Name   string `json:"name"` // see cohort.Root.Data
	Size   int64  `json:"size"` // in bytes
	Rows   int64  `json:"rows"`
	CRC32C CRC    `json:"crc32c"`
	// Sections say more: see there.
	Sections Sections `json:"sections,omitempty"`
}

// CRC is a CRC32C (Castagnoli) of a whole file, in JSON as 8 hex digits.
type CRC uint32

func (c CRC) String() string { return fmt.Sprintf("%08x", uint32(c)) }

// MarshalText returns the 8 hex digits.
func (c CRC) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads what MarshalText returns, and refuses every other spelling.
func (c *CRC) UnmarshalText(text []byte) error {
	raw, err := hex.DecodeString(string(text))
	if err != nil || len(raw) != 4 || strings.ToLower(string(text)) != string(text) {
		return fmt.Errorf("crc32c %q is not 8 lower-case hex digits", text)
	}
	*c = CRC(uint32(raw[0])<<24 | uint32(raw[1])<<16 | uint32(raw[2])<<8 | uint32(raw[3]))
	return nil
}

const (
	// Part of the format, do not change. Version 1 has the snapshots of all cohorts in one file. Version 2 has a file for each
	// cohort. Versions 3 and above have one or the other. Version 4 came with version 3 of the index.
	// Version 5 has sections, and files whose sections begin at multiples of 4 KiB.
	manifestVersion  = 5
	writerVersion    = 4
	eitherVersion    = 3
	oneVersion       = 1
	perCohortVersion = 2
	// A reader that does not know withdrawn rows would give them up, and fold older writes of their keys into the index.
	requiresWithdrawn = "withdrawn"
	// One that does not know tombstones would let erased runs in again.
	requiresErased = "erased"
)

// Encode returns the manifest as a file: one JSON object whose first line is its checksum. So any
// JSON reader can read it, and ours finds damage.
//
//	{"crc32c":"1a2b3c4d",      see cohort.SealManifest
//	 "version": 1, ...
func (m *Manifest) Encode() []byte {
	body, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		panic(fmt.Sprintf("generation: internal error: encode manifest: %v", err))
	}
	return cohort.SealManifest(append(body[len("{\n"):], '\n'))
}

// DecodeManifest reads what Encode returns. A higher version with a right checksum is ErrNewer. Every other
// fault is ErrCorrupt.
func DecodeManifest(data []byte) (Manifest, error) { return decode(data, digestOf(data), false) }

// decode is DecodeManifest. The outline of a manifest is all but the sections of its data files, which are most of its bytes where an index is large, and
// most of the work.
func decode(data []byte, digest string, outline bool) (Manifest, error) {
	if !cohort.IsWholeManifest(data) {
		return Manifest{}, fmt.Errorf("%w: the checksum in its first line does not fit its content", ErrCorrupt)
	}
	var version struct {
		Version  int      `json:"version"`
		Requires []string `json:"requires"`
	}
	bare := withoutSections(data)
	if err := json.Unmarshal(bare, &version); err != nil {
		return Manifest{}, fmt.Errorf("%w: %v", ErrCorrupt, err)
	}
	if version.Version > manifestVersion {
		return Manifest{}, fmt.Errorf("version %d: %w", version.Version, cohort.ErrNewer)
	}
	if slices.ContainsFunc(version.Requires, func(name string) bool { return name != requiresWithdrawn && name != requiresErased }) {
		return Manifest{}, fmt.Errorf("it requires %q: %w", version.Requires, cohort.ErrNewer)
	}
	m := Manifest{digest: digest}
	if outline {
		data = bare
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return Manifest{}, fmt.Errorf("%w: %v", ErrCorrupt, err)
	}
	if err := m.validate(); err != nil {
		return Manifest{}, err
	}
	return m, nil
}

// withoutSections is a manifest whose sections are empty texts, if it is spelled as Encode does that; else it is as it was. The member cannot
// stand in a text, nor at the end of a name: there a quote has a backslash before it, and not a space.
func withoutSections(manifest []byte) []byte {
	member, quote := []byte(` "sections": "`), []byte(`"`)
	var bare []byte
	for rest := manifest; ; {
		before, after, found := bytes.Cut(rest, member)
		if !found {
			return append(bare, rest...)
		}
		text, _, closed := bytes.Cut(after, quote)
		if !closed || bytes.IndexByte(text, '\\') >= 0 {
			return manifest // a newer program may have other sections
		}
		bare = append(append(bare, before...), member...)
		rest = after[len(text):]
	}
}

func digestOf(manifest []byte) string {
	sum := sha256.Sum256(manifest)
	return hex.EncodeToString(sum[:])
}

// validate checks what must hold within one manifest. It compares the names of data files with names that it makes
// itself, so a manifest cannot make us open or delete another file. They may be names of an earlier
// generation, if a commit changed no row.
func (m *Manifest) validate() error {
	_, terr := cohort.ParseToken(string(m.Token))
	made, token, ok := cohort.ParseDataName(m.Index.Name)
	rows := m.Snapshots.Rows()
	sorted := slices.IsSortedFunc(m.Streams, func(a, b Watermark) int {
		return strings.Compare(a.Stream.String(), b.Stream.String())
	})
	switch {
	case m.Version < oneVersion || m.Version > manifestVersion:
		return fmt.Errorf("%w: version %d", ErrCorrupt, m.Version)
	case m.Generation == 0 || terr != nil:
		return fmt.Errorf("%w: generation %d, token %q", ErrCorrupt, m.Generation, m.Token)
	case !ok || made > m.Generation || m.Index.Name != cohort.IndexName(made, token):
		return fmt.Errorf("%w: index %q is not a file of this or an earlier generation", ErrCorrupt, m.Index.Name)
	case m.hasOneForAll() && !m.isPair(made, token):
		return fmt.Errorf("%w: data files %q and %v do not belong together", ErrCorrupt, m.Index.Name, m.Snapshots)
	case !m.hasOneForAll() && !m.arePerCohort():
		return fmt.Errorf("%w: snapshots are not one file for each cohort, sorted by cohort", ErrCorrupt)
	case m.Columns.Validate() != nil:
		return fmt.Errorf("%w: columns: %w", ErrCorrupt, m.Columns.Validate())
	case m.Index.Rows != rows || m.Index.Rows < 0 || m.NextSeq == 0:
		return fmt.Errorf("%w: %d rows, %d snapshots, next_seq %d", ErrCorrupt, m.Index.Rows, rows, m.NextSeq)
	case m.RepairedFrom != nil && *m.RepairedFrom >= m.Generation:
		return fmt.Errorf("%w: repaired from generation %d, which is not an earlier one", ErrCorrupt, *m.RepairedFrom)
	case m.Withdrawn.validate(m) != nil:
		return fmt.Errorf("%w: withdrawn: %w", ErrCorrupt, m.Withdrawn.validate(m))
	case m.At < 0 || !m.Firsts.areBefore(m.Generation):
		return fmt.Errorf("%w: at %d, firsts %+v: no time, or no earlier generations", ErrCorrupt, m.At, m.Firsts)
	case m.Erased.validate(m) != nil:
		return fmt.Errorf("%w: erased: %w", ErrCorrupt, m.Erased.validate(m))
	case !m.sectionsFit():
		return fmt.Errorf("%w: the sections of a data file are not all of it", ErrCorrupt)
	case !sorted:
		return fmt.Errorf("%w: streams are not sorted", ErrCorrupt)
	}
	return nil
}

// hasOneForAll tells whether the snapshots of all cohorts belong in one file.
func (m *Manifest) hasOneForAll() bool {
	return m.Version == oneVersion || m.Version >= eitherVersion && len(m.Snapshots) == 1 && m.Snapshots[0].Cohort == ""
}

// isPair tells whether the snapshots file, in a root with one for all cohorts, was made together with the index.
func (m *Manifest) isPair(made cohort.Generation, token cohort.Token) bool {
	return len(m.Snapshots) == 1 && m.Snapshots[0].Cohort == "" && m.Snapshots[0].Name == cohort.SnapshotsName(made, token)
}

// arePerCohort tells whether each snapshots file belongs to a cohort, and to this or an earlier generation.
func (m *Manifest) arePerCohort() bool {
	last := cohort.ID("")
	for _, s := range m.Snapshots {
		_, err := cohort.ParseID(string(s.Cohort))
		made, token, ok := cohort.ParseDataName(s.Name)
		if err != nil || s.Cohort <= last || s.Rows < 0 || !ok || made > m.Generation ||
			!strings.HasPrefix(s.Name, strings.TrimSuffix(cohort.SnapshotsName(made, token), ".json")+"-") {
			return false
		}
		last = s.Cohort
	}
	return true
}

// IndexVersion is the version of the format in which generations like this one write their index. A commit that changes no
// row names the index of an earlier one.
func (m *Manifest) IndexVersion() int {
	switch {
	case m.Version < eitherVersion:
		return 1
	case m.Version < writerVersion:
		return 2
	}
	return 3
}

// Files are all data files that the manifest names, the index first, then the snapshots.
func (m *Manifest) Files() []DataFile {
	all := []DataFile{m.Index}
	for _, s := range m.Snapshots {
		all = append(all, s.DataFile)
	}
	return append(append(all, m.Withdrawn.Files()...), m.Erased.Files()...)
}

// sectionsFit tells whether each data file has the sections that it is made of.
func (m *Manifest) sectionsFit() bool {
	return !slices.ContainsFunc(m.Files(), func(d DataFile) bool { return !d.fit() })
}
