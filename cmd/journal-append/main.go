// Command journal-append appends run records to a cohort of a runfold root.
//
// It reads one JSON object per line from files or standard input, or makes one record of its flags.
// Any number of them may run at once, on any number of machines that share the storage: each writes a
// stream of its own. Exit code 0 means that every record is durable.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/build"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/quantity"
	"github.com/runfold/runfold/internal/rootid"
	"github.com/runfold/runfold/internal/terminal"
	"github.com/runfold/runfold/journal"
)

// Exit codes are part of the interface; the usage lists them.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
	exitAgain  = 75 // EX_TEMPFAIL: the same call may succeed later
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// options are the flags.
type options struct {
	root, cohort string
	rootID       string // any root if empty
	create       bool
	one          oneRecord
	isOne        bool // a record from flags, even if they are empty
	actions      actionFlags
	assumeZone   string
	zone         *time.Location // of assumeZone; nil: timestamps have a zone
	ack, strict  bool
	multiplex    bool // lines name their roots and cohorts
	summary      string
	sealBytes    quantity.Bytes
	sealAge      quantity.Duration
}

// usageError makes the difference between exit codes 1 and 2.
type usageError struct{ error }

// run is main with everything that it touches handed in.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	cmd := command(stdin, stdout, stderr)
	cmd.SetArgs(args)
	cmd.CompletionOptions.DisableDefaultCmd = !isCompletion(args)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)   // a second signal ends the process at once
	signal.Ignore(syscall.SIGPIPE) // a reader of --ack that is gone must not end the append
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	for text := range strings.SplitSeq(err.Error(), "\n") { // joined errors, one on a line
		fmt.Fprintf(stderr, "journal-append: %s\n", terminal.Line(text))
	}
	if h := hint(err); h != "" {
		fmt.Fprintf(stderr, "journal-append: hint: %s\n", h)
	}
	return exitCode(err)
}

func exitCode(err error) int {
	var usage usageError
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case durable.IsFull(err), durable.IsAway(err):
		return exitAgain
	}
	return exitFailed
}

func hint(err error) string {
	var usage usageError
	var none *journal.NoRootError
	switch {
	case durable.IsFull(err):
		return "free some space and append again what was not acknowledged; the same record_id makes a repetition harmless"
	case errors.As(err, &usage):
		return "journal-append --help shows examples"
	case errors.As(err, &none):
		return rootid.WayOut(none, "--create with the first append")
	case rootid.SettingsWayOut(err) != "":
		return rootid.SettingsWayOut(err)
	case errors.Is(err, journal.ErrOtherRoot):
		return "is another share mounted there, or --root-id (or " + rootid.Var + ") the id of another root? Nothing was written"
	case errors.Is(err, journal.ErrNotExclusive):
		return "docs/operations.md says which file systems are known to work; compactd doctor --dir DIR measures one"
	case durable.IsAway(err):
		return "is the server of that file system away? Append again what was not acknowledged; the same record_id makes a repetition harmless"
	case errors.Is(err, cohort.ErrNewer):
		return "use the runfold version that made this root, or a later one"
	case durable.IsReadOnly(err):
		return "mount the file system of the root for writing, then append these records again"
	case errors.Is(err, os.ErrPermission):
		return "the user of this process must be able to write in the root and in its cohorts"
	}
	return ""
}

const example = `  # one record per line, from two files
  journal-append --root runs --cohort churn_eu train.ndjson eval.ndjson

  # a long-lived pipe: each record is durable when its line appears
  ./train.py | journal-append --root runs --cohort churn_eu --ack

  # one record from flags
  journal-append --root runs --cohort churn_eu --run-id r-17 --stage TRAINING \
    --set metrics.auc=0.71 --set-string tags.git_commit=1234567

  # a run that was a mistake: take it out, and bring it back
  journal-append --root runs --cohort churn_eu --withdraw --run-id r-17 --reason "trained on the test set"
  journal-append --root runs --cohort churn_eu --undo --run-id r-17

  # timestamps of datetime.now().isoformat(), which have no zone, from a machine in Berlin
  journal-append --root runs --cohort churn_eu --assume-zone Europe/Berlin train.ndjson

  # the first append of a script makes the root; on a share, say which root is meant
  journal-append --root runs --create --cohort churn_eu train.ndjson
  journal-append --root /mnt/share/runs --root-id 01JQ4Z0000000000000000000R --cohort churn_eu train.ndjson`

