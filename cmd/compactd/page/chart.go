package page

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/runfold/runfold/cmd/compactd/found"
	"github.com/runfold/runfold/compactor/query"
	"github.com/runfold/runfold/internal/terminal"
)

// figure is the page of a chart.
type figure struct {
	chrome
	View    view
	Wrong   string
	Metrics []choice // what can stand on the axes
	Params  []choice
	Plot    *plot
	Told    []string // what the chart leaves out
	Why     string   // no run is found
	Table   string   // the same runs in a list
	XName   string
	YName   string
}

// mostPoints is how many points a chart has at most, and ofEach how many of each few runs those are.
const (
	mostPoints = 2000
	ofEach     = 4
)

// chart shows one value of runs over another one.
func (p *Page) chart(w http.ResponseWriter, r *http.Request) error {
	v, err := viewOf(r)
	if err != nil {
		return err
	}
	if hasEmpty(r.URL.Query()) {
		redirect(w, r, v.at("/chart"))
		return nil
	}
	b, done, err := p.open(r.Context(), v)
	if err != nil {
		return err
	}
	defer done()
	f := &figure{chrome: p.chrome(v, b, "/chart"), View: v}
	f.Title = "Chart"
	f.offer(b.Source)
	code := http.StatusOK
	if f.View.Y != "" {
		err = f.draw(r.Context(), b, p)
	}
	if isWrong(err) {
		code, f.Wrong, err = http.StatusBadRequest, err.Error(), nil
	}
	if err != nil {
		return b.Doubt(err)
	}
	return render(w, r, code, "chart.html", f)
}

// offer lists what can be drawn.
func (f *figure) offer(src query.Source) {
	for _, name := range src.Used() {
		if len(f.Metrics)+len(f.Params) == mostChoices {
			break
		}
		if !isPlain(name) {
			continue
		}
		c := choice{name, query.SpellName(name), false}
		if groupOf(name) == "metrics." {
			f.Metrics = append(f.Metrics, c)
		} else {
			f.Params = append(f.Params, c)
		}
	}
	if f.View.Y == "" && len(f.Metrics) > 0 {
		f.View.Y = f.Metrics[0].Spelled
	}
}

// axes are the columns of a chart.
func (f *figure) axes() (x, y string, err error) {
	f.View.X = cmp.Or(f.View.X, "snapshot_seq")
	for _, of := range []struct {
		text string
		to   *string
	}{{f.View.X, &x}, {f.View.Y, &y}} {
		names, err := query.ParseColumns(of.text)
		if err != nil {
			return x, y, err
		}
		if len(names) != 1 {
			return x, y, usage(fmt.Errorf("an axis has one column, and not %d", len(names)))
		}
		*of.to = names[0]
	}
	return x, y, nil
}

// draw reads the points.
func (f *figure) draw(ctx context.Context, b *reading, p *Page) error {
	q, err := f.View.query(p.Now())
	if err != nil {
		return err
	}
	x, y, err := f.axes()
	if err != nil {
		return err
	}
	f.XName, f.YName = terminal.Field(x), terminal.Field(y)
	q.Sort, q.Offset, q.Limit = nil, 0, 0
	marked := q
	n, err := q.Count(ctx, b.Source)
	if err != nil {
		return err
	}
	if n == 0 {
		f.Why, err = found.Missed(ctx, b.Source, q)
		return err
	}
	q.Columns, q.TextBytes = []string{x, y, "_key"}, 20*longestCell
	s := sample{every: max(1, (n+mostPoints/ofEach-1)/(mostPoints/ofEach)), random: rand.New(rand.NewPCG(1, 2)), words: map[string]int{}}
	for row, err := range q.Rows(ctx, b.Source) {
		if err != nil {
			return err
		}
		s.add(row.Cells[0], row.Cells[1], row.Cells[2])
	}
	s.end()
	list := f.View
	list.Sort, list.Columns = "-"+f.View.Y, "run_id,stage,"+f.View.X+","+f.View.Y
	f.Table = list.list()
	f.tell(&s, n)
	keys := f.View.Keys
	if len(keys) > 0 {
		if err := s.mark(ctx, marked, b.Source, []string{x, y, "_key"}, keys); err != nil {
			return err
		}
	}
	f.Plot = plotOf(s, f.XName, f.YName, f.View)
	return nil
}

// tell says what the chart does not show.
func (f *figure) tell(s *sample, n int64) {
	add := func(format string, args ...any) { f.Told = append(f.Told, fmt.Sprintf(format, args...)) }
	if s.seen > int64(len(s.points)) {
		add("Thinned: %s of %s points are drawn, of each %s runs in snapshot_seq order the lowest, the highest, and two at random.", count(int64(len(s.points))), count(s.seen), count(s.every))
	}
	if s.noY > 0 {
		add("%s of %s runs have no number as %s.", count(s.noY), count(n), f.YName)
	}
	if s.noX > 0 {
		add("%s of %s runs have a %s and no %s that can be placed.", count(s.noX), count(n), f.YName, f.XName)
	}
	if s.moreWords {
		add("%s has more than %d texts: runs with others are left out.", f.XName, mostWords)
	}
}

