package cohort

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"strconv"
)

// settingsVersion is the version of runfold.json. Part of the format, do not change.
const settingsVersion = 1

// Settings is what runfold.json fixes when a root is made. The zero value is the recommended one.
type Settings struct {
	// RootID is a ULID that tells this root from all others. It is set by whoever makes the root.
	RootID string
	// Key says which fields make the key. If zero, run_id and phase.
	Key KeyForm
	// MaxRecord is the size limit of a record in bytes. If zero, DefaultMaxRecord.
	MaxRecord int
	// DirMode and FileMode are the permissions of what is made in the root, less the umask; a shared
	// group wants 2775 and 0664. If zero, 0777 and 0666.
	DirMode, FileMode Mode
}

// Mode is a permission as its octal digits say it, the set-group-id bit (2000) included.
type Mode uint32

// FS is the mode as package os takes it.
func (m Mode) FS() fs.FileMode {
	mode := fs.FileMode(m & 0o777)
	if m&0o2000 != 0 {
		mode |= fs.ModeSetgid
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
	MaxRecord int     `json:"max_record_bytes"`
	DirMode   Mode    `json:"dir_mode"`
	FileMode  Mode    `json:"file_mode"`
}

// WithDefaults replaces zero fields by what they stand for.
func (s Settings) WithDefaults() Settings {
	if s.MaxRecord == 0 {
		s.MaxRecord = DefaultMaxRecord
	}
	if s.DirMode == 0 {
		s.DirMode = 0o777
	}
	if s.FileMode == 0 {
		s.FileMode = 0o666
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
	if s.DirMode&0o700 != 0o700 || s.FileMode&0o600 != 0o600 {
		return fmt.Errorf("dir_mode %v and file_mode %v must let the owner read and write", s.DirMode, s.FileMode)
	}
	return nil
}

// Encode is the content of runfold.json. The settings must be valid.
func (s Settings) Encode() []byte {
	s = s.WithDefaults()
	data, err := json.MarshalIndent(settingsFile{
		settingsVersion, s.RootID, s.Key, s.MaxRecord, s.DirMode, s.FileMode,
	}, "", "  ")
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
	if head.Version > settingsVersion {
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
	s := Settings{file.RootID, file.Key, file.MaxRecord, file.DirMode, file.FileMode}.WithDefaults()
	return s, s.Validate()
}
