package main

import (
	"fmt"

	"github.com/oklog/ulid/v2"
	"github.com/spf13/cobra"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

func (a *app) initCommand() *cobra.Command {
	var key []string
	var dirMode, fileMode, snapshots string
	var s cohort.Settings
	cmd := &cobra.Command{
		Use:   "init --root DIR",
		Short: "Make a root and fix its settings",
		Long: `Make a root and fix its settings for its lifetime.

journal-append makes a root with the default settings by itself; init is for other keys,
limits and modes, and for roots with so many snapshots that each cohort shall have a file of its own:
with --snapshots per-cohort there is no ROOT/snapshot_index.json but one in each ROOT/cohorts/NAME, and
a fold rewrites only those of the cohorts that it touches. On an existing root with the same settings it does nothing.`,
		Example: `  compactd init --root runs
  compactd init --root /shared/runs --dir-mode 2775 --file-mode 0664
  compactd init --root runs --key run_id,phase,target,view,symbol
  compactd init --root runs --snapshots per-cohort`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if a.root == "" {
				_, err := a.config()
				return err
			}
			s.Snapshots = cohort.SnapshotsForm(snapshots)
			if err := parseSettings(&s, key, dirMode, fileMode); err != nil {
				return usageError{err}
			}
			got, created, err := journal.InitRoot(durable.OS, cohort.Root(a.root), s)
			if err != nil {
				return err
			}
			verb := "is a root already"
			if created {
				verb = "is a new root"
			}
			form := ""
			if got.Snapshots != cohort.OneSnapshots {
				form = fmt.Sprintf(", snapshots %s", got.Snapshots)
			}
			a.say("%s %s: key %v, records up to %d bytes%s", a.root, verb, got.Key.Fields(), got.MaxRecord, form)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&key, "key", nil, "the fields that make the key: run_id,phase and any of target,view,symbol")
	f.IntVar(&s.MaxRecord, "max-record", 0, "the size limit of a record in bytes (default 16 MiB)")
	f.StringVar(&snapshots, "snapshots", "", "one snapshot_index.json for the root, or one for each cohort: root, per-cohort (default root)")
	f.StringVar(&dirMode, "dir-mode", "", "octal mode of directories, less the umask (default 0777; shared groups: 2775)")
	f.StringVar(&fileMode, "file-mode", "", "octal mode of files, less the umask (default 0666)")
	return cmd
}

func parseSettings(s *cohort.Settings, key []string, dirMode, fileMode string) (err error) {
	if key != nil {
		if s.Key, err = cohort.ParseKeyForm(key); err != nil {
			return err
		}
	}
	for _, m := range []struct {
		text string
		mode *cohort.Mode
	}{{dirMode, &s.DirMode}, {fileMode, &s.FileMode}} {
		if m.text == "" {
			continue
		}
		if *m.mode, err = cohort.ParseMode(m.text); err != nil {
			return err
		}
	}
	probe := *s
	probe.RootID = ulid.Zero.String() // InitRoot chooses it
	return probe.Validate()
}
