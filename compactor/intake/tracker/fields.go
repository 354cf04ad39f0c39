package tracker

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/jsonscan"
)

// Fields are the members of a JSON object in their order. The zero value has none.
type Fields struct {
	json      []byte
	n         int
	nonFinite int
}

// Len is how many there are.
func (f *Fields) Len() int { return f.n }

// Bytes is the object.
func (f *Fields) Bytes() []byte {
	if f.n == 0 {
		return []byte("{}")
	}
	return append(slices.Clip(f.json), '}')
}

func (f *Fields) clone() Fields { return Fields{slices.Clip(f.json), f.n, f.nonFinite} }

// JSON adds a value that is JSON on one line.
func (f *Fields) JSON(name string, value []byte) {
	f.json = jsonscan.AppendMember(f.json, name, value)
	f.n++
}

// Text adds a text. It must be UTF-8.
func (f *Fields) Text(name, text string) { f.JSON(name, jsonscan.Quote(text)) }

// Int adds a whole number.
func (f *Fields) Int(name string, n int64) { f.JSON(name, strconv.AppendInt(nil, n, 10)) }

// Float adds a number, null if it is NaN or infinite.
func (f *Fields) Float(name string, v float64) {
	if token := Number(v); token != "" {
		f.JSON(name, []byte(token))
	} else {
		f.Missing(name)
	}
}

// Missing adds a number that is NaN or infinite: null.
func (f *Fields) Missing(name string) {
	f.nonFinite++
	f.JSON(name, []byte("null"))
}

// Point adds the value of a point of a series, which counts NaN and infinities itself.
func (f *Fields) Point(name string, p Point) {
	if p.Value == "" {
		p.Value = null
	}
	f.JSON(name, []byte(p.Value))
}

const null = "null"

// Scalar adds what a tracker keeps as text: as the number that it spells, byte for byte, or else as the text.
func (f *Fields) Scalar(name, text string) {
	if IsNumber(text) {
		f.JSON(name, []byte(text))
	} else {
		f.Text(name, text)
	}
}

// Python adds a value that Python's json module wrote: NaN and infinities become null and are counted. ok is false if it is not JSON.
func (f *Fields) Python(name string, value []byte) (ok bool) {
	value, n, ok := FromPython(value)
	if ok {
		f.nonFinite += n
		f.JSON(name, value)
	}
	return ok
}

// Object adds an object, and what was counted in it.
func (f *Fields) Object(name string, object *Fields) {
	f.JSON(name, object.Bytes())
	f.nonFinite += object.nonFinite
}

func (f *Fields) time(name string, t time.Time) {
	if !t.IsZero() {
		f.Text(name, cohort.FormatTime(t))
	}
}

// Flat adds the scalars within an object, each by its path: {"model": {"lr": 1}} is model.lr. Lists and empty objects stay whole. skip
// tells which are left out, by their path and value; nil: none. The object must be valid JSON.
func (f *Fields) Flat(object []byte, skip func(path string, value []byte) bool) {
	f.flat("", object, skip, 0)
}

// maxFlat bounds how deep Flat goes: what is deeper stays whole.
const maxFlat = 20

func (f *Fields) flat(prefix string, object []byte, skip func(string, []byte) bool, depth int) {
	for name, value := range jsonscan.Members(object) {
		path := prefix + name
		if skip != nil && skip(path, value) {
			continue
		}
		inner := bytes.TrimSpace(bytes.Trim(value, "{}"))
		if jsonscan.KindOf(value) == jsonscan.Object && len(inner) > 0 && depth < maxFlat {
			f.flat(path+".", value, skip, depth+1)
			continue
		}
		f.JSON(path, value)
	}
}

// FromPython is JSON that Python's json module wrote, on one line, and how many NaN and infinities in it became null. ok is false if it
// is not JSON, or not UTF-8, or nested too deep to be looked at.
func FromPython(data []byte) (value []byte, nonFinite int, ok bool) {
	data = bytes.TrimSpace(data)
	if !utf8.Valid(data) || jsonscan.Deeper(data, maxDepth) {
		return nil, 0, false
	}
	data, n := jsonscan.Finite(data)
	var line bytes.Buffer
	if err := json.Compact(&line, data); err != nil {
		return nil, 0, false
	}
	return line.Bytes(), n, true
}

// maxDepth bounds how deep a value nests: a record may have 500 levels, and this one lies within others.
const maxDepth = 400

// Number is the shortest token that is this float64, with a '.' or an exponent; empty if it is NaN or infinite.
func Number(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return ""
	}
	form := byte('f')
	if a := math.Abs(v); a != 0 && (a < 1e-4 || a >= 1e16) {
		form = 'e'
	}
	token := strconv.FormatFloat(v, form, -1, 64)
	if !strings.ContainsAny(token, ".e") {
		token += ".0"
	}
	return token
}

// IsNumber tells whether a text is a number as JSON spells it, and one that a float64 can be near to.
func IsNumber(text string) bool {
	if text == "" || text[0] != '-' && (text[0] < '0' || text[0] > '9') || !json.Valid([]byte(text)) {
		return false
	}
	last := text[len(text)-1]
	if last < '0' || last > '9' { // space after it
		return false
	}
	v, err := strconv.ParseFloat(text, 64)
	return err == nil && !math.IsInf(v, 0)
}

// NumberOf is the token of a number that Python's str wrote, as it stands there where JSON spells it so, and its value. The token is empty if it is NaN
// or infinite. ok is false if it is no number.
func NumberOf(text string) (token string, v float64, ok bool) {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil && !math.IsInf(v, 0) {
		return "", 0, false
	}
	if IsNumber(text) {
		return text, v, true
	}
	return Number(v), v, true
}
