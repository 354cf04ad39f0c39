package peer

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// Sample is the latencies of the appends of one process, and how long it appended.
type Sample struct {
	Latencies []time.Duration
	Elapsed   time.Duration
}

// Send writes a Sample for Receive.
func (s Sample) Send(w io.Writer) error { return gob.NewEncoder(w).Encode(s) }

// Receive reads what Send wrote.
func Receive(r io.Reader) (s Sample, err error) {
	err = gob.NewDecoder(r).Decode(&s)
	return s, err
}

// Start tells a process that Waits when to go.
func Start(w io.Writer, at time.Time) error {
	_, err := fmt.Fprintln(w, at.UnixNano())
	return err
}

// Wait reads what Start wrote and returns at that time. If that time is over already, it is an error, because some processes
// would have begun before others.
func Wait(r io.Reader) error {
	var at int64
	if _, err := fmt.Fscanln(r, &at); err != nil {
		return fmt.Errorf("read when to go: %w", err)
	}
	left := time.Until(time.Unix(0, at))
	if left < 0 {
		return fmt.Errorf("the others went %s ago", -left)
	}
	time.Sleep(left)
	return nil
}

// Values are what tables show of samples of processes that ran at the same time.
func Values(samples []Sample) map[string]float64 {
	var all []time.Duration
	rate := 0.0
	for _, s := range samples {
		all = append(all, s.Latencies...)
		if s.Elapsed > 0 {
			rate += float64(len(s.Latencies)) / s.Elapsed.Seconds()
		}
	}
	if len(all) == 0 {
		return nil
	}
	slices.Sort(all)
	at := func(p float64) float64 { return ms(all[min(int(p*float64(len(all))), len(all)-1)]) }
	return map[string]float64{"records/s": rate, "p50 ms": at(0.5), "p99 ms": at(0.99), "max ms": ms(all[len(all)-1])}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// Work says how a process appends.
type Work struct {
	Writers int           // goroutines
	For     time.Duration // how long
	Every   time.Duration // each writer appends once in this time, and all of them one after the other; 0: without a pause
	Process int           // the number of this process among those that append at the same time
	All     int           // how many these are
	Records [][]byte      // taken in turn
	Runs    int           // if it is not 0, each record is made one of a run of its own, with numbers from this one on
	Ready   func() error  // called when every writer has appended once, which is not counted; it returns when all may go
}

// Run appends with the writers of one process. An append that is under way when the time is over is counted.
func Run(p Peer, w Work) (Sample, error) {
	appends := make([]Append, w.Writers)
	for i := range appends {
		a, err := p.Writer()
		if err != nil {
			return Sample{}, fmt.Errorf("open writer %d: %w", i, err)
		}
		if err := a(w.record(i, 0)); err != nil {
			return Sample{}, fmt.Errorf("first append of writer %d: %w", i, err)
		}
		appends[i] = a
	}
	if w.Ready != nil {
		if err := w.Ready(); err != nil {
			return Sample{}, err
		}
	}
	start := time.Now()
	parts, errs := make([][]time.Duration, w.Writers), make([]error, w.Writers)
	var all sync.WaitGroup
	for i, a := range appends {
		all.Go(func() { parts[i], errs[i] = loop(a, w, i, start) })
	}
	all.Wait()
	s := Sample{slices.Concat(parts...), time.Since(start)}
	for i, err := range errs {
		if err != nil {
			return s, fmt.Errorf("writer %d: %w", i, err)
		}
	}
	return s, nil
}

// Spread is how many runs of its own a process may append, if several do.
const Spread = 100_000

// record is number n of a writer. Records begin with their run: {"run_id":"run-000000017", in all files of the bench.
func (w Work) record(writer, n int) []byte {
	r := w.Records[(writer+n)%len(w.Records)]
	if w.Runs == 0 {
		return r
	}
	r = bytes.Clone(r)
	copy(r[len(`{"run_id":"run-`):], fmt.Sprintf("%09d", w.Runs+n*w.Writers+writer))
	return r
}

// turn is when in a period a writer appends. Those of all processes are spread over it: if all appended at one moment, each would wait
// for the others.
func (w Work) turn(writer int) time.Duration {
	return w.Every * time.Duration(w.Process*w.Writers+writer) / time.Duration(max(w.All, 1)*w.Writers)
}

func loop(a Append, w Work, writer int, start time.Time) (took []time.Duration, err error) {
	next := start.Add(w.turn(writer))
	for n := 1; ; n++ {
		record := w.record(writer, n)
		if w.Every > 0 {
			time.Sleep(time.Until(next))
			next = next.Add(w.Every)
		}
		begin := time.Now()
		if begin.Sub(start) >= w.For {
			return took, nil
		}
		if err := a(record); err != nil {
			return took, err
		}
		took = append(took, time.Since(begin))
	}
}
