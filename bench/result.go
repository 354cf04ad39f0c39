package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Result is what was measured of one competitor at one piece of work, once. Work that is repeated makes one
// Result a round; tables show the median.
type Result struct {
	Work   string             `json:"work"`         // "append goroutines=100"
	FS     string             `json:"fs,omitempty"` // of -fs, on which it was measured; empty: in the directory of the bench
	Who    string             `json:"who"`          // "runfold", "SQLite"
	Values map[string]float64 `json:"values,omitempty"`
	Note   string             `json:"note,omitempty"` // why there is no value, or what to know of it
}

// columns are the values in the order of tables. A name ends with its unit.
var columns = []string{
	"records/s", "p50 us", "p99 us", "p50 ms", "p99 ms", "max ms", "wall s", "of runfold's", "user s", "cpu s", "peak MiB", "written MiB", "device MiB", "appended MiB", "of appended", "folds", "ms/stream",
	"groups copied", "groups written", "copied MiB", "shared MiB",
}

// results gathers what a run measured.
type results struct {
	Machine machine  `json:"machine"`
	All     []Result `json:"results"`
}

func (r *results) add(one Result) { r.All = append(r.All, one) }

// rows adds what is measured on one file system.
type rows struct {
	*results
	fs string
}

func (r rows) add(one Result) {
	one.FS = r.fs
	r.results.add(one)
}

// at is a work on a file system.
type at struct{ work, fs string }

func (o Result) at() at { return at{o.Work, o.FS} }

func (a at) String() string { return title(a.work, a.fs) }

// title is the name of a work on a file system.
func title(work, fs string) string {
	if fs == "" {
		return work
	}
	return work + " on " + fs
}

// on is what was measured on one file system, as if it were all and had been measured in the directory of the bench.
func (r *results) on(fs string) *results {
	one := &results{Machine: r.Machine}
	for _, o := range r.All {
		if o.FS == fs {
			o.FS = ""
			one.All = append(one.All, o)
		}
	}
	return one
}

// fileSystems are those on which anything was measured, in the order in which they came.
func (r *results) fileSystems() (all []string) {
	for _, o := range r.All {
		if !slices.Contains(all, o.FS) {
			all = append(all, o.FS)
		}
	}
	return all
}

// loadResults reads what save wrote.
func loadResults(name string) (*results, error) {
	raw, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	r := new(results)
	return r, json.Unmarshal(raw, r)
}

// with is r, with the results of another run for works that r has not measured.
func (r *results) with(before *results) *results {
	if before == nil {
		return r
	}
	own := map[at]bool{}
	for _, one := range r.All {
		own[one.at()] = true
	}
	all := &results{Machine: r.Machine}
	all.Machine.Command = before.Machine.Command + "`, then `" + r.Machine.Command
	all.Machine.Made = cmp.Or(r.Machine.Made, before.Machine.Made)
	seen := false
	for _, one := range before.All { // in the order of the run before
		if !own[one.at()] {
			all.All = append(all.All, one)
		} else if !seen {
			all.All, seen = append(all.All, r.All...), true
		}
	}
	if !seen {
		all.All = append(all.All, r.All...)
	}
	return all
}

// cell is the median of each value over the rounds.
type cell struct {
	at        at
	Who, Note string
	Values    map[string]float64
}

// cells are the medians, in the order in which they were first measured.
func (r *results) cells() []cell {
	type row struct {
		at  at
		who string
	}
	byName := map[row][]Result{}
	var order []row
	var works, systems []string // in the order of the table
	for _, one := range r.All {
		name := row{one.at(), one.Who}
		if byName[name] == nil {
			order = append(order, name)
			works, systems = append(works, one.Work), append(systems, one.FS)
		}
		byName[name] = append(byName[name], one)
	}
	var out []cell
	for _, name := range order {
		c := cell{at: name.at, Who: name.who, Values: map[string]float64{}}
		samples := map[string][]float64{}
		for _, one := range byName[name] {
			c.Note = one.Note
			for k, v := range one.Values {
				samples[k] = append(samples[k], v)
			}
		}
		for k, all := range samples {
			c.Values[k] = median(all)
		}
		out = append(out, c)
	}
	slices.SortStableFunc(out, func(a, b cell) int {
		return cmp.Or(slices.Index(works, a.at.work)-slices.Index(works, b.at.work), slices.Index(systems, a.at.fs)-slices.Index(systems, b.at.fs))
	})
	return out
}

func median(all []float64) float64 {
	slices.Sort(all)
	if n := len(all); n%2 == 0 {
		return (all[n/2-1] + all[n/2]) / 2
	}
	return all[len(all)/2]
}

// value is a median of what was measured in the directory of the bench, or 0 if it was not measured.
func (r *results) value(work, who, name string) float64 {
	for _, c := range r.cells() {
		if c.at == (at{work, ""}) && c.Who == who {
			return c.Values[name]
		}
	}
	return 0
}

// table writes Markdown: a table for each piece of work.
func (r *results) table(w io.Writer) {
	fmt.Fprintf(w, "%s\n", r.Machine)
	var last at
	var shown []string
	for _, c := range r.cells() {
		if c.at != last {
			last = c.at
			shown = r.columnsOf(last)
			fmt.Fprintf(w, "\n### %s\n\n| | %s | |\n|---|%s---|\n", last, strings.Join(shown, " | "), strings.Repeat("---:|", len(shown)))
		}
		fmt.Fprintf(w, "| %s |", c.Who)
		for _, name := range shown {
			if v, ok := c.Values[name]; ok {
				fmt.Fprintf(w, " %s |", number(v))
			} else {
				fmt.Fprint(w, " |")
			}
		}
		fmt.Fprintf(w, " %s |\n", c.Note)
	}
	r.bars(w)
}

func (r *results) columnsOf(a at) []string {
	var out []string
	for _, name := range columns {
		if slices.ContainsFunc(r.All, func(o Result) bool { _, ok := o.Values[name]; return ok && o.at() == a }) {
			out = append(out, name)
		}
	}
	return out
}

// number has three digits that count.
func number(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// save writes the results, the table and the charts to dir.
func (r *results) save(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	raw, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "results.json"), append(raw, '\n'), 0o644); err != nil {
		return err
	}
	if err := r.charts(dir); err != nil {
		return err
	}
	var table strings.Builder
	table.WriteString("# Results\n\nWritten by `make bench`; [README](../../bench/README.md) says how to read it. A title that ends with \"on xfs\" " +
		"is of a file system that the bench has made for it; all others are of the first file system that is named below.\n\n")
	for _, fs := range r.fileSystems() {
		for _, name := range chartNames {
			name = chartFile(name, fs)
			if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
				fmt.Fprintf(&table, "![%s](%s)\n\n", strings.TrimSuffix(name, ".svg"), name)
			}
		}
	}
	r.table(&table)
	return os.WriteFile(filepath.Join(dir, "README.md"), []byte(table.String()), 0o644)
}
