package main

import (
	"fmt"
	"html"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// chartNames are the charts of one file system, in the order of docs/bench.
var chartNames = []string{"append-goroutines", "append-processes", "append-max", "fold-by-size", "grow-wall", "grow-cpu", "grow-written"}

func chartFile(name, fs string) string {
	if fs != "" {
		name += "-" + fs
	}
	return name + ".svg"
}

// charts writes the SVGs that docs/bench shows.
func (r *results) charts(dir string) error {
	for _, fs := range r.fileSystems() {
		for name, svg := range r.on(fs).chartsOf(fs) {
			if svg == "" {
				continue
			}
			if err := os.WriteFile(filepath.Join(dir, chartFile(name, fs)), []byte(svg), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// chartsOf are the charts of one file system; empty ones have nothing to show.
func (r *results) chartsOf(fs string) map[string]string {
	rate := func(prefix string) string {
		return barChart(title("Durable appends by "+prefix, fs)+", records/s (more is better, logarithmic)", r.groups("append "+prefix+"=", "records/s"))
	}
	grow := func(what, value, unit string) string {
		return lineChart(title("10,000 new rows, "+what, fs)+" by rows that are there (both logarithmic)", unit, r.growth(value))
	}
	return map[string]string{
		"append-goroutines": rate("goroutines"), "append-processes": rate("processes"),
		"append-max":   barChart(title("Longest wait of an append by processes", fs)+", ms (less is better, logarithmic)", r.groups("append processes=", "max ms")),
		"fold-by-size": lineChart(title("Fold of 10,000 new records", fs)+", seconds by rows of the index (both logarithmic)", "s", r.curves()),
		"grow-wall":    grow("seconds", "wall s", "s"), "grow-cpu": grow("seconds of CPU", "cpu s", "s"), "grow-written": grow("MiB written", "written MiB", "MiB"),
	}
}

// mark is one bar.
type mark struct {
	who   string
	value float64
}

// group is the bars that stand together.
type group struct {
	label string
	marks []mark
}

// groups are a value of all competitors at the works whose names begin with prefix.
func (r *results) groups(prefix, name string) (all []group) {
	for _, c := range r.cells() {
		count, ok := strings.CutPrefix(c.at.work, prefix)
		if !ok || c.Values[name] == 0 {
			continue
		}
		if len(all) == 0 || all[len(all)-1].label != count {
			all = append(all, group{label: count})
		}
		last := &all[len(all)-1]
		last.marks = append(last.marks, mark{c.Who, c.Values[name]})
	}
	return all
}

// point is one of a curve.
type point struct{ x, y float64 }

// curve is what one competitor costs by size.
type curve struct {
	label  string
	points []point
}

// curves are the folds without replaced keys.
func (r *results) curves() (all []curve) {
	add := func(label string, p point) { all = with(all, label, p) }
	for _, c := range r.cells() {
		var rows float64
		if n, _ := fmt.Sscanf(c.at.work, "fold rows=%g", &rows); n != 1 || strings.Contains(c.at.work, "replaced") || rows == 0 {
			continue
		}
		add(c.Who+", wall", point{rows, c.Values["wall s"]})
		if c.Who == us {
			add(c.Who+", CPU", point{rows, c.Values["cpu s"]})
			add(c.Who+", CPU in user space", point{rows, c.Values["user s"]})
		}
	}
	return all
}

// growth are a value of all competitors at the works that say how cost grows.
func (r *results) growth(value string) (all []curve) {
	for _, c := range r.cells() {
		var rows float64
		if n, _ := fmt.Sscanf(c.at.work, "grow rows=%g", &rows); n == 1 && c.Values[value] > 0 {
			all = with(all, c.Who, point{rows, c.Values[value]})
		}
	}
	return all
}

// with is curves and one more point of the one with that label.
func with(all []curve, label string, p point) []curve {
	i := slices.IndexFunc(all, func(c curve) bool { return c.label == label })
	if i < 0 {
		i, all = len(all), append(all, curve{label: label})
	}
	all[i].points = append(all[i].points, p)
	return all
}

// palette is that of Okabe and Ito, which colour-blind people can tell apart.
var palette = []string{"#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#999999", "#D55E00", "#F0E442", "#000000"}

// svg is a picture while it grows.
type svg struct {
	strings.Builder
	colours []string // labels in the order in which they were met
}

const chartWidth = 900

func begin(title string, height int) *svg {
	s := new(svg)
	fmt.Fprintf(s, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="sans-serif" font-size="12">`+"\n", chartWidth, height)
	fmt.Fprintf(s, `<rect width="100%%" height="100%%" fill="#ffffff"/>`+"\n")
	s.text(20, 26, "start", "16", title)
	return s
}

func (s *svg) end() string {
	s.WriteString("</svg>\n")
	return s.String()
}

func (s *svg) text(x, y float64, anchor, size, text string) {
	fmt.Fprintf(s, `<text x="%.1f" y="%.1f" text-anchor="%s" font-size="%s" fill="#222222">%s</text>`+"\n", x, y, anchor, size, html.EscapeString(text))
}

func (s *svg) rule(x1, y1, x2, y2 float64) {
	fmt.Fprintf(s, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#dddddd"/>`+"\n", x1, y1, x2, y2)
}

func (s *svg) colour(label string) string {
	i := slices.Index(s.colours, label)
	if i < 0 {
		i, s.colours = len(s.colours), append(s.colours, label)
	}
	return palette[i%len(palette)]
}

// decades are the powers of ten around values.
func decades(values []float64) (low, high float64) {
	low, high = math.Floor(math.Log10(slices.Min(values))), math.Ceil(math.Log10(slices.Max(values)))
	return low, max(high, low+1)
}

// barChart draws groups of horizontal bars on a logarithmic scale. Without a bar it is empty.
func barChart(title string, groups []group) string {
	var values []float64
	for _, g := range groups {
		for _, m := range g.marks {
			values = append(values, m.value)
		}
	}
	if len(values) == 0 {
		return ""
	}
	const left, right, bar = 190.0, 70.0, 15.0
	low, high := decades(values)
	height := 60 + bar*float64(len(values)) + 14*float64(len(groups)) + 20
	s := begin(title, int(height))
	at := func(v float64) float64 { return left + (chartWidth-left-right)*(math.Log10(v)-low)/(high-low) }
	for d := low; d <= high; d++ {
		s.rule(at(math.Pow(10, d)), 40, at(math.Pow(10, d)), height-24)
		s.text(at(math.Pow(10, d)), height-8, "middle", "11", number(math.Pow(10, d)))
	}
	y := 46.0
	for _, g := range groups {
		s.text(12, y+bar*float64(len(g.marks))/2+4, "start", "14", g.label)
		for _, m := range g.marks {
			s.text(left-6, y+bar-4, "end", "11", m.who)
			fmt.Fprintf(s, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`+"\n", left, y+1, max(at(m.value)-left, 1), bar-2, s.colour(m.who))
			s.text(max(at(m.value), left)+4, y+bar-4, "start", "11", number(m.value))
			y += bar
		}
		y += 14
	}
	return s.end()
}

// lineChart draws curves, both axes logarithmic. Without a point it is empty.
func lineChart(title, unit string, curves []curve) string {
	var xs, ys []float64
	for _, c := range curves {
		for _, p := range c.points {
			xs, ys = append(xs, p.x), append(ys, p.y)
		}
	}
	if len(xs) == 0 || slices.Min(ys) <= 0 {
		return ""
	}
	const left, top, width, height = 70.0, 50.0, 600.0, 330.0
	s := begin(title, int(top+height+50))
	x0, x1 := decades(xs)
	y0, y1 := decades(ys)
	atX := func(v float64) float64 { return left + width*(math.Log10(v)-x0)/(x1-x0) }
	atY := func(v float64) float64 { return top + height - height*(math.Log10(v)-y0)/(y1-y0) }
	for d := x0; d <= x1; d++ {
		s.rule(atX(math.Pow(10, d)), top, atX(math.Pow(10, d)), top+height)
		s.text(atX(math.Pow(10, d)), top+height+18, "middle", "11", number(math.Pow(10, d))+" rows")
	}
	for d := y0; d <= y1; d++ {
		s.rule(left, atY(math.Pow(10, d)), left+width, atY(math.Pow(10, d)))
		s.text(left-6, atY(math.Pow(10, d))+4, "end", "11", number(math.Pow(10, d))+" "+unit)
	}
	for i, c := range curves {
		s.curve(c, atX, atY)
		y := top + 20*float64(i)
		fmt.Fprintf(s, `<rect x="%.1f" y="%.1f" width="12" height="12" fill="%s"/>`+"\n", left+width+20, y, s.colour(c.label))
		s.text(left+width+38, y+10, "start", "12", c.label)
	}
	return s.end()
}

func (s *svg) curve(c curve, atX, atY func(float64) float64) {
	var path []string
	for _, p := range c.points {
		path = append(path, fmt.Sprintf("%.1f,%.1f", atX(p.x), atY(p.y)))
		fmt.Fprintf(s, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", atX(p.x), atY(p.y), s.colour(c.label))
		s.text(atX(p.x), atY(p.y)-7, "middle", "10", number(p.y))
	}
	fmt.Fprintf(s, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(path, " "), s.colour(c.label))
}

// drawAgain makes table and charts of results that were saved.
func drawAgain(from, to string) error {
	r, err := loadResults(from)
	if err != nil {
		return err
	}
	if to == "" {
		r.table(os.Stdout)
		return nil
	}
	return r.save(to)
}
