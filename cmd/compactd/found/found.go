// Package found finds one run by a name that people write, with all that a root knows of it, and tells in what runs differ.
package found

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/compactor/query"
	"github.com/runfold/runfold/internal/jsonscan"
	"github.com/runfold/runfold/internal/terminal"
)

// Run is a row with all that it has.
type Run struct {
	generation.Row
	Fields []Field // in the order of the columns, and then of _extra
	Others []Field
	Fresh  bool
}

// Field is a value and its name. The value is JSON, as it was written where that is known.
type Field struct {
	Name  string
	Value []byte
}

// Root is where runs are looked for.
type Root struct {
	Moment *compactor.Moment
	Source query.Source // of that moment
	// Query narrows down what a name may mean, by Cohort and Stage.
	Query query.Query
	// Earlier tells that the moment is one that was asked for, and not the newest.
	Earlier bool
}

// SourceOf is what a query asks of a moment.
func SourceOf(m *compactor.Moment) query.Source {
	src := query.Source{Index: m.Data.Index, Schema: m.Newest.Schema, Gone: map[cohort.Key]bool{}}
	for _, key := range m.Gone {
		src.Gone[key] = true
	}
	for _, r := range m.Rows {
		src.Fresh = append(src.Fresh, r.Typed)
	}
	return src
}

// rows yields what the query finds, with other columns.
func (a Root) rows(ctx context.Context, columns []string, limit int64, do func(query.Row) error) error {
	q := a.Query
	q.Columns, q.Limit = columns, limit
	for row, err := range q.Rows(ctx, a.Source) {
		if err != nil {
			return a.Moment.Doubt(err)
		}
		if err := do(row); err != nil {
			return err
		}
	}
	return nil
}

// SeveralError says that a name of a run means several rows.
type SeveralError struct {
	Asked string
	Keys  []string // some of them
	More  bool     // there are more
}

func (e *SeveralError) Error() string {
	text := fmt.Sprintf("run %q has several rows: say which one is meant", e.Asked)
	for _, k := range e.Keys {
		text += "\n  " + k
	}
	if e.More {
		text += "\n  and more"
	}
	return text
}

// NoneError says that no row has the name.
type NoneError struct {
	Asked    string
	Of       []string // what else was asked for: a cohort, a stage, a generation
	Others   []string // rows of the run that are not of that
	Near     []string // that begin so
	Earlier  bool     // an earlier generation was asked
	Unfolded bool     // unfolded records were looked at
}

func (e *NoneError) Error() string {
	text := strings.Join(append([]string{fmt.Sprintf("there is no run %q", e.Asked)}, e.Of...), " ")
	switch {
	case len(e.Others) > 0:
		text += ", but " + strings.Join(e.Others, ", ")
	case len(e.Near) > 0:
		text += ": there are runs that begin so, such as " + strings.Join(e.Near, ", ")
	}
	return text
}

// Find finds the one row that RUN, RUN:STAGE or a key means. A name may be spelled as lists show it, see terminal.Field.
func (a Root) Find(ctx context.Context, asked string) (*Run, error) {
	const most = 10
	is := in(asked)
	text := "_key" + is + " or run_id" + is
	if i := strings.LastIndexByte(asked, ':'); i > 0 {
		text += " or run_id" + in(asked[:i]) + " and stage = " + query.Text(asked[i+1:])
	}
	return a.findOne(ctx, asked, text, most)
}

// in is the end of an expression: a value is the name, or what lists show so.
func in(name string) string {
	text := " in (" + query.Text(name)
	if meant := terminal.Unfield(name); meant != name {
		text += ", " + query.Text(meant)
	}
	return text + ")"
}

// FindKey finds the row of a key.
func (a Root) FindKey(ctx context.Context, key string) (*Run, error) {
	return a.findOne(ctx, key, "_key = "+query.Text(key), 1)
}

