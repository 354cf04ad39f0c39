package intake

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/compactor/intake/tracker"
	"github.com/runfold/runfold/internal/jsonscan"
)

// item is one row or snapshot of an old file that becomes a record.
type item struct {
	runID, stage, cohort, timestamp string
	seq                             cohort.Seq // 0: none
	recordID                        string     // of a row of an index of ours
	segment                         *int64     // of a row for a root with the profile foxml, if it has one

	rest     []member // everything else, in its order
	added    []member // what only the key says
	snapshot []byte   // of a row that found its snapshot
	id       identity // says of which run it is, once it is complete

	key     string    // where it comes from; empty if that is not known
	places  [3]string // of the key of a snapshot: what stands after the stage
	long    bool      // there is something
	unnamed bool      // nobody knows of which fields

	position
	at time.Time // what orders it if it has no seq; zero: nothing
}

// position is where an item comes from.
type position struct {
	file        int // its number among the files of its kind
	ofSnapshots bool
	where       string // for people
}

type member struct {
	name  string
	value []byte
}

// ours are the columns that only an index of our own has: _extra is unpacked, the others say what the
// new root decides anew.
var (
	ours  = []string{"_key", "_stamp", "_record_id", "_digest", "_stream"}
	owned = []string{"run_id", "stage", "phase", "cohort_id", "timestamp", "snapshot_seq", "record_id"}
)

// naming says which fields of a record the names of a file are; see Source.Fields. The zero value changes none.
type naming struct {
	fields map[string]string
	met    map[string]bool
}

// of is what the names of one object are. A field has its own name where the object does not have the one that is said to be it.
func (n naming) of(obj []byte) func(name string) string {
	taken := map[string]bool{} // fields that another name is
	if len(n.fields) > 0 {
		for name := range jsonscan.Members(obj) {
			if field, ok := n.fields[name]; ok {
				n.met[name], taken[field] = true, true
			}
		}
	}
	return func(name string) string {
		if field, ok := n.fields[name]; ok {
			return field
		}
		if taken[name] || name == "phase" && taken["stage"] || name == "stage" && taken["phase"] {
			return "imported_" + name
		}
		return name
	}
}

// snapshotItem reads one entry of a snapshot_index.json: the value's own fields first, then the key. form is that of the
// root, which may have written the file.
func (n naming) snapshotItem(s index.ForeignSnapshot, form cohort.KeyForm) (item, error) {
	it := item{key: s.Key}
	if err := it.readMembers(s.Value, n); err != nil {
		return item{}, err
	}
	if it.takeKey(form) {
		return it, nil
	}
	key := cohort.ParseKey(s.Key, it.runID)
	it.runID = cmp.Or(it.runID, key.RunID)
	it.stage = cmp.Or(it.stage, key.Stage)
	it.places = [...]string{present(key.Target), present(key.View), present(key.Symbol)}
	more := strings.Count(s.Key[len(key.RunID):], ":") - 1 // parts after the stage
	it.long = more > 0
	if it.unnamed = more == 1 || more == 2; it.unnamed {
		return it, nil
	}
	for i, name := range [...]string{"target", "view", "symbol"} {
		it.addMissing(name, it.places[i])
	}
	it.addMissing("attempt", present(key.Attempt))
	return it, nil
}

// present is a part of a key, empty if it says that the field is absent: other programs write NONE there.
func present(part string) string {
	if part == cohort.AbsentNone {
		return ""
	}
	return part
}

// takeKey reads the key as one of the root's own form, if it has more fields than run_id and stage, and tells whether it is
// one: it has as many parts, and none says something else than the value. The long form of others has three or four parts
// after the stage, so a key with as many must have a field that the value has, too.
func (it *item) takeKey(form cohort.KeyForm) bool {
	runID, stage, more, ok := form.Split(cohort.Key(it.key))
	if !form.Wide() || !ok || it.runID != "" && it.runID != runID || it.stage != "" && it.stage != stage {
		return false
	}
	agree := 0
	for i, name := range form.More() {
		has := form.Spelled(name, it.field(name))
		if has != "" && has != present(more[i]) {
			return false
		}
		if has != "" {
			agree++
		}
	}
	if n := len(more); agree == 0 && (n == 3 || n == 4 || it.runID == "") {
		return false
	}
	it.runID = cmp.Or(it.runID, runID)
	it.stage = cmp.Or(it.stage, stage)
	for i, name := range form.More() {
		if text := present(more[i]); name == "cohort_id" {
			it.cohort = cmp.Or(it.cohort, text)
		} else {
			it.addMissing(name, text)
		}
	}
	return true
}

