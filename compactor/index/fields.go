package index

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/runfold/runfold/cohort"
)

// maxString is the length in bytes up to which a string stands in a column of its own. The smallest
// and the largest string of a row group stand whole in the footer, so a longer one goes to _extra.
const maxString = 4096

// field is one value of a record under the name of its column. The value is never null.
type field struct {
	name  string
	value []byte
}

// flattener takes records apart. It keeps its memory, and the names that it met, from one record to the
// next: records of one kind have the same names over and over.
type flattener struct {
	top, nested, out []field
	names            map[string]map[string]string // by group, "" for none, and name: the column's name
	known            int                          // how many names it keeps
	last             map[string]int
}

// maxNames bounds the names that a flattener keeps.
const maxNames = 10_000

// flatten lists what a row must hold of r, in the record's order: all but the fields that we own, the
// snapshot, and nulls. Members of metrics, params and tags stand as "metrics.auc". Of a name that
// stands twice within one object the last one counts. The result is valid until the next call.
func (f *flattener) flatten(r cohort.Record) []field {
	f.out = f.out[:0]
	f.top = f.members(f.top[:0], "", r.JSON)
	for _, m := range f.top {
		switch {
		case isOwned(m.name), m.name == snapshotMember && cohort.KindOf(m.value) == cohort.Object:
		case isGroup(m.name) && cohort.KindOf(m.value) == cohort.Object:
			f.flattenGroup(m)
		default:
			f.add(m)
		}
	}
	return f.out
}

func (f *flattener) flattenGroup(group field) {
	f.nested = f.members(f.nested[:0], group.name, group.value)
	if len(f.nested) == 0 {
		f.add(group) // an empty object, which has no members to stand for it
	}
	for _, m := range f.nested {
		f.add(m)
	}
}

func (f *flattener) add(m field) {
	if cohort.KindOf(m.value) != cohort.Null {
		f.out = append(f.out, m)
	}
}

// members appends the members of obj to dst, which is empty, of each name the last.
func (f *flattener) members(dst []field, group string, obj []byte) []field {
	var seen [16]uint64 // a bit for each name that was met, which some share
	double := false
	for m := range cohort.EachMember(obj) {
		h := hash(m.Name)
		double = double || seen[h/64]&(1<<(h%64)) != 0
		seen[h/64] |= 1 << (h % 64)
		dst = append(dst, field{f.name(group, m.Name), m.Value})
	}
	if !double {
		return dst
	}
	return f.lastOfEach(dst)
}

// hash is a number below 1024 that tells most names of one object apart.
func hash(name []byte) uint32 {
	h := uint32(2166136261) // FNV-1a
	for _, c := range name {
		h = (h ^ uint32(c)) * 16777619
	}
	return (h ^ h>>16) & 1023
}

func (f *flattener) lastOfEach(members []field) []field {
	if f.last == nil {
		f.last = map[string]int{}
	}
	clear(f.last)
	for i, m := range members {
		f.last[m.name] = i
	}
	kept := members[:0]
	for i, m := range members {
		if f.last[m.name] == i {
			kept = append(kept, m)
		}
	}
	return kept
}

// name is the name of the column for a member of a group, or of the record.
func (f *flattener) name(group string, member []byte) string {
	if s, ok := f.names[group][string(member)]; ok {
		return s
	}
	if f.names == nil || f.known == maxNames {
		f.names, f.known = map[string]map[string]string{}, 0
	}
	if f.names[group] == nil {
		f.names[group] = map[string]string{}
	}
	s := string(member)
	if group != "" {
		s = group + "." + s
	}
	f.names[group][string(member)] = s
	f.known++
	return s
}

// snapshotMember is the field whose object becomes the value in snapshot_index.json.
const snapshotMember = "snapshot"

// isOwned names the fields that stand in a fixed column, or that we assign.
func isOwned(name string) bool {
	switch name {
	case "run_id", "stage", "phase", "timestamp", "record_id", "snapshot_seq":
		return true
	}
	return false
}

// isGroup names the objects whose members get columns.
func isGroup(name string) bool {
	return name == "metrics" || name == "params" || name == "tags"
}

// canHold tells whether a column of kind k holds value without loss. What it does not hold goes to
// _extra: another kind, an integer beyond int64, a number beyond double, an integer that a double
// cannot represent, a string that is too long or has an escape that is no character.
func canHold(k cohort.Kind, value []byte) bool {
	of := cohort.KindOf(value)
	switch {
	case k == cohort.Bool && of == cohort.Bool:
		return true
	case k == cohort.Int && of == cohort.Int && len(value) < 19: // at most 18 digits
		return true
	case k == cohort.Int && of == cohort.Int:
		_, err := strconv.ParseInt(string(value), 10, 64)
		return err == nil
	case k == cohort.Double && of == cohort.Int:
		n, err := strconv.ParseInt(string(value), 10, 64)
		return err == nil && exact(n)
	case k == cohort.Double && of == cohort.Double:
		_, err := strconv.ParseFloat(string(value), 64)
		return err == nil
	case k == cohort.String && of == cohort.String:
		return holdsText(value)
	}
	return false
}

// exact tells whether n survives as a double.
func exact(n int64) bool {
	f := float64(n)
	return f < math.MaxInt64 && int64(f) == n
}

// holdsText tells whether a JSON string decodes to text of bounded length without loss. Only half a
// surrogate pair is lost, as U+FFFD; a text that spells U+FFFD as an escape is taken for one, which
// costs it nothing but its column.
func holdsText(quoted []byte) bool {
	if len(quoted) <= maxString && bytes.IndexByte(quoted, '\\') < 0 {
		return true
	}
	if len(quoted) > 6*maxString+2 {
		return false
	}
	text := cohort.Text(quoted)
	if len(text) > maxString {
		return false
	}
	return !bytes.Contains(quoted, []byte(`\u`)) || !strings.ContainsRune(text, utf8.RuneError)
}
