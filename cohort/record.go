package cohort

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"

	"github.com/runfold/runfold/internal/jsonscan"
)

const (
	// DefaultMaxRecord is the size limit of a record in bytes where runfold.json sets none.
	DefaultMaxRecord = 16 << 20
	// maxText bounds run_id, stage, target, view and symbol: they stand in the statistics of the
	// index, which no writer truncates.
	maxText = 1024
	// MaxRecordID bounds a record id: its length is one byte of the frame.
	MaxRecordID = 255
	// maxDepth bounds how deep a record nests, itself included. It becomes a part of
	// snapshot_index.json, and Python's json module gives up on a whole file at about 1000 levels.
	maxDepth = 500
)

// Record is one run record on its whole road from the command line to the index. [ParseRecord] makes one; a program sets at
// most its ID. The fields below ID are read from the JSON, and only the JSON is appended: a record whose fields differ from its
// JSON is refused.
type Record struct {
	Cohort ID
	Stream StreamID // the stream that holds it; zero before it was appended
	Stamp  Stamp    // its place in the order; zero before it was appended
	ID     string   // record_id, at most MaxRecordID bytes; if it is empty, an Append sets it

	// Writer is who appended it, as user@host:pid: see journal.Header. A fold sets it, from the header of the stream; it is empty if that
	// is not known.
	Writer string

	// Written is the writer's wall clock at the append; the zero time before the append, and if it is not known. It does not order records.
	Written time.Time

	// Action is set in a record that is no run: it acts on the runs before it. NewAction makes one.
	Action Action

	RunID     string
	Stage     string
	Timestamp string // RFC 3339 as the user wrote it; empty when absent, see Time and AssumeZone

	// Target, View, Symbol and ModelFamily tell results apart, see Facets, and widen the key where runfold.json says so. Scalars
	// that are not strings stand here as their JSON token.
	Target, View, Symbol, ModelFamily string

	// JSON is the object as given, on one line: only line breaks between tokens (never inside a
	// string, where JSON forbids them) became spaces, and NonFinite tokens became null.
	JSON      []byte
	NonFinite int // how many NaN, Infinity and -Infinity became null

	top []jsonscan.Span // where the members of JSON stand; nil: nobody has kept it
	sum uint64          // see Unchanged; 0: the record was put together by hand, or by a Parser
}

// sumSeed is that of every sum of this process.
var sumSeed = maphash.MakeSeed()

// sumOf is a hash of JSON and of the fields that are read from there, never 0.
func (r *Record) sumOf() uint64 {
	sum := maphash.Bytes(sumSeed, r.JSON)
	for _, text := range [...]string{r.RunID, r.Stage, r.Timestamp, r.Target, r.View, r.Symbol, r.ModelFamily} {
		sum *= 0x9e3779b97f4a7c15 // odd, so that nothing is lost and the order counts
		if text != "" {
			sum ^= maphash.String(sumSeed, text)
		}
	}
	return max(sum, 1)
}

// Unchanged tells whether a record is what ParseRecord made from its JSON: neither a field that was read from the JSON nor a
// byte was changed since. An Append need not parse such a record again. It is false for a record that was
// put together by hand, or that a Parser returned; such a record may be valid, too.
func (r *Record) Unchanged() bool { return r.sum != 0 && r.sum == r.sumOf() }

// Members yields the name and the value of each member of the record's object, in their order. A name that stands twice
// comes twice; in a row of the index the last one counts. Values are the bytes that the user wrote. They alias
// JSON, and so do names in which nothing is escaped: copy what is to stay. The record must have been parsed.
//
// It is the iterator itself, because one that it returned would take memory for each record: for name, value := range r.Members.
func (r *Record) Members(yield func(name, value []byte) bool) {
	var some [24]jsonscan.Span // enough for most objects, and not on the heap
	top := r.top
	if top == nil {
		top = jsonscan.Spans(some[:0], r.JSON)
	}
	for _, at := range top {
		if m := at.Member(r.JSON); !yield(m.Name, m.Value) {
			return
		}
	}
}

// MemberList is the members of one object. It uses its memory again for the next one, and gives members by number where an
// iterator would cost too much. One goroutine uses it. The zero value is empty.
type MemberList struct {
	object []byte
	at     []jsonscan.Span
}

