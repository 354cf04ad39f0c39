package index

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/jsonscan"
)

// Remake makes the record of a row and its line: a record that gives the same row and the same line when it is folded, except stamp, seq,
// record id, digest and stream. Its Cohort is set. Where it has no Timestamp, it must be appended with the Written that it has, also
// if that is the zero time: then nobody knows the time of the row, and it stays so.
//
// It is not always the record that was appended: what no file shows is not in it, such as spaces between tokens. If the line has all members of
// the record, it is made of them, so numbers have their own spelling. Else the record had an object "snapshot": it is made of the line, and all
// else of the row. maxBytes bounds it. The result was compared with row and line; if no record gives them, that is an error.
func Remake(c Content, line Snapshot, form cohort.KeyForm, maxBytes int) (cohort.Record, error) {
	m := remaking{c, line.parts(), line, form, maxBytes}
	var errs []error
	for _, body := range []func([]byte) []byte{m.whole, m.split, m.short} {
		for _, at := range m.times() {
			r, err := m.try(body, at)
			if err == nil {
				return r, nil
			}
			if !slices.ContainsFunc(errs, func(e error) bool { return e.Error() == err.Error() }) {
				errs = append(errs, err)
			}
		}
	}
	return cohort.Record{}, fmt.Errorf("no record gives the row and the snapshot of %q again: %w", c.Key, errors.Join(errs...))
}

// remaking is one call of Remake.
type remaking struct {
	row      Content
	parts    parts
	line     Snapshot
	form     cohort.KeyForm
	maxBytes int
}

// stamped is how a record gets its time.
type stamped struct {
	text    string    // its timestamp; empty: it has none
	written time.Time // the clock of its append, if it has no timestamp
}

// times are the ways in which the record may have its time, the best first. A record that was as large as a record may be, and had
// no timestamp, has no room for one.
func (m *remaking) times() (ways []stamped) {
	if m.parts.timestamp != "" {
		ways = append(ways, stamped{text: m.parts.timestamp})
	}
	if m.row.Time.IsZero() {
		return append(ways, stamped{})
	}
	if m.row.Time.Unix() > 0 && cohort.FormatTime(m.row.Time) == m.parts.timestamp {
		ways = append(ways, stamped{written: m.row.Time})
	}
	return ways
}

// try makes the record in one way, and compares what it gives.
func (m *remaking) try(body func([]byte) []byte, at stamped) (cohort.Record, error) {
	b := jsonscan.AppendMember(nil, "run_id", jsonscan.Quote(m.row.RunID))
	if at.text != "" {
		b = jsonscan.AppendMember(b, "timestamp", jsonscan.Quote(at.text))
	}
	r, err := cohort.ParseRecord(body(b), m.maxBytes)
	if err != nil {
		return r, err
	}
	r.Cohort, r.Written = m.row.Cohort, at.written
	if err := errors.Join(m.form.ValidateRecord(r), m.form.Validate(r)); err != nil {
		return r, err
	}
	return r, m.compare(r)
}

// whole adds the members of the line. They are all that the record has, if it had no object "snapshot".
func (m *remaking) whole(b []byte) []byte {
	hasStage := false
	for member := range jsonscan.EachMember(m.parts.object()) {
		hasStage = hasStage || string(member.Name) == "phase" && jsonscan.ScalarText(member.Value) == m.row.Stage
	}
	if !hasStage {
		b = jsonscan.AppendMember(b, "stage", jsonscan.Quote(m.row.Stage))
	}
	return append(b, m.parts.members...)
}

// split adds the fields of the row, and the line as the snapshot.
func (m *remaking) split(b []byte) []byte { return m.withSnapshot(b, m.row.Fields) }

// short is split with the shortest spelling of each value. A key may need it: it has an integer that a column of doubles holds.
func (m *remaking) short(b []byte) []byte { return m.withSnapshot(b, inOneForm(m.row.Fields)) }

func (m *remaking) withSnapshot(b []byte, fields []Field) []byte {
	b = jsonscan.AppendMember(b, "stage", jsonscan.Quote(m.row.Stage))
	for _, f := range nested(fields) {
		b = jsonscan.AppendMember(b, f.Name, f.Value)
	}
	return append(jsonscan.AppendMember(b, snapshotMember, m.parts.object()), '}')
}

// nested are fields as members of a record: metrics.auc becomes auc within metrics. The second of two fields with one name, which comes
// from _extra, keeps its long name, as it had in the record that brought both; so do all where metrics itself is a field.
func nested(fields []Field) []Field {
	objects, top := map[string][]byte{}, []Field(nil)
	taken := map[string]bool{}
	for _, f := range fields {
		taken[f.Name] = isGroup(f.Name)
	}
	for _, f := range fields {
		group, name, ok := strings.Cut(f.Name, ".")
		if !ok || !isGroup(group) || taken[group] || taken[f.Name] {
			top = append(top, f)
			continue
		}
		taken[f.Name] = true
		objects[group] = jsonscan.AppendMember(objects[group], name, f.Value)
	}
	var out []Field
	for _, group := range []string{"metrics", "params", "tags"} {
		if obj := objects[group]; obj != nil {
			out = append(out, Field{group, append(obj, '}')})
		}
	}
	return append(out, top...)
}

// compare tells in what the row and the line of a record would differ.
func (m *remaking) compare(r cohort.Record) error {
	t := r.Time()
	switch {
	case r.RunID != m.row.RunID || r.Stage != m.row.Stage || m.form.Of(r) != m.row.Key:
		return errors.New("its key would be another one")
	case t.IsZero() != m.row.Time.IsZero() || t.UnixMicro() != m.row.Time.UnixMicro():
		return errors.New("its time would be another one")
	}
	if !slices.EqualFunc(inOneForm(FieldsOf(r, m.form)), inOneForm(m.row.Fields), Field.equal) {
		return errors.New("its columns would differ")
	}
	line := Snapshot{Key: m.line.Key, Seq: m.line.Seq}
	line.Value = appendSnapshotLine(nil, Put{Key: line.Key, Seq: line.Seq}, r)[len(jsonscan.Quote(string(line.Key)))+1:]
	if line.Sum(m.row.Identity) != m.line.Sum(m.row.Identity) {
		return errors.New("its snapshot would differ")
	}
	return nil
}

func (f Field) equal(other Field) bool {
	return f.Name == other.Name && bytes.Equal(f.Value, other.Value)
}

// FieldsOf are the fields that the row of a record has, in the record's order and with the record's bytes, which they alias.
// form is that of the keys of its root.
func FieldsOf(r cohort.Record, form cohort.KeyForm) []Field {
	all := flattener{foxml: form.Profile() == cohort.Foxml}
	var out []Field
	for _, f := range all.flatten(r) {
		out = append(out, Field{f.column, f.value})
	}
	return out
}

// HasSnapshot tells whether the record has an object "snapshot". If not, its line has the members of the record.
func HasSnapshot(r cohort.Record) bool { return len(snapshotOf(r)) < len(r.JSON) }
