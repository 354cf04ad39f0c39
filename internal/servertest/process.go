package servertest

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// Process is a server that is one process: Redis or etcd. One goroutine uses it at a time.
type Process struct {
	// Address is where clients reach it: host and port.
	Address string
	// Dir has its data and what it needs beside that. It is removed by Close.
	Dir string

	net   *Net
	ready string // what it prints when clients may come
	start func() *exec.Cmd
	empty func() error

	cmd   *exec.Cmd
	ended chan struct{}
}

// newProcess finds the program and a free address, and makes the directory.
func newProcess(program, in string, network *Net) (p *Process, err error) {
	if _, err := exec.LookPath(program); err != nil || runtime.GOOS == "windows" {
		return nil, errNone{program, in}
	}
	p = &Process{net: network}
	host := "127.0.0.1"
	if network != nil {
		host = network.Address
	}
	if p.Address, err = free(host); err != nil {
		return nil, err
	}
	p.Dir, err = os.MkdirTemp("", "runfold-"+program)
	return p, err
}

// free is a port that nobody listens at. Behind a network any port is free.
func free(host string) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return net.JoinHostPort(host, port), errors.Join(err, l.Close())
}

// Start starts a server again that was killed, at its address, with the data that it had. It returns when clients may come.
func (p *Process) Start() error {
	cmd := p.start()
	if p.net != nil {
		behind := p.net.Command(cmd.Args[0], cmd.Args[1:]...)
		behind.Env = cmd.Env
		cmd = behind
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.Dir, w, w
	if err = errors.Join(cmd.Start(), w.Close()); err != nil {
		return errors.Join(err, r.Close())
	}
	p.cmd, p.ended = cmd, make(chan struct{})
	ready := make(chan error, 1)
	go p.read(r, ready)
	return <-ready
}

// read reads what the server prints until it ends, and says when it is ready, or why it will not be.
func (p *Process) read(r *os.File, ready chan<- error) {
	defer close(p.ended)
	var last []string
	isReady := false
	for lines := bufio.NewScanner(r); lines.Scan(); {
		if !isReady && strings.Contains(lines.Text(), p.ready) {
			isReady = true
			ready <- nil
		}
		if last = append(last, lines.Text()); len(last) > 50 {
			last = last[1:]
		}
	}
	err := errors.Join(p.cmd.Wait(), r.Close())
	if !isReady {
		ready <- fmt.Errorf("%v ended before it was ready: %w: %s", p.cmd.Args, err, strings.Join(last, "\n"))
	}
}

// StartEmpty starts a server again that was killed, at its address, without any data.
func (p *Process) StartEmpty() error { return errors.Join(p.empty(), p.Start()) }

// Kill ends the server as a loss of power would.
func (p *Process) Kill() error {
	err := p.cmd.Process.Kill()
	<-p.ended
	return err
}

// Close ends the server, and removes its directory and its network.
func (p *Process) Close() error {
	var err error
	select {
	case <-p.ended:
	default:
		err = p.Kill()
	}
	if p.net != nil {
		err = errors.Join(err, p.net.Close())
	}
	return errors.Join(err, os.RemoveAll(p.Dir))
}
