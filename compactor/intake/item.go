package intake

import (
	"bytes"
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
	"github.com/runfold/runfold/internal/jsonscan"
)

// item is one row or snapshot of an old file on its way to a record.
type item struct {
	runID, stage, cohort, timestamp string
	target, view, symbol            string
	seq                             cohort.Seq // 0: none

	rest          []member // everything else, in its order
	snapshot      []byte   // of a row that found its snapshot
	fromSnapshots bool
}

type member struct {
	name  string
	value []byte
}

// ours are the columns that only an index of our own has: _extra is unpacked, the others say what the
// new root decides anew.
var ours = []string{"_key", "_stamp", "_record_id", "_digest", "_stream"}

// snapshotItem reads one entry of a snapshot_index.json: the value's own fields first, then the key.
func snapshotItem(s index.ForeignSnapshot) (item, error) {
	it := item{fromSnapshots: true}
	if err := it.readMembers(s.Value); err != nil {
		return item{}, err
	}
	key := cohort.ParseKey(s.Key, it.runID)
	for _, f := range []struct {
		own  *string
		said string
	}{{&it.runID, key.RunID}, {&it.stage, key.Stage}, {&it.target, key.Target}, {&it.view, key.View}, {&it.symbol, key.Symbol}} {
		if *f.own == "" {
			*f.own = f.said
		}
	}
	it.addMissing("target", it.target)
	it.addMissing("view", it.view)
	it.addMissing("symbol", it.symbol)
	it.addMissing("attempt", key.Attempt)
	return it, nil
}

// addMissing makes a part of the key that the value does not repeat a field of the record.
func (it *item) addMissing(name, text string) {
	has := slices.ContainsFunc(it.rest, func(m member) bool { return m.name == name })
	if text != "" && !has {
		it.rest = append(it.rest, member{name, jsonscan.Quote(text)})
	}
}

// rowItem reads one row of an old index.
func rowItem(row []byte) (item, error) {
	var it item
	err := it.readMembers(row)
	return it, err
}

// readMembers takes the fields that we own out of an object and keeps the rest.
func (it *item) readMembers(obj []byte) error {
	if len(obj) == 0 || obj[0] != '{' {
		return errors.New("is not an object")
	}
	for name, value := range jsonscan.Members(obj) {
		switch name {
		case "run_id":
			it.runID = text(value)
		case "stage", "phase":
			if t := text(value); t != "" {
				it.stage = t
			}
		case "cohort_id":
			it.cohort = text(value)
		case "timestamp":
			it.timestamp = text(value)
		case "snapshot_seq":
			seq, err := oldSeq(value)
			if err != nil {
				return err
			}
			it.seq = seq
		case "target":
			it.target = text(value)
		case "view":
			it.view = text(value)
		case "symbol":
			it.symbol = text(value)
		}
		it.keep(name, value)
	}
	return nil
}

func (it *item) keep(name string, value []byte) {
	owned := []string{"run_id", "stage", "phase", "cohort_id", "timestamp", "snapshot_seq", "record_id"}
	switch {
	case slices.Contains(owned, name), slices.Contains(ours, name):
	case name == "_extra" && isObject(text(value)):
		for name, value := range jsonscan.Members([]byte(text(value))) {
			it.addExact(member{name, value})
		}
	default:
		it.rest = append(it.rest, member{name, value})
	}
}

// addExact adds a member of _extra. Where a text column holds the value too, this is its exact token.
func (it *item) addExact(m member) {
	for i, has := range it.rest {
		if has.name == m.name && jsonscan.KindOf(has.value) == jsonscan.String && text(has.value) == text(m.value) {
			it.rest[i] = m
			return
		}
	}
	it.rest = append(it.rest, m)
}

// isObject tells whether a text is a JSON object, as in our own column _extra.
func isObject(text string) bool { return strings.HasPrefix(text, "{") && json.Valid([]byte(text)) }

// text is a scalar as text: old files hold run ids as numbers too.
func text(value []byte) string {
	switch jsonscan.KindOf(value) {
	case jsonscan.String:
		return jsonscan.Text(value)
	case jsonscan.Int, jsonscan.Double, jsonscan.Bool:
		return string(value)
	}
	return ""
}

// oldSeq reads a snapshot_seq, which pandas turns into a double as soon as one is missing.
func oldSeq(value []byte) (cohort.Seq, error) {
	if jsonscan.KindOf(value) == jsonscan.Null {
		return 0, nil
	}
	f, err := strconv.ParseFloat(text(value), 64)
	if err != nil || f < 0 || f != float64(int64(f)) || f >= 1<<53 {
		return 0, fmt.Errorf("snapshot_seq %s is not a whole number", value)
	}
	return cohort.Seq(f), nil
}

// complete fills in what the files do not say and checks that a valid record results. The cohort stays
// empty if neither the item nor def names one.
func (it *item) complete(def cohort.ID, stage string, settings cohort.Settings) error {
	if it.stage == "" {
		it.stage = cmp.Or(stage, "UNKNOWN")
	}
	if it.cohort == "" {
		it.cohort = string(def)
	}
	if it.cohort != "" {
		if _, err := cohort.ParseID(it.cohort); err != nil {
			return err
		}
	}
	if t, ok := parseOldTime(it.timestamp); ok {
		if _, exact := cohort.ParseTime(it.timestamp); !exact {
			it.timestamp = t.Format(time.RFC3339Nano)
		}
	} else if it.timestamp != "" {
		it.rest = append(it.rest, member{"imported_timestamp", jsonscan.Quote(it.timestamp)})
		it.timestamp = ""
	}
	return it.check(settings)
}

// check tells whether the item is a record that the root takes.
func (it *item) check(settings cohort.Settings) error {
	r, err := cohort.ParseRecord(it.json(), settings.MaxRecord)
	if err != nil {
		return err
	}
	return errors.Join(r.Validate(), settings.Key.Validate(r))
}

// parseOldTime accepts RFC 3339 and what Python's isoformat and str write; a time without a zone is
// taken as UTC.
func parseOldTime(s string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00",
		"2006-01-02 15:04:05.999999999", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// json is the item as the record that it becomes.
func (it *item) json() []byte {
	b := jsonscan.AppendMember(nil, "run_id", jsonscan.Quote(it.runID))
	b = jsonscan.AppendMember(b, "stage", jsonscan.Quote(it.stage))
	if it.timestamp != "" {
		b = jsonscan.AppendMember(b, "timestamp", jsonscan.Quote(it.timestamp))
	}
	for _, m := range it.rest {
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

// sameSeq tells whether two items of one key are the same run of it.
func (it *item) sameSeq(other item) bool {
	return it.seq == 0 || other.seq == 0 || it.seq == other.seq
}

// join makes a snapshot the snapshot of its row, which keeps what it says itself.
func (it *item) join(s item) {
	it.seq = max(it.seq, s.seq)
	it.timestamp = cmp.Or(it.timestamp, s.timestamp)
	snapshot := []byte(nil)
	for _, m := range s.rest {
		snapshot = jsonscan.AppendMember(snapshot, m.name, m.value)
	}
	if len(snapshot) == 0 {
		snapshot = []byte("{")
	}
	it.snapshot = append(snapshot, '}')
}

// compareItems orders items without seq before those with one, by timestamp, then by content.
func compareItems(a, b item) int {
	if c := cmp.Compare(a.seq, b.seq); c != 0 {
		return c
	}
	ta, _ := parseOldTime(a.timestamp)
	tb, _ := parseOldTime(b.timestamp)
	return cmp.Or(ta.Compare(tb), bytes.Compare(a.json(), b.json()))
}
