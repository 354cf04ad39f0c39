package compactor

import (
	"context"
	"encoding/json"
	"iter"
	"slices"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
)

// Standing is a row of the newest generation, and what the actions in force say of it.
type Standing struct {
	Run
	Withdrawn bool // it stands among the withdrawn rows, and not in the index
	// By is the withdrawal because of which it does.
	By        *cohort.Record
	Protected bool // folds refuse to withdraw it

	version cohort.Version
}

// Choice chooses rows of a file: the index of a generation, or its withdrawn rows. The other one of the two is there to be looked at; it is nil if
// there was never an action. query.SelectFrom with an expression is a choice, and AllRows.
type Choice func(from, other *index.File) iter.Seq2[index.Identity, error]

// AllRows chooses every row.
func AllRows(from, _ *index.File) iter.Seq2[index.Identity, error] { return from.Identities() }

// Standings are the rows of the newest generation that are chosen from the index, and from the withdrawn rows; a nil Choice chooses none. They
// come in this order, each by seq, and are held in memory. If manifests or a data file of the newest generation are missing, that is the error,
// and the rows are those of what is left. It takes no lock and writes nothing.
func Standings(ctx context.Context, cfg Config, fromIndex, fromWithdrawn Choice) (rows []Standing, err error) {
	return lookAt(ctx, cfg, func(*generation.Data) (Choice, Choice, error) { return fromIndex, fromWithdrawn, nil })
}

// Protected are the rows of the newest generation whose runs are protected, as Standings gives them.
func Protected(ctx context.Context, cfg Config) (rows []Standing, err error) {
	rows, err = lookAt(ctx, cfg, func(data *generation.Data) (Choice, Choice, error) {
		var runs []string
		for a, err := range data.Actions() {
			if err != nil {
				return nil, nil, err
			}
			if a.Action == cohort.Protect {
				runs = append(runs, a.RunID)
			}
		}
		of := ofRuns(ctx, runs)
		return of, of, nil
	})
	return slices.DeleteFunc(rows, func(s Standing) bool { return !s.Protected }), err
}

// ofRuns chooses the rows of some runs.
func ofRuns(ctx context.Context, runs []string) Choice {
	slices.Sort(runs)
	runs = slices.Compact(runs)
	return func(f, _ *index.File) iter.Seq2[index.Identity, error] {
		return f.Choose(ctx, index.Choice{
			Columns: []string{"run_id"},
			Group:   func(g index.Group) (bool, error) { return g.MayHold("run_id", runs) },
			Row: func(v []index.Value) (bool, error) {
				_, is := slices.BinarySearch(runs, string(v[0].Text()))
				return is, nil
			},
		})
	}
}

// lookAt gives the rows of the newest generation that are chosen once its data is open.
func lookAt(ctx context.Context, cfg Config, choose func(*generation.Data) (fromIndex, fromWithdrawn Choice, err error)) (rows []Standing, err error) {
	r, err := open(cfg)
	if err != nil {
		return nil, err
	}
	return settle(ctx, r, func() ([]Standing, error) { return r.standings(ctx, choose) })
}

// standings is ErrConflict if a generation came meanwhile and swept what was about to be read. If something is missing of the root, that is the
// error, and the rows are those of what is left.
func (r *run) standings(ctx context.Context, choose func(*generation.Data) (fromIndex, fromWithdrawn Choice, err error)) (rows []Standing, err error) {
	_, data, lacks, err := r.newest()
	if err != nil {
		return nil, err
	}
	defer data.Close()
	fromIndex, fromWithdrawn, err := choose(data)
	if err != nil {
		return nil, err
	}
	var out *index.File
	if data.Withdrawn != nil {
		out = data.Withdrawn.Index
	}
	if rows, err = chosenRows(ctx, nil, data.Index, out, fromIndex, false); err != nil {
		return nil, err
	}
	if rows, err = chosenRows(ctx, rows, out, data.Index, fromWithdrawn, true); err != nil {
		return nil, err
	}
	if err := r.judge(data, rows); err != nil {
		return nil, err
	}
	return rows, lacks
}

func chosenRows(ctx context.Context, rows []Standing, f, other *index.File, choose Choice, withdrawn bool) ([]Standing, error) {
	if f == nil || choose == nil {
		return rows, nil
	}
	for h, err := range choose(f, other) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		rows = append(rows, Standing{Run: runOf(h), Withdrawn: withdrawn, version: h.Version})
	}
	return rows, nil
}

// judge adds what the actions say of rows.
func (r *run) judge(data *generation.Data, rows []Standing) error {
	if data.Withdrawn == nil { // there was never an action
		return nil
	}
	force, err := inForceOn(r.streams.Settings.Key, data, func(yield func(cohort.Key) bool) {
		for i := 0; i < len(rows) && yield(rows[i].Key); i++ {
		}
	})
	if err != nil {
		return err
	}
	for i := range rows {
		v := force.Decide(rows[i].Key, rows[i].version, rows[i].Cohort)
		rows[i].By, rows[i].Protected = v.By, v.Protected
	}
	return nil
}

// MarshalJSON is that of the Run, with what is known of the withdrawal, and whether the row is protected.
func (s Standing) MarshalJSON() ([]byte, error) {
	out := struct {
		runJSON
		WithdrawnAt string `json:"withdrawn_at,omitempty"`
		WithdrawnBy string `json:"withdrawn_by,omitempty"` // user@host:pid
		Withdrawal  string `json:"withdrawal,omitempty"`   // record_id
		Reason      string `json:"reason,omitempty"`
		Protected   bool   `json:"protected,omitempty"`
	}{runJSON: s.forJSON(), Protected: s.Protected}
	if s.By != nil {
		out.WithdrawnAt, out.WithdrawnBy, out.Withdrawal, out.Reason = s.WithdrawnText(), s.By.Writer, s.By.ID, s.Reason()
	}
	return json.Marshal(out)
}

// WithdrawnText is when the withdrawal was appended, by the clock of its machine, or by the stamp if that was not set. It is
// empty if there is none.
func (s Standing) WithdrawnText() string {
	switch {
	case s.By == nil:
		return ""
	case s.By.Written.IsZero():
		return cohort.FormatTime(s.By.Stamp.Time())
	}
	return cohort.FormatTime(s.By.Written)
}

// WithdrawnBy is who appended the withdrawal, as user@host:pid; empty if nobody knows.
func (s Standing) WithdrawnBy() string {
	if s.By == nil {
		return ""
	}
	return s.By.Writer
}

// Reason is that of the withdrawal, as its user gave it.
func (s Standing) Reason() string {
	if s.By == nil {
		return ""
	}
	return s.By.Reason()
}
