package servertest

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
)

// NewRedis starts a Redis server. It keeps nothing on the disk. args are options of redis-server, such as "--requirepass", "secret". If network is not nil, it is
// reached at Net.Address, behind that link. SetClock moves its clock, where libfaketime is installed.
func NewRedis(network *Net, args ...string) (*Process, error) {
	p, err := newProcess("redis-server", "redis-server", network)
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(p.Address)
	if err != nil {
		return nil, err
	}
	p.ready = "eady to accept connections"
	p.empty = func() error { return nil }
	p.start = func() *exec.Cmd {
		cmd := exec.Command("redis-server", append([]string{"--bind", host, "--port", port, "--save", "", "--appendonly", "no", "--protected-mode", "no"}, args...)...)
		if lib := faketime(); lib != "" {
			// Without its cache the file is read for each look at the clock. The monotonic clock stays that of the machine. Debian's Redis has jemalloc, which asks
			// for the time before libfaketime can tell it, and that asks for memory: with the malloc of libc before jemalloc's there is no such circle.
			cmd.Env = append(os.Environ(), "LD_PRELOAD="+lib+" libc.so.6", "FAKETIME_TIMESTAMP_FILE="+p.clock(), "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1")
		}
		return cmd
	}
	if err = p.SetClock("+0"); err == nil {
		err = p.Start()
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(p.Dir))
	}
	return p, nil
}

func (p *Process) clock() string { return filepath.Join(p.Dir, "clock") }

// SetClock moves the wall clock of a Redis server against that of this machine, by what faketime understands: "+1h", "-90m", "+0".
func (p *Process) SetClock(by string) error {
	temp := p.clock() + ".new"
	return errors.Join(os.WriteFile(temp, []byte(by+"\n"), 0o644), os.Rename(temp, p.clock()))
}

// HasClock is an error where SetClock moves nothing, because libfaketime is not installed.
func HasClock() error {
	if faketime() == "" {
		return errNone{"libfaketime.so.1", "libfaketime"}
	}
	return nil
}

func faketime() string {
	found, err := filepath.Glob("/usr/lib/*/faketime/libfaketime.so.1")
	if err != nil || len(found) == 0 {
		return ""
	}
	return found[0]
}
