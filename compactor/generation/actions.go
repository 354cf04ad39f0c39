package generation

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/runfold/runfold/cohort"
)

// actionLine is one action in the file of a generation. The lines are sorted by run_id, then by version.
//
// Part of the format, do not change.
type actionLine struct {
	actionOf
	Action json.RawMessage `json:"action"` // the bytes that were appended
}

// actionOf is where an action comes from.
type actionOf struct {
	Cohort   cohort.ID       `json:"cohort"`
	Stream   cohort.StreamID `json:"stream"`
	Stamp    cohort.Stamp    `json:"stamp"`
	RecordID string          `json:"record_id"`
	Written  string          `json:"written,omitempty"` // the writer's wall clock
	Writer   string          `json:"writer,omitempty"`  // user@host:pid
}

// maxActionLine bounds a line: more than the longest run_id, stage and fields of a key, and a reason.
const maxActionLine = 1 << 20

// CompareActions orders actions as their file has them.
func CompareActions(a, b cohort.Record) int {
	return cmp.Or(cmp.Compare(a.RunID, b.RunID), a.Version().Compare(b.Version()))
}

// encodeAction is the line of an action. The bytes of the action stay, of which its digest is made: encoding/json would take out the
// spaces between its tokens.
func encodeAction(r cohort.Record) []byte {
	l := actionOf{Cohort: r.Cohort, Stream: r.Stream, Stamp: r.Stamp, RecordID: r.ID, Writer: r.Writer}
	if !r.Written.IsZero() {
		l.Written = cohort.FormatTime(r.Written)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // as in all that we write
	if err := e.Encode(l); err != nil {
		panic(fmt.Sprintf("generation: internal error: encode action: %v", err))
	}
	b.Truncate(b.Len() - len("}\n"))
	b.WriteString(`,"action":`)
	b.Write(r.JSON)
	b.WriteString("}\n")
	return b.Bytes()
}

func decodeAction(line []byte) (cohort.Record, error) {
	var l actionLine
	if err := json.Unmarshal(line, &l); err != nil {
		return cohort.Record{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	r, err := cohort.ParseAction(bytes.Clone(l.Action))
	if err != nil && !errors.Is(err, cohort.ErrNewer) {
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	r.Cohort, r.Stream, r.Stamp, r.ID, r.Writer = l.Cohort, l.Stream, l.Stamp, l.RecordID, l.Writer
	r.Written, _ = cohort.ParseTime(l.Written)
	return r, err
}

// Actions yields the actions that are in force, sorted by run_id and then in the order in which they were taken. The whole file is
// compared with what was committed: if its bytes differ, the last pair has that error. It ends after the first error.
func (d *Data) Actions() iter.Seq2[cohort.Record, error] {
	return func(yield func(cohort.Record, error) bool) {
		if d.of.Withdrawn == nil {
			return
		}
		want := d.of.Withdrawn.Actions
		file, err := d.store.openFile(want)
		if err != nil {
			yield(cohort.Record{}, d.store.dataError(d.of, err))
			return
		}
		in := newSummed(file, d.store.Root.Data(want.Name), want)
		defer in.Close()
		err = eachAction(io.NewSectionReader(in, 0, want.Size), func(r cohort.Record) bool { return yield(r, nil) })
		if err == errStopped {
			return
		}
		if cerr := in.check(); cerr != nil {
			err = cerr
		}
		if err != nil {
			yield(cohort.Record{}, d.store.dataError(d.of, err))
		}
	}
}

// ActionVersions are those of all actions. No action ever gives way to another one.
func (d *Data) ActionVersions() (map[cohort.Version]bool, error) {
	all := map[cohort.Version]bool{}
	for r, err := range d.Actions() {
		if err != nil {
			return nil, err
		}
		all[r.Version()] = true
	}
	return all, nil
}

// ReadActions yields the actions of a file, which may lie anywhere. Its checksum is not compared. It ends after the first error.
func ReadActions(in io.Reader) iter.Seq2[cohort.Record, error] {
	return func(yield func(cohort.Record, error) bool) {
		if err := eachAction(in, func(r cohort.Record) bool { return yield(r, nil) }); err != nil && err != errStopped {
			yield(cohort.Record{}, err)
		}
	}
}

var errStopped = errors.New("stopped")

func eachAction(in io.Reader, do func(cohort.Record) bool) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxActionLine)
	for lines.Scan() {
		r, err := decodeAction(lines.Bytes())
		if err != nil {
			return err
		}
		if !do(r) {
			return errStopped
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("%w: a line is too long", ErrCorrupt)
	}
	return lines.Err()
}

// writeActions writes the actions of old, without those that go, and more, which this sorts.
func (d *Draft) writeActions(old *Data, more []cohort.Record, goes func(cohort.Record) bool) (file DataFile, err error) {
	name := cohort.ActionsName(d.Generation, d.Token)
	d.made = append(d.made, name)
	w, err := d.store.newFile(name, nil, nil)
	if err != nil {
		return DataFile{}, err
	}
	defer w.discard(&err)
	slices.SortFunc(more, CompareActions)
	more = slices.CompactFunc(more, func(a, b cohort.Record) bool { return CompareActions(a, b) == 0 })
	put := func(r cohort.Record) error {
		w.rows++
		_, err := w.Write(encodeAction(r))
		return err
	}
	for r, err := range old.Actions() {
		if err == nil && goes != nil && goes(r) {
			continue
		}
		for err == nil && len(more) > 0 && CompareActions(more[0], r) <= 0 {
			if CompareActions(more[0], r) < 0 { // else it is the same action, of a stream that was read again
				err = put(more[0])
			}
			more = more[1:]
		}
		if err == nil {
			err = put(r)
		}
		if err != nil {
			return DataFile{}, err
		}
	}
	for _, r := range more {
		if err := put(r); err != nil {
			return DataFile{}, err
		}
	}
	return w.commit()
}
