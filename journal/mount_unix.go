//go:build unix

package journal

import (
	"os"
	"path/filepath"
	"syscall"

	"github.com/runfold/runfold/cohort"
)

// isMountPoint tells whether root is on another file system than the directory above it. It is only for
// messages, because it does not see a bind mount of the same file system.
func isMountPoint(root cohort.Root) bool {
	here, err := os.Stat(string(root))
	if err != nil {
		return false
	}
	above, err := os.Stat(string(root) + string(filepath.Separator) + "..") // filepath.Dir would be the wrong one if root is a link
	if err != nil {
		return false
	}
	a, aok := here.Sys().(*syscall.Stat_t)
	b, bok := above.Sys().(*syscall.Stat_t)
	return aok && bok && a.Dev != b.Dev
}
