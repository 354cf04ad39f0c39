package doctor

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/runfold/runfold/compactor/lock"
)

// LockVerdict is what was found of a service of locks, from one machine.
type LockVerdict struct {
	Lock    string `json:"lock"`     // kind and place, without anything that is secret
	LeaseNS int64  `json:"lease_ns"` // with which it was measured
	// Sound tells that every check gave what a lock promises. A lock that is not sound costs work, and never a record.
	Sound  bool    `json:"sound"`
	Checks []Check `json:"checks"`
}

// shortLease is the lease with which a service is measured.
const shortLease = 3 * time.Second

// askers ask at once, in so many rounds.
const (
	askers     = 16
	lockRounds = 5
)

// Holder runs a process that takes the lock of a root by HoldLock.
type Holder func(rootID string) *exec.Cmd

// HoldLock takes a lock, says so on out, and holds it until in ends.
func HoldLock(ctx context.Context, p lock.Provider, rootID string, in io.Reader, out io.Writer) error {
	shorten(p)
	held, err := p.Locker(lock.Options{RootID: rootID, Program: "compactd doctor"}).Lock(ctx)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(out, heldWord); err != nil {
		return err
	}
	io.Copy(io.Discard, in)
	return errors.Join(lock.Check(held), held.Unlock())
}

const heldWord = "held"

// shorten gives a lease that is short enough to be waited for.
func shorten(p lock.Provider) {
	if l, ok := p.(*lock.Leases); ok {
		l.TTL = min(l.Lease(), shortLease)
	}
}

// MeasureLock measures a service of locks: who wins of 16 at once, whether a lease is renewed, what a process leaves that is killed, and what the clock
// of the service does. open opens the service anew, as another process would. It measures with locks of a root that is not there, and removes none of others.
//
// It fails with lock.ErrAway or lock.ErrRefused if the service does not answer or lets nobody take a lock.
func MeasureLock(ctx context.Context, open func() (lock.Provider, error), again Holder) (LockVerdict, error) {
	p, err := open()
	if err != nil {
		return LockVerdict{}, err
	}
	defer p.Close()
	shorten(p)
	m := lockMeasure{open, again, p, "doctor-" + rand.Text()}
	v := LockVerdict{Lock: p.String(), LeaseNS: int64(p.Lease()), Sound: true}
	start, first, hasClock, clockErr := m.clock(ctx)
	for _, c := range []struct {
		name, means string
		find        func(context.Context) (result, detail string, err error)
	}{
		{"answers", "a fold waits for it twice: to take the lock and to give it back", m.answers},
		{"one of 16 at once wins", "else two fold at once: the commit lets one of them win, and the work of the other is wasted", m.oneWins},
		{"each holder has a higher fence", "it stands in the manifest, as information", m.fences},
	} {
		result, detail, err := c.find(ctx)
		if err != nil {
			return LockVerdict{}, fmt.Errorf("%s: %w", c.name, err)
		}
		v.add(Check{Name: c.name, Result: result, Detail: detail, Means: c.means})
	}
	if err := m.killed(ctx, &v); err != nil {
		return LockVerdict{}, err
	}
	if hasClock {
		v.add(m.clockCheck(ctx, start, first, clockErr))
	}
	return v, nil
}

func (v *LockVerdict) add(c Check) {
	v.Checks = append(v.Checks, c)
	v.Sound = v.Sound && c.Result != no
}

// lockMeasure is one measuring.
type lockMeasure struct {
	open   func() (lock.Provider, error)
	again  Holder
	p      lock.Provider
	rootID string
}

func (m lockMeasure) locker(p lock.Provider, wait time.Duration) lock.Locker {
	return p.Locker(lock.Options{RootID: m.rootID, Wait: wait, Program: "compactd doctor"})
}

