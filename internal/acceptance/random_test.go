package acceptance

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// randomRecords makes records as hostile as JSON allows, and as alike as those of a program. What a root has of each is random.
type randomRecords struct {
	rnd   *rand.Rand
	most  int // of one batch
	runs  []string
	names []string            // as JSON, without quotes
	likes map[string][]string // the values that most records have under a name
	odd   int                 // of a hundred values, so many are of any kind
	wide  int                 // of a hundred records, so many have hundreds of names
	ids   []string
	made  []string // lines with an id
}

func newRandomRecords(rnd *rand.Rand) *randomRecords {
	r := &randomRecords{rnd: rnd, most: 1 + rnd.IntN(60), likes: map[string][]string{}, odd: rnd.IntN(30)}
	if rnd.IntN(6) == 0 {
		r.wide = 1 + rnd.IntN(8)
	}
	r.names = append(slices.Clone(plainNames), sample(rnd, hostileNames, rnd.IntN(12))...)
	r.runs = sample(rnd, runIDs, 3+rnd.IntN(len(runIDs)-3))
	for i := range rnd.IntN(40) {
		r.runs = append(r.runs, fmt.Sprintf("run-%d", i))
	}
	for i := range 1 + rnd.IntN(10) {
		r.ids = append(r.ids, fmt.Sprintf("id-%d", i))
	}
	return r
}

