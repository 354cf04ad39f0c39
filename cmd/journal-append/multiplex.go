package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sync/semaphore"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/build"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/terminal"
	"github.com/runfold/runfold/journal"
)

const (
	// maxLine is more than any root takes: what is too large for one root is told by that root.
	maxLine = 61 << 20
	// maxOpen bounds the streams that are open at one time, beside those that end. Each takes up to eight files.
	maxOpen = 100
)

// multiplex appends lines that name their root and their cohort. Each pair of these has a lane. So a root whose storage hangs holds
// up its own lines only. docs/multiplex.md is the contract with those who send the lines.
type multiplex struct {
	options
	open   func(target) (*appender, error) // begins a stream
	stderr io.Writer
	room   *semaphore.Weighted
	lanes  map[target]*lane
	work   sync.WaitGroup

	streams chan struct{} // has one for each that is open, or is being opened
	crowded chan struct{} // an idle lane that receives gives its place to the sender, and ends its stream

	mu                sync.Mutex // guards what follows, and is held while stdout is written
	stdout            io.Writer
	outErr            error // the first one of stdout
	appended, refused int
}

// target is what a line names.
type target struct {
	root, rootID, cohort string
	create               bool
	own                  bool // cohort is what the record says, and not the line
}

// greeting is the first line of the output.
type greeting struct {
	Multiplex int    `json:"multiplex"`
	Version   string `json:"version"`
}

// reply is the answer to a line. ID has the bytes that were sent.
type reply struct {
	ID   json.RawMessage `json:"id,omitempty"`
	Line int             `json:"line"`
	*durableReply
	*errorReply
	Empty bool `json:"empty,omitempty"`
}

// durableReply says that the record is durable, and where.
type durableReply struct {
	RunID    string `json:"run_id"`
	Stage    string `json:"stage"`
	RecordID string `json:"record_id"`
	Stream   string `json:"stream"`
	Stamp    int64  `json:"stamp"`
}

// errorReply says why the record is not known to be durable.
type errorReply struct {
	Error string `json:"error"`
	Kind  string `json:"kind"`
	Hint  string `json:"hint,omitempty"`
}

// The kinds of errors, which are part of the interface.
const (
	kindRefused = "refused" // the line will never be taken as it is
	kindFailed  = "failed"  // somebody must mend something first
	kindAgain   = "again"   // the same line may be taken later
)

// appendAny appends what the lines of stdin say until they end or ctx does, and returns when every line that it read is answered.
func appendAny(ctx context.Context, o options, stdin io.Reader, stdout, stderr io.Writer) error {
	m := newMultiplex(o, stdout, stderr)
	m.open = m.begin
	return m.run(ctx, stdin)
}

func newMultiplex(o options, stdout, stderr io.Writer) *multiplex {
	return &multiplex{
		options: o, stdout: stdout, stderr: stderr, room: newRoom(), lanes: map[target]*lane{},
		streams: make(chan struct{}, maxOpen), crowded: make(chan struct{}),
	}
}

func (m *multiplex) run(ctx context.Context, stdin io.Reader) error {
	m.print(greeting{1, build.Version()})
	err := m.read(readLines(ctx, []string{"-"}, stdin, maxLine, m.room))
	for _, l := range m.lanes {
		l.end()
	}
	m.work.Wait()
	return m.finish(err)
}

// begin opens the root of t, and begins a stream.
func (m *multiplex) begin(t target) (*appender, error) {
	o := m.options
	o.root, o.rootID, o.cohort, o.create = t.root, t.rootID, t.cohort, t.create
	a, err := o.begin(m.say, func(told error) { m.say("%s: %s: %v", t.root, t.cohort, told) })
	if err == nil && t.own && a.form.Profile() != cohort.Foxml {
		return nil, errors.Join(errNoCohort, a.w.Close())
	}
	return a, err
}

// read gives each line to its lane.
func (m *multiplex) read(lines <-chan line) error {
	for l := range lines {
		switch {
		case l.ends && !l.sent:
			return fmt.Errorf("%s: %w", l.file, l.err)
		case l.blank:
			m.print(reply{Line: l.number, Empty: true})
			m.room.Release(l.cost)
			continue
		}
		var t target
		if l.err == nil {
			t, l.err = m.request(&l)
		}
		if l.err != nil {
			m.refuse(l, l.err)
			m.room.Release(l.cost)
			continue
		}
		m.lane(t).put(l)
	}
	return nil
}

// lane is the one of t, which is made with its first line.
func (m *multiplex) lane(t target) *lane {
	l := m.lanes[t]
	if l == nil {
		l = newLane(m, t)
		m.lanes[t] = l
		m.work.Go(l.run)
	}
	return l
}

// answer prints what became of the lines of a batch, in one write.
func (m *multiplex) answer(batch []numbered) {
	replies := make([]any, len(batch))
	appended := 0
	for i := range batch {
		n := &batch[i]
		if n.err != nil {
			replies[i] = m.failure(n.line, n.err, n.kind())
			continue
		}
		r := &n.record
		replies[i] = reply{ID: n.id, Line: n.number, durableReply: &durableReply{r.RunID, r.Stage, r.ID, r.Stream.String(), int64(r.Stamp)}}
		appended++
	}
	m.print(replies...)
	m.mu.Lock()
	m.appended += appended
	m.refused += len(batch) - appended
	m.mu.Unlock()
}

// kind is that of the error of a line.
func (n *numbered) kind() string {
	switch {
	case !n.lost, errors.Is(n.err, errNoCohort):
		return kindRefused
	case exitCode(n.err) == exitAgain, n.mayRepeat && !lasts(n.err), errors.Is(n.err, syscall.EMFILE), errors.Is(n.err, syscall.ENFILE):
		return kindAgain
	}
	return kindFailed
}

// lasts tells whether an append fails until somebody mends something. The first append of a stream may be the first that writes at all.
func lasts(err error) bool {
	return errors.Is(err, os.ErrPermission) || durable.IsReadOnly(err) || errors.Is(err, cohort.ErrNewer) ||
		errors.Is(err, journal.ErrNotExclusive) || errors.Is(err, journal.ErrOtherRoot) || errors.As(err, new(*journal.NoRootError))
}

func (*multiplex) failure(l line, err error, kind string) reply {
	return reply{ID: l.id, Line: l.number, errorReply: &errorReply{err.Error(), kind, hint(err)}}
}

func (m *multiplex) refuse(l line, err error) {
	m.print(m.failure(l, err, kindRefused))
	m.mu.Lock()
	m.refused++
	m.mu.Unlock()
}

// print writes each of vs as a line. That nobody reads them any more does not undo the records, so the input goes on, and the exit
// code tells.
func (m *multiplex) print(vs ...any) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	for _, v := range vs {
		if err := e.Encode(v); err != nil {
			panic("journal-append: internal error: " + err.Error())
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.outErr == nil {
		_, m.outErr = m.stdout.Write(b.Bytes())
	}
}

// say writes words to standard error.
func (m *multiplex) say(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fmt.Fprintf(m.stderr, "journal-append: %s\n", terminal.Line(fmt.Sprintf(format, args...)))
}

// finish prints the summary and turns what went wrong into one error.
func (m *multiplex) finish(err error) error {
	if m.summary == "text" {
		m.say("%d appended, %d refused", m.appended, m.refused)
	}
	if m.refused > 0 {
		err = errors.Join(err, fmt.Errorf("%d of %d records were not appended", m.refused, m.refused+m.appended))
	}
	if m.outErr != nil {
		err = errors.Join(err, fmt.Errorf("standard output: %w", m.outErr))
	}
	return err
}
