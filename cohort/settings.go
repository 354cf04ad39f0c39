package cohort

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io/fs"
	"strconv"
)

// The versions of runfold.json. A later one is written only for settings that those before do not have, so that a
// root without them is still one for older programs. Part of the format, do not change.
const (
	settingsVersion  = 1
	perCohortVersion = 2 // snapshots
	keyVersion       = 3 // a key with other fields than target, view and symbol, or in another order, or with key_absent
	profileVersion   = 4 // profile
)

// SnapshotsForm says which snapshot_index.json a root has.
type SnapshotsForm string

// The forms, as they are spelled in flags and, PerCohort only, on the disk.
const (
	// OneSnapshots is one file for the whole root.
	OneSnapshots SnapshotsForm = "root"
	// PerCohort is cohorts/<cohort>/snapshot_index.json for each cohort: a fold rewrites only those of the cohorts
	// that it touches.
	PerCohort SnapshotsForm = "per-cohort"
)

// Settings is what is fixed when a root is made, and stands in runfold.json from then on. The zero value is the recommended one.
type Settings struct {
	// RootID is a ULID that tells this root from all others. journal.InitRoot chooses it: leave it empty for a new root.
	RootID string
	// Key says which fields make the key. If zero, run_id and phase, or with a Profile those of the profile.
	Key KeyForm
	// MaxRecord is the size limit of a record in bytes. If zero, DefaultMaxRecord.
	MaxRecord int
	// DirMode and FileMode are the permissions of what is made in the root. They hold against the umask of who writes; a shared
	// group wants 2775 and 0664. If zero, 0777 and 0666, which are the only ones that mean: less the umask.
	DirMode, FileMode Mode
	// Snapshots says which snapshot_index.json is published. If empty, OneSnapshots.
	Snapshots SnapshotsForm
	// Profile makes the root one whose rows are those of another program. If empty, NoProfile.
	Profile Profile
}

// ParseRootID accepts exactly the spelling of a root id: a ULID, as runfold.json and compactd status show it.
func ParseRootID(s string) (string, error) {
	if _, err := ParseStreamID(s); err != nil {
		return "", fmt.Errorf("root id %q is not a ULID: compactd status shows the id of a root", s)
	}
	return s, nil
}

// Mode is a permission as its octal digits say it, the set-group-id bit (2000) included.
type Mode uint32

// The default modes of directories and files: what the umask leaves of them.
const (
	byUmaskDir  Mode = 0o777
	byUmaskFile Mode = 0o666
)

// Given is a bit of what Mode.FS returns. It says that the mode was given when the root was made, and holds against the umask of who
// writes there. The defaults, 0777 and 0666, do not have it. Package os ignores it.
const Given = fs.ModeExclusive

// FS is the mode as package os takes it, and Given if it is no default.
func (m Mode) FS() fs.FileMode {
	mode := fs.FileMode(m & 0o777)
	if m&0o2000 != 0 {
		mode |= fs.ModeSetgid
	}
	if m != byUmaskDir && m != byUmaskFile {
		mode |= Given
	}
	return mode
}

// String is the octal digits.
func (m Mode) String() string { return fmt.Sprintf("%04o", uint32(m)) }

// ParseMode reads octal digits; bits other than 2777 are refused.
func ParseMode(s string) (Mode, error) {
	n, err := strconv.ParseUint(s, 8, 32)
	if err != nil || n&^0o2777 != 0 {
		return 0, fmt.Errorf("mode %q is not octal within 2777", s)
	}
	return Mode(n), nil
}

// MarshalText writes the octal digits.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads the octal digits.
func (m *Mode) UnmarshalText(text []byte) (err error) {
	*m, err = ParseMode(string(text))
	return err
}

// settingsFile is runfold.json as it stands on the disk.
type settingsFile struct {
	Version   int     `json:"version"`
	RootID    string  `json:"root_id"`
	Key       KeyForm `json:"key"`
	KeyAbsent string  `json:"key_absent,omitempty"`
	MaxRecord int     `json:"max_record_bytes"`
	DirMode   Mode    `json:"dir_mode"`
	FileMode  Mode    `json:"file_mode"`

	Snapshots SnapshotsForm `json:"snapshots,omitempty"`
	Profile   Profile       `json:"profile,omitempty"`
}

// WithDefaults replaces zero fields by what they stand for.
func (s Settings) WithDefaults() Settings {
	if s.MaxRecord == 0 {
		s.MaxRecord = DefaultMaxRecord
	}
	if s.DirMode == 0 {
		s.DirMode = byUmaskDir
	}
	if s.FileMode == 0 {
		s.FileMode = byUmaskFile
	}
	if s.Snapshots == "" {
		s.Snapshots = OneSnapshots
	}
	if s.Profile != NoProfile && s.Key == (KeyForm{}) {
		s.Key = s.Profile.Key()
	}
	return s
}