// Names and texts are JSON without the quotes.
var (
	plainNames   = []string{"symbol", "git_commit", "epochs", "note", "ok", "auc", "lr", "seed", "params.lr", "params.note"}
	hostileNames = []string{
		"", " ", "a.b", "metrics.auc", "tags.note", "metrics.", "metrics", "params", "tags", "A", "a", "AUC", "q\\\"uote", "back\\\\slash", "\\u0041",
		"tab\\there", "\\u0000", "\\u007f", "\u2028", "\\ud83d\\ude00", "\U0001F600", "\\ud800", "größe", "gro\u0308ße", "日次", "\u202ertl", "null", "true", "0", "-1",
		"{}", "[]", "'; drop table runs", "%s%n", "run_id.x", "RUN_ID", "cohort_id", "Cohort_Id", "_key", "_stamp", "_record_id", "_digest", "_stream", "_writer", "_extra", "_EXTRA",
		"snapshot", "index", "rowid", "filename", "x:string", "__index_level_0__", "list.element", "key_value", strings.Repeat("n", 255), strings.Repeat("n", 256), strings.Repeat("é", 127),
		strings.Repeat("é", 128), "target", "view", "model_family", "Timestamp", "\\u006dodel_family", "--root", "-h",
	}
	runIDs = []string{"r", "r:1", "1", "a:b:c", " r ", "r\\\"q", "日次:北", "<&>", "\u2028", "\\u2029", "\\ud83d\\ude00", "\\b\\f\\n\\r\\t", "\\u0000", "\\u007f", "R", "r\\u003a1", "\\/", "NONE"}
	stages = []string{"TRAINING", "S", "日", "\\u0053", "<", "a b"}

	integers = []string{"0", "-0", "1", "-1", "7", "25000", "1234567", "9007199254740992", "9007199254740993", "-9007199254740993", "4611686018427387904",
		"9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "18446744073709551616", strings.Repeat("9", 400), strings.Repeat("9", 5000)}
	doubles = []string{"0.5", "3.5", "1.0", "-0.0", "0.10", "1e5", "1E5", "25000.0", "1E-7", "1e999", "-1e999", "1e-999", "4.9e-324", "2e-324", "1.7976931348623157e308", "1.7976931348623159e308",
		"0.1000000000000000055511151231257827", "9007199254740993.0", "1e15", "1e16", "1e21", "123456789012345680000.0", "1.5e300", "NaN", "Infinity", "-Infinity", "0." + strings.Repeat("3", 400), strings.Repeat("9", 308) + ".5",
		strings.Repeat("9", 310) + ".0", strings.Repeat("1", 4097) + ".5", "1." + strings.Repeat("1", 4094), "1." + strings.Repeat("1", 4095)}
	bools = []string{"true", "false"}
	texts = []string{`""`, `"x"`, `"5"`, `"0.5"`, `"1.50"`, `"null"`, `"true"`, `"NaN"`, `"N/A"`, `"failed"`, `"abcdef1"`, `"é"`, `"\u00e9"`, `"\n\t\"\\\/\b\f"`, `"\ud83d\ude00"`, `"😀"`, `"\ud800"`, `"\ude00\ud83d"`,
		`"\ufffd"`, `"` + "\ufffd" + `"`, `"\u0000"`, `"a\u0000b"`, `"{\"a\":1}"`, `"` + strings.Repeat("t", 4096) + `"`, `"` + strings.Repeat("t", 4097) + `"`, `"` + strings.Repeat("é", 2048) + `"`, `"` + strings.Repeat("é", 2049) + `"`,
		`"` + strings.Repeat(`\u0041`, 4096) + `"`, `"` + strings.Repeat(`\u0041`, 4097) + `"`, `"` + strings.Repeat(`\n`, 4096) + `"`, `"` + strings.Repeat("long ", 4000) + `"`, `"2026-01-31T12:00:00Z"`}
	nested = []string{"{}", "[]", "{ }", `{"a":1}`, `[1,2.50,null]`, `[NaN,"NaN"]`, `{"a":{"b":[{}]},"a":2}`, `{"run_id":"no","v" : 1e2}`, "[[[[]]]]"}
	times  = []string{`"2026-03-01T10:00:00Z"`, `"2026-03-01T11:00:00.25+02:00"`, `"1969-12-31T23:59:59.999999Z"`, `"2026-03-01t10:00:00.123456z"`, `"2000-02-29T00:00:00-00:00"`, `"1901-01-01T00:00:00.5+23:59"`, `"2100-12-31T23:59:59.1Z"`, "null"}
)

func pick[T any](rnd *rand.Rand, from ...T) T { return from[rnd.IntN(len(from))] }

func sample(rnd *rand.Rand, from []string, n int) []string {
	out := slices.Clone(from)
	rnd.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out[:min(n, len(out))]
}

func (r *randomRecords) oneOf(percent int) bool { return r.rnd.IntN(100) < percent }

// next is a line of a new record, or one that was made before.
func (r *randomRecords) next() string {
	if len(r.made) > 0 && r.oneOf(3) {
		return pick(r.rnd, r.made...)
	}
	o := object{r: r}
	o.add("run_id", `"`+pick(r.rnd, r.runs...)+`"`)
	o.add(pick(r.rnd, "stage", "phase"), `"`+pick(r.rnd, stages...)+`"`)
	if r.oneOf(30) {
		o.add("timestamp", pick(r.rnd, times...))
	}
	if r.oneOf(10) {
		o.add("snapshot_seq", "null")
	}
	for range r.rnd.IntN(8) {
		o.field(pick(r.rnd, r.names...))
	}
	if r.oneOf(8) { // two values for one column
		o.field("params.seed")
		o.add("params", `{"seed":`+r.value("seed")+`}`)
	}
	for _, group := range []string{"metrics", "params", "tags"} {
		if r.oneOf(30) {
			o.add(group, r.group(r.rnd.IntN(6)))
		}
	}
	if r.oneOf(r.wide) {
		r.widen(&o)
	}
	if r.oneOf(15) {
		group, other := r.group(3), r.value("snapshot")
		o.add("snapshot", pick(r.rnd, group, other, `{"run_id":5,"stage":[],"timestamp":"no","snapshot_seq":9,"z": 1.0}`))
	}
	if !r.oneOf(10) {
		return o.line()
	}
	o.add("record_id", `"`+pick(r.rnd, r.ids...)+`"`)
	r.made = append(r.made, o.line())
	return o.line()
}

// widen adds hundreds of names: more than one record may add, and in a few records more than a root may have.
func (r *randomRecords) widen(o *object) {
	wide, from := object{r: r}, r.rnd.IntN(600)
	for i := range 150 + r.rnd.IntN(250) {
		wide.add(fmt.Sprintf("w%04d/x", from+i), r.value("wide"))
	}
	switch r.rnd.IntN(4) {
	case 0:
		o.members = append(o.members, wide.members...)
	default:
		o.add(pick(r.rnd, "metrics", "params", "tags"), wide.line())
	}
}

// isWide tells whether a column is of such names.
func isWide(column string) bool { return strings.HasSuffix(column, "/x") }

// group is the value of metrics, params or tags.
func (r *randomRecords) group(n int) string {
	o := object{r: r}
	for range n {
		o.field(pick(r.rnd, r.names...))
	}
	return o.line()
}

// value is mostly of the kind that the name likes in this root.
func (r *randomRecords) value(name string) string {
	switch name {
	case "symbol", "target", "view", "model_family", "\\u006dodel_family": // they may stand in keys, so an append bounds them
		return pick(r.rnd, `"EURUSD"`, `"0.5"`, "7", "1.50", "null", `"\u00e9"`)
	}
	all := [][]string{integers, doubles, bools, texts, nested, {"null"}}
	if r.likes[name] == nil {
		kind := all[r.rnd.IntN(4)]
		r.likes[name] = sample(r.rnd, kind, 1+r.rnd.IntN(len(kind)))
	}
	if r.oneOf(r.odd) {
		return pick(r.rnd, pick(r.rnd, all...)...)
	}
	return pick(r.rnd, r.likes[name]...)
}

// object is a JSON object while it grows.
type object struct {
	r       *randomRecords
	members []string
}

func (o *object) add(name, value string) {
	space := func() string {
		if o.r.oneOf(2) {
			return pick(o.r.rnd, " ", "\t", "  ")
		}
		return ""
	}
	o.members = append(o.members, space()+`"`+name+`"`+space()+":"+space()+value+space())
}

// field adds a field of the user's, and now and then another one of the same name.
func (o *object) field(name string) {
	o.add(name, o.r.value(name))
	if o.r.oneOf(3) {
		o.add(name, o.r.value(name))
	}
}

func (o *object) line() string {
	return "{" + strings.Join(o.members, ",") + "}"
}
