package main

import (
	"context"
	"fmt"
	"math"

	"github.com/oklog/ulid/v2"
	"github.com/spf13/cobra"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/quantity"
	"github.com/runfold/runfold/internal/rootid"
	"github.com/runfold/runfold/journal"
)

func (a *app) initCommand() *cobra.Command {
	var key []string
	var absent, dirMode, fileMode, snapshots, profile string
	var columns []string
	var change compactor.ColumnChange
	var s cohort.Settings
	var maxRecord quantity.Bytes
	var asJSON, delta bool
	cmd := &cobra.Command{
		Use:   "init --root DIR",
		Short: "Make a root and fix its settings",
		Long: `Make a root and fix its settings for its lifetime.

A root is made on purpose: by init, or by journal-append --create, which takes the default settings.
init is also for other keys, limits and modes, and for roots with so many snapshots that each cohort shall have a file
of its own: with --snapshots per-cohort there is no ROOT/snapshot_index.json but one in each ROOT/cohorts/NAME, and
a fold rewrites only those of the cohorts that it touches. On an existing root with the same settings it does nothing.

The key says which records are one result, of which the last write stays: run_id and phase, unless --key adds cohort_id
and top-level fields of records. Runs that are numbered 1, 2, 3 in each cohort want run_id,phase,cohort_id. The values of such
fields are texts without ':' or integers; an append with another one is refused. --key-absent NONE is for those who
have such keys already: it spells a field that a record does not have NONE, instead of leaving its part of the key empty.
The key of a root never changes: compactd import takes the rows of a root into one with another key.

--profile foxml makes a root for the programs of FoxML: it has their key and their columns, and folds fill segment_id. docs/foxml.md says
what is equal, and what to do with programs that still write the two files themselves.

--column declares a column: it exists even where no record has a value for it, so that readers find it, and keeps its type whatever
is appended. Columns can be declared later as well: see compactd columns.

It prints the id of the root. On a share, give that id to every command, with --root-id or in the
environment as ` + rootid.Var + `: a command then refuses any other root, should the share not be mounted or another one
be mounted in its place. init itself, given an id, makes no root: the id says that it exists.`,
		Example: `  compactd init --root runs
  compactd init --root /shared/runs --dir-mode 2775 --file-mode 0664
  compactd init --root runs --key run_id,phase,cohort_id,model_family
  compactd init --root runs --key run_id,phase,target,view,symbol --key-absent NONE
  compactd init --root runs --profile foxml
  compactd init --root runs --snapshots per-cohort
  compactd init --root runs --delta
  compactd init --root runs --column symbol:string --column git_commit:string
  compactd init --root /mnt/share/runs --json | jq -r .root_id`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			root, id, err := a.wantedRoot()
			if err != nil {
				return err
			}
			s.MaxRecord = int(min(maxRecord, math.MaxInt32)) // more is refused anyway
			s.Snapshots, s.Profile = cohort.SnapshotsForm(snapshots), cohort.Profile(profile)
			if profile != "" && (len(key) > 0 || absent != "") {
				return usageError{fmt.Errorf("--profile %s has its own key: leave --key and --key-absent out", profile)}
			}
			if err := parseSettings(&s, key, absent, dirMode, fileMode); err != nil {
				return usageError{err}
			}
			if change.Declare, err = parseColumns(columns); err != nil {
				return usageError{fmt.Errorf("--column: %w", err)}
			}
			if err := (index.Columns{Declared: change.Declare, Max: change.Max}).Validate(); err != nil {
				return usageError{err}
			}
			r, created, err := journal.InitRoot(root, s, journal.RootOptions{ID: id})
			if err != nil {
				return err
			}
			if err := a.declare(cmd.Context(), change, r.Settings.Profile); err != nil {
				return err
			}
			if delta {
				if err := a.turnOnDelta(cmd.Context()); err != nil {
					return err
				}
			}
			got := r.Settings
			if asJSON {
				return a.printJSON(initReport{root, created, got.RootID, got.Key, got.Key.Absent(), got.MaxRecord, got.DirMode, got.FileMode, got.Snapshots, got.Profile})
			}
			verb := "is a root already"
			if created {
				verb = "is a new root"
			}
			form := ""
			if got.Key.Absent() != "" {
				form = ", absent fields " + got.Key.Absent()
			}
			if got.Snapshots != cohort.OneSnapshots {
				form += fmt.Sprintf(", snapshots %s", got.Snapshots)
			}
			if got.Profile != cohort.NoProfile {
				form += fmt.Sprintf(", profile %s", got.Profile)
			}
			a.say("%s %s: id %s, key %v, records up to %d bytes%s", root, verb, got.RootID, got.Key.Fields(), got.MaxRecord, form)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&key, "key", nil, "the fields that make the key: run_id,phase, then cohort_id and any top-level fields")
	f.StringVar(&absent, "key-absent", "", "how keys spell a field that a record does not have: NONE (default: an empty part)")
	f.StringVar(&profile, "profile", "", "the rows and keys of another program: foxml (default: none)")
	f.Var(&maxRecord, "max-record", "the size limit of a record (default 16MiB)")
	f.StringVar(&snapshots, "snapshots", "", "one snapshot_index.json for the root, or one for each cohort: root, per-cohort (default root)")
	f.StringArrayVar(&columns, "column", nil, "a column that always exists, as `NAME:TYPE` (bool, int64, double, string); may be repeated")
	f.IntVar(&change.Max, "max-columns", 0, fmt.Sprintf("how many columns the root may have, at most %d (default %d)", index.MostColumns, index.DefaultColumns))
	f.StringVar(&dirMode, "dir-mode", "", "octal mode of directories; it holds against the umask (default 0777 less the umask; shared groups: 2775)")
	f.BoolVar(&delta, "delta", false, "let folds publish a Delta table in ROOT/delta: see compactd delta")
	f.BoolVar(&asJSON, "json", false, "print the root's id and settings as JSON")
	f.StringVar(&fileMode, "file-mode", "", "octal mode of files; it holds against the umask (default 0666 less the umask; shared groups: 0664)")
	return cmd
}

