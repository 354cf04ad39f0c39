package tracker

import "github.com/runfold/runfold/internal/jsonscan"

// Point is one step of a metric: the tokens of numbers, or of JSON texts. An empty one is not known; an empty Value was no number.
type Point struct{ Step, Time, Value string }

// Series is the history of one metric. It keeps a bounded number of points, whatever is added: evenly over all of them, with the first
// and the last. The zero value keeps none.
type Series struct {
	most      int
	n         int     // how many points were added
	kept      []Point // each stride-th
	stride    int
	last      Point
	nonFinite int
}

// NewSeries keeps so many points.
func NewSeries(most int) *Series { return &Series{most: most, stride: 1} }

// slack is how many times more points are kept than are wanted, so that those that stay lie evenly.
const slack = 4

// Add adds the next point. One without a value counts as NaN.
func (s *Series) Add(p Point) {
	if p.Value == "" {
		s.nonFinite++
		p.Value = null
	}
	if s.most > 0 && s.n%s.stride == 0 {
		if len(s.kept) >= slack*max(s.most, 2) {
			half := s.kept[:0]
			for i := 0; i < len(s.kept); i += 2 {
				half = append(half, s.kept[i])
			}
			s.kept, s.stride = half, 2*s.stride
		}
		if s.n%s.stride == 0 {
			s.kept = append(s.kept, p)
		}
	}
	s.n++
	s.last = p
}

// Len is how many points were added.
func (s *Series) Len() int { return s.n }

// Last is the point that was added last.
func (s *Series) Last() Point { return s.last }

// points are at most so many of them.
func (s *Series) points(most int) []Point {
	all := s.kept
	if n := len(all); n > 0 && (n-1)*s.stride != s.n-1 {
		all = append(all[:n:n], s.last)
	}
	if most = min(most, s.most); most <= 0 || len(all) <= most {
		return all[:min(len(all), max(most, 0))]
	}
	if most == 1 {
		return all[len(all)-1:]
	}
	some := make([]Point, most)
	for i := range some {
		some[i] = all[i*(len(all)-1)/(most-1)]
	}
	return some
}

// json is an object of columns: {"step":[0,1],"timestamp":[...],"value":[0.5,0.4]}. If points were left out, it says in "points" how many there were.
func (s *Series) json(most int) (object []byte, cut bool) {
	points := s.points(most)
	var b Fields
	for _, column := range [...]struct {
		name string
		of   func(Point) string
	}{
		{"step", func(p Point) string { return p.Step }},
		{"timestamp", func(p Point) string { return p.Time }},
		{"value", func(p Point) string { return p.Value }},
	} {
		list, any := []byte{'['}, false
		for i, p := range points {
			if i > 0 {
				list = append(list, ',')
			}
			if text := column.of(p); text != "" {
				list, any = append(list, text...), true
			} else {
				list = append(list, "null"...)
			}
		}
		if any {
			b.JSON(column.name, append(list, ']'))
		}
	}
	if cut = len(points) < s.n; cut {
		b.Int("points", int64(s.n))
	}
	return b.Bytes(), cut
}

// IsScalar tells whether a JSON value is a number. Nothing is not.
func IsScalar(value []byte) bool {
	if len(value) == 0 {
		return false
	}
	k := jsonscan.KindOf(value)
	return k == jsonscan.Int || k == jsonscan.Double
}