// maxSettableRecord keeps a record and its frame within the reader's bound on a frame.
const maxSettableRecord = 60 << 20

// Validate refuses settings that no root may have.
func (s Settings) Validate() error {
	s = s.WithDefaults()
	if _, err := ParseStreamID(s.RootID); err != nil {
		return fmt.Errorf("root_id %q is not a ULID", s.RootID)
	}
	if s.MaxRecord < 256 || s.MaxRecord > maxSettableRecord {
		return fmt.Errorf("max_record_bytes %d is not within 256 and %d", s.MaxRecord, maxSettableRecord)
	}
	if s.Snapshots != OneSnapshots && s.Snapshots != PerCohort {
		return fmt.Errorf("snapshots %q is neither %s nor %s", s.Snapshots, OneSnapshots, PerCohort)
	}
	if s.Profile != NoProfile && s.Profile != Foxml {
		return fmt.Errorf("profile %q is not known: there is %s", s.Profile, Foxml)
	}
	if s.Key.profile != s.Profile || s.Profile != NoProfile && s.Key != s.Profile.Key() {
		return fmt.Errorf("key %q is not that of profile %q, which cannot have another one", s.Key.Fields(), s.Profile)
	}
	if s.DirMode&0o700 != 0o700 || s.FileMode&0o600 != 0o600 {
		return fmt.Errorf("dir_mode %v and file_mode %v must let the owner read and write", s.DirMode, s.FileMode)
	}
	return nil
}

// version is the first one that has these settings.
func (s Settings) version() int {
	switch {
	case s.Profile != NoProfile:
		return profileVersion
	case !s.Key.isOld():
		return keyVersion
	case s.Snapshots == PerCohort:
		return perCohortVersion
	}
	return settingsVersion
}

// Encode is the content of runfold.json. The settings must be valid.
func (s Settings) Encode() []byte {
	s = s.WithDefaults()
	file := settingsFile{s.version(), s.RootID, s.Key, s.Key.Absent(), s.MaxRecord, s.DirMode, s.FileMode, "", s.Profile}
	if s.Snapshots == PerCohort {
		file.Snapshots = PerCohort
	}
	data, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		panic(fmt.Sprintf("cohort: internal error: encode settings: %v", err))
	}
	return append(data, '\n')
}

// DecodeSettings reads runfold.json. A higher version is ErrNewer whatever else the file says; an
// unknown field of our own version is refused, as it can only be a misspelt setting.
func DecodeSettings(data []byte) (Settings, error) {
	var head struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return Settings{}, fmt.Errorf("not the JSON of runfold.json: %w", err)
	}
	if head.Version > profileVersion {
		return Settings{}, fmt.Errorf("version %d: %w", head.Version, ErrNewer)
	}
	if head.Version < 1 {
		return Settings{}, fmt.Errorf("version %d is not valid", head.Version)
	}
	var file settingsFile
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		return Settings{}, err
	}
	key, err := file.Key.SpellAbsent(file.KeyAbsent)
	if err != nil {
		return Settings{}, err
	}
	if len(file.Key.Fields()) > 2 { // else it is absent, and WithDefaults gives that of the profile
		if key, err = file.Profile.spell(key); err != nil {
			return Settings{}, err
		}
	}
	s := Settings{file.RootID, key, file.MaxRecord, file.DirMode, file.FileMode, file.Snapshots, file.Profile}.WithDefaults()
	return s, cmp.Or(s.Validate(), s.suits(file))
}

// suits refuses a file of a version that does not have its settings, or that is not the first to have them: no
// program writes such a one, and an older one could misread it.
func (s Settings) suits(file settingsFile) error {
	switch {
	case s.Profile != NoProfile && file.Version != profileVersion:
		return fmt.Errorf("profile %q does not go with version %d", s.Profile, file.Version)
	case s.Profile == NoProfile && file.Version == profileVersion:
		return fmt.Errorf("version %d goes with a profile, which is missing", file.Version)
	case !s.Key.isOld() && file.Version < keyVersion:
		return fmt.Errorf("key %q does not go with version %d: it must be run_id, phase, then any of target, view, symbol in this order",
			s.Key.Fields(), file.Version)
	case s.Key.isOld() && file.Version >= keyVersion:
		return fmt.Errorf("key %q does not go with version %d", s.Key.Fields(), file.Version)
	case file.Snapshots == OneSnapshots, file.Version < keyVersion && s.version() != file.Version:
		return fmt.Errorf("snapshots %q does not go with version %d", file.Snapshots, file.Version)
	}
	return nil
}
