package delta

import (
	"encoding/json"
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	"github.com/runfold/runfold/compactor/index"
)

const (
	// statColumns is how many columns have statistics: as many as other writers of Delta give.
	statColumns = 32
	// statText bounds the texts in statistics, in characters. A longer one is left out.
	statText = 32
)

// stats are the statistics of a file, as the footer has them.
type stats struct {
	NumRecords int64            `json:"numRecords"`
	MinValues  map[string]any   `json:"minValues"`
	MaxValues  map[string]any   `json:"maxValues"`
	NullCount  map[string]int64 `json:"nullCount"`
}

// statsOf are the statistics of a file as JSON. They go by physical names, which are those of the columns.
func statsOf(f *index.File, s shape) string {
	st := stats{f.NumRows(), map[string]any{}, map[string]any{}, map[string]int64{}}
	for _, c := range s.columns[:min(len(s.columns), statColumns)] {
		low, high, nulls, ok := boundsOf(f, c)
		st.NullCount[c.Name] = nulls
		if !ok {
			continue
		}
		least, most := jsonOf(low, c.Time, false), jsonOf(high, c.Time, true)
		if least != nil && most != nil {
			st.MinValues[c.Name], st.MaxValues[c.Name] = least, most
		}
	}
	data, err := json.Marshal(st)
	if err != nil {
		panic(fmt.Sprintf("delta: internal error: encode statistics: %v", err))
	}
	return string(data)
}

// boundsOf are the bounds of a column over all row groups. ok is false if the footer does not say them, or if there is no value.
func boundsOf(f *index.File, c index.FileColumn) (low, high index.Value, nulls int64, ok bool) {
	known := true
	for _, g := range f.Groups() {
		b := g.Bounds(c.Name)
		nulls += b.Nulls
		if b.Nulls == b.Rows {
			continue
		}
		known = known && b.Min.Kind != 0 && b.Max.Kind != 0
		if !known {
			continue
		}
		if !ok || isLess(b.Min, low) {
			low = b.Min
		}
		if !ok || isLess(high, b.Max) {
			high = b.Max
		}
		ok = true
	}
	return low, high, nulls, ok && known && c.Name != "_extra" // whose bounds in the footer are not those of its values
}

func isLess(a, b index.Value) bool {
	switch a.Kind {
	case index.Int:
		return a.Int() < b.Int()
	case index.Double:
		return a.Double() < b.Double()
	}
	return string(a.Text()) < string(b.Text())
}

// jsonOf is a bound as the statistics have it, or nil if they cannot have it.
func jsonOf(v index.Value, isTime, up bool) any {
	switch {
	case isTime:
		return timeText(v.Int(), up)
	case v.Kind == index.Int:
		return v.Int()
	case v.Kind == index.Double && !math.IsNaN(v.Double()) && !math.IsInf(v.Double(), 0):
		return v.Double()
	case v.Kind == index.String && utf8.Valid(v.Text()) && utf8.RuneCount(v.Text()) <= statText:
		return string(v.Text())
	}
	return nil // booleans have no bounds in Delta
}

// timeText has milliseconds, as readers expect it. A highest value is rounded up, so that it stays a bound.
func timeText(micros int64, up bool) any {
	t := time.UnixMicro(micros).UTC()
	cut := t.Truncate(time.Millisecond)
	if up && cut.Before(t) {
		cut = cut.Add(time.Millisecond)
	}
	if cut.Year() < 1 || cut.Year() > 9999 {
		return nil
	}
	return cut.Format("2006-01-02T15:04:05.000Z")
}
