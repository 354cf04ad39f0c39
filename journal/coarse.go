package journal

import "time"

// coarsest is how far the time of a file may lag where a file system keeps whole seconds: FAT keeps even ones.
const coarsest = 2 * time.Second

// fine is the storage's time with its fraction. Some file systems keep whole seconds only, such as sshfs, HFS+, ext3 and FAT. If
// two processes of one machine append there within a second, the later one would stamp earlier: it begins at the same second, while
// the first one has come some way. So where the storage's time is a whole second, and the wall clock agrees with it, the
// fraction is that of the wall clock. It moves no stamp by more than the storage's clock is coarse.
func fine(storage, wall time.Time) time.Time {
	if storage.Nanosecond() != 0 {
		return storage
	}
	if ahead := wall.Sub(storage); ahead < 0 || ahead >= coarsest {
		return storage // one of the clocks is wrong, and the storage's is the one that all machines share
	}
	return wall
}
