package doctor

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/runfold/runfold/internal/durable"
)

// Run is what a child process does: the first argument names its role. It speaks lines on standard input and
// output, and never outlives its input.
//
//	measure DIR       all checks; one event a line
//	race DIR          for each line "create NAME" or "link NAME": tries it and answers won, lost or an error
//	hold FILE         takes the lock, answers held or an error, and keeps it until its input ends
//	try FILE          answers free or held
func Run(args []string, in io.Reader, out io.Writer, again Again) error {
	if len(args) != 2 {
		return errors.New("a role and a path are needed")
	}
	switch role, path := args[0], args[1]; role {
	case "measure":
		return measure(path, out, again)
	case "race":
		return race(path, in, out)
	case "hold":
		return hold(path, in, out)
	case "try":
		return try(path, out)
	}
	return fmt.Errorf("unknown role %q", args[0])
}

func race(dir string, in io.Reader, out io.Writer) error {
	for s := bufio.NewScanner(in); s.Scan(); {
		var verb, name string
		if _, err := fmt.Sscan(s.Text(), &verb, &name); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(out, outcome(take(verb, dir+"/"+name))); err != nil {
			return err
		}
	}
	return nil
}

// take makes a name that only one may make. Each link is to a fresh file, as in a commit: GlusterFS refuses many links to one.
func take(verb, name string) error {
	if verb != "link" {
		return makeNew(name)
	}
	source := fmt.Sprintf("%s-%d", name, os.Getpid())
	if err := makeNew(source); err != nil {
		return err
	}
	return errors.Join(os.Link(source, name), os.Remove(source))
}

func makeNew(name string) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	return f.Close()
}

func outcome(err error) string {
	switch {
	case err == nil:
		return won
	case errors.Is(err, os.ErrExist), errors.Is(err, os.ErrPermission): // what sshfs returns to a loser
		return lost
	}
	return err.Error()
}

const (
	won  = "won"
	lost = "lost"
	held = "held"
	free = "free"
)

func hold(path string, in io.Reader, out io.Writer) error {
	lock, err := durable.TryLock(path, "", 0o666)
	if err != nil {
		_, err = fmt.Fprintln(out, err)
		return err
	}
	if _, err := fmt.Fprintln(out, held); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, in)
	return errors.Join(err, lock.Unlock())
}

func try(path string, out io.Writer) error {
	answer := held
	ok, err := durable.LockIsFree(path)
	if err != nil {
		answer = err.Error()
	} else if ok {
		answer = free
	}
	_, err = fmt.Fprintln(out, answer)
	return err
}
