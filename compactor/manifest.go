package compactor

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"slices"
	"strings"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

// ErrCorrupt reports a manifest or data file whose bytes are not what was committed.
var ErrCorrupt = errors.New("damaged")

// IsDamage tells that an error is about bytes that are not what was written, in any kind of file:
// ErrCorrupt, journal.ErrCorrupt or index.ErrDamaged.
func IsDamage(err error) bool {
	return errors.Is(err, ErrCorrupt) || errors.Is(err, journal.ErrCorrupt) || errors.Is(err, index.ErrDamaged)
}

// Manifest is one commit: what the root holds since that generation. It is written once, by
// put-if-absent, and never changes; docs/format/manifest.md is its page.
type Manifest struct {
	Version    int               `json:"version"`
	Generation cohort.Generation `json:"generation"`
	Token      cohort.Token      `json:"token"`
	RootID     string            `json:"root_id"`
	// Parent is the SHA-256 of the file of the generation before, in hex; empty for the first.
	Parent    string `json:"parent"`
	CreatedAt string `json:"created_at"` // the wall clock, for people only
	Host      string `json:"host"`
	PID       int    `json:"pid"`
	Program   string `json:"program"`
	// RepairedFrom is set where a repair has gone back: the generation whose content this one has anew.
	// What lies between the two is void.
	RepairedFrom *cohort.Generation `json:"repaired_from,omitempty"`

	NextSeq      cohort.Seq   `json:"next_seq"`
	HighestStamp cohort.Stamp `json:"highest_stamp"` // writers read it: see journal's clock
	Schema       index.Schema `json:"schema"`
	Index        DataFile     `json:"index"`
	Snapshots    Snapshots    `json:"snapshots"`
	// Merged says how the index came to be; nil in manifests of before it was told.
	Merged *Merged `json:"merged,omitempty"`
	// Streams holds a watermark for every stream that was on the disk, sorted by name.
	Streams []Watermark `json:"streams"`
}

// Merged counts what became of row groups and rows when an index was written. A group that nothing touched is
// copied as bytes; that those are most of them is what keeps a fold cheap, so everybody may see it.
type Merged struct {
	GroupsCopied  int   `json:"groups_copied"`
	GroupsWritten int   `json:"groups_written"`
	RowsCopied    int64 `json:"rows_copied"`
	RowsWritten   int64 `json:"rows_written"`
}

func (m *Merged) add(s index.Stats) {
	m.GroupsCopied += s.GroupsCopied
	m.GroupsWritten += s.GroupsWritten
	m.RowsCopied += s.RowsCopied
	m.RowsWritten += s.RowsWritten
}

// DataFile is what a manifest says of an immutable file under data/.
type DataFile struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	Rows   int64  `json:"rows"`
	CRC32C CRC    `json:"crc32c"`
}

// SnapshotsFile is a data file that holds snapshots: those of a cohort, or all where Cohort is empty.
type SnapshotsFile struct {
	Cohort cohort.ID `json:"cohort,omitempty"`
	DataFile
}

// Snapshots are the data files with snapshots: one for the whole root, or one for each cohort, sorted by its name.
type Snapshots []SnapshotsFile

// MarshalJSON writes one file for the whole root as an object, and those of cohorts as a list.
func (s Snapshots) MarshalJSON() ([]byte, error) {
	if len(s) == 1 && s[0].Cohort == "" {
		return json.Marshal(s[0])
	}
	return json.Marshal(append([]SnapshotsFile{}, s...))
}

// UnmarshalJSON reads what MarshalJSON writes.
func (s *Snapshots) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '[' {
		return json.Unmarshal(data, (*[]SnapshotsFile)(s))
	}
	*s = make(Snapshots, 1)
	return json.Unmarshal(data, &(*s)[0])
}

// of returns the file of a cohort.
func (s Snapshots) of(id cohort.ID) (SnapshotsFile, bool) {
	i, ok := slices.BinarySearchFunc(s, id, func(f SnapshotsFile, id cohort.ID) int { return cmp.Compare(f.Cohort, id) })
	if !ok {
		return SnapshotsFile{}, false
	}
	return s[i], true
}

// with returns s with some files in the place of those of the same cohorts.
func (s Snapshots) with(files Snapshots) Snapshots {
	all := slices.Clone(files)
	for _, f := range s {
		if _, ok := files.of(f.Cohort); !ok {
			all = append(all, f)
		}
	}
	slices.SortFunc(all, func(a, b SnapshotsFile) int { return cmp.Compare(a.Cohort, b.Cohort) })
	return all
}

func (s Snapshots) rows() (n int64) {
	for _, f := range s {
		n += f.Rows
	}
	return n
}

// CRC is a CRC32C (Castagnoli) of a whole file, in JSON as 8 hex digits.
type CRC uint32

func (c CRC) String() string { return fmt.Sprintf("%08x", uint32(c)) }

