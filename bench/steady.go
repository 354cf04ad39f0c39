package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/runfold/runfold/bench/peer"
)

// steady measures 100 processes that append at a fixed rate, with and without a daemon that folds every
// second. The two take turns, so that a drift of the machine hits both.
func steady(e env) error {
	writers, every, lasts, turns := 100, time.Second, 15*time.Second, 4
	if e.short {
		writers, every, lasts, turns = 4, 50*time.Millisecond, 300*time.Millisecond, 1
	}
	k, err := peer.Find(us)
	if err != nil {
		return err
	}
	for range turns {
		for _, folding := range []string{"no", "every second"} {
			values, err := e.steadily(k, folding != "no", writers, every, lasts)
			if err != nil {
				return err
			}
			note := fmt.Sprintf("%d processes, a record each every %s, %d turns of %s", writers, every, turns, lasts)
			e.out.add(Result{Work: "steady folding=" + folding, Who: us, Values: values, Note: note})
		}
	}
	return nil
}

func (e env) steadily(k peer.Kind, folding bool, writers int, every, lasts time.Duration) (map[string]float64, error) {
	o, remove, err := e.prepare(k)
	if err != nil {
		return nil, err
	}
	defer remove()
	if folding {
		daemon := exec.Command(filepath.Join(e.bin, "compactd"), "run", "--root", filepath.Join(o.Dir, "runs"), "--schedule", "@every 1s")
		if err := daemon.Start(); err != nil {
			return nil, err
		}
		defer func() {
			daemon.Process.Signal(syscall.SIGTERM)
			daemon.Wait()
		}()
	}
	samples, err := e.spread(k, o, writers, every, lasts)
	return peer.Values(samples), err
}

// spread is together for writers that append at a rate, each at its own time.
func (e env) spread(k peer.Kind, o peer.Options, writers int, every, lasts time.Duration, args ...string) ([]peer.Sample, error) {
	return e.together(k, o, writers, append(args, "-processes", fmt.Sprint(writers), "-every", every.String(), "-for", lasts.String())...)
}
