package main

import (
	"bufio"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/runfold/runfold/bench/peer"
)

// cell is how long one cell of an append table is measured.
func (e env) cell() time.Duration {
	if e.short {
		return 20 * time.Millisecond
	}
	return 1500 * time.Millisecond
}

// each runs a measurement of every competitor in every round, so that a drift of the machine hits all.
func (e env) each(work string, measure func(peer.Kind) (map[string]float64, error)) error {
	for round := range e.rounds {
		for _, k := range e.kinds() {
			if e.who != "" && !slices.Contains(strings.Split(e.who, ","), k.Name) {
				continue
			}
			if err := e.settle(); err != nil { // the next one must not pay for files that the one before has deleted
				return err
			}
			values, err := map[string]float64(nil), errElsewhere
			if e.fs == "" || k.Name != postgres {
				values, err = measure(k)
			}
			if isLeftOut(err) {
				if round == 0 {
					e.out.add(absent(work, k.Name, err))
				}
				continue
			}
			if err != nil {
				return fmt.Errorf("%s of %s: %w", work, k.Name, err)
			}
			e.out.add(Result{Work: work, Who: k.Name, Values: values})
		}
	}
	return nil
}

// appendGoroutines measures appends by goroutines of one process, which does nothing else, to one cohort, table or file.
func appendGoroutines(e env) error {
	counts := []int{1, 16, 100, 400}
	if e.short {
		counts = []int{1, 8}
	}
	for _, n := range counts {
		err := e.each(fmt.Sprintf("append goroutines=%d", n), func(k peer.Kind) (map[string]float64, error) {
			o, remove, err := e.prepare(k)
			if err != nil {
				return nil, err
			}
			defer remove()
			samples, err := e.together(k, o, 1, "-goroutines", fmt.Sprint(n), "-for", e.cell().String())
			return peer.Values(samples), err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// prepare makes an empty place for a competitor.
func (e env) prepare(k peer.Kind) (o peer.Options, remove func(), err error) {
	dir, remove, err := e.fresh()
	if err != nil {
		return o, nil, err
	}
	o = peer.Options{Dir: dir, DSN: e.dsn}
	if k.Prepare != nil {
		err = k.Prepare(o)
	}
	if err != nil {
		remove()
	}
	return o, remove, err
}

// appendProcesses measures appends by processes of one writer each. Their start is not counted.
func appendProcesses(e env) error {
	counts := []int{1, 16, 100, 400}
	if e.short {
		counts = []int{1, 3}
	}
	for _, n := range counts {
		err := e.each(fmt.Sprintf("append processes=%d", n), func(k peer.Kind) (map[string]float64, error) {
			if !k.Processes {
				return nil, errOneProcess
			}
			o, remove, err := e.prepare(k)
			if err != nil {
				return nil, err
			}
			defer remove()
			lasts := e.cell()
			if n >= 100 { // a process then appends some tens of times a second
				lasts *= 3
			}
			samples, err := e.together(k, o, n, "-for", lasts.String())
			return peer.Values(samples), err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// child is a worker process.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func (e env) worker(k peer.Kind, o peer.Options, args ...string) *exec.Cmd {
	name := k.Name
	if name == earlier {
		e, name = e.asBefore(), us
	}
	base := []string{"-peer", name, "-dir", o.Dir, "-dsn", o.DSN, "-writer", fmt.Sprint(o.Writer), "-records", e.records()}
	return exec.Command(filepath.Join(e.bin, "worker"), append(base, args...)...)
}

// together starts workers, lets all of them go at once when all are ready, and gathers what they measured.
func (e env) together(k peer.Kind, o peer.Options, n int, args ...string) (samples []peer.Sample, err error) {
	var all []child
	defer func() {
		for _, c := range all {
			c.in.Close()
			if werr := c.cmd.Wait(); err == nil {
				err = werr
			}
		}
	}()
	for i := range n {
		o.Writer = i
		c := child{cmd: e.worker(k, o, args...)}
		c.cmd.Stderr = stderr{k.Name}
		out, err := c.cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		if c.in, err = c.cmd.StdinPipe(); err != nil {
			return nil, err
		}
		if err := c.cmd.Start(); err != nil {
			return nil, err
		}
		c.out = bufio.NewReader(out)
		all = append(all, c)
	}
	for _, c := range all {
		if l, err := c.out.ReadString('\n'); l != "ready\n" {
			return nil, fmt.Errorf("worker says %q, %w", l, err)
		}
	}
	// Processes that begin earlier, or end later, than others would have the machine for themselves for a while.
	start := time.Now().Add(100*time.Millisecond + time.Duration(n)*2*time.Millisecond)
	for _, c := range all {
		if err := peer.Start(c.in, start); err != nil {
			return nil, err
		}
	}
	for _, c := range all {
		s, err := peer.Receive(c.out)
		if err != nil {
			return nil, err
		}
		samples = append(samples, s)
	}
	return samples, nil
}
