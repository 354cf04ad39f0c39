package main

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
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/compactor/query"
	"github.com/runfold/runfold/internal/jsonscan"
	"github.com/runfold/runfold/internal/terminal"
)

// found is a row with all that it has.
type found struct {
	generation.Row
	fields   []shownField // in the order of the columns, and then of _extra
	snapshot []shownField
	fresh    bool
}

// shownField is a value and its name. The value is JSON, as it was written where that is known.
type shownField struct {
	name  string
	value []byte
}

// severalError says that a name of a run means several rows.
type severalError struct {
	asked string
	keys  []string
	more  bool
}

func (e *severalError) Error() string {
	text := fmt.Sprintf("run %q has several rows: say which one is meant", e.asked)
	for _, k := range e.keys {
		text += "\n  " + k
	}
	if e.more {
		text += "\n  and more"
	}
	return text
}

// noRunError says that no row has the name.
type noRunError struct {
	asked    string
	of       []string // what else was asked for: a cohort, a stage, a generation
	others   []string // rows of the run that are not of that
	near     []string
	at       bool // an earlier generation was asked
	unfolded bool // unfolded records were looked at
}

func (e *noRunError) Error() string {
	text := strings.Join(append([]string{fmt.Sprintf("there is no run %q", e.asked)}, e.of...), " ")
	switch {
	case len(e.others) > 0:
		text += ", but " + strings.Join(e.others, ", ")
	case len(e.near) > 0:
		text += ": there are runs that begin so, such as " + strings.Join(e.near, ", ")
	}
	return text
}

// hint says where to look.
func (e *noRunError) hint() string {
	switch {
	case e.unfolded:
		return ""
	case e.at:
		return "compactd runs lists what there is, and with --at what there was"
	}
	return "compactd runs lists what there is; --unfolded also looks at what no fold has read yet, and compactd runs --withdrawn at what was taken out"
}

