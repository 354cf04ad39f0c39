package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/runfold/runfold/bench/peer"
)

// minutes measures 1,000 appends a second of new runs into a root with many rows, first with a daemon that folds every second,
// and then without folds: how long appends wait, and what the disk must write.
func minutes(e env) error {
	m := lasting{env: e, writers: 100, every: 100 * time.Millisecond}
	sizes, lasts := []int{1_000_000}, 10*time.Minute
	if e.large {
		sizes = append(sizes, 10_000_000)
	}
	if e.short {
		sizes, m.writers, m.every, lasts = []int{500}, 4, 20*time.Millisecond, 300*time.Millisecond
	}
	m.lasts = cmp.Or(m.lasts, lasts)
	for _, rows := range sizes {
		if err := m.into(rows); err != nil {
			return err
		}
	}
	return nil
}

// lasting is a load that lasts.
type lasting struct {
	env
	writers int
	every   time.Duration // a record of each writer in this time
}

func minutesName(rows int, folding string) string {
	return fmt.Sprintf("minutes rows=%d folding=%s", rows, folding)
}

const noFolds, eachSecond = "no", "every second"

func (m lasting) into(rows int) error {
	dir, remove, err := m.fresh()
	if err != nil {
		return err
	}
	defer remove()
	f := &folds{env: m.env, root: filepath.Join(dir, "runs"), of: cohortOf, fresh: min(1000, rows)}
	if err := f.settled(rows); err != nil {
		return err
	}
	from := f.next
	for _, folding := range []string{eachSecond, noFolds} {
		if err := m.settle(f.published()...); err != nil {
			return err
		}
		values, err := m.appending(dir, from, folding == eachSecond)
		if err != nil {
			return err
		}
		m.say("%s: %v", minutesName(rows, folding), values) // the next part may fail half an hour later
		note := fmt.Sprintf("%d processes, a record each every %s, for %s", m.writers, m.every, m.lasts)
		m.out.add(Result{Work: minutesName(rows, folding), Who: us, Values: values, Note: note})
		from += m.writers * peer.Spread
		if _, _, err := m.foldOnce(f.root); err != nil { // what the next part finds is folded
			return err
		}
	}
	return nil
}

// appending appends runs from a number on, with or without a daemon.
func (m lasting) appending(dir string, from int, folding bool) (map[string]float64, error) {
	k, err := peer.Find(us)
	if err != nil {
		return nil, err
	}
	root := filepath.Join(dir, "runs")
	first, err := m.generation(root)
	if err != nil {
		return nil, err
	}
	values, err := m.counting(func() (values map[string]float64, err error) {
		defer m.trimming()()
		end := func() (map[string]float64, error) { return nil, nil }
		if folding {
			if end, err = m.daemon(root); err != nil {
				return nil, err
			}
		}
		samples, err := m.spread(k, peer.Options{Dir: dir}, m.writers, m.every, m.lasts, "-runs", fmt.Sprint(from))
		used, derr := end()
		if err := errors.Join(err, derr); err != nil {
			return nil, err
		}
		values = peer.Values(samples)
		for name, v := range used {
			values[name] = v
		}
		values["appended MiB"] = appended(samples)
		return values, nil
	})
	if err != nil {
		return nil, err
	}
	if device, ok := values["device MiB"]; ok {
		values["of appended"] = device / values["appended MiB"]
	}
	last, err := m.generation(root)
	values["folds"] = float64(last - first)
	if err == nil && folding && last == first && !m.short { // a short part may be over before the first fold
		err = errors.New("the daemon has folded nothing")
	}
	return values, err
}

// trimming trims every few seconds until it is ended, in both parts: hundreds of generations would fill the image.
func (m lasting) trimming() (end func()) {
	if m.device == "" {
		return func() {}
	}
	ticks, done := time.NewTicker(5*time.Second), make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		for {
			select {
			case <-ticks.C:
				m.trim()
			case <-done:
				return
			}
		}
	})
	return func() {
		ticks.Stop()
		close(done)
		all.Wait()
	}
}

// appended is how many MiB of records are in samples.
func appended(samples []peer.Sample) float64 {
	n := 0
	for _, s := range samples {
		n += len(s.Latencies)
	}
	return float64(n) * float64(len(line(0))) / (1 << 20)
}

// daemon folds a root every second until it is ended, which says what it used. All generations stay, as they do for an hour by default.
func (m lasting) daemon(root string) (end func() (map[string]float64, error), err error) {
	cmd := exec.Command(filepath.Join(m.bin, "compactd"), "run", "--root", root, "--schedule", "@every 1s")
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	m.say("compactd folds every second")
	return func() (map[string]float64, error) {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			return nil, errors.Join(err, cmd.Wait())
		}
		if err := cmd.Wait(); err != nil {
			return nil, err
		}
		s := cmd.ProcessState
		used := map[string]float64{"user s": s.UserTime().Seconds(), "cpu s": (s.UserTime() + s.SystemTime()).Seconds()}
		if u, ok := s.SysUsage().(*syscall.Rusage); ok {
			used["written MiB"] = float64(u.Oublock) / 2048
		}
		return used, nil
	}, nil
}

// generation is the number of the newest one.
func (m lasting) generation(root string) (int, error) {
	out, _, err := m.compactd("status", "--root", root, "--json")
	var s struct {
		Generation int `json:"generation"`
	}
	if err == nil {
		err = json.Unmarshal(out, &s)
	}
	return s.Generation, err
}