// Of makes l the members of a record that was parsed, as Members yields them.
func (l *MemberList) Of(r *Record) {
	if l.object = r.JSON; r.top == nil {
		l.at = jsonscan.Spans(l.at[:0], r.JSON)
		return
	}
	l.at = append(l.at[:0], r.top...)
}

// OfObject makes l the members of an object among the values of a record.
func (l *MemberList) OfObject(value []byte) { l.object, l.at = value, jsonscan.Spans(l.at[:0], value) }

// Len is how many there are.
func (l *MemberList) Len() int { return len(l.at) }

// At is the member number i, from 0. Name and value alias the object as those of Members do.
func (l *MemberList) At(i int) (name, value []byte) {
	m := l.at[i].Member(l.object)
	return m.Name, m.Value
}

// ParseRecord reads one JSON object. It refuses broken JSON, text that is not UTF-8, objects that nest
// too deep, and a run_id that is not a string. [Record.Validate] checks whether run_id and stage exist and are well formed. An
// Append calls it, too, and refuses a key that does not fit the root.
//
// It makes no copy: the record aliases data, which must not change while the record is in use. The bytes are new only if a token
// was replaced (NaN and infinities become null). Space around the object and one UTF-8 byte order
// mark before it are dropped. maxBytes bounds the size, before and after the replacement; if zero,
// DefaultMaxRecord. Give it Settings.MaxRecord of the root.
//
// The error says what is wrong with the record, not where it came from. Bytes in it count from 1 at
// the first byte of the object.
func ParseRecord(data []byte, maxBytes int) (Record, error) {
	var some [24]jsonscan.Span // enough for most records, and not on the heap
	r, top, err := checkRecord(data, maxBytes, some[:0])
	if err == nil {
		err = r.readFields(top)
	}
	if err != nil {
		return Record{}, err
	}
	r.sum = r.sumOf()
	return r, nil
}

// checkRecord is the Record without the fields of its JSON, and the places of its members.
func checkRecord(data []byte, maxBytes int, top []jsonscan.Span) (Record, []jsonscan.Span, error) {
	if maxBytes == 0 {
		maxBytes = DefaultMaxRecord
	}
	data = bytes.TrimSpace(bytes.TrimPrefix(bytes.TrimSpace(data), []byte("\xef\xbb\xbf")))
	if err := checkSize(data, maxBytes); err != nil {
		return Record{}, nil, err
	}
	if err := checkEncoding(data); err != nil {
		return Record{}, nil, err
	}
	if jsonscan.Deeper(data, maxDepth) {
		return Record{}, nil, fmt.Errorf("record is nested deeper than %d levels", maxDepth)
	}
	if top, ok := jsonscan.ValidSpans(top, data); ok {
		return Record{JSON: oneLine(data)}, top, nil
	}
	data, n := jsonscan.Finite(data)
	// Again, because null is longer than NaN, and a frame over its bound could not be read back.
	if err := checkSize(data, maxBytes); err != nil {
		return Record{}, nil, err
	}
	if err := checkObject(data, n == 0); err != nil {
		return Record{}, nil, err
	}
	return Record{JSON: oneLine(data), NonFinite: n}, jsonscan.Spans(top, data), nil
}

func checkSize(data []byte, maxBytes int) error {
	if len(data) > maxBytes {
		return fmt.Errorf("record of %d bytes is over the limit of %d", len(data), maxBytes)
	}
	return nil
}

func checkEncoding(data []byte) error {
	switch {
	case len(data) == 0:
		return errors.New("record is empty")
	case bytes.HasPrefix(data, []byte("\xff\xfe")), bytes.HasPrefix(data, []byte("\xfe\xff")),
		len(data) > 1 && (data[0] == 0 || data[1] == 0):
		return errors.New("record is UTF-16: write it as UTF-8")
	case !utf8.Valid(data):
		return fmt.Errorf("record is not UTF-8 at byte %d", invalidByte(data)+1)
	}
	return nil
}

func invalidByte(data []byte) int {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return len(data)
}

