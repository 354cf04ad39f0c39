package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/runfold/runfold/bench/peer"
)

// records is the file with the records that workers append.
func (e env) records() string { return filepath.Join(e.home, "records.ndjson") }

// stderr repeats what a child says, under its name.
type stderr struct{ name string }

func (s stderr) Write(p []byte) (int, error) {
	fmt.Fprintf(os.Stderr, "%s: %s", s.name, p)
	return len(p), nil
}

// oneShot measures whole processes that append one record each, 16 at a time: of runfold the command
// journal-append with the record on its standard input, of the others the equal program.
func oneShot(e env) error {
	runs, atOnce := 500, 16
	if e.short {
		runs, atOnce = 6, 3
	}
	return e.each(oneShotName(runs, atOnce), func(k peer.Kind) (map[string]float64, error) {
		if !k.Processes {
			return nil, errOneProcess
		}
		o, remove, err := e.prepare(k)
		if err != nil {
			return nil, err
		}
		defer remove()
		return shots(runs, atOnce, func(i int) *exec.Cmd {
			o := o
			o.Writer = i
			switch k.Name {
			case us:
				return e.appendCommand(o, i)
			case earlier:
				return e.asBefore().appendCommand(o, i)
			}
			return e.worker(k, o, "-once")
		})
	})
}

func oneShotName(runs, atOnce int) string {
	return fmt.Sprintf("one-shot runs=%d at-once=%d", runs, atOnce)
}

func (e env) appendCommand(o peer.Options, i int) *exec.Cmd {
	cmd := exec.Command(filepath.Join(e.bin, "journal-append"), "--root", filepath.Join(o.Dir, "runs"), "--cohort", "bench",
		"--run-id", fmt.Sprint("run-", i), "--stage", "TRAINING", "--json", string(line(i)))
	return cmd
}

// shots runs commands, so many at a time, and measures each from its start to its end.
func shots(runs, atOnce int, command func(i int) *exec.Cmd) (map[string]float64, error) {
	var mu sync.Mutex
	var s peer.Sample
	var all errgroup.Group
	all.SetLimit(atOnce)
	start := time.Now()
	for i := range runs {
		all.Go(func() error {
			cmd := command(i)
			begin := time.Now()
			if out, err := cmd.CombinedOutput(); err != nil {
				return errors.Join(err, errors.New(string(out)))
			}
			mu.Lock()
			defer mu.Unlock()
			s.Latencies = append(s.Latencies, time.Since(begin))
			return nil
		})
	}
	err := all.Wait()
	s.Elapsed = time.Since(start)
	v := peer.Values([]peer.Sample{s})
	if err == nil {
		v["records/s"] = float64(runs) / s.Elapsed.Seconds()
	}
	return v, err
}
