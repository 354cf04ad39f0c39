package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/runfold/runfold/cmd/compactd/found"
	"github.com/runfold/runfold/internal/terminal"
)

// whereToLook is the hint for a run that was not found.
func whereToLook(none *found.NoneError) string {
	switch {
	case none.Unfolded:
		return ""
	case none.Earlier:
		return "compactd runs lists what there is, and with --at what there was"
	}
	return "compactd runs lists what there is; --unfolded also looks at what no fold has read yet, and compactd runs --withdrawn at what was taken out"
}

func (a *app) showCommand() *cobra.Command {
	var q question
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show RUN[:STAGE] --root DIR",
		Short: "Show all that is known of one run: its record, its snapshot, and where it came from",
		Long: `Show one run: what stands in the index, those values included that no column holds, its snapshot, and where it came from: the generation that was
looked at, the stream and its writer, and when it was appended. RUN is a run id, a run id with its stage, or a key as "compactd runs" lists them. Where a
run has several rows, --stage and --cohort say which one is meant, or its key does; without that the keys are listed and the exit code is 2.

A value is shown as it was written, with every digit, where the snapshot has it, too: that is so for records without a "snapshot" of their own. Else a number is
the shortest text that reads back as the same number.

Elsewhere than on a terminal a line has a name and a value, with a tab between them; the snapshot is one line of JSON. If there is no such run, the exit code is 1.
"compactd explain" lists every write of a run that is still known.

It reads only, takes no lock, and may run at any time.`,
		Example: `  compactd show r-17:TRAINING --root runs
  compactd show r-17 --stage TRAINING --root runs --unfolded
  compactd show r-17:TRAINING --root runs --json | jq .snapshot`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ans, err := a.ask(cmd.Context(), &q)
			if err != nil {
				return err
			}
			defer ans.close()
			f, err := ans.found().Find(cmd.Context(), args[0])
			if err != nil {
				return errors.Join(err, ans.moment.Damage)
			}
			if asJSON {
				err = a.printFoundJSON(ans, f)
			} else {
				err = a.printFound(ans, f)
			}
			return errors.Join(err, ans.moment.Damage)
		},
	}
	one := cmd.Flags()
	q.oneFlags(one)
	one.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// printFoundJSON prints an object, whose values keep their bytes.
func (a *app) printFoundJSON(ans *answer, f *found.Run) error {
	snapshot := f.Snapshot
	if len(snapshot) == 0 {
		snapshot = []byte("null")
	}
	var out bytes.Buffer
	who := found.Object(f.Who())
	body := append(bytes.TrimSuffix(who, []byte("}")), `,"fields":`...)
	body = append(append(body, found.Object(f.Fields)...), `,"snapshot":`...)
	body = append(append(body, snapshot...), `,"from":`...)
	body = append(append(body, found.Object(f.From(ans.moment.Newest))...), '}')
	if err := json.Indent(&out, body, "", "  "); err != nil {
		return err
	}
	text := out.String()
	if _, shown := a.screen(); shown {
		text = linesOf(text)
	}
	_, err := a.stdout.Write([]byte(text + "\n"))
	return err
}

// linesOf is a text of several lines that is safe to show.
func linesOf(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = terminal.Line(line)
	}
	return strings.Join(lines, "\n")
}

func (a *app) printFound(ans *answer, f *found.Run) error {
	out := bufio.NewWriter(a.stdout)
	_, shown := a.screen()
	sections := [][]found.Field{f.Who(), f.Fields, f.From(ans.moment.Newest)}
	widest := 0
	for _, fields := range sections {
		for _, v := range fields {
			widest = max(widest, terminal.Width(terminal.Field(v.Name)))
		}
	}
	print := func(fields []found.Field, last bool) {
		for _, v := range fields {
			name := terminal.Field(v.Name)
			if shown {
				text := v.Text()
				if v.Value == nil {
					text = "-"
				}
				out.WriteString(terminal.Pad(name, widest, false) + "  " + text + "\n") // a bufio.Writer keeps its first error
				continue
			}
			out.WriteString(name + "\t" + v.Text() + "\n")
		}
		if shown && !last {
			out.WriteString("\n")
		}
	}
	print(sections[0], false)
	print(sections[1], len(sections[1]) == 0)
	if len(f.Snapshot) > 0 {
		text := "snapshot\t" + terminal.Line(string(f.Snapshot))
		if shown {
			var b bytes.Buffer
			if err := json.Indent(&b, f.Snapshot, "", "  "); err != nil {
				return err
			}
			text = "snapshot " + linesOf(b.String()) + "\n"
		}
		out.WriteString(text + "\n")
	}
	print(sections[2], true)
	return out.Flush()
}