// checkObject returns an error unless data is one JSON object. It states the place of an error only if data is asGiven, because
// replaced tokens move the bytes after them.
func checkObject(data []byte, asGiven bool) error {
	if data[0] != '{' && jsonscan.Valid(data) {
		return fmt.Errorf("record is a JSON %s: it must be an object", jsonscan.KindOf(data))
	}
	if jsonscan.Valid(data) {
		return nil
	}
	var raw json.RawMessage
	err := json.Unmarshal(data, &raw)
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) && asGiven {
		return fmt.Errorf("record is not JSON at byte %d: %w", syntax.Offset, err)
	}
	return fmt.Errorf("record is not JSON: %w", err)
}

// oneLine replaces line breaks by spaces. In valid JSON they stand between tokens only.
func oneLine(data []byte) []byte {
	if bytes.IndexByte(data, '\n') < 0 && bytes.IndexByte(data, '\r') < 0 {
		return data
	}
	return bytes.Map(func(r rune) rune {
		if r == '\n' || r == '\r' {
			return ' '
		}
		return r
	}, data)
}

// readFields takes the fields that we own out of the JSON. null counts as absent.
func (r *Record) readFields(top []jsonscan.Span) error {
	var phase string
	for _, at := range top {
		m := at.Member(r.JSON)
		value := m.Value
		var err error
		switch string(m.Name) {
		case "run_id":
			r.RunID, err = textField("run_id", value)
		case "stage":
			r.Stage, err = textField("stage", value)
		case "phase":
			phase, err = textField("phase", value)
		case "timestamp":
			r.Timestamp, err = textField("timestamp", value)
		case "record_id":
			r.ID, err = textField("record_id", value)
		case "target":
			r.Target, err = scalarText("target", value)
		case "view":
			r.View, err = scalarText("view", value)
		case "symbol":
			r.Symbol, err = scalarText("symbol", value)
		case "model_family":
			r.ModelFamily, _ = scalarText("model_family", value) // half a character was never refused here, and stands in streams
		case "snapshot_seq":
			if jsonscan.KindOf(value) != jsonscan.Null {
				err = errors.New("snapshot_seq must be absent or null: the compactor assigns it")
			}
		}
		if err != nil {
			return err
		}
	}
	if phase != "" && r.Stage != "" && phase != r.Stage {
		return fmt.Errorf("stage %q and its synonym phase %q differ", r.Stage, phase)
	}
	if r.Stage == "" {
		r.Stage = phase
	}
	return nil
}

// textField decodes a string field. A lone surrogate is refused, as it decodes to U+FFFD and would
// make two different ids equal.
func textField(name string, value []byte) (string, error) {
	switch k := jsonscan.KindOf(value); k {
	case jsonscan.Null:
		return "", nil
	case jsonscan.String:
		if jsonscan.LoneSurrogate(value) {
			return "", fmt.Errorf("%s has an escape that is not a character", name)
		}
		return jsonscan.Text(value), nil
	default:
		return "", fmt.Errorf("%s must be a string, is %s", name, withArticle(k))
	}
}

func withArticle(k jsonscan.Kind) string {
	if k == jsonscan.Int || k == jsonscan.Object || k == jsonscan.Array {
		return "an " + k.String()
	}
	return "a " + k.String()
}

// scalarText is a scalar as text, empty for null, objects and arrays.
func scalarText(name string, value []byte) (string, error) {
	switch jsonscan.KindOf(value) {
	case jsonscan.String:
		return textField(name, value)
	case jsonscan.Bool, jsonscan.Int, jsonscan.Double:
		return string(value), nil
	}
	return "", nil
}

// Validate checks what every record must satisfy before it may be appended. An Append does it, too.
func (r Record) Validate() error {
	if r.Action != NoAction {
		return r.validateAction()
	}
	switch {
	case r.RunID == "":
		return errors.New("run_id is missing")
	case r.Stage == "":
		return errors.New("stage is missing")
	case strings.Contains(r.Stage, ":"):
		return fmt.Errorf("stage %q has a ':', which separates run_id and stage in keys", r.Stage)
	case len(r.ID) > MaxRecordID:
		return fmt.Errorf("record_id of %d bytes is too long: at most %d", len(r.ID), MaxRecordID)
	}
	for _, f := range [...]struct{ name, text string }{
		{"run_id", r.RunID}, {"stage", r.Stage}, {"target", r.Target}, {"view", r.View}, {"symbol", r.Symbol},
	} {
		if len(f.text) > maxText {
			return fmt.Errorf("%s of %d bytes is too long: at most %d", f.name, len(f.text), maxText)
		}
	}
	if r.Timestamp == "" {
		return nil
	}
	return checkTime(r.Timestamp)
}

