package main

import (
	"fmt"
	"io"
	"slices"
)

// bar is a ratio that the project has set itself: value is computed from one run.
type bar struct {
	what   string
	bound  float64
	atMost bool
	value  func(r *results) float64
	fs     string // on which it is to hold; empty: in the directory of the bench
}

// ratio of one value of two competitors at one piece of work; 0 if one is missing.
func ratio(work, name, a, b string) func(*results) float64 {
	return func(r *results) float64 { return divide(r.value(work, a, name), r.value(work, b, name)) }
}

func divide(a, b float64) float64 {
	if a == 0 || b == 0 {
		return 0
	}
	return a / b
}

const (
	us, sqlite, pebbleDB, postgres, raw = "runfold", "SQLite", "Pebble", "PostgreSQL", "limit: write+fsync"
	duck, copyAll                       = "DuckDB", "limit: cp+fsync"
)

// barsOf are the bars of the fourth milestone, in the order in which they were set.
var barsOf = []bar{
	{"append, 100 goroutines: records/s of Pebble", 1.5, false, ratio("append goroutines=100", "records/s", us, pebbleDB), ""},
	{"append, 100 goroutines: records/s of SQLite", 10, false, ratio("append goroutines=100", "records/s", us, sqlite), ""},
	{"append, 100 goroutines: p99 of Pebble", 1, true, ratio("append goroutines=100", "p99 ms", us, pebbleDB), ""},
	{"append, 100 processes: records/s of SQLite", 3, false, ratio("append processes=100", "records/s", us, sqlite), ""},
	{"append, 100 processes: records/s of PostgreSQL", 2, false, ratio("append processes=100", "records/s", us, postgres), ""},
	{"append, 100 processes: max latency of SQLite", 0.1, true, ratio("append processes=100", "max ms", us, sqlite), ""},
	{"append, 100 processes: records/s of write+fsync", 1 / 1.3, false, ratio("append processes=100", "records/s", us, raw), ""},
	{"append, 400 against 16 processes: what is left, of what is left of write+fsync", 1, false, degradation, ""},
	{"fold of 10,000 into 1 M: wall of cp+fsync", 2, true, ratio("fold rows=1000000", "wall s", us, copyAll), ""},
	{"fold of 10,000 into 1 M: DuckDB's wall of ours", 5, false, ratio("fold rows=1000000", "wall s", duck, us), ""},
	{"fold of 10,000 into 5 M: CPU of that into 1 M", 2, true, growth("fold", "cpu s"), ""},
	{"fold of 10,000 into 5 M: CPU in user space of that into 1 M", 2, true, growth("fold", "user s"), ""},
	{"fold of 10,000 of 2 in 100 cohorts into 5 M, snapshots per cohort: CPU of that into 1 M", 2, true, growth("fold per-cohort", "cpu s"), ""},
	{"fold of 10,000 into 5 M: peak MiB", 256, true, of("fold rows=5000000", us, "peak MiB"), ""},
	{"cold build of 1 M: DuckDB's wall of ours", 1, false, ratio("cold build rows=1000000", "wall s", duck, us), ""},
	{"cold build of 1 M: peak MiB", 512, true, of("cold build rows=1000000", us, "peak MiB"), ""},
	{"fold of 10,000 into 1 M with a Delta table: wall of that without", 1.1, true, ratio("fold with Delta rows=1000000", "wall s", us+", with Delta", us), ""},
	{"view in SQLite, 10,000 new rows in 1 M: CPU s", 2, true, of("view rows=1000000", us+", "+sqlite, "cpu s"), ""},
	{"view in SQLite, 10,000 new rows in 1 M: CPU of one made anew", 20, false, ratio("view rows=1000000", "cpu s", us+", "+sqlite+", anew", us+", "+sqlite), ""},
	{"view in SQLite, anew: peak MiB", 200, true, of("view rows=1000000", us+", "+sqlite+", anew", "peak MiB"), ""},
	{"view in PostgreSQL, 10,000 new rows in 1 M: CPU s", 2, true, of("view rows=1000000", us+", "+postgres, "cpu s"), ""},
	{"view in PostgreSQL, 10,000 new rows in 1 M: CPU of one made anew", 20, false, ratio("view rows=1000000", "cpu s", us+", "+postgres+", anew", us+", "+postgres), ""},
	{"view in PostgreSQL, anew: peak MiB", 200, true, of("view rows=1000000", us+", "+postgres+", anew", "peak MiB"), ""},
	{"runs with a filter, a sort and a limit, of 1 M: wall s", 0.5, true, of("runs rows=1000000 where, sort, limit", us, "wall s"), ""},
	{"runs with a filter, a sort and a limit, of 10 M: wall s", 3, true, of("runs rows=10000000 where, sort, limit", us, "wall s"), ""},
	{"runs of a cohort, a quarter of 1 M: wall s", 0.5, true, of("runs rows=1000000 of a cohort", us, "wall s"), ""},
	{"runs of a cohort, a quarter of 10 M: wall s", 3, true, of("runs rows=10000000 of a cohort", us, "wall s"), ""},
	{"append p99 while folding, of that without", 1.5, true, steadyRatio, ""},
	{"10,000 streams of one record: ms each, folded and swept", 1, true, of("scan streams=10000", us, "ms/stream"), ""},
}

func of(work, who, name string) func(*results) float64 {
	return func(r *results) float64 { return r.value(work, who, name) }
}

func growth(work, name string) func(*results) float64 {
	return func(r *results) float64 {
		return divide(r.value(work+" rows=5000000", us, name), r.value(work+" rows=1000000", us, name))
	}
}

// degradation is how much of the rate of 16 processes is left with 400, against the same of the limit.
func degradation(r *results) float64 {
	left := func(who string) float64 {
		return divide(r.value("append processes=400", who, "records/s"), r.value("append processes=16", who, "records/s"))
	}
	return divide(left(us), left(raw))
}

func steadyRatio(r *results) float64 {
	return divide(r.value("steady folding=every second", us, "p99 ms"), r.value("steady folding=no", us, "p99 ms"))
}

// bars writes the result of each bar that this run has measured.
func (r *results) bars(w io.Writer) {
	fmt.Fprintf(w, "\n### Bars\n\n| ratio | bar | measured | |\n|---|---:|---:|---|\n")
	on := map[string]*results{}
	for _, fs := range r.fileSystems() {
		on[fs] = r.on(fs)
	}
	for _, b := range slices.Concat(barsOf, speed()) {
		if on[b.fs] == nil {
			continue
		}
		v := b.value(on[b.fs])
		if v == 0 {
			continue
		}
		sign, met := "at least", v >= b.bound
		if b.atMost {
			sign, met = "at most", v <= b.bound
		}
		verdict := "**missed**"
		if met {
			verdict = "met"
		}
		fmt.Fprintf(w, "| %s | %s %s | %s | %s |\n", title(b.what, b.fs), sign, number(b.bound), number(v), verdict)
	}
}
