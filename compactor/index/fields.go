package index

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/jsonscan"
)

// maxString is the length in bytes of the longest string in a column. The footer holds the smallest
// and the largest string of each row group in full, so a longer string goes to _extra.
const maxString = 4096

// field is one value of a record under the name of its column. The value is never null.
type field struct {
	*name
	value []byte
	is    jsonscan.Kind // of the value
}

// flattenerOf is one for the records of files with this layout.
func flattenerOf(l *layout) flattener { return flattener{layout: l, foxml: l.isFoxml()} }

// name is what a flattener knows of a name.
type name struct {
	column string
	id     uint32 // among all names of its flattener
	place  int    // of the column, if the flattener has a layout; -1 if no column has this name
	kind   jsonscan.Kind
	owned  bool
	group  bool

	nameable bool             // a dynamic column may have it
	ruled    jsonscan.Kind    // the kind that a column of this name has, 0 if any
	seen     uint64           // the last object that had it
	under    map[string]*name // the members of a group, by their own names
	member   string           // the own name
	order    []*name          // the members of the last object of this group, in their order
}

// flattener takes records apart. It keeps its memory and the names from one record to the
// next, because records of one kind have the same names.
type flattener struct {
	layout           *layout // nil if no places are needed
	foxml            bool    // of records of a root with the profile foxml
	top, nested, out []field
	root             name // the names of whole records stand under it
	known            int  // how many bytes of memory the kept names take
	ids              uint32
	objects          uint64
	list             cohort.MemberList // that members takes
	last             map[string]int
}

// maxNames bounds the memory of the names that a flattener keeps. A name takes nameBytes and its text. There is room for some
// thousand names, more than the records of most roots have.
const (
	maxNames  = 2 << 20
	nameBytes = 250
)

// flatten lists what a row must hold of r, in the record's order. It leaves out the fields that we own, the
// snapshot, and nulls. The members of metrics, params and tags have names like "metrics.auc". If a name
// stands twice within one object, the last one counts. The result is valid until the next call.
func (f *flattener) flatten(r cohort.Record) []field {
	f.out = f.out[:0]
	if f.known >= maxNames {
		f.root, f.known = name{}, 0
	}
	f.list.Of(&r)
	f.top = f.members(f.top[:0], &f.root)
	if f.foxml {
		f.addMode(r)
	}
	for _, m := range f.top {
		switch {
		case m.owned, m.column == snapshotMember && m.is == jsonscan.Object, f.foxml && isCohortOf(r, m):
		case m.group && m.is == jsonscan.Object:
			f.flattenGroup(m)
		default:
			f.add(m)
		}
	}
	return f.out
}

func (f *flattener) flattenGroup(group field) {
	f.list.OfObject(group.value)
	f.nested = f.members(f.nested[:0], group.name)
	if len(f.nested) == 0 {
		f.add(group) // an empty object has no members, so it is listed itself
	}
	for _, m := range f.nested {
		f.add(m)
	}
}

func (f *flattener) add(m field) {
	if m.is != jsonscan.Null {
		f.out = append(f.out, m)
	}
}

// members appends the members of an object, which are in f.list; of each name the last.
func (f *flattener) members(dst []field, of *name) []field {
	f.objects++
	twice := false
	for i := range f.list.Len() {
		member, value := f.list.At(i)
		n := of.nth(i, member)
		if n == nil {
			n = f.meet(of, string(member))
		}
		switch {
		case i >= len(of.order):
			of.order = append(of.order, n)
		case of.order[i] != n: // to write what stands there already takes time while the garbage collector works
			of.order[i] = n
		}
		twice = twice || n.seen == f.objects
		n.seen = f.objects
		dst = append(dst, field{n, value, jsonscan.KindOf(value)})
	}
	if twice {
		return f.lastOfEach(dst)
	}
	return dst
}

// nth is the name of the i-th member. In most cases it is the i-th name of the object before.
func (n *name) nth(i int, member []byte) *name {
	if i < len(n.order) && n.order[i].member == string(member) {
		return n.order[i]
	}
	return n.under[string(member)]
}

// lastOfEach are those members of an object, in place, that are the last of their name.
func (f *flattener) lastOfEach(members []field) []field {
	if f.last == nil {
		f.last = map[string]int{}
	}
	clear(f.last)
	for i, m := range members {
		f.last[m.column] = i
	}
	kept := members[:0]
	for i, m := range members {
		if f.last[m.column] == i {
			kept = append(kept, m)
		}
	}
	return kept
}

// meet finds or makes the name of a member of a group, or of the record.
func (f *flattener) meet(of *name, member string) *name {
	n := &name{column: member, member: member, place: -1, id: f.ids}
	if of == &f.root {
		n.owned, n.group = isOwned(member), isGroup(member)
	} else {
		n.column = of.column + "." + member
	}
	if f.layout != nil && !isFixed(n.column) && !f.layout.isMade(n.column) {
		if i, ok := f.layout.place[n.column]; ok {
			n.place, n.kind = i, f.layout.kindAt(i)
		}
	}
	if of.under == nil {
		of.under = map[string]*name{}
	}
	n.nameable, n.ruled = columnName(n.column), ruledByName(n.column)
	if f.layout != nil && f.layout.isMade(n.column) {
		n.nameable = false
	}
	of.under[member] = n
	f.known += nameBytes + len(n.column) + len(member)
	f.ids++
	return n
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

// canHold tells whether a column of kind k can hold value, which is of the kind of, without loss. These values go to
// _extra: a value of another kind, an integer outside int64, a number outside double, an integer that a double
// cannot represent, a string that is too long or has an escape that is not a character.
func canHold(k, of jsonscan.Kind, value []byte) bool {
	switch {
	case k == jsonscan.Bool && of == jsonscan.Bool:
		return true
	case k == jsonscan.Int && of == jsonscan.Int && len(value) < 19: // at most 18 digits
		return true
	case k == jsonscan.Int && of == jsonscan.Int:
		_, err := strconv.ParseInt(string(value), 10, 64)
		return err == nil
	case k == jsonscan.Double && of == jsonscan.Int && len(value) < 16: // below 2^53
		return true
	case k == jsonscan.Double && of == jsonscan.Int:
		n, err := strconv.ParseInt(string(value), 10, 64)
		return err == nil && exact(n)
	case k == jsonscan.Double && of == jsonscan.Double:
		if len(value) < 300 && bytes.IndexByte(value, 'e') < 0 && bytes.IndexByte(value, 'E') < 0 {
			return true // below 1e300, without looking at its digits
		}
		_, err := strconv.ParseFloat(string(value), 64)
		return err == nil
	case k == jsonscan.String && of == jsonscan.String:
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
// surrogate pair is lost, because it becomes U+FFFD. A text with an escape for U+FFFD is treated in the same way: it goes to
// _extra without loss.
func holdsText(quoted []byte) bool {
	if len(quoted) <= maxString && bytes.IndexByte(quoted, '\\') < 0 {
		return true
	}
	if len(quoted) > 6*maxString+2 {
		return false
	}
	text := jsonscan.Text(quoted)
	if len(text) > maxString {
		return false
	}
	return !bytes.Contains(quoted, []byte(`\u`)) || !strings.ContainsRune(text, utf8.RuneError)
}
