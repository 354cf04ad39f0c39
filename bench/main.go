// Command bench compares runfold with what a user would pick instead, on one machine, in one run. README.md says
// what is measured and how to read the result.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/runfold/runfold/bench/peer"
)

// env is what every piece of work gets.
type env struct {
	dir    string // a directory on the file system to measure; emptied between pieces of work
	home   string // the directory of the bench itself; the same, if fs is empty
	fs     string // of -fs, which dir is the top of; empty: dir is in the directory of the bench
	device string // that fs is mounted from: "loop0"
	size   int64  // of images
	bin    string // where the commands are
	before string // where those of -before are; empty: there are none
	dsn    string
	python string        // a python with requirements.txt; empty: what needs it is left out
	who    string        // competitors, comma-separated; empty: all
	large  bool          // also counts that take long and much disk
	lasts  time.Duration // of one part of minutes; 0: as long as the work says
	short  bool          // tiny counts: it only proves that everything runs
	rounds int
	out    rows
}

// work is one group of rows.
type work struct {
	name string
	run  func(env) error
	each bool // the file system decides: it is measured on each one of -fs, too
	long bool // it is measured only if -only names it
}

var works = []work{
	{"append", appendGoroutines, true, false},
	{"processes", appendProcesses, true, false},
	{"one-shot", oneShot, true, false},
	{"steady", steady, false, false},
	{"minutes", minutes, true, true},
	{"scan", scanStreams, false, false},
	{"cold", coldBuild, false, false},
	{"fold", foldRows, true, false},
	{"grow", grow, true, false},
	{"per-cohort", foldPerCohort, false, false},
	{"views", views, false, false},
	{"runs", runs, false, false},
	{"python", clients, false, false},
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "duckdb" {
		exit(duckChild(os.Args[2:]))
	}
	home := ""
	if len(os.Args) > 2 && os.Args[1] == "apart" { // apart_linux.go started it
		home = os.Args[2]
		os.Args = slices.Delete(os.Args, 1, 3)
		if err := settleApart(); err != nil {
			exit(err)
		}
	}
	exit(run(home))
}

func exit(err error) {
	if err != nil && !errors.Is(err, errSaid) {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	if err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

// errSaid is the error of a process that has said itself what it is.
var errSaid = errors.New("said already")

// run measures. home is the directory of the bench if another process has made it and will remove it.
func run(home string) (err error) {
	var e env
	var names []string
	for _, w := range works {
		names = append(names, w.name)
	}
	only := flag.String("only", "", "comma-separated: "+strings.Join(names, ", "))
	dir := flag.String("dir", "", "directory on the file system to measure (default: a temporary one)")
	save := flag.String("out", "", "directory for results.json, the table and the charts")
	add := flag.Bool("add", false, "keep what -out holds of other works; each work is still measured in one run")
	draw := flag.String("draw", "", "do not measure: draw the table and charts of this results.json again")
	list := flag.String("fs", "", "comma-separated: ext4, xfs, btrfs. As root, also measure on such file systems, which it makes in images in -dir")
	gib := flag.Int64("fs-gib", 16, "GiB of an image; it takes what it holds")
	before := flag.String("before", "", "a commit: appends and folds are also measured with the commands that runfold had then")
	skip := flag.Bool("skip-dir", false, "measure on the file systems of -fs only")
	flag.StringVar(&e.who, "who", "", "comma-separated competitors of appends (default: all)")
	flag.StringVar(&e.dsn, "dsn", "", "of a PostgreSQL server with fsync=on; without one it is left out")
	flag.StringVar(&e.python, "python", "", "a python that has bench/requirements.txt, for pandas, delta-rs, MLflow, wandb, trackio and DuckDB in Python; without one they are left out")
	flag.BoolVar(&e.large, "rows-large", false, "runs, minutes: also 10,000,000 rows, which take 25 GB of disk and some minutes")
	flag.DurationVar(&e.lasts, "lasts", 0, "minutes: how long appends go on, with folds and without them (default: 10m)")
	flag.BoolVar(&e.short, "short", false, "tiny counts: only prove that everything runs")
	flag.IntVar(&e.rounds, "rounds", 3, "how often each work is repeated")
	flag.Parse()
	if *draw != "" {
		return drawAgain(*draw, *save)
	}
	if e.short {
		e.rounds = 1
	}
	if e.python != "" { // its process runs elsewhere
		if e.python, err = filepath.Abs(e.python); err != nil {
			return err
		}
	}
	fs, err := fileSystems(*list)
	if err != nil {
		return err
	}
	if e.size = *gib << 30; e.short {
		e.size = 512 << 20 // XFS cannot be much smaller
	}
	if e.home = home; home == "" {
		if e.home, err = makeHome(*dir); err != nil {
			return err
		}
		if fs != nil {
			return apart(e.home)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(e.home)) }()
	}
	e.dir = e.home
	if e.bin, err = build(".", filepath.Join(e.home, "bin")); err != nil {
		return err
	}
	if *before != "" {
		if e.before, err = buildBefore(e.home, *before); err != nil {
			return err
		}
	}
	if err := writeRecords(e.records(), span(0, 512)); err != nil {
		return err
	}
	e.out.results = &results{Machine: thisMachine(e.dir, "bench "+strings.Join(masked(os.Args[1:]), " "))}
	var kept *results
	if *add {
		if kept, err = loadResults(filepath.Join(*save, "results.json")); err != nil {
			return err
		}
	}
	for _, w := range works {
		if !w.wanted(*only, e.short) {
			continue
		}
		start := time.Now()
		for _, place := range w.places(fs, *skip) {
			if err := e.measure(w, place); err != nil {
				return fmt.Errorf("%s: %w", title(w.name, place), err)
			}
		}
		e.say("%s took %s", w.name, time.Since(start).Round(time.Second))
		if *save != "" { // after each, so that a run that is cut off leaves what it has
			if err := e.out.with(kept).save(*save); err != nil {
				return err
			}
		}
	}
	e.out.table(os.Stdout)
	return nil
}

// wanted tells whether it is measured. A short run proves that all of them run.
func (w work) wanted(only string, short bool) bool {
	if only == "" {
		return short || !w.long
	}
	return slices.Contains(strings.Split(only, ","), w.name)
}

// places are the file systems on which a work is measured, first the directory, which is "".
func (w work) places(fs []string, skip bool) (all []string) {
	if !skip {
		all = append(all, "")
	}
	if w.each {
		all = append(all, fs...)
	}
	return all
}

// measure does a work on a file system that is made for it, or in the directory.
func (e env) measure(w work, fs string) (err error) {
	if fs != "" {
		var remove func() error
		if e, remove, err = e.on(fs); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, remove()) }()
	}
	return w.run(e)
}

