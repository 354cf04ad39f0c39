package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/compactor/query"
	"github.com/runfold/runfold/internal/quantity"
	"github.com/runfold/runfold/internal/terminal"
)

// What the commands that act on runs have in common, as their help says it.
const (
	whichRows = `The rows are those of --run-id, or those for which --where is true, such as "metrics.auc > 0.7 and stage = 'TRAINING'": docs/operations.md has
the language. --stage and --cohort narrow both. A name that no row has is an error. If there is no such row, the exit code is 1 with --run-id alone, and 0
with --where, as a script may ask for what is not there today.`
	foldsTwice = `It folds, so that all that was appended is looked at; appends one action for each row, which is durable and never lost; and folds again, so that
both files show it. While another compactor is at work it waits for --wait. With --no-fold it looks at the newest generation as it is, and the next
fold shows what it did. With --dry-run it lists the rows, also of the newest generation as it is, and changes nothing.`
)

// defaultWait is longer than most folds take.
const defaultWait = 30 * time.Second

// actFlags say which rows an action is about.
type actFlags struct {
	action                              cohort.Action
	where, runID, stage, cohort, reason string
	dryRun, noFold, asJSON              bool
	wait                                time.Duration
	expr                                query.Expr
}

func (f *actFlags) add(cmd *cobra.Command) {
	f.wait = defaultWait
	flags := cmd.Flags()
	flags.StringVar(&f.where, "where", "", "the rows for which this `expression` is true")
	flags.StringVar(&f.runID, "run-id", "", "the rows of this run")
	flags.StringVar(&f.stage, "stage", "", "of these only the rows of this stage")
	flags.StringVar(&f.cohort, "cohort", "", "of these only the rows of this cohort")
	flags.StringVar(&f.reason, "reason", "", "why, for those who ask later")
	flags.BoolVar(&f.dryRun, "dry-run", false, "list the rows and change nothing")
	flags.BoolVar(&f.noFold, "no-fold", false, "append only, and leave the rest to the next fold")
	flags.BoolVar(&f.asJSON, "json", false, "print a line of JSON for each row")
	flags.Var((*quantity.Duration)(&f.wait), "wait", "wait so long for another compactor to end")
}

// check reads the flags.
func (f *actFlags) check() (err error) {
	switch {
	case f.where == "" && f.runID == "":
		return usageError{errors.New("which rows? Give --run-id or --where")}
	case f.cohort != "":
		if _, err := cohort.ParseID(f.cohort); err != nil {
			return usageError{fmt.Errorf("--cohort: %w", err)}
		}
	}
	if len(f.reason) > cohort.MaxReason {
		return usageError{fmt.Errorf("--reason has %d bytes: at most %d", len(f.reason), cohort.MaxReason)}
	}
	text := f.where
	if text == "" {
		text = "run_id = " + query.Text(f.runID)
	}
	f.expr, err = parseExpression(text)
	return err
}

// parseExpression reads what --where says.
func parseExpression(text string) (query.Expr, error) {
	e, err := query.Parse(text)
	if err != nil {
		return e, inWhere(err)
	}
	return e, nil
}

// act does what the flags say.
func (a *app) act(cmd *cobra.Command, f actFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	cfg, err := a.config()
	if err != nil {
		return err
	}
	cfg.Wait = f.wait
	ctx := cmd.Context()
	var before error
	if !f.dryRun && !f.noFold {
		if before, err = a.foldFor(ctx, cfg); err != nil {
			return err
		}
	}
	rows, err := a.choose(ctx, cfg, &f)
	if err != nil {
		return inWhere(err)
	}
	todo, others := f.sort(rows)
	if err := a.printStandings(todo, f.dryRun, f.asJSON); err != nil {
		return err
	}
	if err := a.tellOthers(&f, todo, others); err != nil || len(todo) == 0 {
		return errors.Join(err, before)
	}
	if f.dryRun {
		a.say("would %s %s: nothing was changed", wordsOf[f.action].would, examples(todo))
		return nil
	}
	return errors.Join(before, a.actOn(ctx, cfg, &f, todo))
}

