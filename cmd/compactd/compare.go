package main

import (
	"bufio"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/runfold/runfold/cmd/compactd/found"
	"github.com/runfold/runfold/internal/jsonscan"
	"github.com/runfold/runfold/internal/terminal"
)

func (a *app) compareCommand() *cobra.Command {
	var q question
	var all, asJSON bool
	cmd := &cobra.Command{
		Use:   "compare RUN[:STAGE] RUN[:STAGE]... --root DIR",
		Short: "Show in what runs differ",
		Long: `Compare two or more runs: a line for each value in which they differ, with its name and the value of each run. Values are compared, and not how they are spelled: 1, 1.0 and
1e0 are equal. Members of the snapshot that are not values of the index are compared, too, under names such as snapshot.best_epoch, and objects member by member: config.seed. When and by whom the records
were written is left out: "compactd show" tells it.

--all also shows the values that are equal. Then each line begins with = or with !, which marks a difference. RUN is as for "compactd show"; --stage and --cohort
hold for all runs.

Elsewhere than on a terminal there are tabs between the names and the values, nothing is shortened, and a value that a run does not have is empty. A text that reads as
a number is a JSON string beside numbers. The first line names the runs. The exit code is 0 whether or not they differ.

It reads only, takes no lock, and may run at any time.`,
		Example: `  compactd compare r-16 r-17 --stage TRAINING --root runs
  compactd compare r-16:TRAINING r-17:TRAINING --root runs --all
  compactd compare r-16 r-17 --stage TRAINING --root runs --json | jq .differ
  compactd compare r-16:TRAINING r-17:TRAINING --root runs | grep params`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ans, err := a.ask(cmd.Context(), &q)
			if err != nil {
				return err
			}
			defer ans.close()
			c, err := ans.found().Compare(cmd.Context(), args)
			if err != nil {
				return errors.Join(err, ans.moment.Damage)
			}
			if asJSON {
				err = a.printComparedJSON(c, all)
			} else {
				err = a.printCompared(c, all)
			}
			return errors.Join(err, ans.moment.Damage)
		},
	}
	f := cmd.Flags()
	q.oneFlags(f)
	f.BoolVar(&all, "all", false, "also what is equal")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) printCompared(c found.Compared, all bool) error {
	out := bufio.NewWriter(a.stdout)
	width, shown := a.screen()
	header := []string{""}
	for _, key := range c.Keys {
		header = append(header, terminal.Field(key))
	}
	lines := [][]string{header}
	for _, r := range c.Rows {
		if !r.Differ && !all {
			continue
		}
		line := []string{terminal.Field(r.Name)}
		for _, v := range r.Values {
			text := found.Field{Name: r.Name, Value: v}.Text()
			if text != "" && jsonscan.KindOf(v) == jsonscan.String && (r.Mixed() && isValue(text) || shown && text == "-") {
				text = terminal.Line(string(v)) // "0.7" is not 0.7, and "-" is not nothing
			}
			line = append(line, text)
		}
		lines = append(lines, line)
		if all {
			mark := "= "
			if r.Differ {
				mark = "! "
			}
			line[0] = mark + line[0]
		}
	}
	if len(lines) == 1 {
		a.say("they do not differ")
	}
	if !shown {
		for _, line := range lines {
			out.WriteString(strings.Join(line, "\t") + "\n") // a bufio.Writer keeps its first error
		}
		return out.Flush()
	}
	names := 0
	for _, line := range lines {
		names = max(names, terminal.Width(line[0]))
	}
	most := max((width-names)/len(c.Keys)-2, 12)
	t := &tableWriter{out: out, widths: make([]int, len(header)), rights: make([]bool, len(header))}
	for _, line := range headLines(header, most) {
		if err := t.add(line); err != nil {
			return err
		}
	}
	for _, line := range lines[1:] {
		for i := range line {
			if line[i] == "" {
				line[i] = "-"
			}
			if i > 0 {
				line[i] = terminal.Cut(line[i], most)
			}
		}
		if err := t.add(line); err != nil {
			return err
		}
	}
	return errors.Join(t.begin(), out.Flush())
}

// headLines are the keys, each whole: where one has no room in a line, it goes on in the next one.
func headLines(header []string, most int) (lines [][]string) {
	for i, key := range header {
		for n, part := range wrapped(key, most) {
			if n == len(lines) {
				lines = append(lines, make([]string, len(header)))
			}
			lines[n][i] = part
		}
	}
	return lines
}

// printComparedJSON prints names with a list of values each, in the order of the runs; null where a run has none.
func (a *app) printComparedJSON(c found.Compared, all bool) error {
	var differ, equal []found.Field
	for _, r := range c.Rows {
		list := []byte{'['}
		for i, v := range r.Values {
			if i > 0 {
				list = append(list, ',')
			}
			if v == nil {
				v = []byte("null")
			}
			list = append(list, v...)
		}
		list = append(list, ']')
		if !jsonscan.Valid(list) { // two values of one name
			list = jsonscan.Quote(string(list))
		}
		if r.Differ {
			differ = append(differ, found.Field{Name: r.Name, Value: list})
		} else {
			equal = append(equal, found.Field{Name: r.Name, Value: list})
		}
	}
	out := map[string]any{"runs": c.Keys, "differ": found.Object(differ)}
	if all {
		out["equal"] = found.Object(equal)
	}
	return a.printJSON(out)
}
