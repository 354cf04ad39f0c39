package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// progress is one line on a terminal that is written over while work takes longer than a second.
// Elsewhere it is silent.
type progress struct {
	w     io.Writer // nil: silent
	next  time.Time
	start time.Time
	shown bool
}

const progressEvery = 200 * time.Millisecond

func newProgress(w io.Writer, start time.Time) *progress {
	p := &progress{start: start, next: start.Add(time.Second)}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.w = w
	}
	return p
}

// tellTerminal says that the command waits for somebody to type, should nobody have meant that.
func tellTerminal(a *appender, stdin io.Reader) {
	if f, ok := stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		a.say("reading records from the terminal: one JSON object on each line, then Ctrl-D")
	}
}

func (p *progress) show(records int, bytes int64) {
	now := time.Now()
	if p.w == nil || now.Before(p.next) {
		return
	}
	p.next, p.shown = now.Add(progressEvery), true
	seconds := now.Sub(p.start).Seconds()
	fmt.Fprintf(p.w, "\r%d records, %.1f MB, %.0f records/s\x1b[K", records, float64(bytes)/1e6, float64(records)/seconds)
}

// clear removes the line, so that a message can stand in its place.
func (p *progress) clear() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}
