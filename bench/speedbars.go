package main

import "fmt"

// speed are the bars of appends and folds on the file systems that users have. All values of a bar come from one run and one file system.
func speed() (all []bar) {
	for _, fs := range []string{"ext4", "xfs"} {
		all = append(all,
			bar{"append, 1 goroutine: records/s of write+fsync", 1.7, false, ratio("append goroutines=1", "records/s", us, raw), fs},
			bar{"append, 1 goroutine: records/s of SQLite", 1, false, ratio("append goroutines=1", "records/s", us, sqlite), fs},
			bar{"append, 100 goroutines: records/s of Pebble", 1.3, false, ratio("append goroutines=100", "records/s", us, pebbleDB), fs},
			bar{"append, 100 goroutines: p99 of Pebble", 0.5, true, ratio("append goroutines=100", "p99 ms", us, pebbleDB), fs},
			bar{"append, 16 processes: records/s of write+fsync", 1.3, false, ratio("append processes=16", "records/s", us, raw), fs},
			bar{"append, 16 processes: records/s of SQLite", 4, false, ratio("append processes=16", "records/s", us, sqlite), fs},
		)
	}
	return append(all, cheapFolds("xfs")...)
}

// cheapFolds are for file systems on which files can share blocks: a fold costs what it adds.
func cheapFolds(fs string) (all []bar) {
	for _, name := range []string{"wall s", "cpu s", "written MiB", "device MiB"} {
		all = append(all, bar{"fold of 10,000 into 5 M: " + name + " of that into 1 M", 1.3, true, growth("fold", name), fs})
	}
	all = append(all, bar{"fold of 10,000 into 5 M: wall of cp+fsync", 0.2, true, ratio("fold rows=5000000", "wall s", us, copyAll), fs})
	for _, rows := range []int{1_000_000, 5_000_000} {
		plain := fmt.Sprintf("fold rows=%d", rows)
		for _, name := range []string{"wall s", "cpu s", "written MiB"} {
			all = append(all, bar{
				fmt.Sprintf("fold of 10,000 with 100 replaced keys, scattered, into %d M: %s of that without", rows/1_000_000, name), 2, true,
				func(r *results) float64 {
					return divide(r.value(plain+" replaced=scattered", us, name), r.value(plain, us, name))
				}, fs,
			})
		}
	}
	return all
}