func command(stdin io.Reader, stdout, stderr io.Writer) *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "journal-append --root DIR --cohort NAME [file ...]",
		Short: "Append run records to a cohort, durably and without a server",
		Long: `Append run records to a cohort of a runfold root.

Records are JSON objects, one per line, with run_id and stage (or phase). Files are read in
turn; "-" or no file is standard input. Where no file is named and standard input is a terminal, it says that it waits.

The root must exist: where it does not, a share may not be mounted, or the path may be mistyped. It is
made by compactd init, or by --create, which makes it if it does not exist. With --root-id, or ` + rootid.Var + ` in
the environment, any root with another id is refused, and --create makes none: the id says that the root exists.

A timestamp must have a zone: without one nobody knows when it was. --assume-zone adds one to those that have none, and changes
nothing else. UTC and an offset always work. With a name, a time in the hour that comes twice when clocks go back, or in the
one that does not come when they go forward, is refused as a bad line: nobody can tell which offset was meant.

A bad line is reported with its file and number, the other lines are appended, and the exit
code is 1. Exit code 0 means that every record is on stable storage. SIGINT and SIGTERM end the
input where it is: what was read is made durable, and the exit code is 1. An input that ended early is
named with its last line that was dealt with; the summary has the last line that is durable.

In a root with the profile foxml --cohort may be left out: each record then goes to the cohort that it names in cohort_id. Its timestamp may be without
a zone, and stays so.

With --ack each line is answered by one line of JSON on standard output, in order, when it is durable or refused: a refused one
has "error", an empty one "empty". A program may send one line and wait for its answer.

With --multiplex each line names its root and its cohort: {"id": 1, "root": "runs", "cohort": "churn_eu", "record": {...}}. One process serves
all writers of a program, also in other languages than Go: docs/multiplex.md has the answers and the rules.

--set takes JSON. It also reads numbers as people write them: .71, 1. and +5. nan and inf, in any letters and with a sign, become
null, and the summary counts them. All else is text, and so is 007. In tags, only JSON is no text. So --set
git_commit=1234567 is a number: --set-string git_commit=1234567 is text, whatever it looks like.

--withdraw takes a run out: from the next fold on its rows stand in neither of the two files. Nothing is lost, and --undo, or a later
append of the run, brings it back. --protect makes folds refuse later withdrawals of a run until --unprotect; the fold says so. Each
is about all stages of the run in this cohort, or about that of --stage; --set NAME=VALUE names a further field of the root's key. They are as
durable as a record, and answered in the same way. compactd withdraw chooses runs by their values, and says what it does to them.

Sizes and durations have units: 512KiB, 32MiB, 1.5GB; 30s, 10m, 1h30m, 1d.

Exit codes: 0 all durable, 1 some records were not appended, 2 usage, 75 disk full, or the storage does
not answer: try again.`,
		Example:           example,
		Version:           build.Version(),
		SilenceErrors:     true,
		SilenceUsage:      true,
		DisableAutoGenTag: true,
		RunE: func(cmd *cobra.Command, files []string) error {
			o.isOne = o.one.given(cmd) || o.actions.given(cmd)
			err := o.check(files)
			if err == nil {
				if o.rootID, err = rootid.Wanted(o.rootID, cmd.Flags().Changed("root-id")); err != nil {
					err = usageError{err}
				}
			}
			if err == nil && cmd.Flags().Changed("assume-zone") {
				if o.zone, err = cohort.ParseZone(o.assumeZone); err != nil {
					err = usageError{fmt.Errorf("--assume-zone: %w", err)}
				}
			}
			if err != nil {
				return err
			}
			if o.multiplex {
				return appendAny(cmd.Context(), o, stdin, stdout, stderr)
			}
			return appendAll(cmd.Context(), o, files, stdin, stdout, stderr)
		},
	}
	cmd.SetIn(stdin)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	f := cmd.Flags()
	f.StringVar(&o.root, "root", "", "the root directory (required)")
	f.BoolVar(&o.create, "create", false, "make the root, with the default settings, if it does not exist")
	f.StringVar(&o.rootID, "root-id", "", "refuse any root but the one with this `id` (default $"+rootid.Var+")")
	f.StringVar(&o.cohort, "cohort", "", "the cohort to append to (required, but in a root with the profile foxml, whose records may have it as cohort_id)")
	f.StringVar(&o.one.runID, "run-id", "", "append one record with this run_id instead of reading lines")
	f.StringVar(&o.one.stage, "stage", "", "the stage of that record")
	f.StringVar(&o.one.recordID, "record-id", "", "its idempotency key: the same id with the same content is the same record")
	f.StringVar(&o.one.timestamp, "timestamp", "", "its time in RFC 3339; the time of the append if not given")
	f.StringArrayVar(&o.one.set, "set", nil, "a field of it: `name=value`, metrics.auc=0.71 for a nested one; JSON or a number, else text")
	f.StringArrayVar(&o.one.setString, "set-string", nil, "a field of it that is text, whatever it looks like: `name=text`")
	f.StringVar(&o.one.json, "json", "", "that record as a JSON object; the other flags are added to it")
	o.actions.add(cmd)
	f.StringVar(&o.assumeZone, "assume-zone", "", "the `zone` of timestamps that have none: UTC, an offset such as +02:00, or a name such as Europe/Berlin")
	f.BoolVar(&o.ack, "ack", false, "answer each line, in order, with one line of JSON: when it is durable, or refused")
	f.BoolVar(&o.multiplex, "multiplex", false, "each line of standard input names its root and cohort, and is answered: for a program that writes to many")
	f.BoolVar(&o.strict, "strict", false, "stop at the first bad line, and append nothing behind it")
	f.StringVar(&o.summary, "summary", "text", "the closing line: text, json or none (to standard error; json to standard output)")
	f.Var(&o.sealBytes, "seal-bytes", "begin a new stream before this one grows larger (default 32MiB)")
	f.Var(&o.sealAge, "seal-age", "begin a new stream when this one is older (default 1h)")
	return cmd
}

