package history

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
)

// Restored is what a Restore did, or would do.
type Restored struct {
	To      cohort.Generation `json:"to"`
	From    cohort.Generation `json:"from"` // the newest, which To was compared with
	Applied bool              `json:"applied"`

	// Written are rows of To that are gone or say something else now: each is written again.
	Written int64 `json:"written"`
	// Withdrawn are rows that came after To.
	Withdrawn int64 `json:"withdrawn"`
	// Protected are rows that came after To and stay, because no withdrawal of a protected run has an effect.
	Protected int64 `json:"protected,omitempty"`
	// Left are the other rows of To: they say the same now, or are not meant.
	Left int64 `json:"left"`
	// Unmade are rows that should be written again, and no record gives them. They stay as they are now.
	Unmade int64 `json:"unmade,omitempty"`

	// Rows are some of those that are written or withdrawn: Added comes back, Changed will say what it said, and Gone is withdrawn. LeftOut
	// counts the others.
	Rows    []Row    `json:"rows"`
	LeftOut int64    `json:"left_out"`
	Reasons []string `json:"reasons,omitempty"` // why rows are Unmade, some of them

	// Now is the newest generation afterwards, and Later counts the rows that differ from To there: others have written them meanwhile.
	Now   cohort.Generation `json:"now,omitempty"`
	Later int64             `json:"later,omitempty"`
	// GaveWay counts the records, of others or of Restore, that gave way to later ones in the last fold: others have written the same keys
	// meanwhile. It does not count those that another compactor has folded before.
	GaveWay int64 `json:"gave_way,omitempty"`
	// Damage tells that a fold met damage: compactor.Report.Clean.
	Damage bool `json:"damage,omitempty"`
}

// RestoreOptions say what Restore does.
type RestoreOptions struct {
	// Apply makes it so. If false, Restore only reads.
	Apply bool
	// Limit is how many rows of each kind are listed.
	Limit int
	// Where yields the rows that are meant. A key is restored if its row in To is meant, or the one that it has now. If nil, all.
	Where Where

	most   int                         // see DiffOptions
	before func([]cohort.Record) error // is called before each append: a test ends the run there
}

// BusyError tells that a Restore could not begin, or not end, because another compactor is at work.
type BusyError struct {
	Err  error
	Done bool // all records are durable, and the next fold makes them visible
}

func (e *BusyError) Error() string {
	if e.Done {
		return fmt.Sprintf("all is written and durable, and the next fold makes it visible: %v", e.Err)
	}
	return fmt.Sprintf("a restore begins with a fold, so nothing was written: %v", e.Err)
}

func (e *BusyError) Unwrap() error { return e.Err }

// Restore makes the rows of a root what they were in an earlier generation. Rows that are gone or say something else now are appended
// again, to streams of their cohorts; rows that came since are withdrawn, by actions in such streams. So what Restore does is a write as any other: it
// has fresh stamps, and neither a stream that comes back nor a repair undoes it. Columns and other settings stay as they are now.
//
// Without Apply it only reads, and says what it would do with the records that are folded until now. With Apply, it folds first, appends, and folds
// again. It stops where its context ends, or its process dies: then some rows are restored. Another call does the rest, and one that finds nothing to do
// writes nothing. Its own folds remove no generation; others may, so that to is a *generation.NotKeptError then.
//
// Any number of calls may run at once, while others append and fold. What others write between the two folds is decided as ever, by the later stamp; rows that
// differ from to afterwards are counted in Later. Files of to are compared with their checksums before anything is written: damage
// is an error, and nothing is changed then.
func Restore(ctx context.Context, cfg compactor.Config, to cohort.Generation, o RestoreOptions) (done Restored, err error) {
	store, err := cfg.Store()
	if err != nil {
		return Restored{}, err
	}
	defer func() { err = store.Doubt(err, 0) }()
	r := restoring{cfg: cfg, store: store, o: o, to: to}
	r.cfg.KeepGenerations = math.MaxInt32
	r.out = Restored{To: to, Applied: o.Apply}
	if !o.Apply {
		err = r.plan(ctx)
		return r.out, err
	}
	if err := r.whole(); err != nil {
		return r.out, err
	}
	if err := r.fold(ctx, false); err != nil {
		return r.out, err
	}
	if err := r.plan(ctx); err != nil || r.out.Written+r.out.Withdrawn == 0 {
		return r.out, err
	}
	if err := r.fold(ctx, true); err != nil {
		return r.out, err
	}
	err = r.look(ctx)
	return r.out, err
}

