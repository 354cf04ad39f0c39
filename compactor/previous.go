package compactor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
)

// Query asks for the run before a given one.
type Query struct {
	Cohort cohort.ID
	RunID  string
	Stage  string
	// Where are texts of top-level fields, by name, that both must have. An empty text is a field that is absent. Fields of the
	// root's key that it does not name are those of the run's own row.
	Where map[string]string
	// Unfolded also counts what was appended and no fold has read yet, see Runs. If false, only what is in the index.
	Unfolded bool
}

// String is what is asked for: "cohort a, stage S, target "x"".
func (q Query) String() string {
	text := fmt.Sprintf("cohort %s, stage %s", q.Cohort, q.Stage)
	for _, name := range slices.Sorted(maps.Keys(q.Where)) {
		text += fmt.Sprintf(", %s %s", name, orAbsent(q.Where[name]))
	}
	return text
}

// Validate refuses what no root can answer.
func (q Query) Validate() error {
	for name := range q.Where {
		switch name {
		case "run_id", "stage", "phase", "cohort_id", "timestamp", "record_id", "snapshot_seq", "snapshot", "":
			return fmt.Errorf("where %s: only other top-level fields can be asked for, such as target", name)
		}
	}
	return nil
}

// AmbiguousError tells that a run has several rows of one cohort and stage, which have different runs before them.
type AmbiguousError struct {
	Query Query
	// Keys are those of the rows, at most ten.
	Keys []cohort.Key
	// Fields are those in which the rows differ, of which Where says too few.
	Fields []string
}

func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("run %q has several rows in %v: %q: say which %s is meant", e.Query.RunID, e.Query, e.Keys, strings.Join(e.Fields, ", "))
}

// NoSuchRun tells that a query is about a run that has no row where it asks, so that it counts as newer than all.
type NoSuchRun struct {
	Query Query
	// Others tells whether there are rows of other runs, of which the newest is the answer.
	Others bool
	// Open are the fields of the root's key that the query does not name.
	Open []string
}

func (n NoSuchRun) String() string {
	if !n.Others {
		return fmt.Sprintf("there is no run at all in %v", n.Query)
	}
	text := fmt.Sprintf("run %q has no row in %v: the newest run there counts as the one before", n.Query.RunID, n.Query)
	if len(n.Open) > 0 {
		text += ", whatever its " + strings.Join(n.Open, ", ")
	}
	return text
}

// Previous finds the run before that of q: the row of the same cohort, stage and other fields of the root's key, and with
// what q.Where says, that has the highest snapshot_seq below that of q's run and belongs to another run. A run that the index
// does not hold yet counts as newer than all, which is told as NoSuchRun. ok is false if there is no such row.
//
// In a root whose key has more fields, a run may have several rows in one cohort and stage. Where q does not say which
// is meant it is an *AmbiguousError.
//
// It reads the newest generation without a lock. Any number of calls may run at once, while others append and fold.
func Previous(ctx context.Context, cfg Config, q Query) (run Run, ok bool, err error) {
	if err := q.Validate(); err != nil {
		return Run{}, false, err
	}
	m, err := look(ctx, cfg, q.Unfolded)
	if err != nil {
		return Run{}, false, err
	}
	defer m.close()
	if m.damage != nil {
		return Run{}, false, m.damage // a later run may be missing
	}
	p := prior{moment: m, q: q, form: m.form}
	if err := p.lookAtReturned(); err != nil {
		return Run{}, false, err
	}
	if err := p.complete(); err != nil {
		return Run{}, false, err
	}
	run, ok, own, err := p.find()
	if err == nil && !own {
		notify(cfg.Notify, NoSuchRun{q, ok, p.open})
	}
	return run, ok, err
}

// prior is one call of Previous.
type prior struct {
	*moment
	q    Query
	form cohort.KeyForm
	key  map[string]string // fields of the root's key that are known: of q.Where, and of the run's own row
	open []string          // those that are not
	// returned are the keys of withdrawn rows that a fold would bring back now and that have the texts of q.Where.
	returned map[cohort.Key]bool
}

