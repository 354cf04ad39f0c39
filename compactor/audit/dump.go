package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

// Dump writes a file of a root as text, one JSON value a line where it holds many: a stream (its directory
// or segment), a manifest, an index, snapshots, the withdrawn rows, actions, runfold.json, a note of quarantine. The name and the content tell
// what kind it is, so it may lie anywhere. Damage is returned as an error after everything that could be read was written.
func Dump(path string, w io.Writer) error {
	out := bufio.NewWriter(w)
	err := dump(path, out)
	return errors.Join(err, out.Flush())
}

func dump(path string, w io.Writer) error {
	info, err := durable.OS.Stat(path)
	if err != nil {
		return err
	}
	if info.IsDir() {
		s, err := streamAt(path)
		if err != nil {
			return err
		}
		return dumpStream(cohort.SegmentIn(path), s, w)
	}
	if s, err := streamAt(filepath.Dir(path)); err == nil && path == cohort.SegmentIn(filepath.Dir(path)) {
		return dumpStream(path, s, w)
	}
	switch filepath.Ext(path) {
	case ".parquet":
		return dumpIndex(path, w)
	case ".json":
		return dumpJSON(path, w)
	}
	if base := filepath.Base(path); strings.HasPrefix(base, "actions-") && strings.HasSuffix(base, ".ndjson") {
		return dumpActions(path, w)
	}
	return fmt.Errorf("%s is no file of a root: give a stream, a manifest, an index, a snapshots file or actions", path)
}

// streamAt takes the name of a stream from the path of its directory, which may lie anywhere.
func streamAt(dir string) (journal.Stream, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return journal.Stream{}, err
	}
	id, err := cohort.ParseStreamID(filepath.Base(dir))
	if err != nil {
		return journal.Stream{}, fmt.Errorf("%s is not the directory of a stream: %w", dir, err)
	}
	c, err := cohort.ParseID(filepath.Base(filepath.Dir(dir)))
	return journal.Stream{Cohort: c, ID: id}, err
}

// entryLine is an entry as dump prints it.
type entryLine struct {
	Offset   int64           `json:"offset"`
	Size     int64           `json:"size"`
	Kind     string          `json:"kind"`
	Seq      uint64          `json:"seq"`
	Stamp    cohort.Stamp    `json:"stamp"`
	RecordID string          `json:"record_id,omitempty"`
	Payload  json.RawMessage `json:"payload"`
}

func dumpStream(path string, s journal.Stream, w io.Writer) error {
	var errs []error
	for e, err := range journal.Entries(path, s) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		line := entryLine{e.Offset, e.Size, e.Kind, e.Seq, e.Stamp, e.RecordID, e.Payload}
		if err := printLine(w, line); err != nil {
			return err
		}
	}
	return errors.Join(errs...)
}

func printLine(w io.Writer, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}

func dumpIndex(path string, w io.Writer) error {
	file, err := durable.OS.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	ix, err := index.Open(file, info.Size())
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for row, err := range ix.Rows() {
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if _, err := w.Write(append(row, '\n')); err != nil {
			return err
		}
	}
	return nil
}

// maxNote bounds what is read of a small JSON file: a note of quarantine repeats up to 1 MiB in base64.
const maxNote = 4 << 20

// dumpJSON tells the kinds of JSON file apart. A manifest begins with its checksum. A snapshots file has one entry
// a line. Any other file is small and is printed as it is.
func dumpJSON(path string, w io.Writer) error {
	file, err := durable.OS.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	start := make([]byte, 20)
	n, _ := io.ReadFull(file, start) // a shorter file is not a manifest
	base := filepath.Base(path)
	switch {
	case cohort.IsManifest(start[:n]):
		return dumpManifest(path, w)
	case base == "snapshot_index.json" || strings.HasPrefix(base, "snapshots-"), strings.HasPrefix(base, "withdrawn-"):
		return dumpSnapshots(path, w)
	}
	data, err := durable.Read(durable.OS, path, maxNote)
	if err != nil {
		return err
	}
	if !json.Valid(data) {
		return fmt.Errorf("%s: %w: not JSON", path, generation.ErrCorrupt)
	}
	_, err = w.Write(data)
	return err
}

func dumpManifest(path string, w io.Writer) error {
	data, err := durable.Read(durable.OS, path, cohort.MaxManifest)
	if err != nil {
		return err
	}
	if _, err := w.Write(data); err != nil {
		return err
	}
	if _, err := generation.DecodeManifest(data); err != nil {
		return fmt.Errorf("manifest %s: %w", path, err)
	}
	return nil
}

func dumpSnapshots(path string, w io.Writer) error {
	file, err := durable.OS.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	for s, err := range index.Snapshots(file) {
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		line := struct {
			Key   cohort.Key      `json:"key"`
			Value json.RawMessage `json:"value"`
		}{s.Key, s.Value}
		if err := printLine(w, line); err != nil {
			return err
		}
	}
	return nil
}

// dumpActions prints a file of actions, with their stamps as times beside the numbers that order them.
func dumpActions(path string, w io.Writer) error {
	file, err := durable.OS.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	for r, err := range generation.ReadActions(file) {
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		line := actionText{r.Action.String(), r.Cohort, r.RunID, r.Stage, r.Stamp, cohort.FormatTime(r.Stamp.Time()), r.ID, r.Stream, r.JSON}
		if err := printLine(w, line); err != nil {
			return err
		}
	}
	return nil
}

// actionText is an action as dump prints it.
type actionText struct {
	Action   string          `json:"action"`
	Cohort   cohort.ID       `json:"cohort"`
	RunID    string          `json:"run_id"`
	Stage    string          `json:"stage,omitempty"`
	Stamp    cohort.Stamp    `json:"stamp"`
	Time     string          `json:"stamp_time"`
	RecordID string          `json:"record_id"`
	Stream   cohort.StreamID `json:"stream"`
	Payload  json.RawMessage `json:"payload"`
}
