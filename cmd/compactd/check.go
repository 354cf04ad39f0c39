package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/internal/terminal"
)

func (a *app) checkCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check --root DIR",
		Short: "Audit a whole root and say what is wrong and where",
		Long: `Audit a whole root: every entry of every stream, the chain of manifests, sizes and
checksums of the data files, that both published files hold the same keys, no key twice,
snapshot_seq unique and increasing, every folded record in the index, and that what is
published is the newest generation.

What has one cause is told once, with the first place and the number of the others. It reads only, takes no lock, and may run at
any time. It exits with 4 if it finds damage, and with 75 if there is none and the storage does not show everything.`,
		Example: `  compactd check --root runs
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
			done, err := audit.Check(cmd.Context(), cfg, func(p audit.Problem) {
				problems = append(problems, p)
				if !asJSON && unheard == nil {
					a.progress.clear()
					unheard = a.printProblem(p)
				}
			})
			end()
			if asJSON && (err == nil || len(problems) > 0) {
				err = errors.Join(err, a.printJSON(struct {
					audit.Checked
					List []audit.Problem `json:"problem_list"`
				}{done, problems}))
			} else if !asJSON && err == nil {
				a.say("%d manifests, %d data files, %d rows, %d streams with %d records (%d unfolded): %d problems",
					done.Manifests, done.DataFiles, done.Rows, done.Streams, done.Records, done.Unfolded, done.Problems)
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
	return cmd
}

func (a *app) printProblem(p audit.Problem) error {
	kind := "note"
	if p.Damage {
		kind = "damage"
	}
	_, err := fmt.Fprintf(a.stdout, "%s: %s\n", kind, terminal.Line(p.String()))
	return err
}
