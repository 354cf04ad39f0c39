package durable

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// openToRead opens a file as os.Open does, but lets others rename and delete it meanwhile. os.Open does not, and then a program
// that reads would keep a fold from publishing and a sweep from deleting. It would also fail itself while another
// process deletes any other name of the same file.
func openToRead(name string) (*os.File, error) {
	path, err := syscall.UTF16PtrFromString(name)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	const share = syscall.FILE_SHARE_READ | syscall.FILE_SHARE_WRITE | syscall.FILE_SHARE_DELETE
	h, err := syscall.CreateFile(path, syscall.GENERIC_READ, share, nil, syscall.OPEN_EXISTING, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(h), name), nil
}

// renameTries bounds how often rename clears the attribute of a name that others replace at the same time.
const renameTries = 5

// rename renames old to new and replaces what has that name. Windows refuses to replace a file with the attribute read-only
// (ERROR_ACCESS_DENIED), which is every published file (docs/decisions/0009). So the attribute is cleared first. A data
// file of an earlier generation that is the same file loses it as well: the file that replaces it is the one that people
// overwrite by mistake. A crash in between leaves a file that can be written, and nothing else.
func rename(old, new string) (err error) {
	for try := range renameTries {
		cleared, cerr := clearReadOnly(new)
		if cerr != nil {
			return &os.LinkError{Op: "rename", Old: old, New: new, Err: cerr}
		}
		// Another publisher may have put its own read-only file there after our look. Else another try cannot help.
		if try > 0 && !cleared {
			return err
		}
		if err = os.Rename(old, new); !errors.Is(err, fs.ErrPermission) {
			return err
		}
	}
	return err
}

// clearReadOnly makes a file writable. It tells whether the file was read-only. An absent name and a directory are left alone.
func clearReadOnly(name string) (cleared bool, err error) {
	info, err := os.Lstat(name)
	if err != nil || !info.Mode().IsRegular() || info.Mode()&0o200 != 0 {
		return false, nil // what is wrong with the name, the rename tells
	}
	err = os.Chmod(name, 0o666)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
