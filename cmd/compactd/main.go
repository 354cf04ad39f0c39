// Command compactd folds the journals of a runfold root into index.parquet and snapshot_index.json,
// on a schedule (compactd run) or once (compactd once), and looks at roots without touching them.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.uber.org/zap/zapcore"

	"github.com/runfold/runfold/cmd/compactd/found"
	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/history"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/compactor/intake"
	"github.com/runfold/runfold/compactor/lock"
	"github.com/runfold/runfold/compactor/view"
	"github.com/runfold/runfold/compactor/view/delta"
	"github.com/runfold/runfold/compactor/view/sqlite"
	"github.com/runfold/runfold/internal/build"
	"github.com/runfold/runfold/internal/doctor"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/rootid"
	"github.com/runfold/runfold/journal"
)

// Exit codes are part of the interface; the usage lists them.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
	exitLocked = 3
	exitDamage = 4
	exitAgain  = 75 // EX_TEMPFAIL: the same call may succeed later
)

const exitCodes = `Exit codes: 0 done or nothing to do, 1 failed, 2 usage, 3 another compactor holds the
lock, 4 damage found (the rest was done), 75 try again later (disk full, a public file that
is in use, storage or a server that does not answer, or storage that shows an old state).`

func main() {
	limitMemory(compactor.DefaultBatchBytes)
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// limitMemory makes the garbage collector work harder before the process takes more than a batch and what a
// row group needs besides. It is no bound: more is taken where it is needed. GOMEMLIMIT overrides it.
func limitMemory(batch int64) {
	const besides = 128 << 20
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(max(batch, compactor.DefaultBatchBytes) + besides)
	}
}

// unlimitMemory ends what limitMemory began, for work that must hold more: else the garbage collector would never rest.
func unlimitMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(math.MaxInt64)
	}
}

// app is what every subcommand needs.
type app struct {
	root, rootID   string
	lock           lockFlags
	wait           time.Duration          // of the commands that change a setting
	hasFlag        func(name string) bool // whether a flag of all commands was given
	stdin          io.Reader
	stdout, stderr io.Writer
	progress       *progress
	frame          int  // how wide the terminal is that standard output is drawn on; 0 if it is not drawn
	quiet          bool // only damage and errors speak
	replaced       bool // a public file was of no generation
}

// usageError makes the difference between exit codes 1 and 2.
type usageError struct{ error }

// errDamage ends a command that did its work and found damage, which it has reported.
var errDamage = errors.New("damage found: the rest was done")

// errDamaged ends a command that only looks, and found damage.
var errDamaged = errors.New("damage found: nothing was changed")

// run is main with everything that it touches handed in.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: output{stdout}, stderr: stderr, progress: &progress{w: stderr}}
	cmd := a.command()
	cmd.SetArgs(args)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	err := cmd.ExecuteContext(ctx)
	if err == nil && a.replaced {
		err = errDamage
	}
	if err == nil {
		return exitDone
	}
	for text := range strings.SplitSeq(err.Error(), "\n") { // joined errors, one on a line
		a.say("%s", text)
	}
	if h := hint(err); h != "" {
		a.say("hint: %s", h)
	}
	return exitCode(err)
}

func (a *app) command() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "compactd",
		Short:         "Fold run journals into one index.parquet and one snapshot_index.json",
		Long:          "Fold run journals into one index.parquet and one snapshot_index.json.\n\n" + exitCodes,
		Version:       build.Version(),
		SilenceErrors: true,
		SilenceUsage:  true,

		SuggestionsMinimumDistance: 2,

		Args: noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return errors.Join(cmd.Help(), usageError{errors.New("a subcommand is missing")})
		},
	}
	cmd.SetIn(a.stdin)
	cmd.SetOut(a.stdout)
	cmd.SetErr(a.stderr)
	cmd.SetFlagErrorFunc(noSuchFlag)
	all := cmd.PersistentFlags()
	all.StringVar(&a.root, "root", "", "the root directory (required)")
	all.StringVar(&a.rootID, "root-id", "", "refuse any root but the one with this `id` (default $"+rootid.Var+")")
	all.Var(&a.lock.url, "lock", lockHelp)
	all.BoolVar(&a.lock.optional, "lock-optional", false, "go on without the service of --lock where it is away: a daemon after three turns, others at once")
	a.hasFlag = all.Changed
	cmd.AddCommand(a.initCommand(), a.onceCommand(), a.runCommand(), a.statusCommand(), a.historyCommand(), a.retentionCommand(), a.columnsCommand(), a.checkCommand(),
		a.dumpCommand(), a.runsCommand(), a.showCommand(), a.compareCommand(), a.bestCommand(), a.diffCommand(), a.deltaCommand(), a.viewCommand(), a.queryCommand(), a.serveCommand(), a.restoreCommand(), a.previousCommand(), a.explainCommand(), a.withdrawCommand(), a.protectCommand(), a.unprotectCommand(), a.importCommand(), a.repairCommand(), a.eraseCommand(), a.backupCommand(), a.doctorCommand(), a.probeCommand(), a.lockHolderCommand())
	a.finish(cmd)
	return cmd
}

