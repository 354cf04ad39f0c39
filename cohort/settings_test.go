package cohort_test

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
)

const rootID = string(aStream)

func TestSettingsEncode(t *testing.T) {
	got := string(cohort.Settings{RootID: rootID}.Encode())
	want := `{
  "version": 1,
  "root_id": "01JQ4Z8E7N3V5T0X9YABCDEFGH",
  "key": [
    "run_id",
    "phase"
  ],
  "max_record_bytes": 16777216,
  "dir_mode": "0777",
  "file_mode": "0666"
}
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Settings.Encode (-want +got):\n%s", diff)
	}
}

func TestSettingsRoundTrip(t *testing.T) {
	none, err := mustForm(t, "run_id", "phase", "target").SpellAbsent(cohort.AbsentNone)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []cohort.Settings{
		{RootID: rootID},
		{RootID: rootID, Key: mustForm(t, "run_id", "phase", "target", "view", "symbol")},
		{RootID: rootID, MaxRecord: 256, DirMode: 0o2775, FileMode: 0o664},
		{RootID: rootID, MaxRecord: 60 << 20, DirMode: 0o700, FileMode: 0o600},
		{RootID: rootID, Snapshots: cohort.OneSnapshots},
		{RootID: rootID, Snapshots: cohort.PerCohort},
		{RootID: rootID, Snapshots: cohort.PerCohort, Key: mustForm(t, "run_id", "phase", "cohort_id", "model_family")},
		{RootID: rootID, Key: none},
		{RootID: rootID, Profile: cohort.Foxml},
		{RootID: rootID, Profile: cohort.Foxml, Key: cohort.Foxml.Key(), Snapshots: cohort.PerCohort, MaxRecord: 1 << 20},
	} {
		if err := s.Validate(); err != nil {
			t.Errorf("%+v.Validate: %v", s, err)
		}
		got, err := cohort.DecodeSettings(s.Encode())
		if want := s.WithDefaults(); got != want || err != nil {
			t.Errorf("DecodeSettings(Encode) = %+v, %v, want %+v", got, err, want)
		}
	}
}

func TestSettingsWithDefaults(t *testing.T) {
	got := cohort.Settings{RootID: rootID}.WithDefaults()
	want := cohort.Settings{RootID: rootID, MaxRecord: 16 << 20, DirMode: 0o777, FileMode: 0o666, Snapshots: "root"}
	if got != want {
		t.Errorf("WithDefaults = %+v, want %+v", got, want)
	}
	if again := got.WithDefaults(); again != got {
		t.Errorf("WithDefaults twice = %+v, want %+v", again, got)
	}
}

func TestDecodeSettings(t *testing.T) {
	const id = `"root_id":"` + rootID + `"`
	tests := []struct{ data, want string }{
		{`{"version":1,` + id + `}`, ``},
		{`{"version":1,` + id + `,"key":["run_id","phase"],"max_record_bytes":0}`, ``},
		{`{"version":1,` + id + `,"dir_mode":"2775","file_mode":"664"}`, ``},

		{``, `not the JSON of runfold.json: unexpected end of JSON input`},
		{`{"version":1,` + id, `not the JSON of runfold.json: unexpected end of JSON input`},
		{`{"version":1,` + id + `}}`, `not the JSON of runfold.json: invalid character '}' after top-level value`},
		{`{"version":1,` + id + `}` + "\x00", `not the JSON of runfold.json: invalid character '\x00' after top-level value`},
		{`null`, `version 0 is not valid`},
		{`{}`, `version 0 is not valid`},
		{`{"version":0,` + id + `}`, `version 0 is not valid`},
		{`{"version":-1,` + id + `}`, `version -1 is not valid`},
		{`{"version":2,` + id + `,"snapshots":"per-cohort"}`, ``},
		{`{"version":2,` + id + `}`, `snapshots "" does not go with version 2`},
		{`{"version":2,` + id + `,"snapshots":"root"}`, `snapshots "root" does not go with version 2`},
		{`{"version":2,` + id + `,"snapshots":"per-stage"}`, `snapshots "per-stage" is neither root nor per-cohort`},
		{`{"version":1,` + id + `,"snapshots":"per-cohort"}`, `snapshots "per-cohort" does not go with version 1`},
		{`{"version":1,` + id + `,"snapshots":"root"}`, `snapshots "root" does not go with version 1`},
		{`{"version":1,` + id + `,"snapshots":"x"}`, `snapshots "x" is neither root nor per-cohort`},
		{`{"version":3,` + id + `,"key":["run_id","phase","cohort_id"]}`, ``},
		{`{"version":3,` + id + `,"key":["run_id","phase","view","target"],"key_absent":"NONE","snapshots":"per-cohort"}`, ``},
		{`{"version":3,` + id + `,"key":["run_id","phase","target"],"key_absent":"NONE"}`, ``},
		{`{"version":3,` + id + `,"key":["run_id","phase","target"]}`, `key ["run_id" "phase" "target"] does not go with version 3`},
		{`{"version":3,` + id + `,"key":["run_id","phase","cohort_id"],"snapshots":"root"}`, `snapshots "root" does not go with version 3`},
		{`{"version":3,` + id + `,"key":["run_id","phase","cohort_id"],"key_absent":"null"}`, `key_absent "null" is neither empty nor NONE`},
		{`{"version":3,` + id + `,"key_absent":"NONE"}`,
			`key_absent goes with a key that has more fields than run_id, phase, which are in each record`},
		{`{"version":1,` + id + `,"key":["run_id","phase","cohort_id"]}`,
			`key ["run_id" "phase" "cohort_id"] does not go with version 1: it must be run_id, phase, then any of target, view, symbol in this order`},
		{`{"version":2,` + id + `,"key":["run_id","phase","target"],"key_absent":"NONE","snapshots":"per-cohort"}`,
			`key ["run_id" "phase" "target"] does not go with version 2: it must be run_id, phase, then any of target, view, symbol in this order`},
		{`{"version":5}`, `version 5: written by a newer version of runfold`},
		{`{"version":99,"root_id":7,"key":{"a":1},"new":true}`, `version 99: written by a newer version of runfold`},
		{`{"version":1,` + id + `,"max_record":1024}`, `json: unknown field "max_record"`},
		{`{"version":1}`, `root_id "" is not a ULID`},
		{`{"version":1,"root_id":"x"}`, `root_id "x" is not a ULID`},
		{`{"version":1,` + id + `,"key":["phase","run_id"]}`,
			`key ["phase" "run_id"] does not begin with run_id, phase`},
		{`{"version":1,` + id + `,"max_record_bytes":255}`, `max_record_bytes 255 is not within 256 and 62914560`},
		{`{"version":1,` + id + `,"max_record_bytes":-1}`, `max_record_bytes -1 is not within 256 and 62914560`},
		{`{"version":1,` + id + `,"max_record_bytes":62914561}`, `max_record_bytes 62914561 is not within 256 and 62914560`},
		{`{"version":1,` + id + `,"dir_mode":"9"}`, `mode "9" is not octal within 2777`},
		{`{"version":1,` + id + `,"dir_mode":"4755"}`, `mode "4755" is not octal within 2777`},
		{`{"version":1,` + id + `,"dir_mode":""}`, `mode "" is not octal within 2777`},
		{`{"version":1,` + id + `,"dir_mode":"0677"}`, `dir_mode 0677 and file_mode 0666 must let the owner read and write`},
		{`{"version":1,` + id + `,"file_mode":"0466"}`, `dir_mode 0777 and file_mode 0466 must let the owner read and write`},
	}
	for _, test := range tests {
		_, err := cohort.DecodeSettings([]byte(test.data))
		if got := message(err); got != test.want {
			t.Errorf("DecodeSettings(%s) = %q, want %q", test.data, got, test.want)
		}
	}
	// Of the wrong type: the words are encoding/json's. A mode as a number would be decimal to people.
	for _, data := range []string{`[]`, `"1"`, `{"version":"1"}`, `{"version":1,` + id + `,"file_mode":664}`} {
		if _, err := cohort.DecodeSettings([]byte(data)); err == nil || errors.Is(err, cohort.ErrNewer) {
			t.Errorf("DecodeSettings(%s) = %v, want an error that is not ErrNewer", data, err)
		}
	}
}

// Only a higher version is ErrNewer; a file cut short anywhere is not, and is never accepted.
func TestDecodeSettingsTruncated(t *testing.T) {
	if _, err := cohort.DecodeSettings([]byte(`{"version":5,"x":[1]}`)); !errors.Is(err, cohort.ErrNewer) {
		t.Errorf("DecodeSettings of version 5 = %v, want ErrNewer", err)
	}
	data := cohort.Settings{RootID: rootID}.Encode()
	for n := range len(data) - 1 { // without the last byte only the line feed is missing
		if _, err := cohort.DecodeSettings(data[:n]); err == nil || errors.Is(err, cohort.ErrNewer) {
			t.Errorf("DecodeSettings(%d of %d bytes) = %v, want an error that is not ErrNewer", n, len(data), err)
		}
	}
}

func TestMode(t *testing.T) {
	tests := []struct {
		text  string
		want  cohort.Mode
		again string
		fs    fs.FileMode
	}{
		{"0777", 0o777, "0777", 0o777},
		{"0666", 0o666, "0666", 0o666},
		{"664", 0o664, "0664", cohort.Given | 0o664},
		{"2775", 0o2775, "2775", cohort.Given | fs.ModeSetgid | 0o775},
		{"0", 0, "0000", cohort.Given},
		{"0000600", 0o600, "0600", cohort.Given | 0o600},
	}
	for _, test := range tests {
		got, err := cohort.ParseMode(test.text)
		if got != test.want || err != nil {
			t.Errorf("ParseMode(%q) = %v, %v, want %v", test.text, got, err, test.want)
		}
		if got.String() != test.again {
			t.Errorf("ParseMode(%q).String = %q, want %q", test.text, got.String(), test.again)
		}
		if got.FS() != test.fs {
			t.Errorf("ParseMode(%q).FS = %v, want %v", test.text, got.FS(), test.fs)
		}
	}
	for _, text := range []string{"", "8", "999", "0o777", "0x1ff", "+755", "-755", " 755", "755 ", "7_5", "1777", "4755",
		"6755", "10000", "rwxr-xr-x", "99999999999999999999"} {
		if got, err := cohort.ParseMode(text); err == nil {
			t.Errorf("ParseMode(%q) = %v, want an error", text, got)
		}
	}
}