func checkTime(s string) error {
	if _, ok := ParseTime(s); ok {
		return nil
	}
	if _, leap, ok := parseTime(s); ok && leap {
		return fmt.Errorf("timestamp %q has second 60, which only the last minute of a month in UTC may have", s)
	}
	if _, _, ok := parseTime(s + "Z"); ok { // datetime.now().isoformat() in Python
		return fmt.Errorf("timestamp %q has no zone: add one, such as Z or +02:00, or use journal-append --assume-zone UTC", s)
	}
	return fmt.Errorf("timestamp %q is not RFC 3339, such as 2026-01-31T12:00:00Z", s)
}

// ParseTime reads RFC 3339 only. time.Parse also accepts an hour of one digit, a comma and
// offsets such as +24:60 (go.dev/issue/54580), which the readers of other languages refuse.
//
// A leap second (second 60, at the end of a month in UTC) has no number of its own in the time of any system. It is the last
// nanosecond before it, whatever its fraction: it comes after every other time of its minute and before the next minute.
func ParseTime(s string) (time.Time, bool) {
	t, leap, ok := parseTime(s)
	if next := t.Add(1).UTC(); leap && (next.Hour() != 0 || next.Minute() != 0 || next.Day() != 1) {
		return time.Time{}, false
	}
	return t, ok
}

// parseTime is ParseTime for a leap second at any time of the year.
func parseTime(s string) (t time.Time, leap, ok bool) {
	const least = len("2006-01-02T15:04:05Z")
	if len(s) < least {
		return time.Time{}, false, false
	}
	leap = s[16:19] == ":60"
	if last := len(s) - 1; leap || s[10] == 't' || s[last] == 'z' { // which time.Parse does not know
		b := []byte(s)
		if leap {
			copy(b[17:], "59")
		}
		if b[10] == 't' {
			b[10] = 'T'
		}
		if b[last] == 'z' {
			b[last] = 'Z'
		}
		s = string(b)
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || s[13] != ':' || strings.Contains(s, ",") {
		return time.Time{}, false, false
	}
	if n := len(s); s[n-1] != 'Z' && (s[n-5:n-3] > "23" || s[n-2:] > "59") {
		return time.Time{}, false, false
	}
	if leap {
		t = t.Truncate(time.Second).Add(time.Second - 1)
	}
	return t, leap, true
}

// Time is the timestamp, or the wall clock at the append when the user gave none; the zero time if neither is known. The
// record must be valid.
func (r Record) Time() time.Time {
	if t, ok := ParseTime(r.Timestamp); ok {
		return t
	}
	if r.Timestamp != "" { // one without a zone, which only a root with a Profile has
		if t, ok := ParseTime(r.Timestamp + "Z"); ok {
			return t
		}
	}
	return r.Written
}

// timeForm is the form of the times that we make: with six digits and a zone, which all readers accept.
const timeForm = "2006-01-02T15:04:05.000000Z"

// FormatTime is the text of a time that we make, and not the user: RFC 3339 in UTC, with six digits.
func FormatTime(t time.Time) string { return t.UTC().Format(timeForm) }

// TimeText is the timestamp as the user wrote it, or the wall clock at the append. It is empty if neither is known.
func (r Record) TimeText() string {
	if r.Timestamp != "" || r.Written.IsZero() {
		return r.Timestamp
	}
	return FormatTime(r.Written)
}

// Digest is that of the record's JSON.
func (r Record) Digest() Digest { return max(Digest(xxhash.Sum64(r.JSON)), 1) }

// Clone is the record with a copy of its bytes. It stays valid when the bytes that it was parsed from change.
func (r Record) Clone() Record {
	r.JSON, r.top = bytes.Clone(r.JSON), nil
	return r
}

// Version is the record's place among the records of its key.
func (r Record) Version() Version { return Version{r.Stamp, r.ID, r.Digest()} }
