package durable

import (
	"errors"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Clone shares blocks by FICLONERANGE, which NFS 4.2 and SMB 3 pass on to their server. Where a server of NFS 4.2 does not share blocks it may still
// copy by itself, without a byte on the wire (copy_file_range). Nobody here reads what it copies, and it may share the blocks after all, so
// that is a clone for us too.
func (f createdFile) Clone(from ReadFile, off, n int64) error {
	src, ok := fileOf(from)
	if !ok {
		return ErrNoClone
	}
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	err = unix.IoctlFileCloneRange(int(f.Fd()), &unix.FileCloneRange{
		Src_fd: int64(src.Fd()), Src_offset: uint64(off), Src_length: uint64(n), Dest_offset: uint64(at),
	})
	if err != nil && serverCopies(f.File) {
		err = copyAtServer(f.File, src, off, at, n)
	}
	if err == nil {
		_, err = f.Seek(at+n, io.SeekStart)
	}
	return os.NewSyscallError("clone", err)
}

// serverCopies tells whether a file is on a share whose server can copy. On every other file system copy_file_range would move the copying into the
// kernel of this machine, where nobody compares checksums.
func serverCopies(f *os.File) bool {
	var s unix.Statfs_t
	var st unix.Stat_t
	if unix.Fstatfs(int(f.Fd()), &s) != nil || s.Type != unix.NFS_SUPER_MAGIC || unix.Fstat(int(f.Fd()), &st) != nil {
		return false
	}
	table, err := os.ReadFile("/proc/self/mountinfo")
	return err == nil && hasOption(string(table), deviceOf(st.Dev), "vers=4.2")
}

// hasOption tells whether a file system was mounted with an option.
func hasOption(table, device, option string) bool {
	about := strings.Fields(mountOf(table, device))
	return len(about) == 3 && slices.Contains(strings.Split(about[2], ","), option)
}

// copyAtServer lets the server of a share copy.
func copyAtServer(f, src *os.File, off, at, n int64) error {
	for n > 0 {
		done, err := unix.CopyFileRange(int(src.Fd()), &off, int(f.Fd()), &at, int(min(n, 1<<30)), 0) // moves both offsets
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		case done == 0:
			return io.ErrUnexpectedEOF
		}
		n -= int64(max(done, 0))
	}
	return nil
}
