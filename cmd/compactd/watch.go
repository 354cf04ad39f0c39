package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/runfold/runfold/internal/quantity"
	"github.com/runfold/runfold/internal/terminal"
)

// watched is the flag --watch.
type watched struct{ every time.Duration }

func (w *watched) flag(f *pflag.FlagSet) {
	f.Var(positive{(*quantity.Duration)(&w.every)}, "watch", "draw it again every two seconds, or as often as --watch=10s says, until Ctrl-C")
	f.Lookup("watch").NoOptDefVal = "2s"
}

// What a terminal does. All that xterm, the Linux console, tmux and the terminal of Windows know.
const (
	screenBegin = "\x1b[?1049h\x1b[?25l" // the other screen, without a cursor
	screenEnd   = "\x1b[?25h\x1b[?1049l"
	screenHome  = "\x1b[H"
	lineEnd     = "\x1b[K\r\n" // and nothing is left of what was there
	screenRest  = "\x1b[J"
)

// watching calls do once, or again and again with an app whose output is drawn. An error is drawn, too, and does not end it, unless it is one of usage.
func (a *app) watching(ctx context.Context, w watched, do func(context.Context, *app) error) error {
	if w.every == 0 {
		return do(ctx, a)
	}
	if !isTerminal(a.stdout) {
		return usageError{errors.New("--watch draws on a terminal, and standard output is not one: call the command again instead")}
	}
	if os.Getenv("TERM") == "dumb" {
		return usageError{errors.New("--watch draws on a terminal, and of this one TERM says that nothing can be drawn on it: call the command again instead")}
	}
	if _, err := fmt.Fprint(a.stdout, screenBegin); err != nil {
		return err
	}
	defer fmt.Fprint(a.stdout, screenEnd)
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	for {
		frame, err := a.drawn(ctx, w, do)
		if ctx.Err() != nil {
			return nil
		}
		if errors.As(err, new(usageError)) {
			return err
		}
		if _, err := fmt.Fprint(a.stdout, frame); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// drawn is one screen: what do prints, as far as there is room, and what it says.
func (a *app) drawn(ctx context.Context, w watched, do func(context.Context, *app) error) (string, error) {
	width, height := terminalSize(a.stdout)
	var printed, said bytes.Buffer
	on := *a
	on.stdout, on.stderr, on.frame, on.progress = &printed, &said, width, &progress{w: &said}
	err := do(ctx, &on)
	if err != nil {
		on.say("%v", err)
	}
	lines := []string{fmt.Sprintf("%s  every %s, Ctrl-C ends it", time.Now().Format(time.TimeOnly), w.every)}
	for text := range strings.SplitSeq(strings.TrimRight(said.String(), "\n"), "\n") {
		if text != "" {
			lines = append(lines, wrapped(text, width)...)
		}
	}
	body := strings.Split(strings.TrimRight(printed.String(), "\n"), "\n")
	if room := height - len(lines); len(body) > room && room > 0 {
		last := body[len(body)-1] // how many rows there are
		cut := max(room-2, 0)
		body = append(body[:cut:cut], fmt.Sprintf("%s %d lines have no room", terminal.Ellipsis, len(body)-cut-1), last)
	}
	var b strings.Builder
	b.WriteString(screenHome)
	for i, line := range append(lines, body...) {
		if i > 0 {
			b.WriteString(lineEnd)
		}
		b.WriteString(terminal.Cut(line, width))
	}
	b.WriteString("\x1b[K" + screenRest)
	return b.String(), err
}

// wrapped is a text in lines of so many columns.
func wrapped(text string, width int) (lines []string) {
	var line strings.Builder
	for _, r := range text {
		if terminal.Width(line.String()+string(r)) > width {
			lines = append(lines, line.String())
			line.Reset()
		}
		line.WriteRune(r)
	}
	return append(lines, line.String())
}