// MarshalText writes the 8 hex digits.
func (c CRC) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads exactly what MarshalText writes.
func (c *CRC) UnmarshalText(text []byte) error {
	raw, err := hex.DecodeString(string(text))
	if err != nil || len(raw) != 4 || strings.ToLower(string(text)) != string(text) {
		return fmt.Errorf("crc32c %q is not 8 lower-case hex digits", text)
	}
	*c = CRC(uint32(raw[0])<<24 | uint32(raw[1])<<16 | uint32(raw[2])<<8 | uint32(raw[3]))
	return nil
}

// Watermark says how far one stream has been folded. Damaged is set once bytes of it were passed
// over: such a stream is moved to quarantine/ instead of being deleted.
//
// The rest is for streams without a seal, whose writer may be dead. All times are the file system's.
type Watermark struct {
	Stream journal.Stream
	journal.Position
	Damaged bool
	Torn    int64        // bytes behind the position that are no entry, or not yet
	Grown   cohort.Stamp // when a compactor first saw the stream end where it ends; 0: not known
	Reaped  cohort.Stamp // when it was first read to its end in reaped/; 0: it was not moved there
}

// size is that of the segment when it was last read to its end.
func (w Watermark) size() int64 { return w.Offset + w.Torn }

// watermarkJSON is a Watermark as it stands in the file.
type watermarkJSON struct {
	Stream string `json:"stream"`
	journal.Position
	Damaged bool         `json:"damaged,omitempty"`
	Torn    int64        `json:"torn,omitempty"`
	Grown   cohort.Stamp `json:"grown,omitempty"`
	Reaped  cohort.Stamp `json:"reaped,omitempty"`
}

// MarshalJSON writes the stream as "cohort/ULID".
func (w Watermark) MarshalJSON() ([]byte, error) {
	return json.Marshal(watermarkJSON{w.Stream.String(), w.Position, w.Damaged, w.Torn, w.Grown, w.Reaped})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (w *Watermark) UnmarshalJSON(data []byte) error {
	var file watermarkJSON
	if err := json.Unmarshal(data, &file); err != nil {
		return err
	}
	name, stream, _ := strings.Cut(file.Stream, "/")
	id, err := cohort.ParseID(name)
	if err != nil {
		return err
	}
	s, err := cohort.ParseStreamID(stream)
	if err == nil && (file.Offset < 0 || file.Torn < 0 || file.Grown < 0 || file.Reaped < 0) {
		err = fmt.Errorf("watermark of %s is negative", file.Stream)
	}
	*w = Watermark{journal.Stream{Cohort: id, ID: s}, file.Position, file.Damaged, file.Torn, file.Grown, file.Reaped}
	return err
}

const (
	// The versions and checksumHead are part of the format, do not change. Version 2 has the snapshots of each
	// cohort in a file of its own.
	manifestVersion  = 1
	perCohortVersion = 2
	checksumHead     = `{"crc32c":"`
	// maxManifest bounds what is read: 1,000,000 streams take about 150 MB.
	maxManifest = 1 << 30
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode is the manifest as a file: one JSON object whose first line is its checksum, so that any
// JSON reader can read it and ours can trust it.
//
//	{"crc32c":"1a2b3c4d",      CRC32C of every byte behind this line
//	 "version": 1, ...
func (m *Manifest) encode() []byte {
	body, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		panic(fmt.Sprintf("compactor: internal error: encode manifest: %v", err))
	}
	body = append(body[len("{\n"):], '\n')
	head := fmt.Sprintf(checksumHead+"%v\",\n", CRC(crc32.Checksum(body, castagnoli)))
	return append([]byte(head), body...)
}

// decodeManifest reads what encode writes. A higher version is ErrNewer, as long as the checksum
// holds; everything else that is wrong is ErrCorrupt.
func decodeManifest(data []byte) (*Manifest, error) {
	head, body, _ := bytes.Cut(data, []byte("\n"))
	want := fmt.Sprintf(checksumHead+"%v\",", CRC(crc32.Checksum(body, castagnoli)))
	if string(head) != want {
		return nil, fmt.Errorf("%w: the checksum in its first line does not fit its content", ErrCorrupt)
	}
	var version struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(data, &version); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrCorrupt, err)
	}
	if version.Version > perCohortVersion {
		return nil, fmt.Errorf("version %d: %w", version.Version, cohort.ErrNewer)
	}
	m := new(Manifest)
	if err := json.Unmarshal(data, m); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrCorrupt, err)
	}
	return m, m.validate()
}

