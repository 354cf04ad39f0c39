//go:build unix

package doctor

import (
	"os/exec"
	"syscall"
)

// ownGroup starts cmd in a process group of its own, with the children that it will have.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

func killGroup(cmd *exec.Cmd) { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
