//go:build !unix

package journal

import "os"

// ownFile tells one file from all others, and how large it is.
type ownFile struct {
	path string
	info os.FileInfo
}

func openOwn(path string) (*ownFile, os.FileInfo, error) {
	info, err := os.Lstat(path)
	if err == nil {
		os.SameFile(info, info) // on Windows this call, and not Lstat, reads which file it is
	}
	return &ownFile{path, info}, info, err
}

func (o *ownFile) size() (int64, error) {
	info, err := os.Lstat(o.path)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// isAt tells whether a path is this file, and how large it is. It follows no link.
func (o *ownFile) isAt(path string) (same bool, size int64, err error) {
	info, err := os.Lstat(path)
	if err != nil {
		return false, 0, err
	}
	return os.SameFile(o.info, info), info.Size(), nil
}

func (o *ownFile) close() {}
