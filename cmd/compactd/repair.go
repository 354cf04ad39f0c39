package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/internal/terminal"
	"github.com/runfold/runfold/journal"
)

var errGone = errors.New("repaired, but what is named above is gone")

func (a *app) repairCommand() *cobra.Command {
	var flags compactor.Config
	var dead []string
	var apply, asJSON, settings bool
	var from string
	cmd := &cobra.Command{
		Use:   "repair --root DIR [--apply]",
		Short: "Make a damaged root fold again, and say what is gone",
		Long: `Tell what is damaged in a root and what would be done about it; with --apply, do it. Without
--apply nothing is written.

  data file damaged or gone   make it anew from any file with its checksum: a published one,
                              one in quarantine/, one of a backup (--from)
  newest generation damaged   go back to the newest whole one, and fold again what it had not
                              folded, from the streams that are still there: those of the last
                              generation always are
  older generation damaged    the same from copies, else put it aside: the newest is whole
  manifests missing           take the rows of the highest generation of which any file tells,
                              where an index and the snapshots that fit it are whole
  stream that cannot be read  move it to quarantine/
  public files not ours       publish the newest generation
  stream in quarantine/ that  bring it back: it is whole, and was put there while runfold.json
  is whole                    said another root
  --dead COHORT/STREAM        its writer has certainly ended: read what is valid behind a hole
  --settings-from-manifest    runfold.json is lost or damaged: make it anew as the manifests repeat it, if they
                              and all streams name one root; this is all that is done

Nothing is deleted: what is replaced is kept in quarantine/. It exits with 0 if all is in order or
was repaired without a loss, and with 4 if something is damaged (without --apply) or is gone.`,
		Example: `  compactd repair --root runs
  compactd repair --root runs --apply
  compactd repair --root runs --settings-from-manifest --apply
  compactd repair --root runs --from /backup/runs
  compactd repair --root runs --apply --dead churn_eu/01JE0000000000000000000001`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			if cfg, err = withFlags(cfg, flags); err != nil {
				return err
			}
			if settings && len(dead) > 0 {
				return usageError{errors.New("--settings-from-manifest does nothing else: --dead comes after it")}
			}
			if settings {
				return a.restoreSettings(cfg, apply, asJSON)
			}
			opts := audit.RepairOptions{Apply: apply, From: from}
			if opts.Dead, err = parseStreams(dead); err != nil {
				return err
			}
			end := a.progress.begin("reading the root", &cfg)
			r, err := audit.Repair(cmd.Context(), cfg, opts)
			end()
			a.replaced = false // what was replaced is part of the repair
			if err == nil && asJSON {
				err = a.printJSON(r)
			} else if !asJSON {
				err = errors.Join(err, a.printRepair(r, err))
			}
			switch {
			case err != nil:
			case !apply && !r.Whole():
				err = errDamaged
			case !r.Lossless():
				err = errGone
			case !r.Fold.Clean():
				err = errDamage
			case len(r.Unseen) > 0 || r.Fold.Unseen > 0:
				err = errUnseen
			}
			return err
		},
	}
	foldFlags(cmd, &flags)
	cmd.Flags().BoolVar(&apply, "apply", false, "make the changes (default: only tell)")
	cmd.Flags().StringVar(&from, "from", "", "the `directory` of a backup, in any layout: use its files where they have the checksum of what is damaged")
	cmd.Flags().StringArrayVar(&dead, "dead", nil, "a stream, as COHORT/STREAM, whose writer has certainly ended; may be given again")
	cmd.Flags().BoolVar(&settings, "settings-from-manifest", false, "make runfold.json anew, as the manifests repeat it")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print what was found as JSON")
	return cmd
}

func parseStreams(names []string) ([]journal.Stream, error) {
	var out []journal.Stream
	for _, name := range names {
		c, id, _ := strings.Cut(name, "/")
		parsed, err := cohort.ParseID(c)
		if err != nil {
			return nil, usageError{fmt.Errorf("--dead %s: %w", name, err)}
		}
		s, err := cohort.ParseStreamID(id)
		if err != nil {
			return nil, usageError{fmt.Errorf("--dead %s: %w", name, err)}
		}
		out = append(out, journal.Stream{Cohort: parsed, ID: s})
	}
	return out, nil
}