// restoring is one call of Restore.
type restoring struct {
	cfg   compactor.Config
	store *generation.Store
	o     RestoreOptions
	to    cohort.Generation
	out   Restored
	kept  *cohort.InForce // which runs are protected
}

// whole makes sure that the generation is there as it was committed. What is damaged must not be written again as if it were right.
func (r *restoring) whole() error {
	m, err := read(r.store, r.to)
	if err != nil {
		return err
	}
	for _, f := range m.Files() {
		if err := r.store.CheckFile(f); err != nil {
			return r.store.WhyGone(fmt.Errorf("generation %d: %s: %w", r.to, f.Name, err), r.to)
		}
	}
	return nil
}

// fold folds what the streams hold. done tells whether that is the end.
func (r *restoring) fold(ctx context.Context, done bool) error {
	report, err := compactor.Fold(ctx, r.cfg)
	r.out.Now = max(r.out.Now, report.Generation)
	r.out.Damage = r.out.Damage || !report.Clean()
	if done {
		r.out.GaveWay = int64(report.Superseded)
	}
	if errors.Is(err, compactor.ErrLocked) {
		return &BusyError{err, done}
	}
	return err
}

// plan finds what differs, and with Apply appends what makes it equal.
func (r *restoring) plan(ctx context.Context) error {
	now, err := open(r.store, 0)
	if err != nil {
		return err
	}
	defer now.close()
	to, err := open(r.store, r.to)
	if err != nil {
		return err
	}
	defer to.close()
	r.out.From = now.manifest.Generation
	c := comparison{was: now, now: to, most: r.most(), where: r.o.Where}
	if r.kept, err = protections(now); err != nil {
		return err
	}
	list := lists{limit: r.o.Limit, by: map[string][]found{}}
	out := r.appender()
	for pairs, err := range c.parts(ctx) {
		if err == nil {
			err = r.part(ctx, &c, pairs, &list, out)
		}
		if err != nil {
			return r.store.WhyGone(errors.Join(err, out.close()), r.to)
		}
	}
	if err := out.close(); err != nil {
		return err
	}
	r.out.Left = to.manifest.Index.Rows - r.out.Written - r.out.Unmade
	r.out.Rows, err = c.rows(ctx, &list)
	r.out.LeftOut = r.out.Written + r.out.Withdrawn - int64(len(r.out.Rows))
	return r.store.WhyGone(err, r.to)
}

func (r *restoring) most() int {
	if r.o.most > 0 {
		return r.o.most
	}
	return maxPairs
}

// part deals with some keys.
func (r *restoring) part(ctx context.Context, c *comparison, pairs map[cohort.Key]*pair, list *lists, out *appender) error {
	again := rowsOf{}
	for key, p := range pairs {
		switch {
		case p.same:
		case p.now == nil && r.kept.Decide(key, cohort.Version{}, p.was.cohort).Protected:
			r.out.Protected++
		case p.now == nil:
			r.out.Withdrawn++
			list.add(Gone, key, p)
			if err := out.withdraw(key, p.was.cohort); err != nil {
				return err
			}
		default:
			again.add(p.now)
		}
	}
	for w, err := range c.now.wholes(ctx, again) {
		if err != nil {
			return err
		}
		rec, err := index.Remake(w.Content, w.line, r.store.Settings.Key, r.store.Settings.MaxRecord)
		if err != nil {
			r.unmade(err)
			continue
		}
		r.out.Written++
		if p := pairs[w.Key]; p.was == nil {
			list.add(Added, w.Key, p)
		} else {
			list.add(Changed, w.Key, p)
		}
		if err := out.write(rec); err != nil {
			return err
		}
	}
	return out.flush()
}

// maxReasons bounds how many are kept.
const maxReasons = 10

func (r *restoring) unmade(err error) {
	r.out.Unmade++
	if len(r.out.Reasons) < maxReasons {
		r.out.Reasons = append(r.out.Reasons, err.Error())
	}
}

// look counts what differs after all is done.
func (r *restoring) look(ctx context.Context) error {
	now, err := open(r.store, 0)
	if err != nil {
		return err
	}
	defer now.close()
	to, err := open(r.store, r.to)
	if err != nil {
		return err
	}
	defer to.close()
	r.out.Now, r.out.Later = now.manifest.Generation, -r.out.Unmade-r.out.Protected
	c := comparison{was: now, now: to, most: r.most(), where: r.o.Where}
	for pairs, err := range c.parts(ctx) {
		if err != nil {
			return r.store.WhyGone(err, r.to)
		}
		for _, p := range pairs {
			if !p.same {
				r.out.Later++
			}
		}
	}
	r.out.Later = max(0, r.out.Later)
	return nil
}