// point is a run of a chart.
type point struct {
	x, y   float64
	xt, yt string // as they are written
	key    string
	marked bool
}

// mostWords is how many texts an axis has.
const mostWords = 40

// sample keeps of each few rows the lowest and the highest one, so that no best run is lost, and two more at random, so that the cloud keeps its form: each first one
// would be one value of a param that a sweep goes through in turn. The same rows give the same points.
type sample struct {
	every          int64
	random         *rand.Rand
	chosen         [2]int64 // places in the bucket
	points         []point
	seen, noX, noY int64
	inBucket       int64
	low, high      point
	others         []point
	words          map[string]int // texts on the x axis
	named          []string
	moreWords      bool
	numbers        bool // there is a number on the x axis
}

func (s *sample) add(x, y, key query.Cell) {
	pt, ok := s.place(x, y)
	if !ok {
		return
	}
	pt.key = key.Text()
	s.seen++
	if s.inBucket == 0 || pt.y < s.low.y {
		s.low = pt
	}
	if s.inBucket == 0 || pt.y > s.high.y {
		s.high = pt
	}
	if s.inBucket == 0 {
		s.chosen = [2]int64{s.random.Int64N(s.every), s.random.Int64N(s.every)}
	}
	if s.inBucket == s.chosen[0] || s.inBucket == s.chosen[1] {
		s.others = append(s.others, pt)
	}
	if s.inBucket++; s.inBucket >= s.every {
		s.end()
	}
}

// place finds where a row stands.
func (s *sample) place(x, y query.Cell) (pt point, ok bool) {
	f, is := y.Float()
	if !is || math.IsNaN(f) || math.IsInf(f, 0) {
		s.noY++
		return pt, false
	}
	pt.y, pt.yt = f, y.Text()
	pt.xt, _ = cut(terminal.Field(x.Text()), longestCell)
	if t, is := x.Time(); is {
		pt.x, s.numbers = float64(t.UnixMicro())/1e6, true
		return pt, true
	}
	if f, is := x.Float(); is && !math.IsInf(f, 0) && !math.IsNaN(f) {
		pt.x, s.numbers = f, true
		return pt, true
	}
	if x.IsNull() || s.numbers {
		s.noX++
		return pt, false
	}
	at, is := s.words[pt.xt]
	if !is {
		if len(s.words) == mostWords {
			s.moreWords = true
			s.noX++
			return pt, false
		}
		at = len(s.words)
		s.words[pt.xt] = at
		s.named = append(s.named, pt.xt)
	}
	pt.x = float64(at)
	return pt, true
}

// end ends a bucket.
func (s *sample) end() {
	if s.inBucket == 0 {
		return
	}
	var keys []string
	for _, pt := range append(s.others, s.low, s.high) {
		if !slices.Contains(keys, pt.key) {
			keys = append(keys, pt.key)
			s.points = append(s.points, pt)
		}
	}
	s.inBucket, s.others = 0, s.others[:0]
}

// mark adds the runs that an address names, which must not be thinned out.
func (s *sample) mark(ctx context.Context, q query.Query, src query.Source, columns, keys []string) error {
	keys = keys[:min(len(keys), mostCompared)]
	text := "_key in ("
	for i, k := range keys {
		if i > 0 {
			text += ","
		}
		text += query.Text(k)
	}
	e, err := query.Parse(text + ")")
	if err != nil {
		return usage(err)
	}
	q.Where, q.Columns = e, columns
	for row, err := range q.Rows(ctx, src) {
		if err != nil {
			return err
		}
		pt, ok := s.place(row.Cells[0], row.Cells[1])
		if !ok {
			continue
		}
		pt.key, pt.marked = row.Cells[2].Text(), true
		s.points = slices.DeleteFunc(s.points, func(o point) bool { return o.key == pt.key })
		s.points = append(s.points, pt)
	}
	return nil
}

// plot is a chart in the units of its drawing.
type plot struct {
	Width, Height            int
	Left, Right, Top, Bottom int
	XTicks, YTicks           []tick
	Dots                     []dot
	Words                    bool // stand on the x axis
	Label                    string
	XName, YName             string
}

type tick struct {
	At   string
	Text string
	Turn bool
}

type dot struct {
	X, Y, Title, Link string
	Marked            bool
	Radius            string
}

