package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/runfold/runfold/compactor/index"
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
1e0 are equal. Members of the snapshot that are not values of the index are compared, too, under names such as snapshot.best_epoch. When and by whom the records
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
			cfg, err := a.config()
			if err != nil {
				return err
			}
			ans, err := a.ask(cmd.Context(), cfg, &q)
			if err != nil {
				return err
			}
			defer ans.close()
			c, err := ans.compare(cmd.Context(), args)
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

// compared are the values of runs, by their names.
type compared struct {
	keys []string
	rows []comparedRow
}

// comparedRow is one name with a value of each run; nil where a run has none.
type comparedRow struct {
	name   string
	values [][]byte
	differ bool
}

// mixed tells whether some of the values are texts, and some are not.
func (r comparedRow) mixed() bool {
	texts, others := 0, 0
	for _, v := range r.values {
		switch {
		case v == nil:
		case jsonscan.KindOf(v) == jsonscan.String:
			texts++
		default:
			others++
		}
	}
	return texts > 0 && others > 0
}

func (a *answer) compare(ctx context.Context, asked []string) (c compared, err error) {
	places := map[string]int{}
	for i, text := range asked {
		f, err := a.find(ctx, text)
		if err != nil {
			return c, err
		}
		c.keys = append(c.keys, string(f.Key))
		for _, v := range f.toCompare() {
			at, ok := places[v.name]
			if !ok {
				at = len(c.rows)
				places[v.name] = at
				c.rows = append(c.rows, comparedRow{name: v.name, values: make([][]byte, len(asked))})
			}
			c.rows[at].values[i] = v.value
		}
	}
	for i, key := range c.keys {
		if slices.Contains(c.keys[:i], key) {
			return c, usageError{fmt.Errorf("%s stands twice: a run does not differ from itself", terminal.Field(key))}
		}
	}
	for i := range c.rows {
		r := &c.rows[i]
		for _, v := range r.values[1:] {
			r.differ = r.differ || !sameValue(v, r.values[0])
		}
	}
	// Names of the index first, in the order in which they came, and then those of snapshots.
	slices.SortStableFunc(c.rows, func(x, y comparedRow) int {
		of := func(r comparedRow) int {
			if strings.HasPrefix(r.name, "snapshot.") {
				return 1
			}
			return 0
		}
		return of(x) - of(y)
	})
	return c, nil
}

// sameValue compares two values, nil for none.
func sameValue(v, w []byte) bool {
	if v == nil || w == nil {
		return v == nil && w == nil
	}
	return bytes.Equal(index.OneSpelling(v), index.OneSpelling(w))
}

// toCompare are the values that a run has. Two of one name stand together.
func (f *found) toCompare() (out []shownField) {
	if ts := f.timestamp(); ts != "" {
		out = append(out, shownField{timestampColumn, jsonscan.Quote(ts)})
	}
	out = append(out, shownField{"stage", jsonscan.Quote(f.Stage)}, shownField{"cohort_id", jsonscan.Quote(string(f.Cohort))})
	at := map[string]int{}
	for _, v := range f.fields {
		if i, twice := at[v.name]; twice {
			out[i].value = slices.Concat(out[i].value, []byte(" "), v.value)
			continue
		}
		at[v.name] = len(out)
		out = append(out, v)
	}
	for _, v := range f.snapshot {
		if _, is := at[v.name]; is || jsonscan.KindOf(v.value) == jsonscan.Object && (v.name == "metrics" || v.name == "params" || v.name == "tags") && f.hasGroup(v.name) {
			continue
		}
		out = append(out, shownField{"snapshot." + v.name, v.value})
	}
	return out
}

// hasGroup tells whether the index has members of an object of the record.
func (f *found) hasGroup(name string) bool {
	return slices.ContainsFunc(f.fields, func(v shownField) bool { return strings.HasPrefix(v.name, name+".") })
}

func (a *app) printCompared(c compared, all bool) error {
	out := bufio.NewWriter(a.stdout)
	width, shown := a.screen()
	header := []string{""}
	for _, key := range c.keys {
		header = append(header, terminal.Field(key))
	}
	lines := [][]string{header}
	for _, r := range c.rows {
		if !r.differ && !all {
			continue
		}
		line := []string{terminal.Field(r.name)}
		for _, v := range r.values {
			text := shownField{r.name, v}.shownText()
			if text != "" && jsonscan.KindOf(v) == jsonscan.String && (r.mixed() && isValue(text) || shown && text == "-") {
				text = terminal.Line(string(v)) // "0.7" is not 0.7, and "-" is not nothing
			}
			line = append(line, text)
		}
		lines = append(lines, line)
		if all {
			mark := "= "
			if r.differ {
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
	most := max((width-names)/len(c.keys)-2, 12)
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
func (a *app) printComparedJSON(c compared, all bool) error {
	var differ, equal []shownField
	for _, r := range c.rows {
		list := []byte{'['}
		for i, v := range r.values {
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
		if r.differ {
			differ = append(differ, shownField{r.name, list})
		} else {
			equal = append(equal, shownField{r.name, list})
		}
	}
	out := map[string]any{"runs": c.keys, "differ": objectOf(differ)}
	if all {
		out["equal"] = objectOf(equal)
	}
	return a.printJSON(out)
}
