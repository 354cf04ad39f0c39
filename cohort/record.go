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

// Record is one run record on its whole road from the command line to the index.
type Record struct {
	Cohort ID
	Stream StreamID // the stream that holds it; zero before it was appended
	Stamp  Stamp    // its place in the order; zero before it was appended
	ID     string   // record_id; empty before it was appended when the user gave none

	RunID     string
	Stage     string
	Timestamp string // RFC 3339 as the user wrote it; empty when absent, see Time

	// Target, View and Symbol widen the key where runfold.json says so. Scalars that are not
	// strings stand here as their JSON token.
	Target, View, Symbol string

	// JSON is the object as given, on one line: only line breaks between tokens (never inside a
	// string, where JSON forbids them) became spaces, and NonFinite tokens became null.
	JSON      []byte
	NonFinite int // how many NaN, Infinity and -Infinity became null

	// Top is where the members of JSON stand. It may be nil: then nobody has kept it.
	Top []Span

	// Sum is what ParseRecord says of JSON and of the fields that it read from there, see Unchanged. It means something
	// in this process only. 0: the record was put together by hand, or by a reader that spared itself the sum.
	Sum uint64
}

// sumSeed is that of every Sum of this process.
var sumSeed = maphash.MakeSeed()

// sum is a hash of JSON and of the fields that are read from there, never 0.
func (r *Record) sum() uint64 {
	sum := maphash.Bytes(sumSeed, r.JSON)
	for _, text := range [...]string{r.RunID, r.Stage, r.Timestamp, r.Target, r.View, r.Symbol} {
		sum *= 0x9e3779b97f4a7c15 // odd, so that nothing is lost and the order counts
		if text != "" {
			sum ^= maphash.String(sumSeed, text)
		}
	}
	return max(sum, 1)
}

// Unchanged tells whether the record is what ParseRecord made: nobody has touched a field, or the bytes that
// it aliases. Who needs a record to be what its JSON says need not parse that again.
func (r *Record) Unchanged() bool { return r.Sum != 0 && r.Sum == r.sum() }

// ParseRecord reads one JSON object. It copies nothing: the record aliases data unless a token had to
// be replaced. Space around the object and one UTF-8 byte order mark in front of it are dropped.
// maxBytes bounds the size, before and after the replacement; if zero, DefaultMaxRecord.
//
// The error says what is wrong with the record, not where it came from. Bytes in it count from 1 at
// the first byte of the object.
func ParseRecord(data []byte, maxBytes int) (Record, error) {
	var some [24]Span // more than most records have, and not on the heap
	r, top, err := checkRecord(data, maxBytes, some[:0])
	if err == nil {
		err = r.readFields(top)
	}
	if err != nil {
		return Record{}, err
	}
	r.Sum = r.sum()
	return r, nil
}

// ParseTop is ParseRecord with the Record's Top, which stands in the memory of top; that may be nil.
func ParseTop(data []byte, maxBytes int, top []Span) (Record, error) {
	r, top, err := checkRecord(data, maxBytes, top[:0])
	if err == nil {
		r.Top = top
		err = r.readFields(top)
	}
	if err != nil {
		return Record{}, err
	}
	return r, nil
}

// checkRecord is the Record without what its fields say, and where its members stand.
func checkRecord(data []byte, maxBytes int, top []Span) (Record, []Span, error) {
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
	if deeper(data, maxDepth) {
		return Record{}, nil, fmt.Errorf("record is nested deeper than %d levels", maxDepth)
	}
	if top, ok := validSpans(top, data); ok {
		return Record{JSON: oneLine(data)}, top, nil
	}
	data, n := finite(data)
	// Again, because null is longer than NaN, and a frame over its bound could not be read back.
	if err := checkSize(data, maxBytes); err != nil {
		return Record{}, nil, err
	}
	if err := checkObject(data, n == 0); err != nil {
		return Record{}, nil, err
	}
	return Record{JSON: oneLine(data), NonFinite: n}, Spans(top, data), nil
}

// ParseAgain is ParseRecord for the JSON of a Record that it returned before: what was valid then is not
// checked again, which is most of the work. The record aliases json, which must not be anything else. Its Top
// stands in the memory of top, which may be nil.
func ParseAgain(json []byte, top []Span) (Record, error) {
	r := Record{JSON: json, Top: Spans(top[:0], json)}
	err := r.readFields(r.Top)
	return r, err
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

// checkObject wants one JSON object. It says where the error is only if data is asGiven, as
// replaced tokens move what follows them.
func checkObject(data []byte, asGiven bool) error {
	if data[0] != '{' && valid(data) {
		return fmt.Errorf("record is a JSON %s: it must be an object", KindOf(data))
	}
	if valid(data) {
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
func (r *Record) readFields(top []Span) error {
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
		case "snapshot_seq":
			if KindOf(value) != Null {
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
	switch k := KindOf(value); k {
	case Null:
		return "", nil
	case String:
		if loneSurrogate(value) {
			return "", fmt.Errorf("%s has an escape that is no character", name)
		}
		return Text(value), nil
	default:
		return "", fmt.Errorf("%s must be a string, is %s", name, withArticle(k))
	}
}

func withArticle(k Kind) string {
	if k == Int || k == Object || k == Array {
		return "an " + k.String()
	}
	return "a " + k.String()
}

// scalarText is a scalar as text, empty for null, objects and arrays.
func scalarText(name string, value []byte) (string, error) {
	switch KindOf(value) {
	case String:
		return textField(name, value)
	case Bool, Int, Double:
		return string(value), nil
	}
	return "", nil
}

// Validate checks what every record must satisfy before it may be appended.
func (r Record) Validate() error {
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
	if _, ok := ParseTime(r.Timestamp); !ok {
		return fmt.Errorf("timestamp %q is not RFC 3339, such as 2026-01-31T12:00:00Z", r.Timestamp)
	}
	return nil
}

// ParseTime reads RFC 3339 and nothing else. time.Parse also takes an hour of one digit, a comma and
// offsets such as +24:60 (go.dev/issue/54580), which the readers of other languages refuse.
func ParseTime(s string) (time.Time, bool) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || s[13] != ':' || strings.Contains(s, ",") {
		return time.Time{}, false
	}
	if n := len(s); s[n-1] != 'Z' && (s[n-5:n-3] > "23" || s[n-2:] > "59") {
		return time.Time{}, false
	}
	return t, true
}

// Time is the timestamp, or the stamp's time when the user gave none. The record must be valid.
func (r Record) Time() time.Time {
	if t, ok := ParseTime(r.Timestamp); ok {
		return t
	}
	return r.Stamp.Time()
}

// TimeText is the timestamp as the user wrote it, or the stamp's time in RFC 3339.
func (r Record) TimeText() string {
	if r.Timestamp != "" {
		return r.Timestamp
	}
	return r.Stamp.Time().Format(time.RFC3339Nano)
}

// Version is the record's place among the records of its key.
func (r Record) Version() Version { return Version{Stamp: r.Stamp, RecordID: r.ID} }