// answers takes the lock and gives it back, again and again.
func (m lockMeasure) answers(ctx context.Context) (result, detail string, err error) {
	var took []time.Duration
	for range 20 {
		start := time.Now()
		held, err := m.locker(m.p, 0).Lock(ctx)
		if err != nil {
			return "", "", err
		}
		if err := held.Unlock(); err != nil {
			return "", "", err
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	median := took[len(took)/2]
	return median.Round(10 * time.Microsecond).String(), fmt.Sprintf("to take and give back a lock; at most %v of %d times", took[len(took)-1].Round(10*time.Microsecond), len(took)), nil
}

// oneWins lets 16 ask at once, each with connections of its own.
func (m lockMeasure) oneWins(ctx context.Context) (result, detail string, err error) {
	var all []lock.Locker
	for range askers {
		p, err := m.open()
		if err != nil {
			return "", "", err
		}
		defer p.Close()
		shorten(p)
		all = append(all, m.locker(p, 0))
	}
	for round := range lockRounds {
		held, err := ask(ctx, all)
		for _, h := range held {
			err = errors.Join(err, h.Unlock())
		}
		if err != nil {
			return "", "", err
		}
		if len(held) != 1 {
			return no, fmt.Sprintf("%d got it in round %d", len(held), round+1), nil
		}
	}
	return yes, fmt.Sprintf("in each of %d rounds", lockRounds), nil
}

// ask lets all ask at once. An error is one that says nothing about who holds the lock.
func ask(ctx context.Context, all []lock.Locker) (held []lock.Held, err error) {
	var wg sync.WaitGroup
	var mu sync.Mutex // guards held and err
	for _, l := range all {
		wg.Go(func() {
			h, lerr := l.Lock(ctx)
			mu.Lock()
			defer mu.Unlock()
			if lerr == nil {
				held = append(held, h)
			} else if !errors.Is(lerr, lock.ErrLocked) {
				err = lerr
			}
		})
	}
	wg.Wait()
	return held, err
}

// fences takes the lock twice.
func (m lockMeasure) fences(ctx context.Context) (result, detail string, err error) {
	var fences []int64
	for range 2 {
		held, err := m.locker(m.p, 0).Lock(ctx)
		if err != nil {
			return "", "", err
		}
		fences = append(fences, held.Fence())
		if err := held.Unlock(); err != nil {
			return "", "", err
		}
	}
	detail = fmt.Sprintf("%d, then %d", fences[0], fences[1])
	if fences[1] <= fences[0] {
		return no, detail, nil
	}
	return yes, detail, nil
}

// killed looks at a process that holds the lock for two leases, and then is killed.
func (m lockMeasure) killed(ctx context.Context, v *LockVerdict) error {
	holder, err := m.startHolder()
	if err != nil {
		return err
	}
	defer holder.Wait() // its error is that it was killed
	defer holder.Process.Kill()
	lease := m.p.Lease()
	took, got, err := m.wait(ctx, 2*lease)
	if err != nil {
		return err
	}
	c := Check{Name: "a lease is renewed", Result: yes, Means: "else a fold that takes longer than its lease ends before its commit, with exit code 3"}
	c.Detail = fmt.Sprintf("nobody else got it within %v; the lease is %v", took, lease)
	if got {
		c.Result, c.Detail = no, fmt.Sprintf("another got it after %v, while its holder lived", took)
	}
	v.add(c)
	if err := holder.Process.Kill(); err != nil {
		return err
	}
	if took, got, err = m.wait(ctx, 4*lease); err != nil {
		return err
	}
	c = Check{Name: "free after a kill", Result: took.String(), Means: "how long others wait for a lock whose holder was killed"}
	c.Detail = fmt.Sprintf("with a lease of %v", lease)
	if !got {
		c.Result, c.Detail = no, fmt.Sprintf("it was still held after %v, with a lease of %v", took, lease)
	}
	v.add(c)
	return nil
}

// startHolder starts a process and returns when it holds the lock.
func (m lockMeasure) startHolder() (*exec.Cmd, error) {
	holder := m.again(m.rootID)
	var said strings.Builder
	holder.Stderr = &said
	// The holder ends with this pipe, which this process keeps open until the holder was killed, or until it ends itself.
	_, err := holder.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := holder.StdoutPipe()
	if err == nil {
		err = holder.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("start a process that holds the lock: %w", err)
	}
	if line, _ := bufio.NewReader(out).ReadString('\n'); strings.TrimSpace(line) != heldWord {
		holder.Wait()
		return nil, fmt.Errorf("a process that should hold the lock: %s", strings.TrimSpace(said.String()))
	}
	return holder, nil
}

// wait waits for the lock, and gives it back if it got it.
func (m lockMeasure) wait(ctx context.Context, most time.Duration) (took time.Duration, got bool, err error) {
	start := time.Now()
	held, err := m.locker(m.p, most).Lock(ctx)
	took = time.Since(start).Round(time.Second / 10)
	switch {
	case err == nil:
		return took, true, held.Unlock()
	case errors.Is(err, lock.ErrLocked):
		return took, false, nil
	}
	return took, false, err
}

// clock is the wall clock of the service, if it has one that counts, and when we asked for it.
func (m lockMeasure) clock(ctx context.Context) (asked, says time.Time, has bool, err error) {
	l, is := m.p.(*lock.Leases)
	if !is {
		return asked, says, false, nil
	}
	c, has := l.Service.(lock.Clock)
	if !has {
		return asked, says, false, nil
	}
	before := time.Now()
	says, err = c.Now(ctx)
	return before.Add(time.Since(before) / 2), says, true, err
}

// clockCheck compares the clock of the service with ours, at two times. first is what it said at start.
func (m lockMeasure) clockCheck(ctx context.Context, start, first time.Time, err error) Check {
	c := Check{Name: "clock of the service", Means: "leases end by it: if it is set forward they end early, if it is set back they last longer"}
	asked, last, _, again := m.clock(ctx)
	if err = errors.Join(err, again); err != nil {
		c.Result, c.Detail = unknown, err.Error()
		return c
	}
	c.Result = last.Sub(asked).Round(time.Millisecond).String()
	c.Detail = fmt.Sprintf("against the clock of this machine; it went on by %v within %v", last.Sub(first).Round(time.Millisecond), asked.Sub(start).Round(time.Millisecond))
	return c
}
