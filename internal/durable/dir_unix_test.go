//go:build !windows

package durable

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"
)

// TestNoDirectory opens files that are not directories. OpenDir refuses them, and does not wait for the other end of a pipe.
func TestNoDirectory(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o644); err != nil {
		t.Skip("no pipes here:", err)
	}
	if _, err := OS.OpenDir(pipe); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("OpenDir of a pipe = %v, want ENOTDIR", err)
	}
	if err := Create(OS, filepath.Join(pipe, "a"), nil, 0o644); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("Create below a pipe = %v, want ENOTDIR", err)
	}
}
