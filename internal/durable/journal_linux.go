package durable

import (
	"os"
	"path/filepath"
	"strings"
)

// WithoutJournal tells whether a device, as stat(2) numbers it, holds an ext4 that keeps no journal, as some disks of virtual machines are made. The
// sync of a file that has become longer is cheap there. It is false for any other file system, and where the kernel does not say. It reads two
// small files of /sys.
func WithoutJournal(dev uint64) bool { return withoutJournal("/sys", dev) }

func withoutJournal(sys string, dev uint64) bool {
	// The name that a device has for the kernel is the last element of where this link points.
	device, err := os.Readlink(filepath.Join(sys, "dev/block", deviceOf(dev)))
	if err != nil {
		return false
	}
	// The thread that commits the journal, by its number (journal_task in ext4's Documentation/ABI/testing/sysfs-fs-ext4).
	task, err := os.ReadFile(filepath.Join(sys, "fs/ext4", filepath.Base(device), "journal_task"))
	return err == nil && strings.TrimSpace(string(task)) == "<none>"
}
