package cohort

import "github.com/runfold/runfold/internal/jsonscan"

// Parser parses one record after another in the same memory. A record that it returns is valid until the next call, and
// aliases the data that was parsed; [Memory] and [Record.Clone] make copies that stay. For few records, [ParseRecord] is
// simpler. One goroutine uses it. The zero value is ready.
type Parser struct{ top []jsonscan.Span }

// Parse reads one JSON object, as [ParseRecord] does.
func (p *Parser) Parse(data []byte, maxBytes int) (Record, error) {
	r, top, err := checkRecord(data, maxBytes, p.top[:0])
	p.top = top
	if err == nil {
		err = r.readFields(top)
	}
	if err != nil {
		return Record{}, err
	}
	r.top = top
	return r, nil
}

// ParseAgain is Parse for the JSON of a Record that was parsed before, byte for byte. It does not check again whether the JSON
// is valid, which saves most of the work. For other bytes it may panic.
func (p *Parser) ParseAgain(json []byte) (Record, error) {
	p.top = jsonscan.Spans(p.top[:0], json)
	r := Record{JSON: json, top: p.top}
	err := r.readFields(p.top)
	return r, err
}

// Memory keeps records that a Parser returned. It holds the bytes of many records, and the places of their members, in few
// pieces of memory instead of two for each record. One goroutine uses it. The zero value is ready.
type Memory struct {
	json []byte
	top  []jsonscan.Span
}

const (
	maxPiece  = 64 << 10 // a piece of memory for bytes is no larger, unless one record is
	maxReused = 1 << 20
)

// NewMemory returns a Memory that has room for so many bytes of JSON before it grows.
func NewMemory(bytes int) Memory { return Memory{json: make([]byte, 0, bytes)} }

// Reset forgets all records, and uses their memory for others. Records that it returned before are not valid any more.
func (m *Memory) Reset() {
	if cap(m.json) > maxReused {
		m.json = nil // of one record
	}
	m.json, m.top = m.json[:0], m.top[:0]
}

// Keep returns r with a copy of everything that a Parser may use again. Records that Keep returned before stay valid.
func (m *Memory) Keep(r Record) Record {
	places := r.top
	r = m.KeepBytes(r)
	if places != nil {
		from := len(m.top)
		m.top = append(m.top, places...)
		r.top = m.top[from:len(m.top):len(m.top)]
	}
	return r
}

// KeepBytes is Keep for a record that may lie in memory for long: without the places of its members, which are found again when
// they are needed.
func (m *Memory) KeepBytes(r Record) Record {
	if cap(m.json)-len(m.json) < len(r.JSON) { // earlier records still use the old piece, so it is not copied
		m.json = make([]byte, 0, max(len(r.JSON), min(2*cap(m.json), maxPiece)))
	}
	from := len(m.json)
	m.json = append(m.json, r.JSON...)
	r.JSON, r.top = m.json[from:len(m.json):len(m.json)], nil
	return r
}
