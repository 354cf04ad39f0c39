package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// ErrLink reports a symbolic link, a pipe, a socket or a device where a file or directory of ours should be. What a link
// leads to is not ours: it is not read, locked, written or removed (docs/durability.md, P13).
var ErrLink = errors.New("nothing outside the root is touched")

// Regular returns an error if name is not a regular file. An absent name passes.
func Regular(fsys FS, name string) error {
	// Stat does not open anything. The open of a link could lead out of the root, and the open of a pipe would wait
	// for ever.
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

// RealDir returns an error if one of the names is not a directory; a link to a directory is not one. An absent name
// passes.
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

// mustBeDir returns an error unless info, which is that of lstat, is about a directory.
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
