package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sync/semaphore"

	"github.com/runfold/runfold/cohort"
)

// line is one line of input and where it stands. A line with err holds no record.
type line struct {
	file   string // where from, for people
	at     int    // which of the files that is
	number int    // from 1; 0 for a file as a whole and for a record from flags
	data   []byte
	err    error
	blank  bool // it is empty, which is fine
	ends   bool // nothing behind it was read of its file: err says why
	sent   bool // of one that ends: it came as a line, so somebody may wait for an answer

	nonFinite int // numbers of data that became null before

	action *cohort.Record // what the line stands for, if it is not the record in data
	id     []byte         // what its sender calls it, under --multiplex
	cost   int64          // what it takes of the room until it is answered
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

// stdinName is what standard input is called where its lines are named.
const stdinName = "stdin"

func inputName(file string) string {
	if file == "-" {
		return stdinName
	}
	return file
}

const (
	// maxWaiting bounds the bytes of all lines that are read and not answered. Then no more is read.
	maxWaiting = 64 << 20
	// lineCost is what a line counts beside its bytes.
	lineCost = 512
)

// newRoom is room for maxWaiting bytes of lines.
func newRoom() *semaphore.Weighted { return semaphore.NewWeighted(maxWaiting) }

// readLines sends the lines of all files in turn and closes the channel after the last one. When ctx ends
// the complete lines that were read are still sent; where the input was left is sent as errInterrupted. The caller
// releases the cost of each line to room when it is answered.
func readLines(ctx context.Context, files []string, stdin io.Reader, limit int, room *semaphore.Weighted) <-chan line {
	lines := make(chan line, 256)
	go func() {
		defer close(lines)
		for at, name := range files {
			f := inputFile{name: inputName(name), at: at, limit: limit, lines: lines, room: room}
			if ctx.Err() != nil {
				f.end(0, errInterrupted)
				continue
			}
			f.read(ctx, name, stdin)
		}
	}()
	return lines
}

// inputFile is one file on its way into a channel of lines.
type inputFile struct {
	name  string
	at    int
	limit int
	lines chan<- line
	room  *semaphore.Weighted
}

func (f inputFile) end(number int, err error) {
	f.lines <- line{file: f.name, at: f.at, number: number, err: err, ends: true}
}

// send waits for room. It is false if ctx ended meanwhile.
func (f inputFile) send(ctx context.Context, l line) bool {
	l.cost = min(int64(len(l.data))+lineCost, maxWaiting)
	if !f.room.TryAcquire(l.cost) && f.room.Acquire(ctx, l.cost) != nil {
		return false
	}
	f.lines <- l
	return true
}

func (f inputFile) read(ctx context.Context, path string, stdin io.Reader) {
	in := stdin
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			f.end(0, plainPathError(err))
			return
		}
		defer file.Close()
		in = file
	}
	r := bufio.NewReaderSize(&interruptible{ctx: ctx, r: in}, 64<<10)
	if err := strange(beginning(r), path); err != nil {
		f.lines <- line{file: f.name, at: f.at, number: 1, err: err, ends: true, sent: true}
		return
	}
	for number := 1; ; number++ {
		data, err := readLine(r, f.limit)
		last := errors.Is(err, io.EOF)
		l := line{file: f.name, at: f.at, number: number, data: data}
		switch {
		case last || err == nil:
			if l.blank = len(bytes.TrimSpace(data)) == 0; len(data) > 0 && !f.send(ctx, l) {
				f.end(number, errInterrupted)
				return
			}
		case errors.Is(err, errLong):
			l.err = err
			f.lines <- l
		default:
			f.end(number, plainPathError(err))
			return
		}
		if last {
			return
		}
	}
}

// plainPathError is err without the name of the file, which stands in front of it anyway.
func plainPathError(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// beginning is what the input begins with, as far as it is there already: it waits for the first bytes only.
func beginning(r *bufio.Reader) []byte {
	if _, err := r.Peek(1); err != nil {
		return nil // readLine finds it again
	}
	head, _ := r.Peek(min(r.Buffered(), 16<<10)) // they are there
	return head
}

var errLong = errors.New("line is too long")

// readLine returns the next line in memory of its own. A line over the limit is passed over whole and
// is errLong: it never lies in memory.
func readLine(r *bufio.Reader, limit int) ([]byte, error) {
	var data []byte
	long, nul := false, true
	size := 0
	for {
		part, err := r.ReadSlice('\n')
		size += len(part)
		nul = nul && (len(part) == 0 || part[0] < ' ') && len(bytes.Trim(part, "\x00\r\n")) == 0
		long = long || size > limit+len("\r\n")
		if !long {
			data = append(data, part...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if long && (err == nil || errors.Is(err, io.EOF)) {
			if nul {
				return nil, fmt.Errorf("%w: %w", errLong, nulBytes(size))
			}
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