// declare makes the columns of a root that is new, or makes sure that an older one has them. Those of a profile are there with the first generation.
func (a *app) declare(ctx context.Context, change compactor.ColumnChange, p cohort.Profile) error {
	if len(change.Declare) == 0 && change.Max == 0 && p == cohort.NoProfile {
		return nil
	}
	cfg, err := a.config()
	if err != nil {
		return err
	}
	_, err = compactor.ChangeColumns(ctx, cfg, change)
	return err
}

// turnOnDelta is delta set on.
func (a *app) turnOnDelta(ctx context.Context) error {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	_, err = compactor.ChangeDelta(ctx, cfg, true)
	return err
}

// initReport is what init prints for scripts.
type initReport struct {
	Root      cohort.Root          `json:"root"`
	Created   bool                 `json:"created"`
	RootID    string               `json:"root_id"`
	Key       cohort.KeyForm       `json:"key"`
	KeyAbsent string               `json:"key_absent,omitempty"`
	MaxRecord int                  `json:"max_record_bytes"`
	DirMode   cohort.Mode          `json:"dir_mode"`
	FileMode  cohort.Mode          `json:"file_mode"`
	Snapshots cohort.SnapshotsForm `json:"snapshots"`
	Profile   cohort.Profile       `json:"profile,omitempty"`
}

func parseSettings(s *cohort.Settings, key []string, absent, dirMode, fileMode string) (err error) {
	if key != nil {
		if s.Key, err = cohort.ParseKeyForm(key); err != nil {
			return err
		}
	}
	if s.Key, err = s.Key.SpellAbsent(absent); err != nil {
		return fmt.Errorf("--key-absent: %w", err)
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