func plotOf(s sample, xName, yName string, v view) *plot {
	p := &plot{Width: 960, Height: 480, Left: 80, Right: 24, Top: 16, Bottom: 72, XName: xName, YName: yName}
	if len(s.points) == 0 {
		return nil
	}
	words := !s.numbers && len(s.named) > 0
	lowX, highX := bounds(s.points, func(p point) float64 { return p.x })
	lowY, highY := bounds(s.points, func(p point) float64 { return p.y })
	yTicks := ticks(lowY, highY, 6)
	for _, t := range yTicks {
		p.Left = max(p.Left, 20+17*len(tickText(t, lowY, highY)))
	}
	if words {
		lowX, highX = -0.5, float64(len(s.named))-0.5
		p.Bottom, p.Words = 150, true
	}
	x := scale{lowX, highX, float64(p.Left), float64(p.Width - p.Right)}
	y := scale{lowY, highY, float64(p.Height - p.Bottom), float64(p.Top)}
	isTime := xName == "timestamp"
	if words {
		for i, name := range s.named {
			short, _ := cut(name, 14)
			p.XTicks = append(p.XTicks, tick{x.at(float64(i)), short, true})
		}
	} else {
		for _, t := range ticks(lowX, highX, 8) {
			text := tickText(t, lowX, highX)
			if isTime {
				text = timeTick(t, highX-lowX)
			}
			p.XTicks = append(p.XTicks, tick{At: x.at(t), Text: text})
		}
	}
	for _, t := range yTicks {
		p.YTicks = append(p.YTicks, tick{At: y.at(t), Text: tickText(t, lowY, highY)})
	}
	radius := "4"
	if len(s.points) > 300 {
		radius = "2.5"
	}
	for _, pt := range s.points {
		d := dot{X: x.at(pt.x), Y: y.at(pt.y), Link: v.run(pt.key), Marked: pt.marked, Radius: radius}
		if pt.marked {
			d.Radius = "7"
		}
		d.Title = fmt.Sprintf("%s\n%s %s\n%s %s", terminal.Field(pt.key), yName, pt.yt, xName, pt.xt)
		p.Dots = append(p.Dots, d)
	}
	p.Label = fmt.Sprintf("%s over %s: %s points, from %s to %s", yName, xName, count(int64(len(s.points))), lowestOf(s.points).yt, highestOf(s.points).yt)
	return p
}

func lowestOf(points []point) point {
	return slices.MinFunc(points, func(a, b point) int { return cmp.Compare(a.y, b.y) })
}

func highestOf(points []point) point {
	return slices.MaxFunc(points, func(a, b point) int { return cmp.Compare(a.y, b.y) })
}

// bounds are the lowest and the highest value, never equal.
func bounds(points []point, of func(point) float64) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, p := range points {
		low, high = min(low, of(p)), max(high, of(p))
	}
	if low == high {
		by := math.Max(math.Abs(low)*0.05, 0.5)
		return max(low-by, -math.MaxFloat64), min(high+by, math.MaxFloat64)
	}
	by := (high/2 - low/2) * 0.05 // so that no point stands on an axis
	return max(low-by, -math.MaxFloat64), min(high+by, math.MaxFloat64)
}

// scale is an axis.
type scale struct{ low, high, from, to float64 }

func (s scale) at(v float64) string {
	part := (v/2 - s.low/2) / (s.high/2 - s.low/2) // halves, as the difference of two doubles may be none
	return strconv.FormatFloat(s.from+part*(s.to-s.from), 'f', 1, 64)
}

// ticks are round numbers between two, about so many.
func ticks(low, high float64, about int) (all []float64) {
	span := high/2 - low/2
	step := span / float64(about) * 2
	if math.IsInf(step, 0) || step <= 0 {
		return []float64{low, high}
	}
	power := math.Pow(10, math.Floor(math.Log10(step)))
	if power == 0 {
		return []float64{low, high}
	}
	for _, m := range []float64{1, 2, 5, 10} {
		if step <= m*power {
			step = m * power
			break
		}
	}
	for i := math.Ceil(low / step); i*step <= high && len(all) < 3*about; i++ {
		if v := i * step; len(all) == 0 || v > all[len(all)-1] {
			all = append(all, v)
		}
	}
	return all
}

// tickText has as many digits as tell ticks apart.
func tickText(v, low, high float64) string {
	if v == 0 {
		return "0"
	}
	most := max(math.Abs(low), math.Abs(high))
	digits := 4
	if span := high - low; span > 0 && most/span > 100 {
		digits = min(15, 4+int(math.Log10(most/span)))
	}
	if most >= 1e6 && most < 1e15 && v == math.Trunc(v) {
		return count(int64(v))
	}
	return string(query.Number(round(v, digits)))
}

func round(v float64, digits int) float64 {
	f, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', digits, 64), 64)
	if err != nil {
		return v
	}
	return f
}

// timeTick is a time in seconds, as short as a span lets it be.
func timeTick(seconds, span float64) string {
	layout := "2006-01-02"
	switch {
	case span < 120:
		layout = "15:04:05"
	case span < 2*86400:
		layout = "01-02 15:04"
	}
	return time.Unix(int64(seconds), 0).UTC().Format(layout)
}

// EndX is where the x axis ends, and the others are where texts stand.
func (p *plot) EndX() int    { return p.Width - p.Right }
func (p *plot) EndY() int    { return p.Height - p.Bottom }
func (p *plot) TextX() int   { return p.Left - 8 }
func (p *plot) TickY() int   { return p.EndY() + 26 }
func (p *plot) NameY() int   { return p.Height - 8 }
func (p *plot) MiddleX() int { return (p.Left + p.EndX()) / 2 }