// findOne finds the one row for which an expression is true.
func (a Root) findOne(ctx context.Context, asked, where string, most int) (*Run, error) {
	ask := a
	var err error
	if ask.Query.Where, err = query.Parse(where); err != nil {
		return nil, fmt.Errorf("run %q: %w", asked, err)
	}
	var rows []query.Row
	err = ask.rows(ctx, []string{"_key", "run_id", "snapshot_seq"}, int64(most)+1, func(r query.Row) error {
		rows = append(rows, r)
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case len(rows) == 0:
		return nil, a.notFound(ctx, asked)
	case len(rows) > 1:
		several := &SeveralError{Asked: asked, More: len(rows) > most}
		for _, r := range rows[:min(most, len(rows))] {
			several.Keys = append(several.Keys, terminal.Field(r.Cells[0].Text()))
		}
		return nil, several
	}
	if n := rows[0].Fresh; n >= 0 {
		return a.take(a.Moment.Rows[n], true)
	}
	seq, err := strconv.ParseUint(rows[0].Cells[2].Text(), 10, 64)
	if err != nil {
		return nil, err
	}
	for row, err := range a.Moment.Data.RowsFrom(cohort.Seq(seq)) {
		if err != nil {
			return nil, a.Moment.Doubt(err)
		}
		return a.take(row.Clone(), false)
	}
	return nil, a.notFound(ctx, asked)
}

// notFound looks for rows of the run that are of another cohort or stage, and then for runs that begin with what was asked for.
func (a Root) notFound(ctx context.Context, asked string) error {
	const most = 3
	none := &NoneError{Asked: asked, Earlier: a.Earlier, Unfolded: len(a.Source.Fresh) > 0}
	if a.Query.Cohort != "" {
		none.Of = append(none.Of, "of cohort "+string(a.Query.Cohort))
	}
	if a.Query.Stage != "" {
		none.Of = append(none.Of, "of stage "+terminal.Field(a.Query.Stage))
	}
	if a.Earlier {
		none.Of = append(none.Of, fmt.Sprintf("in generation %d", a.Moment.Newest.Generation))
	}
	if asked == "" {
		return none
	}
	others := a
	others.Query.Cohort, others.Query.Stage = "", ""
	text := "_key" + in(asked) + " or run_id" + in(asked)
	if i := strings.LastIndexByte(asked, ':'); i > 0 {
		text += " or run_id" + in(asked[:i])
	}
	var err error
	if others.Query.Where, err = query.Parse(text); err != nil {
		return errors.Join(none, err)
	}
	err = others.rows(ctx, []string{"_key", "cohort_id"}, most+1, func(r query.Row) error {
		if len(none.Others) == most {
			none.Others = append(none.Others, "and more")
			return nil
		}
		none.Others = append(none.Others, terminal.Field(r.Cells[0].Text())+" of cohort "+terminal.Field(r.Cells[1].Text()))
		return nil
	})
	if err != nil || len(none.Others) > 0 {
		return errors.Join(none, err)
	}
	ask := a
	if ask.Query.Where, err = query.Parse("run_id like " + query.Text(Like(terminal.Unfield(asked))+"%") + ` escape '\'`); err != nil {
		return errors.Join(none, err)
	}
	err = ask.rows(ctx, []string{"run_id"}, most, func(r query.Row) error {
		if id := terminal.Field(r.Cells[0].Text()); !slices.Contains(none.Near, id) {
			none.Near = append(none.Near, id)
		}
		return nil
	})
	return errors.Join(none, err)
}

// Like is a pattern, with the escape \, of a text itself.
func Like(text string) string {
	return strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`).Replace(text)
}

// take lists what a row has.
func (a Root) take(row generation.Row, fresh bool) (*Run, error) {
	f := &Run{Row: row, Fresh: fresh}
	schema := a.Source.Schema
	if !fresh && a.Source.Index != nil {
		schema = a.Source.Index.Schema()
	}
	content, err := index.ContentOf(row.Identity, schema, row.Values, row.Extra, func(b []byte) []byte { return b })
	if err != nil {
		return nil, err
	}
	written := map[string][]byte{}
	for m := range jsonscan.EachMember(row.Snapshot) {
		name := string(m.Name)
		switch name {
		case "run_id", "stage", "phase", "snapshot_seq", "timestamp", "record_id":
			continue
		case "metrics", "params", "tags":
			if jsonscan.KindOf(m.Value) == jsonscan.Object {
				for in := range jsonscan.EachMember(m.Value) {
					written[name+"."+string(in.Name)] = bytes.Clone(in.Value)
				}
			}
		}
		written[name] = bytes.Clone(m.Value)
		f.Others = append(f.Others, Field{name, written[name]})
	}
	doubles := map[string]float64{}
	for i, c := range schema {
		if v, is := row.Values[i].(float64); is {
			doubles[c.Name] = v
		}
	}
	for _, c := range content.Fields {
		value := c.Value
		if v, is := doubles[c.Name]; is { // a second value of the name stands in _extra, and later
			value = query.Number(v)
			delete(doubles, c.Name)
		}
		if w, ok := written[c.Name]; ok && bytes.Equal(index.OneSpelling(w), index.OneSpelling(value)) {
			value = w
		}
		f.Fields = append(f.Fields, Field{c.Name, value})
	}
	return f, nil
}

// Who are the fields that every row has.
func (f *Run) Who() []Field {
	text := func(name, text string) Field {
		if text == "" {
			return Field{name, nil}
		}
		return Field{name, jsonscan.Quote(text)}
	}
	return []Field{
		text("run_id", f.RunID), text("stage", f.Stage), text("cohort_id", string(f.Cohort)),
		{"snapshot_seq", strconv.AppendUint(nil, uint64(f.Seq), 10)},
		text("timestamp", f.Timestamp()), text("record_id", f.Version.RecordID), text("key", string(f.Key)),
	}
}

// Timestamp is as the user wrote it, where the snapshot has it.
func (f *Run) Timestamp() string {
	for m := range jsonscan.EachMember(f.Snapshot) {
		if string(m.Name) == "timestamp" && jsonscan.KindOf(m.Value) == jsonscan.String {
			return jsonscan.Text(m.Value)
		}
	}
	if f.Time.IsZero() {
		return ""
	}
	return cohort.FormatTime(f.Time)
}

// From is where the row came from.
func (f *Run) From(m generation.Manifest) []Field {
	fields := []Field{}
	add := func(name, text string) {
		if text != "" {
			fields = append(fields, Field{name, jsonscan.Quote(text)})
		}
	}
	if f.Fresh {
		fields = append(fields, Field{"unfolded", []byte("true")})
	} else {
		fields = append(fields, Field{"generation", strconv.AppendUint(nil, uint64(m.Generation), 10)})
		add("committed_at", m.CreatedAt)
	}
	add("stream", string(f.Stream))
	add("writer", f.Writer)
	if f.Stream != "" {
		add("appended_at", cohort.FormatTime(f.Version.Stamp.Time()))
	}
	add("stamp", f.Version.Stamp.String())
	if f.Version.Digest != 0 {
		add("digest", fmt.Sprintf("%016x", uint64(f.Version.Digest)))
	}
	return fields
}

// Text is a value as text: a text itself, and all else as it was written.
func (f Field) Text() string {
	switch {
	case f.Value == nil:
		return ""
	case jsonscan.KindOf(f.Value) == jsonscan.String:
		text := jsonscan.Text(f.Value)
		if text == "" || jsonscan.LoneSurrogate(f.Value) {
			return string(f.Value)
		}
		return terminal.Field(text)
	}
	return terminal.Line(string(f.Value))
}

// Object is fields as a JSON object. Of a name that stands twice both are there, as in what was written.
func Object(fields []Field) json.RawMessage {
	b := []byte{'{'}
	for i, f := range fields {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(b, jsonscan.Quote(f.Name)...), ':')
		if f.Value == nil {
			b = append(b, "null"...)
		}
		b = append(b, f.Value...)
	}
	return append(b, '}')
}