// foldFor folds before or after an action. Damage, and what the storage does not show, end nothing: they are the exit code of the command at
// its end.
func (a *app) foldFor(ctx context.Context, cfg compactor.Config) (late, err error) {
	end := a.progress.begin("folding", &cfg)
	report, err := compactor.Fold(ctx, cfg)
	end()
	if err != nil {
		return nil, err
	}
	return lateOf(report), nil
}

// lateOf is what a fold met and went on after.
func lateOf(report compactor.Report) error {
	switch {
	case !report.Clean():
		return errDamage
	case report.Unseen > 0:
		return errUnseen
	}
	return nil
}

// choose are the rows that the flags mean. With --run-id alone those are looked for, too, of which the action says nothing new.
func (a *app) choose(ctx context.Context, cfg compactor.Config, f *actFlags) ([]compactor.Standing, error) {
	defer a.progress.begin("looking for rows", nil)()
	from := func(file, other *index.File) iter.Seq2[index.Identity, error] {
		return func(yield func(index.Identity, error) bool) {
			hints, err := query.Hints(ctx, f.expr, file, other)
			if err != nil {
				yield(index.Identity{}, err)
				return
			}
			for _, h := range hints {
				a.say("--where: %s", h)
			}
			for h, err := range query.SelectFrom(ctx, f.expr, file, other) {
				if (err != nil || f.means(h)) && !yield(h, err) {
					return
				}
			}
		}
	}
	fromIndex, fromWithdrawn := from, from
	switch {
	case f.where == "":
	case f.action == cohort.Undo:
		fromIndex = nil
	default:
		fromWithdrawn = nil
	}
	return compactor.Standings(ctx, cfg, fromIndex, fromWithdrawn)
}

// means tells whether --run-id, --stage and --cohort leave a row.
func (f *actFlags) means(h index.Identity) bool {
	return (f.runID == "" || f.runID == h.RunID) && (f.stage == "" || f.stage == h.Stage) && (f.cohort == "" || f.cohort == string(h.Cohort))
}

// sort divides the rows into those to act on and the others, which are protected, or are as they shall be already.
func (f *actFlags) sort(rows []compactor.Standing) (todo, others []compactor.Standing) {
	for _, r := range rows {
		is := false
		switch f.action {
		case cohort.Withdraw:
			is = !r.Withdrawn && !r.Protected
		case cohort.Undo:
			is = r.Withdrawn
		case cohort.Protect:
			is = !r.Protected
		case cohort.Unprotect:
			is = r.Protected
		}
		if is {
			todo = append(todo, r)
		} else {
			others = append(others, r)
		}
	}
	return todo, others
}

// errProtected ends a withdrawal of rows that are all protected.
var errProtected = errors.New("nothing was withdrawn: compactd unprotect first, then withdraw again")

// tellOthers says why there is nothing to do for rows, or at all.
func (a *app) tellOthers(f *actFlags, todo, others []compactor.Standing) error {
	var protected, already []compactor.Standing
	for _, r := range others {
		if f.action == cohort.Withdraw && !r.Withdrawn {
			protected = append(protected, r)
		} else {
			already = append(already, r)
		}
	}
	if len(already) > 0 {
		a.say("%s: %s", wordsOf[f.action].already, examples(already))
	}
	if len(protected) > 0 {
		a.say("protected, and not withdrawn: %s", examples(protected))
	}
	switch {
	case len(todo) > 0:
		return nil
	case len(protected) > 0:
		return errProtected
	case len(already) > 0:
		return nil
	case f.where == "":
		return fmt.Errorf("there is no row of %s", f.wanted())
	}
	a.say("there is no row for which %s", f.wanted())
	return nil
}