// field is a top-level scalar as text, empty if there is none. Of a name that stands twice the last one counts.
func (it *item) field(name string) string {
	if name == "cohort_id" {
		return it.cohort
	}
	for _, m := range slices.Backward(slices.Concat(it.rest, it.added)) {
		if m.name == name {
			return jsonscan.ScalarText(m.value)
		}
	}
	return ""
}

// addMissing makes a part of the key that the value does not repeat a field of the record.
func (it *item) addMissing(name, text string) {
	has := slices.ContainsFunc(it.rest, func(m member) bool { return m.name == name })
	if text != "" && !has {
		it.added = append(it.added, member{name, jsonscan.Quote(text)})
	}
}

// rowItem reads one row of an old index.
func (n naming) rowItem(row []byte) (item, error) {
	var it item
	err := it.readMembers(row, n)
	it.addMissing("view", it.field("mode")) // which is another name for it
	return it, err
}

// readMembers takes the fields that we own out of an object and keeps the rest.
func (it *item) readMembers(obj []byte, n naming) error {
	if len(obj) == 0 || obj[0] != '{' {
		return errors.New("is not an object")
	}
	field, fixed := n.of(obj), false
	for name, value := range jsonscan.Members(obj) {
		name = field(name)
		switch name {
		case "run_id":
			it.runID = jsonscan.ScalarText(value)
		case "stage", "phase":
			if t := jsonscan.ScalarText(value); t != "" {
				it.stage = t
			}
		case "cohort_id":
			it.cohort = jsonscan.ScalarText(value)
		case "timestamp":
			it.timestamp = jsonscan.ScalarText(value)
		case "snapshot_seq":
			seq, err := oldSeq(value)
			if err != nil {
				return err
			}
			it.seq = seq
		case "_record_id":
			it.recordID = jsonscan.ScalarText(value)
		case "_key":
			fixed = true
			if it.key == "" { // a snapshot has its own
				it.key = jsonscan.ScalarText(value)
			}
		}
		if name != "_writer" || !fixed { // before the fixed columns it is the user's, of an index of version 2
			it.keep(name, value)
		}
	}
	return nil
}

func (it *item) keep(name string, value []byte) {
	switch {
	case slices.Contains(owned, name), slices.Contains(ours, name):
	case name == "_extra" && isObject(jsonscan.ScalarText(value)):
		for name, value := range jsonscan.Members([]byte(jsonscan.ScalarText(value))) {
			it.addExact(member{name, value})
		}
	default:
		it.rest = append(it.rest, member{name, value})
	}
}

// addExact adds a member of _extra. Where a text column holds the value too, this is its exact token.
func (it *item) addExact(m member) {
	for i, has := range it.rest {
		if has.name == m.name && jsonscan.KindOf(has.value) == jsonscan.String && jsonscan.ScalarText(has.value) == jsonscan.ScalarText(m.value) {
			it.rest[i] = m
			return
		}
	}
	it.rest = append(it.rest, m)
}

// isObject tells whether a text is a JSON object, as in our own column _extra.
func isObject(text string) bool { return strings.HasPrefix(text, "{") && json.Valid([]byte(text)) }

// oldSeq reads a snapshot_seq, which pandas turns into a double as soon as one is missing.
func oldSeq(value []byte) (cohort.Seq, error) {
	if jsonscan.KindOf(value) == jsonscan.Null {
		return 0, nil
	}
	f, err := strconv.ParseFloat(jsonscan.ScalarText(value), 64)
	if err != nil || f < 0 || f != float64(int64(f)) || f >= 1<<53 {
		return 0, fmt.Errorf("snapshot_seq %s is not a whole number", value)
	}
	return cohort.Seq(f), nil
}

