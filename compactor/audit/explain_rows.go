package audit

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"slices"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/journal"
)

// generations looks up the rows in all kept generations. If the newest one is swept meanwhile, there is a newer one: they are looked at again.
func (e *explainer) generations(ctx context.Context) error {
	unread := e.out.Unread
	for try := 0; ; try++ {
		err := e.lookUp(ctx)
		if !errors.Is(err, generation.ErrConflict) {
			return err
		}
		e.out.Unread = unread
		if try == maxSwept {
			e.unread("%v", err)
			return nil
		}
	}
}

// lookUp looks up the rows in all kept generations, oldest first.
func (e *explainer) lookUp(ctx context.Context) error {
	all, newest, err := e.manifests()
	if err != nil {
		return err
	}
	var before cohort.Generation // the last one whose rows are known
	var names string             // of its files
	var rows []rowWrite          // in them
	e.out.Generations, e.out.First, e.out.Newest = 0, 0, 0
	for _, m := range all { // their files are the same where a commit changed no row
		if err := ctx.Err(); err != nil {
			return err
		}
		if namesOf(m) != names {
			found, err := e.rowsOf(m)
			if errors.Is(err, generation.ErrConflict) && m.Generation < newest.Generation {
				continue // it was swept meanwhile
			}
			if errors.Is(err, generation.ErrConflict) {
				return err
			}
			if err != nil {
				e.unread("generation %d: %v", uint64(m.Generation), err)
				continue
			}
			rows, names = found, namesOf(m)
		}
		for _, r := range rows {
			e.visible(r, m.Generation, before+1 == m.Generation)
		}
		before = m.Generation
		e.out.Generations++
		e.out.First, e.out.Newest = cmp.Or(e.out.First, m.Generation), m.Generation
	}
	e.unfolded(newest)
	e.current(rows, before == newest.Generation)
	return nil
}

// manifests are those of the generations that are kept and not void, oldest first, and the newest one.
func (e *explainer) manifests() (all []generation.Manifest, newest generation.Manifest, err error) {
	newest, err = e.Newest()
	if err != nil || newest.Generation == 0 {
		return nil, newest, err
	}
	gens, err := e.List()
	if err != nil {
		return nil, newest, err
	}
	for _, g := range gens {
		if g >= newest.Generation {
			break
		}
		m, err := e.Read(g)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was swept meanwhile
		}
		if err != nil {
			e.unread("%v", err)
			continue
		}
		all = append(all, m)
	}
	all = append(all, newest)
	kept := all[:0:0]
	for i, m := range all {
		void := generation.IsVoid(all, m.Generation) ||
			i+1 < len(all) && all[i+1].Generation == m.Generation+1 && !m.IsParentOf(&all[i+1])
		if !void {
			kept = append(kept, m)
		}
	}
	return kept, newest, nil
}

// namesOf are the names of the files that Explain reads of a generation.
func namesOf(m generation.Manifest) string {
	names := m.Index.Name
	if m.Withdrawn != nil {
		names += " " + m.Withdrawn.Index.Name + " " + m.Withdrawn.Actions.Name
	}
	return names
}

// rowWrite is a row of the index, or a withdrawn one.
type rowWrite struct {
	key       cohort.Key
	at        cohort.Version
	seq       cohort.Seq
	withdrawn bool
}

// rowsOf finds the rows of one generation that are asked for, and takes what they tell of writes that no stream has. It takes the actions, too.
func (e *explainer) rowsOf(m generation.Manifest) (rows []rowWrite, err error) {
	d, err := e.Data(m)
	var lost error // damage of the withdrawn rows
	if generation.IsDamage(err) && m.Withdrawn != nil {
		lost = err
		d, err = e.FirstPair(m)
	}
	if err != nil {
		return nil, err
	}
	defer d.Close()
	if rows, err = e.rowsIn(d, false); err != nil || m.Withdrawn == nil {
		return rows, err
	}
	if d.Withdrawn != nil {
		var withdrawn []rowWrite
		withdrawn, lost = e.rowsIn(d.Withdrawn, true)
		rows = append(rows, withdrawn...)
	}
	if generation.IsDamage(lost) {
		e.unread("generation %d, the withdrawn rows: %v", uint64(m.Generation), lost)
	} else if lost != nil {
		return nil, lost
	}
	err = e.inForce(d)
	if generation.IsDamage(err) {
		e.unread("generation %d, the actions: %v", uint64(m.Generation), err)
		err = nil
	}
	return rows, err
}

// inForce takes the actions of a generation. Each says anew which ones are in force, so at last the newest.
func (e *explainer) inForce(d *generation.Data) error {
	var all []cohort.Record
	for rec, err := range d.Actions() {
		if err != nil {
			return err
		}
		if slices.Contains(e.runs, rec.RunID) {
			all = append(all, rec.Clone())
		}
	}
	for i := range e.acts {
		e.acts[i].InForce = false
	}
	for _, rec := range all {
		if a := e.action(rec); a != nil {
			a.InForce, a.Writer = true, cmp.Or(a.Writer, rec.Writer)
		}
	}
	return nil
}

// rowsIn finds rows in one pair of files.
func (e *explainer) rowsIn(d *generation.Data, withdrawn bool) (rows []rowWrite, err error) {
	if d.Index == nil {
		return nil, nil
	}
	places, err := d.Index.PlacesOf(e.runs)
	if err != nil {
		return nil, err
	}
	for _, p := range places {
		if !e.isMeant(p.Key, p.RunID, p.Stage) {
			continue
		}
		rows = append(rows, rowWrite{p.Key, p.Version, p.Seq, withdrawn})
		if err := e.row(d.Index, p); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// row takes what a row tells of its write.
func (e *explainer) row(in *index.File, p index.Place) error {
	w := e.write(p.Key, p.Version)
	if w == nil || w.Stage != "" { // a stream, or a row of an earlier generation, has said it
		return nil
	}
	w.Cohort, w.RunID, w.Stage, w.Stream, w.Writer, w.isRow = p.Cohort, p.RunID, p.Stage, p.Stream, p.Writer, true
	if !p.Time.IsZero() {
		w.RowTime = cohort.FormatTime(p.Time)
	}
	fields, err := in.Fields(p)
	w.fields = e.fields.of(fields)
	return err
}

// visible notes that a generation has the row of a write. isNext tells that the rows of the generation before are known.
func (e *explainer) visible(r rowWrite, g cohort.Generation, isNext bool) {
	w := e.write(r.key, r.at)
	if w == nil {
		return
	}
	if r.withdrawn {
		w.WithdrawnFirst, w.WithdrawnLast, w.Seq = cmp.Or(w.WithdrawnFirst, g), g, r.seq
		return
	}
	if w.First == 0 {
		w.First, w.Since = g, isNext
	}
	w.Last, w.Seq = g, r.seq
}

// current marks the rows of the newest generation.
func (e *explainer) current(rows []rowWrite, known bool) {
	for _, r := range rows {
		if w := e.write(r.key, r.at); w != nil && known {
			w.Current, w.Withdrawn = !r.withdrawn, r.withdrawn
		}
	}
}

// unfolded marks the writes after the watermarks of the newest generation.
func (e *explainer) unfolded(newest generation.Manifest) {
	marks := newest.Marks()
	for _, h := range e.keys {
		for i := range h.Writes {
			w := &h.Writes[i]
			w.Unfolded = !w.isRow && w.offset >= 0 && w.offset >= marks[journal.Stream{Cohort: w.Cohort, ID: w.Stream}].Offset && w.First+w.WithdrawnFirst == 0
		}
	}
}
