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
	all = append(all, cheapFolds("xfs")...)
	for _, fs := range []string{"", "ext4", "xfs"} {
		all = append(all, notSlower(fs)...)
	}
	return append(all, lastingBars("xfs")...)
}

// noise is by how much medians of a few rounds of the same program differ.
const noise = 0.05

// notSlower are against the commands of -before.
func notSlower(fs string) (all []bar) {
	for _, work := range []string{
		"append goroutines=1", "append goroutines=16", "append goroutines=100", "append goroutines=400",
		"append processes=1", "append processes=16", "append processes=100", "append processes=400", oneShotName(500, 16),
	} {
		all = append(all, bar{work + ": records/s of before", 1 - noise, false, ratio(work, "records/s", us, earlier), fs})
	}
	for _, work := range []string{"fold rows=100000", "fold rows=1000000"} {
		all = append(all, bar{work + ": wall of before", 1 + noise, true, ratio(work, "wall s", us, earlier), fs})
	}
	return all
}

// lastingBars are for minutes of appends and folds.
func lastingBars(fs string) (all []bar) {
	for _, rows := range []int{1_000_000, 10_000_000} {
		with, without := minutesName(rows, eachSecond), minutesName(rows, noFolds)
		all = append(all,
			bar{fmt.Sprintf("1,000 appends/s into %d M: p99 with a fold each second, of that without", rows/1_000_000), 1.1, true,
				func(r *results) float64 { return divide(r.value(with, us, "p99 ms"), r.value(without, us, "p99 ms")) }, fs},
			bar{fmt.Sprintf("1,000 appends/s into %d M, a fold each second: bytes that the device wrote, of those appended", rows/1_000_000), 3, true,
				of(with, us, "of appended"), fs},
			bar{fmt.Sprintf("1,000 appends/s into %d M, a fold each second: bytes that the device wrote for folds, of those appended", rows/1_000_000), 3, true,
				func(r *results) float64 {
					return r.value(with, us, "of appended") - r.value(without, us, "of appended")
				}, fs},
		)
	}
	return all
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
