//go:build unix

package journal

import (
	"os"
	"path/filepath"
	"syscall"

	"github.com/runfold/runfold/cohort"
)

// isMountPoint tells whether another file system begins at root than the one of the directory above. It is for
// messages only: a bind mount of the same file system is not seen.
func isMountPoint(root cohort.Root) bool {
	here, err := os.Stat(string(root))
	if err != nil {
		return false
	}
	above, err := os.Stat(string(root) + string(filepath.Separator) + "..") // where it is, should its path be a link
	if err != nil {
		return false
	}
	a, aok := here.Sys().(*syscall.Stat_t)
	b, bok := above.Sys().(*syscall.Stat_t)
	return aok && bok && a.Dev != b.Dev
}
