package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/terminal"
)

// progress is one line on a terminal that tells how far work has come, once it takes longer than a
// second. Elsewhere it is silent. Messages are written through it, so that they stand on lines of
// their own.
type progress struct {
	w io.Writer

	mu    sync.Mutex // guards shown, and lines on w
	shown bool
}

const (
	progressAfter = time.Second
	progressEvery = 200 * time.Millisecond
)

// begin says that something is under way, until the function that it returns is called. It counts what is done with cfg, which may
// be nil, and shows first what others count.
func (p *progress) begin(what string, cfg *compactor.Config, others ...fmt.Stringer) (end func()) {
	f, ok := p.w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return func() {}
	}
	var done fmt.Stringer
	if cfg != nil {
		counted := countAmounts(durable.OS, cfg.Root)
		cfg.FS, done = counted, counted
	}
	for _, other := range others {
		done = both{other, done}
	}
	return p.tick(what, done)
}

// both shows one amount after the other.
type both struct{ first, then fmt.Stringer }

func (b both) String() string {
	if b.then == nil {
		return b.first.String()
	}
	return b.first.String() + ", " + b.then.String()
}

func (p *progress) tick(what string, amounts fmt.Stringer) (end func()) {
	start, done := time.Now(), make(chan struct{})
	var ticking sync.WaitGroup
	ticking.Go(func() {
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case now := <-tick.C:
				if now.Sub(start) > progressAfter {
					p.show(what, now.Sub(start), amounts)
				}
			}
		}
	})
	return func() {
		close(done)
		ticking.Wait()
		p.clear()
	}
}

func (p *progress) show(what string, d time.Duration, amounts fmt.Stringer) {
	text := fmt.Sprintf("%s, %v", what, d.Round(time.Second))
	if amounts != nil {
		text += ": " + amounts.String()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shown = true
	fmt.Fprintf(p.w, "\r%s\x1b[K", text)
}

func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
}

func (p *progress) erase() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}

// say writes a message on a line of its own. What does not show as itself, such as an escape sequence in a run_id, is escaped.
func (p *progress) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	fmt.Fprintf(p.w, "compactd: %s\n", terminal.Line(fmt.Sprintf(format, args...)))
}