// complete fills in what the files do not say. The cohort stays empty if neither the item nor the source names one.
func (f *files) complete(it *item) error {
	if it.stage == "" {
		it.stage = cmp.Or(f.src.Stage, "UNKNOWN")
	}
	if it.cohort == "" {
		it.cohort = string(f.src.Cohort)
	}
	if it.cohort != "" && f.src.Rename {
		it.cohort = f.rename(it.cohort)
	}
	if it.cohort != "" {
		if _, err := cohort.ParseID(it.cohort); err != nil {
			return err
		}
	}
	said := it.timestamp
	t, zoned, err := readTime(said, f.src.zone())
	if err != nil {
		return err
	}
	if zoned && f.isFoxml() && f.src.Zone == nil && f.settings.Key.ValidateRecord(cohort.Record{RunID: "r", Stage: "S", Timestamp: said}) == nil {
		t, zoned = said, false // it stays as it is there, and is read as UTC
	}
	if t == "" && said != "" {
		it.rest = append(it.rest, member{"imported_timestamp", jsonscan.Quote(said)})
		f.report.OddTimes++
	}
	if zoned {
		f.report.Zoned++
	}
	it.timestamp = t
	it.id = identity{it.runID, it.stage, it.cohort, f.named(it, "target"), f.named(it, "view"), f.named(it, "symbol")}
	return it.check(f.settings)
}

// rename is the cohort of any name.
func (f *files) rename(name string) string {
	id, changed := tracker.CohortOf(name)
	if !changed {
		return name
	}
	i := slices.IndexFunc(f.report.Renamed, func(x Experiment) bool { return x.Name == name })
	if i < 0 {
		i = len(f.report.Renamed)
		f.report.Renamed = append(f.report.Renamed, Experiment{Name: name, Cohort: id})
	}
	f.report.Renamed[i].Runs++
	return string(id)
}

// named is a field of the identity of an item.
func (f *files) named(it *item, name string) string {
	text := present(it.field(name))
	if f.isFoxml() && name == "view" && text == "" {
		text = present(it.field("mode"))
	}
	return f.settings.Key.Spelled(name, text)
}

// check tells whether the item is a record that the root takes.
func (it *item) check(settings cohort.Settings) error {
	r, err := cohort.ParseRecord(it.json(), settings.MaxRecord)
	if err != nil {
		return err
	}
	return errors.Join(settings.Key.ValidateRecord(r), settings.Key.Validate(r))
}

// The layouts of Python's str and isoformat, and of ISO 8601's basic form of a zone, beside that of RFC 3339.
var (
	zonedLayouts = []string{"2006-01-02 15:04:05.999999999Z07:00", "2006-01-02T15:04:05.999999999Z0700", "2006-01-02 15:04:05.999999999Z0700"}
	localLayouts = []string{"2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02"}
)

// readTime is a time of an old file as a record may have it. It is empty if the text is no time. Zoned tells that it had no zone and got that of loc.
func readTime(s string, loc *time.Location) (timestamp string, zoned bool, err error) {
	if _, ok := cohort.ParseTime(s); ok {
		return s, false, nil
	}
	for _, layout := range zonedLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t.Format(time.RFC3339Nano), false, nil
		}
	}
	for _, layout := range localLayouts {
		t, err := time.Parse(layout, s)
		if err != nil {
			continue
		}
		local := t.Format("2006-01-02T15:04:05.999999999")
		offset, err := cohort.MissingZone(local, loc)
		return local + offset, true, err
	}
	return "", false, nil
}

// json is the item as the record that it becomes.
func (it *item) json() []byte {
	b := jsonscan.AppendMember(nil, "run_id", jsonscan.Quote(it.runID))
	b = jsonscan.AppendMember(b, "stage", jsonscan.Quote(it.stage))
	if it.timestamp != "" {
		b = jsonscan.AppendMember(b, "timestamp", jsonscan.Quote(it.timestamp))
	}
	for _, m := range slices.Concat(it.rest, it.added) {
		if m.name != "snapshot" || it.snapshot == nil {
			b = jsonscan.AppendMember(b, m.name, m.value)
		}
	}
	if it.snapshot != nil {
		b = jsonscan.AppendMember(b, "snapshot", it.snapshot)
	}
	return append(b, '}')
}

// record is a complete item as a record.
func (it *item) record() cohort.Record {
	r, err := cohort.ParseRecord(it.json(), 1<<30)
	if err != nil {
		panic(fmt.Sprintf("intake: internal error: import %s: %v", it.runID, err))
	}
	r.Cohort = cohort.ID(it.cohort)
	return r
}