// find finds the one row that RUN, RUN:STAGE or a key means.
func (a *answer) find(ctx context.Context, asked string) (*found, error) {
	const most = 10
	text := "_key = " + query.Text(asked) + " or run_id = " + query.Text(asked)
	if i := strings.LastIndexByte(asked, ':'); i > 0 {
		text += " or run_id = " + query.Text(asked[:i]) + " and stage = " + query.Text(asked[i+1:])
	}
	ask := *a
	var err error
	if ask.query.Where, err = query.Parse(text); err != nil {
		return nil, usageError{fmt.Errorf("run %q: %w", asked, err)}
	}
	var rows []query.Row
	err = ask.rows(ctx, []string{"_key", "run_id", "snapshot_seq"}, most+1, func(r query.Row) error {
		rows = append(rows, r)
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case len(rows) == 0:
		return nil, a.notFound(ctx, asked)
	case len(rows) > 1:
		several := &severalError{asked: asked, more: len(rows) > most}
		for _, r := range rows[:min(most, len(rows))] {
			several.keys = append(several.keys, terminal.Field(r.Cells[0].Text()))
		}
		return nil, several
	}
	if n := rows[0].Fresh; n >= 0 {
		return a.take(a.moment.Rows[n], true)
	}
	seq, err := strconv.ParseUint(rows[0].Cells[2].Text(), 10, 64)
	if err != nil {
		return nil, err
	}
	for row, err := range a.moment.Data.RowsFrom(cohort.Seq(seq)) {
		if err != nil {
			return nil, a.moment.Doubt(err)
		}
		return a.take(row.Clone(), false)
	}
	return nil, a.notFound(ctx, asked)
}

// notFound looks for rows of the run that are of another cohort or stage, and then for runs that begin with what was asked for.
func (a *answer) notFound(ctx context.Context, asked string) error {
	const most = 3
	none := &noRunError{asked: asked, at: a.at, unfolded: len(a.src.Fresh) > 0}
	if a.query.Cohort != "" {
		none.of = append(none.of, "of cohort "+string(a.query.Cohort))
	}
	if a.query.Stage != "" {
		none.of = append(none.of, "of stage "+terminal.Field(a.query.Stage))
	}
	if a.at {
		none.of = append(none.of, fmt.Sprintf("in generation %d", a.moment.Newest.Generation))
	}
	if asked == "" {
		return none
	}
	others, ids := *a, []string{query.Text(asked)}
	others.query.Cohort, others.query.Stage = "", ""
	if i := strings.LastIndexByte(asked, ':'); i > 0 {
		ids = append(ids, query.Text(asked[:i]))
	}
	var err error
	if others.query.Where, err = query.Parse("_key = " + ids[0] + " or run_id in (" + strings.Join(ids, ", ") + ")"); err != nil {
		return errors.Join(none, err)
	}
	err = others.rows(ctx, []string{"_key", "cohort_id"}, most+1, func(r query.Row) error {
		if len(none.others) == most {
			none.others = append(none.others, "and more")
			return nil
		}
		none.others = append(none.others, terminal.Field(r.Cells[0].Text())+" of cohort "+terminal.Field(r.Cells[1].Text()))
		return nil
	})
	if err != nil || len(none.others) > 0 {
		return errors.Join(none, err)
	}
	ask := *a
	if ask.query.Where, err = query.Parse("run_id like " + query.Text(likeThat(asked)+"%") + ` escape '\'`); err != nil {
		return errors.Join(none, err)
	}
	err = ask.rows(ctx, []string{"run_id"}, most, func(r query.Row) error {
		if id := terminal.Field(r.Cells[0].Text()); !slices.Contains(none.near, id) {
			none.near = append(none.near, id)
		}
		return nil
	})
	return errors.Join(none, err)
}

// likeThat is a pattern, with the escape \, of a text itself.
func likeThat(text string) string {
	return strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`).Replace(text)
}

// take lists what a row has.
func (a *answer) take(row generation.Row, fresh bool) (*found, error) {
	f := &found{Row: row, fresh: fresh}
	schema := a.src.Schema
	if !fresh && a.src.Index != nil {
		schema = a.src.Index.Schema()
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
		f.snapshot = append(f.snapshot, shownField{name, written[name]})
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
		f.fields = append(f.fields, shownField{c.Name, value})
	}
	return f, nil
}

// who are the fields that every row has.
func (f *found) who() []shownField {
	text := func(name, text string) shownField {
		if text == "" {
			return shownField{name, nil}
		}
		return shownField{name, jsonscan.Quote(text)}
	}
	return []shownField{
		text("run_id", f.RunID), text("stage", f.Stage), text("cohort_id", string(f.Cohort)),
		{"snapshot_seq", strconv.AppendUint(nil, uint64(f.Seq), 10)},
		text(timestampColumn, f.timestamp()), text("record_id", f.Version.RecordID), text("key", string(f.Key)),
	}
}

// timestamp is as the user wrote it, where the snapshot has it.
func (f *found) timestamp() string {
	for m := range jsonscan.EachMember(f.Snapshot) {
		if string(m.Name) == timestampColumn && jsonscan.KindOf(m.Value) == jsonscan.String {
			return jsonscan.Text(m.Value)
		}
	}
	if f.Time.IsZero() {
		return ""
	}
	return cohort.FormatTime(f.Time)
}

// from is where the row came from.
func (f *found) from(m generation.Manifest) []shownField {
	fields := []shownField{}
	add := func(name, text string) {
		if text != "" {
			fields = append(fields, shownField{name, jsonscan.Quote(text)})
		}
	}
	if f.fresh {
		fields = append(fields, shownField{"unfolded", []byte("true")})
	} else {
		fields = append(fields, shownField{"generation", strconv.AppendUint(nil, uint64(m.Generation), 10)})
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

// shownText is a value as text: a text itself, and all else as it was written.
func (f shownField) shownText() string {
	switch {
	case f.value == nil:
		return ""
	case jsonscan.KindOf(f.value) == jsonscan.String:
		text := jsonscan.Text(f.value)
		if text == "" || jsonscan.LoneSurrogate(f.value) {
			return string(f.value)
		}
		return terminal.Field(text)
	}
	return terminal.Line(string(f.value))
}

// objectOf is fields as a JSON object. Of a name that stands twice both are there, as in what was written.
func objectOf(fields []shownField) json.RawMessage {
	b := []byte{'{'}
	for i, f := range fields {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(b, jsonscan.Quote(f.name)...), ':')
		if f.value == nil {
			b = append(b, "null"...)
		}
		b = append(b, f.value...)
	}
	return append(b, '}')
}
