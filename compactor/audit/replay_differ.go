package audit

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/jsonscan"
)

// difference is one thing that is not as it was derived.
type difference struct {
	path  string
	key   cohort.Key
	text  string        // all of it is said; else what should be is to be compared
	row   index.Content // what should be; of a line, value
	value []byte
	from  string // who says so
	line  bool
	out   bool
}

// maxDifferences bounds how many are told one by one. All are counted.
const maxDifferences = 100

func (r *replayer) differ(d difference) {
	r.out.Differences++
	if slices.ContainsFunc(r.differing, func(o difference) bool { return o.text == d.text && o.key == d.key && o.line == d.line }) {
		r.out.Differences-- // several generations say the same
		return
	}
	if len(r.differing) < maxDifferences {
		r.differing = append(r.differing, d)
	}
}

// tell tells the differences: what is there, and what should be.
func (r *replayer) tell() error {
	if len(r.differing) == 0 {
		return nil
	}
	for _, p := range pairsOf(r.data, r.newest) {
		if err := r.lookUp(p); err != nil {
			return err
		}
	}
	for _, d := range r.differing {
		r.yield(Problem{r.Root.Rel(d.path), d.text, true})
	}
	if more := r.out.Differences - int64(len(r.differing)); more > 0 {
		r.yield(Problem{r.Root.Rel(r.Root.Manifest(r.newest.Generation)), fmt.Sprintf("%d more differences", more), true})
	}
	return nil
}

// lookUp finds what is there under the keys that differ, and says it.
func (r *replayer) lookUp(p replayPair) error {
	at := map[cohort.Key][]int{}
	for i, d := range r.differing {
		if d.text == "" && d.out == p.out {
			at[d.key] = append(at[d.key], i)
		}
	}
	if len(at) == 0 {
		return nil
	}
	err := p.eachRow(func(is index.Content) {
		for _, n := range at[is.Key] {
			if d := &r.differing[n]; !d.line {
				d.text = fmt.Sprintf("row %q is not what %s says: %s", d.key, d.from, fieldsThatDiffer(is, d.row))
			}
		}
	})
	if err != nil {
		return err
	}
	for _, f := range p.snapshots {
		one := p
		one.snapshots = generation.Snapshots{f}
		err := one.eachLine(func(is index.Snapshot) {
			for _, n := range at[is.Key] {
				if d := &r.differing[n]; d.line {
					d.path = r.Root.Data(f.Name)
					d.text = fmt.Sprintf("entry %q is not what %s says: is %s, should be %s", d.key, d.from, short(is.Value), short(d.value))
				}
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// fieldsThatDiffer says of two rows what is, and what should be.
func fieldsThatDiffer(is, should index.Content) string {
	a, b := textsOf(is), textsOf(should)
	all := maps.Clone(a)
	maps.Copy(all, b)
	var out []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if !slices.Equal(a[name], b[name]) {
			out = append(out, fmt.Sprintf("%s is %s, should be %s", name, orAbsent(a[name]), orAbsent(b[name])))
		}
	}
	return short([]byte(strings.Join(out, "; ")))
}

// textsOf are the values that sumOfRow covers, by the names of their columns. A record may have a name twice: "params.p", and p in params.
func textsOf(c index.Content) map[string][]string {
	texts := map[string][]string{}
	for _, f := range c.Fields {
		texts[f.Name] = append(texts[f.Name], string(index.OneSpelling(f.Value)))
	}
	known := ""
	if !c.Time.IsZero() {
		known = cohort.FormatTime(c.Time)
	}
	for name, text := range map[string]string{
		"cohort_id": string(c.Cohort), "run_id": c.RunID, "phase": c.Stage, "timestamp": known,
		"_record_id": c.Version.RecordID, "_stream": string(c.Stream), "_writer": c.Writer,
	} {
		if text != "" {
			texts[name] = append(texts[name], string(jsonscan.Quote(text)))
		}
	}
	for _, all := range texts {
		slices.Sort(all)
	}
	return texts
}

func orAbsent(values []string) string {
	if len(values) == 0 {
		return "absent"
	}
	return short([]byte(strings.Join(values, " and ")))
}

// short bounds what is printed of a value.
func short(b []byte) string {
	const most = 400
	if len(b) > most {
		return strings.ToValidUTF8(string(b[:most]), "") + "..."
	}
	return string(b)
}