// check refuses calls that cannot mean anything, before anything is made on the disk.
func (o options) check(files []string) error {
	switch {
	case o.multiplex && (o.root != "" || o.cohort != "" || o.create || o.isOne || o.strict || len(files) > 0):
		return usageError{errors.New("--multiplex reads standard input, whose lines name root and cohort: --root, --cohort, --create, --strict, files and flags of a record do not go with it")}
	case o.multiplex && o.summary == "json":
		return usageError{errors.New("--multiplex answers on standard output, where no other JSON stands: --summary is text or none")}
	case o.summary != "text" && o.summary != "json" && o.summary != "none":
		return usageError{fmt.Errorf("--summary %q is not text, json or none", o.summary)}
	case o.multiplex:
		return nil
	case o.root == "":
		return usageError{errors.New("--root is missing")}
	case o.cohort == "" && (o.create || o.hasAction() || !o.isFoxml()):
		return usageError{errors.New("--cohort is missing")}
	case o.isOne && len(files) > 0:
		return usageError{fmt.Errorf("the flags describe one record, so the file %q is not read: give flags or files, not both", files[0])}
	}
	if o.cohort == "" {
		return nil
	}
	if _, err := cohort.ParseID(o.cohort); err != nil {
		return usageError{err}
	}
	return nil
}

// hasAction tells whether the flags describe an action.
func (o options) hasAction() bool {
	_, is, err := o.actions.action()
	return is || err != nil
}

// appendAll opens the root and appends what the flags or the files say.
func appendAll(ctx context.Context, o options, files []string, stdin io.Reader, stdout, stderr io.Writer) (err error) {
	var one line
	if o.isOne {
		if one, err = o.fromFlags(); err != nil {
			return usageError{err}
		}
	}
	say := func(format string, args ...any) { fmt.Fprintf(stderr, "journal-append: "+format+"\n", args...) }
	a, err := o.begin(say, func(told error) { say("%v", told) })
	if err != nil {
		return err
	}
	a.stdout, a.stderr, a.start, a.room = stdout, stderr, time.Now(), newRoom()
	a.progress = newProgress(stderr, a.start)
	defer func() {
		err = errors.Join(err, a.finish(o.away(a.w.Close())))
	}()
	if o.isOne {
		return a.lines(only(one))
	}
	if a.files = files; len(files) == 0 {
		a.files = []string{"-"}
		tellTerminal(a, stdin)
	}
	return a.lines(readLines(ctx, a.files, stdin, a.maxRecord, a.room))
}