// printRepair tells people what was found, one fact a line, and what it means.
func (a *app) printRepair(r audit.Repaired, failed error) error {
	var b strings.Builder
	if r.Missing != "" {
		fmt.Fprintf(&b, "missing   %s\n", terminal.Line(r.Missing))
	}
	for _, p := range r.Damaged {
		fmt.Fprintf(&b, "damaged   %s\n", terminal.Line(p.String()))
	}
	for _, p := range r.Old {
		fmt.Fprintf(&b, "old       %s\n", terminal.Line(p.String()))
	}
	for _, c := range r.Restored {
		fmt.Fprintf(&b, "whole     %s has the bytes of %s\n", terminal.Line(c.From), terminal.Line(c.Path))
	}
	for _, p := range r.Misfits {
		fmt.Fprintf(&b, "misfit    %s\n", terminal.Line(p.String()))
	}
	for _, p := range r.Back {
		fmt.Fprintf(&b, "back      %s\n", terminal.Line(p.String()))
	}
	for _, p := range r.Waiting {
		fmt.Fprintf(&b, "waiting   %s\n", terminal.Line(p.String()))
	}
	for _, p := range r.Unseen {
		fmt.Fprintf(&b, "not seen  %s\n", terminal.Line(p.String()))
	}
	for _, l := range r.Lost {
		fmt.Fprintf(&b, "lost      entries %d to %d of stream %s\n", l.First, l.Last, l.Stream)
	}
	for _, g := range r.Imports {
		fmt.Fprintf(&b, "lost      the import that generation %d was: repeat it\n", uint64(g))
	}
	if r.Unerased {
		fmt.Fprintf(&b, "unknown   which runs were erased until generation %d: tombstones are missing, erase these runs again\n", uint64(r.Good))
	}
	if len(r.Unknown) > 0 && !r.Lossless() {
		fmt.Fprintf(&b, "unknown   what generations %v had folded: their manifests cannot be read\n", r.Unknown)
	}
	if failed == nil {
		fmt.Fprintf(&b, "%s\n", conclusion(r))
	}
	_, err := a.stdout.Write([]byte(b.String()))
	return err
}

func conclusion(r audit.Repaired) string {
	back := fmt.Sprintf("go back to generation %d", uint64(r.Good))
	switch {
	case r.Good == 0:
		back = "begin anew from the streams"
	case r.Rebuilt:
		back = fmt.Sprintf("take the rows of generation %d from its files (no manifest says what they are)", uint64(r.Good))
	case r.Good == r.Newest:
		back = fmt.Sprintf("commit generation %d anew", uint64(r.Good))
	}
	loss := "nothing is lost"
	if !r.Lossless() {
		loss = "the above is lost"
	}
	switch {
	case r.Applied && r.Anew:
		return fmt.Sprintf("repaired: had to %s: %s; now generation %d with %d rows", back, loss, uint64(r.Generation), r.Fold.Rows)
	case r.Applied && len(r.Restored) > 0:
		return fmt.Sprintf("repaired: made %d data files anew from whole copies: nothing is lost; generation %d with %d rows is published",
			len(r.Restored), uint64(r.Generation), r.Fold.Rows)
	case r.Applied:
		return fmt.Sprintf("repaired: generation %d with %d rows is published", uint64(r.Generation), r.Fold.Rows)
	case r.Whole() && r.NotYet:
		return fmt.Sprintf("nothing to repair: generation %d is whole, and not published yet", uint64(r.Newest))
	case r.Whole():
		return fmt.Sprintf("nothing to repair: generation %d is whole and published", uint64(r.Newest))
	case r.Anew:
		return fmt.Sprintf("would %s and fold again what it had not folded: %s (--apply does it)", back, loss)
	}
	switch {
	case len(r.Back) > 0:
		return "would bring the streams above back from quarantine/, put misfits there, and fold (--apply does it)"
	case len(r.Restored) == 0 && len(r.Old) > 0:
		return "would put the older generations aside to quarantine/: nothing is lost, the newest is whole (--apply does it)"
	case len(r.Restored) > 0:
		return fmt.Sprintf("would make %d data files anew from whole copies: nothing is lost (--apply does it)", len(r.Restored))
	case len(r.Misfits) > 0:
		return fmt.Sprintf("would move misfits to quarantine/ and publish generation %d (--apply does it)", uint64(r.Newest))
	}
	return fmt.Sprintf("would publish generation %d (--apply does it)", uint64(r.Newest))
}
