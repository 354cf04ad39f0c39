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

// Memory keeps records that a Parser returned. It holds the bytes of many records, and the places of their members, in two
// pieces of memory instead of two for each record. Both grow as needed. One goroutine uses it. The zero value is ready.
type Memory struct {
	json []byte
	top  []jsonscan.Span
}

// NewMemory returns a Memory that has room for so many bytes of JSON before it grows.
func NewMemory(bytes int) Memory { return Memory{json: make([]byte, 0, bytes)} }

// Keep returns r with a copy of everything that a Parser may use again. Records that Keep returned before stay valid.
func (m *Memory) Keep(r Record) Record {
	from := len(m.json)
	m.json = append(m.json, r.JSON...) // earlier records may still use the old memory
	r.JSON = m.json[from:len(m.json):len(m.json)]
	if r.top != nil {
		from = len(m.top)
		m.top = append(m.top, r.top...)
		r.top = m.top[from:len(m.top):len(m.top)]
	}
	return r
}
