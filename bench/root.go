package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/journal"
)

// cohorts is how many cohorts the roots of folds have.
const cohorts = 4

// appendRuns appends the records of runs to a root, each to its cohort.
func appendRuns(root string, settings cohort.Settings, runs []int, of func(run int) string) error {
	if _, _, err := journal.InitRoot(cohort.Root(root), settings, journal.RootOptions{}); err != nil {
		return err
	}
	var all errgroup.Group
	all.SetLimit(runtime.GOMAXPROCS(0))
	byCohort := map[string][]int{}
	for _, run := range runs {
		byCohort[of(run)] = append(byCohort[of(run)], run)
	}
	for id, runs := range byCohort {
		all.Go(func() error { return appendTo(root, cohort.ID(id), runs) })
	}
	return all.Wait()
}

// cohortOf is the cohort of a run.
func cohortOf(run int) string { return cohortName(run % cohorts) }

func cohortName(n int) string { return fmt.Sprint("cohort-", n) }

func appendTo(root string, id cohort.ID, runs []int) (err error) {
	w, err := journal.Create(cohort.Root(root), id, journal.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	for len(runs) > 0 {
		n := min(len(runs), 1000)
		recs := make([]cohort.Record, n)
		for i, run := range runs[:n] {
			if recs[i], err = cohort.ParseRecord(line(run), 0); err != nil {
				return err
			}
		}
		if err := w.Append(recs); err != nil {
			return err
		}
		runs = runs[n:]
	}
	return nil
}

// report is what compactd once --json says.
type report struct {
	Rows          int64 `json:"rows"`
	Commits       int   `json:"commits"`
	GroupsCopied  int   `json:"groups_copied"`
	GroupsWritten int   `json:"groups_written"`
	Copied        int64 `json:"bytes_copied"`
	Cloned        int64 `json:"bytes_cloned"`
}

// foldOnce runs compactd on a root and measures the process.
func (e env) foldOnce(root string) (report, map[string]float64, error) {
	// Else all generations of the hour stay on the disk. It is a commit the first time, and nothing after that.
	if out, err := exec.Command(filepath.Join(e.bin, "compactd"), "retention", "set", "--root", root, "--all", "0", "--hourly", "0", "--daily", "0").CombinedOutput(); err != nil {
		return report{}, nil, fmt.Errorf("compactd retention set: %w: %s", err, out)
	}
	out, values, err := e.measured(filepath.Join(e.bin, "compactd"), "once", "--root", root, "--json", "--keep-generations", "1", "--keep-age", "1ns")
	var r report
	if err == nil {
		err = json.Unmarshal(out, &r)
	}
	if err != nil {
		return r, nil, err
	}
	values["groups copied"], values["groups written"] = float64(r.GroupsCopied), float64(r.GroupsWritten)
	values["copied MiB"], values["shared MiB"] = float64(r.Copied)/(1<<20), float64(r.Cloned)/(1<<20)
	return r, values, nil
}

// compactd runs it and measures the process.
func (e env) compactd(args ...string) ([]byte, map[string]float64, error) {
	return e.measured(filepath.Join(e.bin, "compactd"), args...)
}

// measured runs a command. It returns its output, and the time and memory that it used.
func (e env) measured(name string, args ...string) (out []byte, values map[string]float64, err error) {
	values, err = e.counting(func() (took map[string]float64, err error) {
		out, took, err = e.execute(name, args...)
		return took, err
	})
	return out, values, err
}

func (e env) execute(name string, args ...string) (out []byte, values map[string]float64, err error) {
	to := filepath.Join(e.home, "measured.json")
	cmd := exec.Command(filepath.Join(e.bin, "worker"), append([]string{"measure", to, name}, args...)...)
	cmd.Dir = e.dir // where DuckDB spills
	if out, err = cmd.Output(); err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%s: %w: %s", cmd, err, exit.Stderr)
		}
		return out, nil, err
	}
	raw, err := os.ReadFile(to)
	if err == nil {
		err = json.Unmarshal(raw, &values)
	}
	return out, values, err
}

// settle brings the machine into the same state before each measurement: nothing waits to be written, the
// files that will be read are cached, and twice as much memory as they take is free and really present. A virtual machine
// gives unused memory back to its host, and the first process that touches it again is slower.
func (e env) settle(files ...string) error {
	syscall.Sync()
	e.trim()
	var read int64
	for _, f := range files {
		n, err := cat(f)
		if err != nil {
			return err
		}
		read += n
	}
	return touch(min(2*read, available()*3/4))
}

func cat(name string) (int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return io.Copy(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f})
}

// touch takes so much memory, writes to each page and gives it back.
func touch(size int64) error {
	if size <= 0 {
		return nil
	}
	memory, err := syscall.Mmap(-1, 0, int(size), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return fmt.Errorf("take %d bytes of memory: %w", size, err)
	}
	for i := 0; i < len(memory); i += os.Getpagesize() {
		memory[i] = 1
	}
	return syscall.Munmap(memory)
}

// available is the memory that may be taken without swapping, as Linux says; elsewhere a GiB.
func available() int64 {
	info, _ := os.ReadFile("/proc/meminfo")
	for l := range strings.Lines(string(info)) {
		var kib int64
		if n, _ := fmt.Sscanf(l, "MemAvailable: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	return 1 << 30
}

// copyAndSync is the limit: cp of files, and fsync of the copies.
func (e env) copyAndSync(files ...string) (map[string]float64, error) {
	to := filepath.Join(e.dir, "copies")
	if err := os.MkdirAll(to, 0o755); err != nil {
		return nil, err
	}
	defer os.RemoveAll(to)
	return e.counting(func() (map[string]float64, error) {
		begin := time.Now()
		_, values, err := e.execute("cp", append([]string{"--reflink=never"}, append(files, to)...)...)
		if err != nil {
			return nil, err
		}
		for i := 0; i < len(files) && err == nil; i++ {
			err = syncFile(filepath.Join(to, filepath.Base(files[i])))
		}
		values["wall s"] = time.Since(begin).Seconds()
		return values, err
	})
}

func syncFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
