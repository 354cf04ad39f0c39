package compactor_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

func dumped(t *testing.T, path string) (string, error) {
	t.Helper()
	var b bytes.Buffer
	err := audit.Dump(path, &b)
	return b.String(), err
}

// TestDump prints each kind of file: JSON, one value a line where the file holds many.
func TestDump(t *testing.T) {
	root := newRoot(t)
	appendTo(t, root, "c", firstLines...)
	appendTo(t, root, "c", `{"run_id":"x","stage":"S","v":8}`, `{"action":"withdraw","run_id":"x","reason":"wrong"}`)
	foldNow(t, compactor.Config{Root: root})
	w := openWriter(t, root, "c")
	t.Cleanup(func() { w.Close() })
	appendLines(t, w, secondLines...)
	segment := onlyStream(t, root)
	h, err := newest(durable.OS, root)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]struct {
		lines int // 0: one value, however many lines
		has   string
	}{
		segment:                        {3, `"kind":"record","seq":2,`},
		filepath.Dir(segment):          {3, `"payload":{"run_id":"c","stage":"S","v":2}`},
		root.Index():                   {2, `"_key":"b:S"`},
		root.Data(h.Index.Name):        {2, `"v":1`},
		root.Snapshots():               {2, `{"key":"a:S","value":{"run_id":"a","stage":"S",`},
		root.Data(h.Snapshots[0].Name): {2, `"snapshot_seq":2`},
		root.Manifest(1):               {0, `"next_seq": 4`},

		root.Data(h.Withdrawn.Index.Name):        {1, `"v":8`},
		root.Data(h.Withdrawn.Snapshots[0].Name): {1, `{"key":"x:S","value":{"run_id":"x","stage":"S",`},
		root.Data(h.Withdrawn.Actions.Name):      {1, `{"action":"withdraw","cohort":"c","run_id":"x","stamp":`},
		root.Settings():                          {0, `"key"`},
	} {
		got, err := dumped(t, path)
		if err != nil || !strings.Contains(got, want.has) {
			t.Errorf("Dump(%s) = %v\n%s\nwant %q in it", root.Rel(path), err, got, want.has)
		}
		if want.lines == 0 && !json.Valid([]byte(got)) {
			t.Errorf("Dump(%s) is not JSON:\n%s", root.Rel(path), got)
		}
		if lines := strings.SplitAfter(got, "\n"); want.lines > 0 && (len(lines) != want.lines+1 || lines[want.lines] != "") {
			t.Errorf("Dump(%s) has %d lines, want %d:\n%s", root.Rel(path), len(lines)-1, want.lines, got)
		}
	}
}

// TestDumpOfDamage prints what can be read and tells the rest.
func TestDumpOfDamage(t *testing.T) {
	for name, test := range map[string]struct {
		of    func(cohort.Root, generation.Manifest) string
		edit  func([]byte) []byte
		has   string // what is printed all the same
		cause error
	}{
		"manifest":  {func(r cohort.Root, _ generation.Manifest) string { return r.Manifest(1) }, flip(-5), `"next_seq": 3`, generation.ErrCorrupt},
		"index":     {func(r cohort.Root, h generation.Manifest) string { return r.Data(h.Index.Name) }, cut, "", generation.ErrCorrupt},
		"snapshots": {func(r cohort.Root, h generation.Manifest) string { return r.Data(h.Snapshots[0].Name) }, func(b []byte) []byte { return b[:len(b)-10] }, `{"key":"a:S"`, generation.ErrCorrupt},
		"settings":  {func(r cohort.Root, _ generation.Manifest) string { return r.Settings() }, cut, "", generation.ErrCorrupt},
		"stream": {func(r cohort.Root, _ generation.Manifest) string {
			return onlyStream(t, r)
		}, flip(300), `"payload":`, journal.ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			root := newDamagedRoot(t)
			appendTo(t, root, "c", firstLines...)
			foldNow(t, compactor.Config{Root: root})
			appendTo(t, root, "c", secondLines...)
			h, err := newest(durable.OS, root)
			if err != nil {
				t.Fatal(err)
			}
			path := test.of(root, h)
			change(t, path, test.edit)
			got, err := dumped(t, path)
			if !errors.Is(err, test.cause) || !generation.IsDamage(err) || !strings.Contains(err.Error(), path) {
				t.Errorf("Dump = %v, want %v with the path", err, test.cause)
			}
			if !strings.Contains(got, test.has) {
				t.Errorf("Dump prints\n%s\nwant %q in it", got, test.has)
			}
		})
	}
}

func TestDumpOfOtherFiles(t *testing.T) {
	root := newRoot(t)
	path := filepath.Join(string(root), "notes.txt")
	if err := os.WriteFile(path, []byte("hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := dumped(t, path); err == nil || got != "" || !strings.Contains(err.Error(), "notes.txt is no file of a root") {
		t.Errorf("Dump of a text file = %q, %v", got, err)
	}
	if _, err := dumped(t, root.Cohorts()); err == nil || !strings.Contains(err.Error(), "not the directory of a stream") {
		t.Errorf("Dump of cohorts/ = %v, want an error that says it is no stream", err)
	}
}
