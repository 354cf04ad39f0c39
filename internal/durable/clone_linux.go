package durable

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Clone shares blocks by FICLONERANGE, which NFS 4.2 and SMB 3 pass on to their server. Where a server does not share blocks it may still copy by
// itself, without a byte on the wire (copy_file_range). Nobody here reads what it copies, and it may share the blocks after all, so that
// is a clone for us too.
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
	if err != nil {
		if err = copyAtServer(f.File, src, off, at, n); err != nil {
			return err
		}
	}
	_, err = f.Seek(at+n, io.SeekStart)
	return err
}

// copyAtServer lets the server of a share copy. On a file system of this machine it would only move the copying into the kernel, where
// nobody compares checksums.
func copyAtServer(f, src *os.File, off, at, n int64) error {
	var s unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &s); err != nil {
		return err
	}
	if ownKinds[uint32(s.Type)] {
		return errors.ErrUnsupported
	}
	for n > 0 {
		done, err := unix.CopyFileRange(int(src.Fd()), &off, int(f.Fd()), &at, int(min(n, 1<<30)), 0) // moves both offsets
		switch {
		case err == unix.EINTR:
		case err != nil:
			return err
		case done == 0:
			return io.ErrUnexpectedEOF
		}
		n -= int64(max(done, 0))
	}
	return nil
}
