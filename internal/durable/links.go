package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// ErrLink reports a symbolic link, or what is neither a file nor a directory, where a file or directory of
// ours belongs. What it leads to is somebody else's: it is not read, locked, written or removed.
var ErrLink = errors.New("nothing outside the root is touched")

// Regular refuses a name under which stands anything but a regular file: opening a link would lead out of
// the root, and opening a pipe would wait for ever. A name that is not there passes.
func Regular(fsys FS, name string) error {
	info, err := fsys.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().IsRegular():
		return nil
	case info.IsDir():
		return &fs.PathError{Op: "open", Path: name, Err: syscall.EISDIR}
	}
	return fmt.Errorf("%s is a %s: %w: put the file itself in its place", name, kindOf(info), ErrLink)
}

// RealDir refuses names under which stands anything but a directory, such as a link to one. A name that is
// not there passes.
func RealDir(fsys FS, names ...string) error {
	for _, name := range names {
		info, err := fsys.Stat(name)
		if err == nil {
			err = mustBeDir(name, info)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func mustBeDir(name string, info fs.FileInfo) error {
	switch {
	case info.IsDir():
		return nil
	case info.Mode()&fs.ModeSymlink != 0:
		return fmt.Errorf("%s is a %s: %w: put the directory itself in its place", name, kindOf(info), ErrLink)
	}
	return fmt.Errorf("%s: %w", name, syscall.ENOTDIR)
}

func kindOf(info fs.FileInfo) string {
	switch mode := info.Mode(); {
	case mode&fs.ModeSymlink != 0:
		return "symbolic link"
	case mode&fs.ModeNamedPipe != 0:
		return "named pipe"
	case mode&fs.ModeSocket != 0:
		return "socket"
	}
	return "device"
}
