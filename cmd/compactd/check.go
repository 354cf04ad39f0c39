package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/internal/terminal"
)

func (a *app) checkCommand() *cobra.Command {
	var asJSON, replay bool
	cmd := &cobra.Command{
		Use:   "check --root DIR",
		Short: "Audit a whole root and say what is wrong and where",
		Long: `Audit a whole root: every entry of every stream, the chain of manifests, sizes and
checksums of the data files, that both published files hold the same keys, no key twice,
snapshot_seq unique and increasing, every folded record in the index, and that what is
published is the newest generation.

What has one cause is told once, with the first place and the number of the others. It reads only, takes no lock, and may run at
any time. It exits with 4 if it finds damage, and with 75 if there is none and the storage does not show everything.

With --replay it also derives the newest generation again, from the streams that are still there and from the generations before it, down
to the first one that is not kept, and compares each row with it: what it holds, where it stands, and its place in the order. So it finds a value that was
changed together with all checksums. It says how many rows have a source, and of how many nothing can be said any more. It needs
about 250 bytes of memory for each row, and no temporary files.`,
		Example: `  compactd check --root runs
  compactd check --root runs --replay
  compactd check --root runs --json | jq ".problem_list[]"`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			problems := []audit.Problem{}
			var unheard error // the first error of standard output
			end := a.progress.begin("checking", &cfg)
			look := func(p audit.Problem) {
				problems = append(problems, p)
				if !asJSON && unheard == nil {
					a.progress.clear()
					unheard = a.printProblem(p)
				}
			}
			var done audit.Checked
			var again *audit.Replayed
			if replay {
				again = new(audit.Replayed)
				*again, err = audit.Replay(cmd.Context(), cfg, look)
				done = again.Checked
			} else {
				done, err = audit.Check(cmd.Context(), cfg, look)
			}
			end()
			if asJSON && (err == nil || len(problems) > 0) {
				err = errors.Join(err, a.printChecked(done, again, problems))
			} else if !asJSON && err == nil {
				a.say("%d manifests, %d data files, %d rows, %d streams with %d records (%d unfolded): %d problems",
					done.Manifests, done.DataFiles, done.Rows, done.Streams, done.Records, done.Unfolded, done.Problems)
				if replay {
					a.say("replay: %v", *again)
				}
			}
			switch {
			case err != nil:
			case done.Problems > 0:
				err = errDamaged
			case done.Unseen > 0:
				err = errUnseen
			}
			return errors.Join(err, unheard)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&replay, "replay", false, "derive the newest generation again and compare each row")
	return cmd
}

// printChecked prints the result as one JSON object. again is nil without --replay.
func (a *app) printChecked(done audit.Checked, again *audit.Replayed, problems []audit.Problem) error {
	if again != nil {
		return a.printJSON(struct {
			audit.Replayed
			List []audit.Problem `json:"problem_list"`
		}{*again, problems})
	}
	return a.printJSON(struct {
		audit.Checked
		List []audit.Problem `json:"problem_list"`
	}{done, problems})
}

func (a *app) printProblem(p audit.Problem) error {
	kind := "note"
	if p.Damage {
		kind = "damage"
	}
	_, err := fmt.Fprintf(a.stdout, "%s: %s\n", kind, terminal.Line(p.String()))
	return err
}
