package audit

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/journal"
)

// streams reads all streams that folds read, oldest first.
func (e *explainer) streams(ctx context.Context) error {
	root := e.Journal()
	all, _, err := root.Streams()
	if err != nil && len(all) == 0 {
		return err
	}
	if err != nil {
		e.unread("%v", err)
	}
	for _, p := range all {
		in, p, err := root.OpenAnywhere(p)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was folded and deleted since: a generation has what stands of it
		}
		if err != nil {
			e.unread("%v", err)
			continue
		}
		e.out.Streams++
		err = e.stream(ctx, p, in)
		in.Close() // it was only read
		if err != nil {
			return err
		}
	}
	return nil
}

// stream reads one stream. Only ctx ends more than this stream.
func (e *explainer) stream(ctx context.Context, p journal.Place, in *journal.Reader) error {
	in.ReuseMemory()
	form, damaged := e.Settings.Key, 0
	defer func() {
		if damaged > 0 {
			e.unread("stream %v: %d damaged places were passed over", p.Stream, damaged)
		}
	}()
	for n := 0; ; n++ {
		if n%1000 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		rec, err := in.Next()
		switch {
		case errors.Is(err, io.EOF):
			if in.Torn() > 0 && p.Reaped { // of a stream that is being written, the end may not be there yet
				e.unread("stream %v: %d bytes at its end are no entry", p.Stream, in.Torn())
			}
			return nil
		case errors.Is(err, journal.ErrCorrupt):
			damaged++
		case err != nil:
			e.unread("stream %v: %v", p.Stream, err)
			return nil
		case rec.Action != cohort.NoAction:
			e.acted(rec, e.Root.Rel(p.Dir), in)
		default:
			if key := form.Of(rec); e.isMeant(key, rec.RunID, rec.Stage) {
				e.head(p.Stream, in)
				e.appended(key, rec, e.Root.Rel(p.Dir), in.Ref().Offset)
			}
		}
	}
}

// head reads who wrote a stream, once.
func (e *explainer) head(s journal.Stream, in *journal.Reader) {
	if _, known := e.heads[s.ID]; known {
		return
	}
	h, _, err := in.Header()
	if err != nil {
		e.unread("stream %v: its header: %v", s, err)
	}
	e.heads[s.ID] = h // an empty one names nobody
}

// acted takes an action of a stream, or of quarantine/ if in is nil.
func (e *explainer) acted(rec cohort.Record, path string, in *journal.Reader) {
	if !slices.Contains(e.runs, rec.RunID) {
		return
	}
	if in != nil {
		e.head(journal.Stream{Cohort: rec.Cohort, ID: rec.Stream}, in)
	}
	if a := e.action(rec); a != nil {
		h := e.heads[rec.Stream]
		a.Path, a.Writer, a.Program = path, h.Writer(), h.Program
	}
}

// quarantine reads the streams that lie in quarantine/ as a whole, where no fold reads them.
func (e *explainer) quarantine(ctx context.Context) error {
	kept, err := e.Journal().Quarantined()
	if err != nil {
		e.unread("%v", err)
	}
	for _, s := range kept {
		dir := e.Root.Quarantined(s.Cohort, s.ID)
		e.out.Streams++
		for entry, err := range journal.Entries(cohort.SegmentIn(dir), s) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				e.unread("%s: %v", e.Root.Rel(dir), err)
				continue
			}
			e.kept(s, entry, e.Root.Rel(dir))
		}
	}
	return nil
}

// kept takes one entry of a stream in quarantine/.
func (e *explainer) kept(s journal.Stream, entry journal.Entry, path string) {
	switch entry.Kind {
	case "header":
		if h, err := journal.ParseHeader(entry.Payload); err == nil {
			e.heads[s.ID] = h
		}
	case "record", "action":
		rec, err := parseEntry(entry)
		if err != nil {
			e.unread("%s: entry %d: %v", path, entry.Seq, err)
			return
		}
		rec.Cohort, rec.Stream, rec.Stamp, rec.ID, rec.Written = s.Cohort, s.ID, entry.Stamp, entry.RecordID, entry.Written
		if rec.Action != cohort.NoAction {
			e.acted(rec, path, nil)
		} else if key := e.Settings.Key.Of(rec); e.isMeant(key, rec.RunID, rec.Stage) {
			e.appended(key, rec, path, -1)
		}
	}
}

func parseEntry(entry journal.Entry) (cohort.Record, error) {
	if entry.Kind == "action" {
		return cohort.ParseAction(entry.Payload)
	}
	return cohort.ParseRecord(entry.Payload, 0)
}

// appended takes a record of a stream. A record that was appended to two streams stands under the one that is read last, where it
// does not matter: it is the same write.
func (e *explainer) appended(key cohort.Key, rec cohort.Record, path string, offset int64) {
	w := e.write(key, rec.Version())
	if w == nil {
		return
	}
	w.Cohort, w.RunID, w.Stage, w.Stream, w.Path, w.offset = rec.Cohort, rec.RunID, rec.Stage, rec.Stream, path, offset
	w.Timestamp = rec.Timestamp
	if !rec.Written.IsZero() {
		w.Written = cohort.FormatTime(rec.Written)
	}
	if h := e.heads[rec.Stream]; h != (journal.Header{}) {
		w.Writer, w.Program = h.Writer(), h.Program
	}
	w.fields = e.fields.of(index.FlatFields(rec.Members))
}
