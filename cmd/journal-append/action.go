package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/runfold/runfold/cohort"
)

// actionFlags are the flags that append an action instead of a record, by its name.
type actionFlags struct {
	withdraw, undo, protect, unprotect bool
	reason                             string
}

func (f *actionFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.withdraw, "withdraw", false, "take the run of --run-id out, with all that was appended of it so far")
	cmd.Flags().BoolVar(&f.undo, "undo", false, "bring it back")
	cmd.Flags().BoolVar(&f.protect, "protect", false, "refuse all later withdrawals of it")
	cmd.Flags().BoolVar(&f.unprotect, "unprotect", false, "end that")
	cmd.Flags().StringVar(&f.reason, "reason", "", "why, for those who ask later; only with one of these four")
}

// given tells whether any of the flags stands on the command line.
func (actionFlags) given(cmd *cobra.Command) bool {
	return slices.ContainsFunc([]string{"withdraw", "undo", "protect", "unprotect", "reason"}, cmd.Flags().Changed)
}

// action is the one that the flags ask for. ok is false if they ask for a record.
func (f actionFlags) action() (a cohort.Action, ok bool, err error) {
	for _, of := range []struct {
		given  bool
		action cohort.Action
	}{{f.withdraw, cohort.Withdraw}, {f.undo, cohort.Undo}, {f.protect, cohort.Protect}, {f.unprotect, cohort.Unprotect}} {
		if !of.given {
			continue
		}
		if ok {
			return a, true, fmt.Errorf("--%v and --%v exclude each other: an action is one of them", a, of.action)
		}
		a, ok = of.action, true
	}
	if !ok && f.reason != "" {
		return a, false, errors.New("--reason goes with --withdraw, --undo, --protect or --unprotect; a record has fields of its own: --set reason=TEXT")
	}
	return a, ok, nil
}

// actionLine is the action that the flags describe, as one line of input.
func (o options) actionLine(a cohort.Action) (line, error) {
	l := line{file: fmt.Sprintf("%v from flags", a)}
	switch {
	case o.one.runID == "":
		return l, fmt.Errorf("--%v needs --run-id: which run is meant?", a)
	case o.one.json != "", o.one.timestamp != "", len(o.one.setString) > 0, o.zone != nil:
		return l, fmt.Errorf("--%v appends no record: --json, --timestamp, --set-string and --assume-zone do not go with it", a)
	}
	at := cohort.Aim{RunID: o.one.runID, Stage: o.one.stage}
	for _, s := range o.one.set {
		name, text, ok := strings.Cut(s, "=")
		if _, twice := at.More[name]; !ok || name == "" || twice {
			return l, fmt.Errorf("--set %q: with --%v it names a further field of the root's key, each once, such as target=churn_30d", s, a)
		}
		if at.More == nil {
			at.More = map[string]string{}
		}
		at.More[name] = text
	}
	r, err := cohort.NewAction(a, at, o.actions.reason)
	if err != nil {
		return l, fmt.Errorf("%s: %w", l.file, err)
	}
	r.ID = o.one.recordID
	l.action = &r
	return l, nil
}
