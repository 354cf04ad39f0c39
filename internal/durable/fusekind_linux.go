package durable

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// fuseType is the f_type of all FUSE file systems.
const fuseType = 0x65735546

// FuseKind names the kind of the FUSE file system that holds a path, as the mount table has it, such as "fuse.sshfs". It is empty for
// other file systems, and where it cannot be known.
func FuseKind(path string) string {
	var s syscall.Statfs_t
	var st syscall.Stat_t
	if syscall.Statfs(path, &s) != nil || uint32(s.Type) != fuseType || syscall.Stat(path, &st) != nil {
		return ""
	}
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	return kindIn(string(table), deviceOf(uint64(st.Dev)))
}

// deviceOf is a device as the mount table writes it. The bits are those of glibc's gnu_dev_major.
func deviceOf(dev uint64) string {
	major := dev>>8&0xfff | dev>>32&^0xfff
	minor := dev&0xff | dev>>12&^0xff
	return fmt.Sprintf("%d:%d", uint32(major), uint32(minor))
}

// kindIn finds the type of a device in the text of a mountinfo.
func kindIn(table, device string) (kind string) {
	kind, _, _ = strings.Cut(mountOf(table, device), " ")
	return kind
}

// mountOf is what the text of a mountinfo says of the file system of a device: its type, where it comes from, and its options. If it is mounted more
// than once, it is what the last line says: see proc_pid_mountinfo(5).
func mountOf(table, device string) (about string) {
	for line := range strings.SplitSeq(table, "\n") {
		mount, of, ok := strings.Cut(line, " - ")
		if fields := strings.Fields(mount); ok && len(fields) > 2 && fields[2] == device {
			about = of
		}
	}
	return about
}