// validate checks what must hold within one manifest. Names of data files are rebuilt rather than
// trusted: a manifest cannot make us open or delete anything else. They may be those of an earlier
// generation, where a commit changed no row.
func (m *Manifest) validate() error {
	_, terr := cohort.ParseToken(string(m.Token))
	made, token, ok := cohort.ParseDataName(m.Index.Name)
	rows := m.Snapshots.rows()
	sorted := slices.IsSortedFunc(m.Streams, func(a, b Watermark) int {
		return strings.Compare(a.Stream.String(), b.Stream.String())
	})
	switch {
	case m.Version != manifestVersion && m.Version != perCohortVersion:
		return fmt.Errorf("%w: version %d", ErrCorrupt, m.Version)
	case m.Generation == 0 || terr != nil:
		return fmt.Errorf("%w: generation %d, token %q", ErrCorrupt, m.Generation, m.Token)
	case !ok || made > m.Generation || m.Index.Name != cohort.IndexName(made, token):
		return fmt.Errorf("%w: index %q is no file of its own or an earlier generation", ErrCorrupt, m.Index.Name)
	case m.Version == manifestVersion && !m.isPair(made, token):
		return fmt.Errorf("%w: data files %q and %v are no pair", ErrCorrupt, m.Index.Name, m.Snapshots)
	case m.Version == perCohortVersion && !m.arePerCohort():
		return fmt.Errorf("%w: snapshots are not those of cohorts, each once and in order", ErrCorrupt)
	case m.Index.Rows != rows || m.Index.Rows < 0 || m.NextSeq == 0:
		return fmt.Errorf("%w: %d rows, %d snapshots, next_seq %d", ErrCorrupt, m.Index.Rows, rows, m.NextSeq)
	case m.RepairedFrom != nil && *m.RepairedFrom >= m.Generation:
		return fmt.Errorf("%w: repaired from generation %d, which is none before it", ErrCorrupt, *m.RepairedFrom)
	case !sorted:
		return fmt.Errorf("%w: streams are not sorted", ErrCorrupt)
	}
	return nil
}

// isPair tells whether the snapshots of a root with one file for all were made with the index.
func (m *Manifest) isPair(made cohort.Generation, token cohort.Token) bool {
	return len(m.Snapshots) == 1 && m.Snapshots[0].Cohort == "" && m.Snapshots[0].Name == cohort.SnapshotsName(made, token)
}

// arePerCohort tells whether the snapshots are files of cohorts, of this or an earlier generation.
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

// files are all data files that the manifest names, the index first.
func (m *Manifest) files() []DataFile {
	all := []DataFile{m.Index}
	for _, s := range m.Snapshots {
		all = append(all, s.DataFile)
	}
	return all
}

// head is the newest manifest together with what its child must say of it.
type head struct {
	Manifest
	digest string
	made   []string // data files that this attempt to commit makes
}

// latest returns the newest manifest: the highest number in a fresh listing, never a name opened
// from memory (R3: an open by name may be 30 s old on NFS). In a root without any it returns the
// zero head, whose NextSeq is 1.
//
// A damaged highest manifest is ErrCorrupt and not passed over: records that only its data files
// hold may already be gone from the journals.
func latest(fsys durable.FS, root cohort.Root) (head, error) {
	for tried := cohort.Generation(0); ; {
		gens, err := generations(fsys, root)
		if err != nil {
			return head{}, err
		}
		newest := newestOf(gens)
		if newest == 0 {
			return head{Manifest: Manifest{NextSeq: 1}}, nil
		}
		h, err := readManifest(fsys, root, newest)
		if !errors.Is(err, fs.ErrNotExist) || newest <= tried {
			return h, err
		}
		tried = newest // swept since the listing: there is a newer one
	}
}

// readManifest reads the manifest of one generation. It fails with fs.ErrNotExist if it was swept.
func readManifest(fsys durable.FS, root cohort.Root, g cohort.Generation) (head, error) {
	name := root.Manifest(g)
	if err := durable.Regular(fsys, name); err != nil {
		return head{}, fmt.Errorf("read manifest: %w", damagedIfLink(err))
	}
	data, err := durable.Read(fsys, name, maxManifest)
	if err != nil {
		return head{}, fmt.Errorf("read manifest: %w", err)
	}
	m, err := decodeManifest(data)
	if err != nil {
		return head{}, fmt.Errorf("manifest %s: %w", name, err)
	}
	if m.Generation != g {
		return head{}, fmt.Errorf("manifest %s: %w: says generation %d", name, ErrCorrupt, m.Generation)
	}
	sum := sha256.Sum256(data)
	return head{Manifest: *m, digest: hex.EncodeToString(sum[:])}, nil
}

// newestOf is the last of gens, or 0 if there is none.
func newestOf(gens []cohort.Generation) cohort.Generation {
	if len(gens) == 0 {
		return 0
	}
	return gens[len(gens)-1]
}

// generations lists the numbers of all manifests, in order.
func generations(fsys durable.FS, root cohort.Root) ([]cohort.Generation, error) {
	entries, err := fsys.ReadDir(root.Manifests())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list manifests: %w", err)
	}
	var gens []cohort.Generation
	for _, e := range entries {
		if g, ok := cohort.ParseManifestName(e.Name()); ok {
			gens = append(gens, g)
		}
	}
	slices.Sort(gens)
	return gens, nil
}
