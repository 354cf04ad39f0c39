package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/internal/terminal"
)

func (a *app) explainCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "explain KEY|RUN_ID[:STAGE] --root DIR",
		Short: "Say who wrote a value, when, what it replaced, and what replaced it",
		Long: `List every write of a key that is still known, oldest first: its stream, host, process and user, when it was
written, from which generation on it was visible, what it replaced, and in which fields it differs from that. Of a run
id, all keys of the run are listed.

It looks in all streams, those in reaped/ and quarantine/ included, where superseded writes are, too, and in every generation
that is kept. A stream is deleted after it was folded; what is not known any more then is said. Users and hosts are what
the writer said of itself, and prove nothing.

It reads only, takes no lock, and may run at any time. It reads all streams: with many that may take a while. If no write is known,
the exit code is 1.`,
		Example: `  compactd explain --root runs r-17:TRAINING
  compactd explain --root runs r-17
  compactd explain --root runs r-17:TRAINING --json | jq '.keys[].writes[] | select(.current) | .writer'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			end := a.progress.begin("explaining", &cfg)
			e, err := audit.Explain(cmd.Context(), cfg, args[0])
			if meant := terminal.Unfield(args[0]); errors.Is(err, audit.ErrUnknownRun) && meant != args[0] {
				e, err = audit.Explain(cmd.Context(), cfg, meant)
			}
			end()
			if err != nil && !errors.Is(err, audit.ErrUnknownRun) {
				return err
			}
			for _, line := range e.Unread {
				a.say("not read: %s", line)
			}
			if asJSON {
				return errors.Join(a.printJSON(e), err)
			}
			return errors.Join(err, printExplanation(a.stdout, e))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printExplanation(out io.Writer, e audit.Explanation) error {
	var b strings.Builder
	for _, h := range e.Keys {
		writes := "1 write is"
		if len(h.Writes) > 1 {
			writes = fmt.Sprintf("%d writes are", len(h.Writes))
		}
		fmt.Fprintf(&b, "%s: %s known\n", terminal.Line(string(h.Key)), writes)
		if h.Older {
			b.WriteString("  older ones are known, and not shown\n")
		}
		acts := h.Actions
		for i, w := range h.Writes {
			for len(acts) > 0 && acts[0].Stamp < w.Stamp {
				printAction(&b, acts[0])
				acts = acts[1:]
			}
			printWrite(&b, i+1, w, h.Writes)
		}
		for _, a := range acts {
			printAction(&b, a)
		}
		if _, err := io.WriteString(out, b.String()); err != nil {
			return err
		}
		b.Reset()
	}
	if e.MoreKeys {
		b.WriteString("the run has more keys, which are not shown: ask for one of them\n")
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// printAction prints an action where it stands among the writes.
func printAction(b *strings.Builder, a audit.Action) {
	fmt.Fprintf(b, "-  %s  %s, record %s, cohort %s\n", a.Time, a.Action, terminal.Field(a.RecordID), a.Cohort)
	line := func(format string, args ...any) { fmt.Fprintf(b, "   "+format+"\n", args...) }
	if a.Reason != "" {
		line("reason %s", terminal.Line(a.Reason))
	}
	if by := writtenBy(a.Writer, a.Program, a.Written); by != "" {
		line("%s", by)
	}
	printStream(b, a.Stream, a.Path)
	if !a.InForce {
		line("no fold has read it yet")
	}
}

func printStream(b *strings.Builder, id cohort.StreamID, path string) {
	switch {
	case path != "":
		fmt.Fprintf(b, "   stream %s\n", terminal.Line(path))
	case id != "":
		fmt.Fprintf(b, "   stream %s, which is gone\n", id)
	}
}

// printWrite prints one write: its place in the order, then a line for each thing that is known.
func printWrite(b *strings.Builder, n int, w audit.Write, all []audit.Write) {
	at := w.Time
	if at == "" {
		at = "imported"
	}
	fmt.Fprintf(b, "%d. %s  record %s, cohort %s\n", n, at, terminal.Field(w.RecordID), w.Cohort)
	line := func(format string, args ...any) { fmt.Fprintf(b, "   "+format+"\n", args...) }
	if by := writtenBy(w.Writer, w.Program, w.Written); by != "" {
		line("%s", by)
	}
	switch {
	case w.Timestamp != "":
		line("timestamp %s", terminal.Line(w.Timestamp))
	case w.RowTime != "":
		line("timestamp of the row %s", w.RowTime)
	}
	printStream(b, w.Stream, w.Path)
	line("%s", visibility(w))
	for _, text := range relations(w, all) {
		line("%s", text)
	}
	for _, d := range w.Differs {
		line("  %s: %s -> %s", terminal.Line(d.Field), shown(d.Before), shown(d.After))
	}
	if w.MoreDiffer > 0 {
		line("  and %d other fields", w.MoreDiffer)
	}
	for _, text := range w.Unknown {
		line("not known: %s", text)
	}
}

func writtenBy(writer, program, at string) string {
	var parts []string
	if writer != "" {
		parts = append(parts, "by "+terminal.Line(writer))
	}
	if program != "" {
		parts = append(parts, "with "+terminal.Line(program))
	}
	if at != "" {
		parts = append(parts, "at "+at)
	}
	if len(parts) == 0 {
		return ""
	}
	return "written " + strings.Join(parts, " ")
}

// visibility says in which generations the row of a write is.
func visibility(w audit.Write) string {
	seq := fmt.Sprintf(", with snapshot_seq %d", w.Seq)
	switch {
	case w.Unfolded:
		return "no fold has read it yet"
	case w.Withdrawn:
		return fmt.Sprintf("its row is withdrawn, since generation %d or before%s", uint64(w.WithdrawnFirst), seq)
	case w.First == 0 && w.WithdrawnFirst > 0:
		return fmt.Sprintf("its row was withdrawn in the generations %d to %d%s", uint64(w.WithdrawnFirst), uint64(w.WithdrawnLast), seq)
	case w.First == 0:
		return "its row is in no generation that is kept"
	case w.Current && w.First == w.Last:
		return fmt.Sprintf("its row is in the newest generation, %d%s", uint64(w.First), seq)
	case w.Current:
		return fmt.Sprintf("its row is in the generations %d to %d, the newest%s", uint64(w.First), uint64(w.Last), seq)
	case w.First == w.Last:
		return fmt.Sprintf("its row is in generation %d%s", uint64(w.First), seq)
	}
	return fmt.Sprintf("its row is in the generations %d to %d%s", uint64(w.First), uint64(w.Last), seq)
}

// relations are what a write did to the others, and they to it.
func relations(w audit.Write, all []audit.Write) (lines []string) {
	switch {
	case w.Raises > 0:
		lines = append(lines, fmt.Sprintf("repeats %d: it raises the stamp, and changes nothing else", w.Raises))
	case w.Replaces > 0:
		lines = append(lines, fmt.Sprintf("replaces %d", w.Replaces))
	}
	if w.ReplacedBy > 0 {
		text := fmt.Sprintf("replaced by %d", w.ReplacedBy)
		if all[w.ReplacedBy-1].Unfolded && !w.Unfolded {
			text = fmt.Sprintf("the next fold replaces it by %d", w.ReplacedBy)
		}
		lines = append(lines, text)
	}
	switch {
	case w.Incomparable != "":
		lines = append(lines, "not compared: "+w.Incomparable)
	case w.Replaces > 0 && len(w.Differs) == 0:
		lines = append(lines, "no field differs from that")
	case w.Replaces > 0:
		lines = append(lines, "differs from that in")
	}
	return lines
}

func shown(value string) string {
	if value == "" {
		return "(absent)"
	}
	return terminal.Line(value)
}
