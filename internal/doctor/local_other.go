//go:build !linux

package doctor

import (
	"runtime"
)

// IsLocal does not know the kind on this system, and an unknown kind is not local.
func IsLocal(string) (kind string, local bool, err error) {
	return "not known on " + runtime.GOOS, false, nil
}
