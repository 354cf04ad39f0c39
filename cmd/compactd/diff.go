package main

import (
	"bufio"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/history"
	"github.com/runfold/runfold/internal/terminal"
)

func (a *app) diffCommand() *cobra.Command {
	limit, asJSON := 20, false
	cmd := &cobra.Command{
		Use:   "diff --root DIR G1 [G2]",
		Short: "Show which rows differ between two generations",
		Long: `Show which rows were added, are gone or have changed between the generations G1 and G2, and of
those that have changed which fields: columns, and members of the snapshot. G2 is the newest
generation unless it is given. A row that was written again and says the same is only counted.

Both generations must be kept: see compactd history, and compactd retention show.

It reads only, takes no lock, and may run at any time.`,
		Example: `  compactd diff --root runs 41
  compactd diff --root runs 41 42 --limit 1000 --json | jq '.rows[] | select(.change == "gone") | .key'`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			if limit < 0 {
				return usageError{fmt.Errorf("--limit %d: it must not be negative", limit)}
			}
			gens, err := generationsOf(args)
			if err != nil {
				return err
			}
			end := a.progress.begin("comparing", &cfg)
			defer end()
			store, err := cfg.Store()
			if err != nil {
				return err
			}
			diff, err := history.Compare(cmd.Context(), store, gens[0], gens[1], history.DiffOptions{Limit: limit})
			end()
			switch {
			case err != nil:
				return err
			case asJSON:
				return a.printJSON(diff)
			}
			return a.printDiff(diff)
		},
	}
	cmd.Flags().IntVar(&limit, "limit", limit, "list so many rows of each kind")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the answer as JSON")
	return cmd
}

// generationsOf reads one or two generations; one that is not given is 0, the newest.
func generationsOf(args []string) (gens [2]cohort.Generation, err error) {
	for i, arg := range args {
		n, err := strconv.ParseUint(arg, 10, 63)
		if err != nil || n == 0 {
			return gens, usageError{fmt.Errorf("generation %q is no number from 1 on", arg)}
		}
		gens[i] = cohort.Generation(n)
	}
	return gens, nil
}

// printDiff is for people: a line for each row, and one for each of its fields.
func (a *app) printDiff(d history.Diff) error {
	out := bufio.NewWriter(a.stdout)
	fmt.Fprintf(out, "generation %d to %d: %s\n", d.From, d.To, differences(d))
	printRows(out, d.Rows)
	if d.LeftOut > 0 {
		fmt.Fprintf(out, "%d more rows: --limit shows more\n", d.LeftOut)
	}
	return out.Flush()
}

func differences(d history.Diff) string {
	text := fmt.Sprintf("%d added, %d gone, %d changed", d.Added, d.Gone, d.Changed)
	if d.Again > 0 {
		text += fmt.Sprintf(", %d written again without a change", d.Again)
	}
	return text
}

func printRows(out *bufio.Writer, rows []history.Row) {
	signs := map[string]string{history.Added: "+", history.Gone: "-", history.Changed: "~"}
	for _, r := range rows {
		withdrawn := ""
		if r.Withdrawn {
			withdrawn = "\twithdrawn"
		}
		fmt.Fprintf(out, "%s %s\t%s%s\n", signs[r.Change], terminal.Field(string(r.Key)), r.Cohort, withdrawn)
		for _, f := range r.Fields {
			fmt.Fprintf(out, "    %s: %s -> %s\n", terminal.Field(f.Name), shownValue(f.Was), shownValue(f.Now))
		}
		if r.LeftOut > 0 {
			fmt.Fprintf(out, "    %d more fields\n", r.LeftOut)
		}
		if r.Change == history.Changed && len(r.Fields) == 0 {
			fmt.Fprintln(out, "    only the order or the spelling of its fields")
		}
	}
}

// shownValue is a value on one line, cut where it is long.
func shownValue(v history.Value) string {
	const most = 120
	text := string(v.JSON)
	switch {
	case v.Size > 0:
		return fmt.Sprintf("(%d bytes)", v.Size)
	case text == "":
		return "absent"
	case len(text) > most:
		return terminal.Line(strings.ToValidUTF8(text[:most], "")) + "..."
	}
	return terminal.Line(text)
}
