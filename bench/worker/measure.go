package main

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// measure runs a command and writes to a file what it took. It is a small process that does so, because on Linux
// the peak memory of a child is at least that of the process which started it.
func measure(to string, command []string) error {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	begin := time.Now()
	if err := cmd.Run(); err != nil {
		return err
	}
	values := map[string]float64{"wall s": time.Since(begin).Seconds()}
	s := cmd.ProcessState
	values["user s"] = s.UserTime().Seconds()
	values["cpu s"] = (s.UserTime() + s.SystemTime()).Seconds()
	u, ok := s.SysUsage().(*syscall.Rusage)
	if !ok {
		return errors.New("this system does not tell what a process used")
	}
	values["peak MiB"] = float64(u.Maxrss) / 1024     // Linux counts KiB
	values["written MiB"] = float64(u.Oublock) / 2048 // and blocks of 512 bytes
	raw, err := json.Marshal(values)
	if err != nil {
		return err
	}
	return os.WriteFile(to, raw, 0o644)
}
