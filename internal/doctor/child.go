package doctor

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"
)

// Again makes a command that runs this program as a child: [Run] with the given arguments.
type Again func(args ...string) *exec.Cmd

// child is a process with a role that is spoken to line by line.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func (a Again) start(args ...string) (*child, error) {
	cmd := a(args...)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &child{cmd, in, bufio.NewReader(out)}, nil
}

func (c *child) say(line string) error {
	_, err := io.WriteString(c.in, line+"\n")
	return err
}

func (c *child) hear() (string, error) {
	line, err := c.out.ReadString('\n')
	return strings.TrimSpace(line), err
}

func (c *child) kill() {
	c.cmd.Process.Kill()
	c.cmd.Wait()
}

// end closes its input, which ends it.
func (c *child) end() {
	c.in.Close()
	c.cmd.Wait()
}

// ErrNoAnswer reports a file system on which a call did not return.
var ErrNoAnswer = errors.New("the file system does not answer")

// Measure makes all checks in dir and returns what was found. It is done in a child process; when ctx ends
// before that, the child and its own children are killed and the error is ErrNoAnswer, with the check that was
// under way. The directory that it measures in may stay then: its name begins with ".doctor-".
func Measure(ctx context.Context, dir string, again Again) (Verdict, error) {
	cmd := again("measure", dir)
	ownGroup(cmd)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return Verdict{}, err
	}
	if err := cmd.Start(); err != nil {
		return Verdict{}, fmt.Errorf("start a process that measures: %w", err)
	}
	events := make(chan event)
	go func() { // not in this goroutine, because a child that hangs in the kernel never ends
		defer close(events)
		for dec := json.NewDecoder(out); ; {
			var e event
			if dec.Decode(&e) != nil {
				cmd.Wait()
				return
			}
			select {
			case events <- e:
			case <-ctx.Done():
				cmd.Wait()
				return
			}
		}
	}()
	return listen(ctx, cmd, dir, events)
}

func listen(ctx context.Context, cmd *exec.Cmd, dir string, events <-chan event) (Verdict, error) {
	start, underWay := time.Now(), "making a directory"
	for {
		select {
		case <-ctx.Done():
			killGroup(cmd)
			return Verdict{}, fmt.Errorf("%s: %w: %v for %v", dir, ErrNoAnswer, underWay, time.Since(start).Round(time.Millisecond))
		case e, ok := <-events:
			switch {
			case !ok:
				return Verdict{}, fmt.Errorf("%s: the process that measures ended within: %s", dir, underWay)
			case e.Error != "":
				return Verdict{}, errors.New(e.Error)
			case e.Verdict != nil:
				return *e.Verdict, nil
			case e.Begin != "":
				start, underWay = time.Now(), e.Begin
			}
		}
	}
}
