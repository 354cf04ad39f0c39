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
	bin    string // where the commands are
	dsn    string
	python string // a python with requirements.txt; empty: what needs it is left out
	who    string // competitors, comma-separated; empty: all
	large  bool   // also counts that take long and much disk
	short  bool   // tiny counts: it only proves that everything runs
	rounds int
	out    *results
}

// work is one group of rows.
type work struct {
	name string
	run  func(env) error
}

var works = []work{
	{"append", appendGoroutines},
	{"processes", appendProcesses},
	{"one-shot", oneShot},
	{"steady", steady},
	{"scan", scanStreams},
	{"cold", coldBuild},
	{"fold", foldRows},
	{"per-cohort", foldPerCohort},
	{"views", views},
	{"runs", runs},
	{"python", clients},
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "duckdb" {
		exit(duckChild(os.Args[2:]))
	}
	exit(run())
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func run() (err error) {
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
	flag.StringVar(&e.who, "who", "", "comma-separated competitors of appends (default: all)")
	flag.StringVar(&e.dsn, "dsn", "", "of a PostgreSQL server with fsync=on; without one it is left out")
	flag.StringVar(&e.python, "python", "", "a python that has bench/requirements.txt, for pandas, delta-rs, MLflow, wandb, trackio and DuckDB in Python; without one they are left out")
	flag.BoolVar(&e.large, "rows-large", false, "runs: also 10,000,000 rows, which take 25 GB of disk and some minutes")
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
	if e.dir, err = os.MkdirTemp(*dir, "runfold-bench"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(e.dir)) }()
	if e.bin, err = build(e.dir); err != nil {
		return err
	}
	if err := writeRecords(e.records(), span(0, 512)); err != nil {
		return err
	}
	e.out = &results{Machine: thisMachine(e.dir, "bench "+strings.Join(masked(os.Args[1:]), " "))}
	var before *results
	if *add {
		if before, err = loadResults(filepath.Join(*save, "results.json")); err != nil {
			return err
		}
	}
	for _, w := range works {
		if *only != "" && !slices.Contains(strings.Split(*only, ","), w.name) {
			continue
		}
		start := time.Now()
		if err := w.run(e); err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		e.say("%s took %s", w.name, time.Since(start).Round(time.Second))
		if *save != "" { // after each, so that a run that is cut off leaves what it has
			if err := e.out.with(before).save(*save); err != nil {
				return err
			}
		}
	}
	e.out.table(os.Stdout)
	return nil
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

// build makes the commands that are measured.
func build(dir string) (string, error) {
	bin := filepath.Join(dir, "bin")
	for _, b := range []struct{ in, what string }{
		{"..", "./cmd/compactd"}, {"..", "./cmd/journal-append"}, {".", "./worker"},
	} {
		cmd := exec.Command("go", "build", "-trimpath", "-o", bin+string(filepath.Separator), b.what)
		cmd.Dir, cmd.Stderr = b.in, os.Stderr
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

// pool is records to append, taken in turn.
func pool() [][]byte {
	var out [][]byte
	for _, n := range span(0, 512) {
		out = append(out, line(n))
	}
	return out
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

var errOneProcess = errors.New("one process only")

// isLeftOut tells an absence from a failure.
func isLeftOut(err error) bool { return errors.Is(err, peer.ErrNoDSN) || errors.Is(err, errOneProcess) }
