package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/internal/terminal"
)

// errNoBackup is matched by every error of a command that made no backup.
var errNoBackup = errors.New("no backup was made")

func (a *app) backupCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "backup --root ROOT DIR",
		Short: "Copy a root while others append and fold; also restores one",
		Long: `Copy a root to DIR, which must not exist, or be an empty directory. The directory above it must exist.

Others may append and fold meanwhile: it takes no lock, and writes nothing in ROOT. The backup holds every record that was
acknowledged before it began. It is one whole generation, compared with its checksums, and the streams that this generation
has not folded, each up to the end of a record. All of it is copied and synced; nothing is shared with ROOT. DIR appears when
all is there. A backup that is killed leaves a directory .NAME.*.tmp beside DIR, which may be deleted.

The backup is a root: check, runs and all that reads work there. To restore it, back it up to the place of the root:

  compactd backup --root BACKUP ROOT

Both have the same root id. Let nobody append to a backup or fold it, and put the old root away before you restore:
two roots with one id that both go on are two histories, and only one can be kept.

It exits with 4 if a stream is damaged: the rest was copied, and the damaged bytes as they are. If the generation is damaged,
it exits with 4 as well and makes no backup: compactd repair comes first.`,
		Example: `  compactd backup --root runs /backups/runs-2026-01-31
  compactd check --root /backups/runs-2026-01-31
  mv runs runs.broken && compactd backup --root /backups/runs-2026-01-31 runs`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			end := a.progress.begin("copying the root", &cfg)
			b, err := audit.Backup(cmd.Context(), cfg, args[0])
			end()
			if err != nil {
				return fmt.Errorf("%w: %w", errNoBackup, err)
			}
			for _, p := range b.Problems {
				a.say("%v", p)
			}
			for _, dir := range b.Left {
				a.say("%s is of another backup: if none is at work, it was killed, and the directory may be deleted", dir)
			}
			if asJSON {
				err = a.printJSON(b)
			} else {
				err = a.printBackup(b)
			}
			if err == nil && !b.Whole() {
				err = errDamage
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) printBackup(b audit.BackedUp) error {
	_, err := fmt.Fprintf(a.stdout, "backed up generation %d with %d rows, and %d streams with %d records that are not folded: %s\n",
		uint64(b.Generation), b.Rows, b.Streams, b.Unfolded, terminal.Line(b.To))
	return err
}
