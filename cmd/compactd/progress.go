package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// progress is one line on a terminal that tells how long work has taken, once it takes longer than a
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

// begin says that something is under way, until the function that it returns is called.
func (p *progress) begin(what string) (end func()) {
	f, ok := p.w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return func() {}
	}
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
					p.show(what, now.Sub(start))
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

func (p *progress) show(what string, d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shown = true
	fmt.Fprintf(p.w, "\r%s, %v\x1b[K", what, d.Round(time.Second))
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

// say writes a message on a line of its own.
func (p *progress) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	fmt.Fprintf(p.w, "compactd: "+format+"\n", args...)
}