// finish gives all commands below cmd what they share.
func (a *app) finish(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		sub.Long += "\n\n" + exitCodes
		sub.Args = a.usageArgs(sub.Args)
		a.complete(sub)
		a.finish(sub)
	}
}

// noSuchCommand refuses a word that is not a subcommand, and suggests one that may be meant.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := fmt.Errorf("unknown command %q", args[0])
	if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
		err = fmt.Errorf("%w: did you mean %s?", err, strings.Join(like, " or "))
	}
	return usageError{err}
}

// noSuchFlag is a usage error, and suggests a flag that may be meant, as noSuchCommand does.
func noSuchFlag(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return usageError{err}
	}
	if unknown.GetSpecifiedShortnames() != "" {
		return usageError{fmt.Errorf("%w: what begins with - and is no flag stands behind --", err)}
	}
	flags := &cobra.Command{SuggestionsMinimumDistance: 2}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		flags.AddCommand(&cobra.Command{Use: f.Name, Run: func(*cobra.Command, []string) {}, Hidden: f.Hidden})
	})
	if like := flags.SuggestionsFor(unknown.GetSpecifiedName()); len(like) > 0 {
		err = fmt.Errorf("%w: did you mean --%s?", err, strings.Join(like, " or --"))
	}
	return usageError{err}
}

// usageArgs makes a wrong number of arguments a usage error. Where an argument may be the root, it says how that is given.
func (a *app) usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		err := check(cmd, args)
		takes := len(args) // of those that are given
		for takes > 0 && check(cmd, args[:takes]) != nil {
			takes--
		}
		switch {
		case err == nil:
			return nil
		case errors.As(err, new(usageError)):
			return err // of noSuchCommand, which names the one that may be meant
		case takes == 0 && check(cmd, nil) != nil: // it takes more
			return usageError{fmt.Errorf("an argument is missing: %s %s", cmd.Parent().CommandPath(), cmd.Use)}
		case takes > 0:
			return usageError{fmt.Errorf("too many arguments, from %q on: %s %s", args[takes], cmd.Parent().CommandPath(), cmd.Use)}
		case len(args) == 1 && valueless(cmd) != nil:
			return usageError{fmt.Errorf("%q is no flag: a value of --%s stands behind a =, as in --%[2]s=VALUE", args[0], valueless(cmd).Name)}
		case len(args) == 1 && a.root == "":
			return usageError{fmt.Errorf("%q is no flag: the root is given as --root %s", args[0], args[0])}
		}
		return usageError{fmt.Errorf("%q is no flag, and %s takes nothing else", args[0], cmd.CommandPath())}
	}
}

// valueless is a flag that was given without the value that it may have, or nil.
func valueless(cmd *cobra.Command) (met *pflag.Flag) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if f.NoOptDefVal != "" && f.Value.Type() != "bool" {
			met = f
		}
	})
	return met
}

// config is what every subcommand that opens a root starts from.
func (a *app) config() (compactor.Config, error) {
	root, id, err := a.wantedRoot()
	if err != nil {
		return compactor.Config{}, err
	}
	return compactor.Config{
		Root:    root,
		RootID:  id,
		Locks:   a.lock.late(),
		Wait:    a.wait,
		Program: "compactd " + build.Version(),
		Notify: func(n compactor.Notice) {
			if _, is := n.(generation.NotOurs); is {
				a.replaced = true
			}
			if !a.quiet || levelOf(n) >= zapcore.ErrorLevel {
				a.say("%v", n)
			}
		},
	}, nil
}

func (a *app) say(format string, args ...any) { a.progress.say(format, args...) }

// printJSON writes one value for scripts.
func (a *app) printJSON(v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = a.stdout.Write(append(data, '\n'))
	return err
}

// errUnseen says that a command has dealt with all that the storage shows. It is exit code 75.
var errUnseen = &durable.AwayError{Err: errors.New("all that it shows was dealt with, and the rest is named above")}

func exitCode(err error) int {
	var usage usageError
	var unheard outputError
	var ambiguous *compactor.AmbiguousError
	switch {
	case errors.As(err, &usage), errors.As(err, &ambiguous), errors.As(err, new(*found.SeveralError)), errors.As(err, new(*found.TwiceError)), errors.Is(err, sqlite.ErrStatement):
		return exitUsage
	case errors.As(err, new(*history.BusyError)):
		return exitAgain
	case errors.Is(err, compactor.ErrLocked), errors.Is(err, compactor.ErrLockLost):
		return exitLocked
	case errors.Is(err, errDamage), errors.Is(err, errDamaged), errors.Is(err, errGone), errors.Is(err, errViewDiffers), errors.Is(err, view.ErrChanged), generation.IsDamage(err), isSettings(err), delta.IsWrong(err):
		return exitDamage
	case errors.As(err, &unheard): // before what it may be of a disk
		return exitFailed
	case errors.Is(err, view.ErrBusy), errors.Is(err, view.ErrAway), errors.Is(err, view.ErrFull), errors.Is(err, errViewGone):
		return exitAgain
	case errors.Is(err, lock.ErrAway), durable.IsFull(err), errors.Is(err, generation.ErrConflict), errors.Is(err, generation.ErrNotPublished), errors.Is(err, doctor.ErrNoAnswer),
		errors.Is(err, errStands):
		return exitAgain
	}
	if durable.IsAway(err) {
		return exitAgain
	}
	return exitFailed
}