// makeHome makes the directory of the bench. Its name is that which the kernel shows.
func makeHome(in string) (string, error) {
	dir, err := os.MkdirTemp(in, "runfold-bench")
	if err == nil {
		dir, err = filepath.Abs(dir)
	}
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	return dir, err
}

// masked leaves out what may hold a password.
func masked(args []string) []string {
	out := slices.Clone(args)
	for i := range out {
		if i > 0 && strings.TrimLeft(out[i-1], "-") == "dsn" {
			out[i] = "..."
		}
	}
	return out
}

// build makes the commands that are measured, of the tree that the directory of a bench is in.
func build(from, bin string) (string, error) {
	for _, b := range []struct{ in, what string }{
		{"..", "./cmd/compactd"}, {"..", "./cmd/journal-append"}, {".", "./worker"},
	} {
		cmd := exec.Command("go", "build", "-trimpath", "-o", bin+string(filepath.Separator), b.what)
		cmd.Dir, cmd.Stderr = filepath.Join(from, b.in), os.Stderr
		if err := cmd.Run(); err != nil {
			return "", fmt.Errorf("build %s: %w", b.what, err)
		}
	}
	return bin, nil
}

func (env) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
}

// fresh is an empty directory for one measurement, and what removes it.
func (e env) fresh() (dir string, remove func(), err error) {
	dir, err = os.MkdirTemp(e.dir, "work")
	return dir, func() { os.RemoveAll(dir) }, err
}

// absent is the Result of a competitor that cannot do a work.
func absent(work, who string, why error) Result {
	return Result{Work: work, Who: who, Note: why.Error()}
}

// result keeps what was measured, or why a competitor is left out.
func (e env) result(work, who, note string, values map[string]float64, err error) error {
	switch {
	case errors.Is(err, errNoPython), errors.Is(err, peer.ErrNoDSN):
		e.out.add(absent(work, who, err))
		return nil
	case err != nil:
		return fmt.Errorf("%s of %s: %w", work, who, err)
	}
	e.out.add(Result{Work: work, Who: who, Values: values, Note: note})
	return nil
}

var (
	errOneProcess = errors.New("one process only")
	errElsewhere  = errors.New("its server keeps its files elsewhere")
)

// isLeftOut tells an absence from a failure.
func isLeftOut(err error) bool {
	return errors.Is(err, peer.ErrNoDSN) || errors.Is(err, errOneProcess) || errors.Is(err, errElsewhere)
}
