package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// line is one line of input and where it stands. A line with err holds no record.
type line struct {
	file   string // "" for a record from flags
	number int
	data   []byte
	err    error

	nonFinite int // numbers of data that became null before
}

func (l line) where() string {
	if l.number == 0 {
		return l.file
	}
	return fmt.Sprintf("%s:%d", l.file, l.number)
}

// only is the input of a record from flags.
func only(l line) <-chan line {
	lines := make(chan line, 1)
	lines <- l
	close(lines)
	return lines
}

// errInterrupted ends the input before its end.
var errInterrupted = errors.New("interrupted: not read any further")

// readLines sends the lines of all files in turn and closes the channel behind the last. When ctx ends
// the complete lines that were read are still sent; where the input was left is sent as errInterrupted.
func readLines(ctx context.Context, files []string, stdin io.Reader, limit int) <-chan line {
	if len(files) == 0 {
		files = []string{"-"}
	}
	lines := make(chan line, 256)
	go func() {
		defer close(lines)
		for _, name := range files {
			if ctx.Err() != nil {
				lines <- line{file: name, err: errInterrupted}
				continue
			}
			readFile(ctx, name, stdin, limit, lines)
		}
	}()
	return lines
}

func readFile(ctx context.Context, name string, stdin io.Reader, limit int, lines chan<- line) {
	in := stdin
	if name == "-" {
		name = "stdin"
	} else {
		file, err := os.Open(name)
		if err != nil {
			lines <- line{file: name, err: err}
			return
		}
		defer file.Close()
		in = file
	}
	r := bufio.NewReaderSize(&interruptible{ctx: ctx, r: in}, 64<<10)
	for number := 1; ; number++ {
		data, err := readLine(r, limit)
		last := errors.Is(err, io.EOF)
		switch {
		case last || err == nil:
			if len(bytes.TrimSpace(data)) > 0 {
				lines <- line{file: name, number: number, data: data}
			}
		case errors.Is(err, errLong):
			lines <- line{file: name, number: number, err: err}
		default:
			lines <- line{file: name, number: number, err: err}
			return
		}
		if last {
			return
		}
	}
}

var errLong = errors.New("line is too long")

// readLine returns the next line in memory of its own. A line over the limit is passed over whole and
// is errLong: it never lies in memory.
func readLine(r *bufio.Reader, limit int) ([]byte, error) {
	var data []byte
	long := false
	size := 0
	for {
		part, err := r.ReadSlice('\n')
		size += len(part)
		long = long || size > limit+len("\r\n")
		if !long {
			data = append(data, part...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if long && (err == nil || errors.Is(err, io.EOF)) {
			return nil, fmt.Errorf("%w: %d bytes, the limit is %d", errLong, size, limit)
		}
		return data, err
	}
}

// interruptible is a reader that ends with errInterrupted when ctx does, even while the operating
// system still waits for the next byte of a pipe.
type interruptible struct {
	ctx   context.Context
	r     io.Reader
	reads chan read // results of the one read under way; nil if there is none
	rest  []byte
	err   error
}

type read struct {
	data []byte
	err  error
}

func (i *interruptible) Read(p []byte) (int, error) {
	if len(i.rest) == 0 && i.err == nil {
		i.fill(len(p))
	}
	n := copy(p, i.rest)
	i.rest = i.rest[n:]
	if n > 0 {
		return n, nil
	}
	return 0, i.err
}

func (i *interruptible) fill(size int) {
	if i.reads == nil {
		if i.ctx.Err() != nil {
			i.err = errInterrupted
			return
		}
		i.reads = make(chan read, 1)
		go func() {
			buf := make([]byte, size)
			n, err := i.r.Read(buf)
			i.reads <- read{buf[:n], err}
		}()
	}
	select {
	case got := <-i.reads:
		i.take(got)
	case <-i.ctx.Done():
		i.err = errInterrupted
		select {
		case got := <-i.reads: // it came first: nobody else will ever read it
			i.take(got)
		default:
		}
	}
}

func (i *interruptible) take(got read) { i.rest, i.err, i.reads = got.data, got.err, nil }