// isSettings tells whether runfold.json is damaged, or files of several roots lie in one directory.
func isSettings(err error) bool {
	return errors.Is(err, journal.ErrMixed) || errors.As(err, new(*journal.SettingsError))
}

func hint(err error) string {
	var foreign *intake.FileError
	var usage usageError
	var none *journal.NoRootError
	var unheard outputError
	var ambiguous *compactor.AmbiguousError
	var notKept *generation.NotKeptError
	var unknown *found.NoneError
	if h := viewHint(err); h != "" {
		return h
	}
	switch {
	case errors.Is(err, delta.ErrAhead):
		return "was the root restored from a backup? compactd delta drop removes the table, and the next fold makes it anew"
	case errors.Is(err, delta.ErrNotOurs):
		return "compactd delta drop removes the table, and the next fold makes it anew; if somebody needs what is in delta/, move it away first"
	case delta.IsWrong(err):
		return "compactd delta sync --reassert takes the table back; nothing was changed"
	case errors.As(err, &notKept):
		return "compactd history lists what is kept; compactd retention show tells how long generations stay, and compactd retention set changes it for those to come"
	case errors.As(err, &ambiguous):
		return "--where " + ambiguous.Fields[0] + "=VALUE says which row of the run is meant"
	case errors.As(err, new(*found.SeveralError)):
		return "--stage, --cohort or the whole key says which one is meant"
	case errors.As(err, &unknown):
		return whereToLook(unknown)
	case errors.As(err, &unheard):
		return "only the output is incomplete: what the command did in the root is done, and stays; compactd status shows it"
	case errors.As(err, &usage):
		return "compactd --help and compactd COMMAND --help show examples"
	case errors.As(err, &none):
		return rootid.WayOut(none, byAppend)
	case errors.As(err, &foreign) && errors.Is(err, index.ErrUnsupported):
		return "write the file again with another program or other settings: Parquet with snappy or zstd and without encryption, or one JSON object; nothing was imported"
	case errors.As(err, &foreign) && generation.IsDamage(err):
		return "that file is damaged, and not the root: get another copy of it; nothing was imported"
	case rootid.SettingsWayOut(err) != "":
		return rootid.SettingsWayOut(err)
	case errors.Is(err, journal.ErrOtherRoot):
		return "is another share mounted there, or --root-id (or " + rootid.Var + ") the id of another root? Nothing was changed"
	case errors.Is(err, compactor.ErrLockLost):
		return "nothing is lost, and what was committed stays: the holder of the lock folds the rest, or the next fold does"
	case errors.Is(err, compactor.ErrLocked):
		return "--wait 30s waits for it; nothing is lost either way"
	case errors.Is(err, errMeasured):
		return "docs/locks.md says what a service needs, and what its user must be allowed"
	case errors.Is(err, lock.ErrAway):
		return "nothing was changed: --wait 30s waits for the service; --lock-optional goes on without it, which is as safe; compactd doctor --lock URL measures it"
	case errors.Is(err, lock.ErrRefused):
		return "nothing was changed: docs/locks.md says what a service needs; compactd doctor --lock URL measures it"
	case generation.IsDamage(err):
		return "compactd check lists all that is damaged in a root, compactd repair says what can be done; nothing was changed or deleted"
	case errors.Is(err, cohort.ErrNewer):
		return "use the runfold version that wrote it, or a later one"
	case errors.Is(err, doctor.ErrNoAnswer):
		return "is the server of that file system away? A hidden directory .doctor-* may be left there"
	case errors.Is(err, errUnsupported), errors.Is(err, journal.ErrNotExclusive):
		return "docs/operations.md says which file systems are known to work"
	case errors.Is(err, generation.ErrNotPublished):
		return "nothing is lost: close the file in that program, or read a copy of it; the next fold publishes it"
	case errors.Is(err, errNoBackup) && (durable.IsFull(err) || errors.Is(err, context.Canceled) || errors.Is(err, fs.ErrPermission)):
		return "the root is as it was, and nothing is left of the backup; it must be able to read all of the root, and to write beside DIR"
	case durable.IsFull(err):
		return "nothing is lost: free some space and fold again, which goes on from the last generation"
	case durable.IsAway(err):
		return "nothing is damaged as far as known, and what was done stays: is the server away, or another machine's change not seen here yet? The next fold tries again"
	case errors.Is(err, context.Canceled):
		return "nothing is lost: the next fold goes on from the last generation"
	case durable.IsReadOnly(err):
		return "status, check, runs, previous, explain, history, diff and dump need no more than this; to fold, mount the file system for writing"
	case errors.Is(err, fs.ErrPermission):
		return "the user of this process must be able to read and write in the root"
	}
	return ""
}