// complete finds out which fields of the key are meant that the query does not name.
func (p *prior) complete() error {
	p.key = map[string]string{}
	for _, name := range p.form.More() {
		if text, ok := p.q.Where[name]; ok {
			p.key[name] = p.form.Spelled(name, text)
		} else if name != "cohort_id" { // the query names it
			p.open = append(p.open, name)
		}
	}
	if len(p.open) == 0 {
		return nil
	}
	keys, err := p.own()
	if err != nil || len(keys) == 0 {
		return err
	}
	differ := map[string]bool{}
	first := p.more(keys[0])
	for _, k := range keys[1:] {
		for name, text := range p.more(k) {
			if text != first[name] {
				differ[name] = true
			}
		}
	}
	if len(differ) > 0 {
		return &AmbiguousError{p.q, keys[:min(len(keys), 10)], slices.Sorted(maps.Keys(differ))}
	}
	p.key, p.open = first, nil
	delete(p.key, "cohort_id")
	return nil
}

// own are the keys of the run's rows.
func (p *prior) own() (keys []cohort.Key, err error) {
	if p.data.Index != nil {
		if keys, err = p.data.Index.KeysOf(p.lookup()); err != nil {
			return nil, err
		}
	}
	for _, r := range p.tail {
		if r.RunID == p.q.RunID && p.passes(r) {
			keys = append(keys, r.Key)
		}
	}
	return keys, nil
}

// more are the fields of a key after the stage.
func (p *prior) more(k cohort.Key) map[string]string {
	_, _, texts, _ := p.form.Split(k)
	all := map[string]string{}
	for i, name := range p.form.More() {
		if i < len(texts) {
			all[name] = texts[i]
		}
	}
	return all
}

// lookup is the query as the index takes it.
func (p *prior) lookup() index.Lookup {
	l := index.Lookup{Cohort: p.q.Cohort, Stage: p.q.Stage, RunID: p.q.RunID, Without: p.replaced}
	if len(p.key) > 0 {
		l.Key = p.keyPasses
	}
	l.Fields = p.fields()
	return l
}

// fields are those of q.Where that are not in the root's key.
func (p *prior) fields() map[string]string {
	rest := maps.Clone(p.q.Where)
	maps.DeleteFunc(rest, func(name, _ string) bool { return slices.Contains(p.form.More(), name) })
	return rest
}

func (p *prior) keyPasses(k cohort.Key) bool {
	more := p.more(k)
	for name, want := range p.key {
		if more[name] != want {
			return false
		}
	}
	return true
}

// passes tells whether an unfolded run is one of those that are asked for.
func (p *prior) passes(r Run) bool {
	if r.Cohort != p.q.Cohort || r.Stage != p.q.Stage || !p.keyPasses(r.Key) {
		return false
	}
	if r.Record == nil {
		return p.returned[r.Key]
	}
	for name, want := range p.fields() {
		if cohort.FieldText(r.Record, name) != want {
			return false
		}
	}
	return true
}

// lookAtReturned finds the fields of runs of the tail that no record stands for: they come back from among the withdrawn rows.
func (p *prior) lookAtReturned() error {
	p.returned = map[cohort.Key]bool{}
	for _, r := range p.tail {
		if r.Record == nil && r.Cohort == p.q.Cohort && r.Stage == p.q.Stage {
			p.returned[r.Key] = true
		}
	}
	fields := p.fields()
	if len(p.returned) == 0 || len(fields) == 0 {
		return nil
	}
	meant := index.Lookup{Cohort: p.q.Cohort, Stage: p.q.Stage, Fields: fields, Key: func(k cohort.Key) bool { return p.returned[k] }}
	keys, err := p.data.Withdrawn.Index.KeysOf(meant)
	p.returned = map[cohort.Key]bool{}
	for _, k := range keys {
		p.returned[k] = true
	}
	return err
}

// find looks for the answer. own tells whether the run itself has a row.
func (p *prior) find() (run Run, ok, own bool, err error) {
	var last, before *Run // of other runs, unfolded: all above the index
	for i, r := range p.tail {
		switch {
		case !p.passes(r):
		case r.RunID == p.q.RunID:
			own, before = true, last
		default:
			last = &p.tail[i]
		}
	}
	if before != nil {
		return *before, true, true, nil
	}
	if p.data.Index == nil {
		if own || last == nil {
			return Run{}, false, own, nil
		}
		return *last, true, false, nil
	}
	h, ok, folded, err := p.data.Index.Before(p.lookup())
	switch {
	case err != nil:
		return Run{}, false, false, err
	case !own && !folded && last != nil:
		return *last, true, false, nil
	case !ok:
		return Run{}, false, own || folded, nil
	}
	return runOf(h), true, own || folded, nil
}
