package audit

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
)

// difference is one thing that is not as it was derived.
type difference struct {
	path   string
	key    cohort.Key
	text   string // all of it is said; else should is to be compared
	should []byte // a row, or the value of a line
	from   string // who says so
	line   bool
	out    bool
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
	var keys []cohort.Key
	for h, err := range p.Index.Identities() {
		if err != nil {
			return err
		}
		keys = append(keys, h.Key)
	}
	err := p.eachRow(func(i int, is []byte) {
		for _, n := range at[keys[i]] {
			if d := &r.differing[n]; !d.line {
				d.text = fmt.Sprintf("row %q is not what %s says: %s", d.key, d.from, fieldsThatDiffer(is, d.should))
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
					d.text = fmt.Sprintf("entry %q is not what %s says: is %s, should be %s", d.key, d.from, short(is.Value), short(d.should))
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
func fieldsThatDiffer(is, should []byte) string {
	a, b := fieldsOf(is), fieldsOf(should)
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