// wanted are the rows that the flags mean, in words.
func (f *actFlags) wanted() string {
	text := "run " + f.runID
	if f.where != "" {
		text = f.where
		if f.runID != "" {
			text += ", of run " + f.runID
		}
	}
	if f.stage != "" {
		text += ", stage " + f.stage
	}
	if f.cohort != "" {
		text += ", cohort " + f.cohort
	}
	if f.dryRun || f.noFold {
		text += "; what is not folded yet was not looked at"
	}
	return text
}

// wordsOf say what is done by an action.
var wordsOf = map[cohort.Action]struct{ would, did, already string }{
	cohort.Withdraw:  {"withdraw", "withdrew", "withdrawn already"},
	cohort.Undo:      {"bring back", "brought back", "not withdrawn"},
	cohort.Protect:   {"protect", "protected", "protected already"},
	cohort.Unprotect: {"free", "freed", "not protected"},
}

// mostExamples is how many rows are named.
const mostExamples = 5

// examples counts rows, and names the first.
func examples(rows []compactor.Standing) string {
	var keys []string
	for _, r := range rows[:min(mostExamples, len(rows))] {
		keys = append(keys, string(r.Key))
	}
	text := fmt.Sprintf("%d rows: %s", len(rows), strings.Join(keys, ", "))
	if len(rows) == 1 {
		text = fmt.Sprintf("1 row: %s", keys[0])
	}
	if more := len(rows) - len(keys); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// actOn appends the actions, folds unless the flags say no, and says what was done.
func (a *app) actOn(ctx context.Context, cfg compactor.Config, f *actFlags, rows []compactor.Standing) (err error) {
	var did compactor.Acted
	end := a.progress.begin("folding", &cfg)
	if f.noFold {
		did.Done, err = compactor.Act(ctx, cfg, f.action, f.reason, rows)
	} else {
		did, err = compactor.ActAndFold(ctx, cfg, f.action, f.reason, rows)
	}
	end()
	switch {
	case did.Done < len(rows):
		a.say("of %d rows the action is durable for %d, which the next fold shows: the same call again does the rest", len(rows), did.Done)
		return err
	case !did.Folded:
		a.say("%s %s; the next fold shows it", wordsOf[f.action].did, examples(rows))
	default:
		a.say("%s %s", wordsOf[f.action].did, examples(rows))
	}
	switch {
	case len(did.Again) == 0:
	case did.Back == len(did.Again):
		a.say("written again before the withdrawal, and brought back as nobody has looked at them: %s", examples(did.Again))
	default:
		a.say("written again before the withdrawal, and not all brought back: compactd withdraw --undo does it: %s", examples(did.Again))
	}
	if errors.Is(err, compactor.ErrLocked) {
		err = nil // the one that holds the lock does it
	}
	return errors.Join(err, lateOf(did.Report))
}

// printStandings lists rows where that was asked for.
func (a *app) printStandings(rows []compactor.Standing, asText, asJSON bool) error {
	out := bufio.NewWriterSize(a.stdout, 64<<10)
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	for _, r := range rows {
		var err error
		switch {
		case asJSON:
			err = e.Encode(r)
		case asText:
			_, err = out.Write(append(standingText(out.AvailableBuffer(), r), '\n'))
		}
		if err != nil {
			return err
		}
	}
	return out.Flush()
}

// standingText is a row on one line.
func standingText(line []byte, r compactor.Standing) []byte {
	line = append(line, terminal.Field(string(r.Key))...)
	line = strconv.AppendUint(append(line, '\t'), uint64(r.Seq), 10)
	line = append(append(line, '\t'), timeOf(r.Run)...)
	line = append(append(line, '\t'), r.Cohort...)
	if r.Withdrawn {
		line = append(append(line, "\twithdrawn\t"...), r.WithdrawnText()...)
		line = append(append(line, '\t'), terminal.Field(r.WithdrawnBy())...)
		line = append(append(line, '\t'), terminal.Field(r.Reason())...)
	}
	if r.Protected {
		line = append(line, "\tprotected"...)
	}
	return line
}
