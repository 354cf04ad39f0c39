package cohort

import "github.com/runfold/runfold/internal/jsonscan"

// Parser parses one record after another in the same memory. A record that it returns is valid until its next call, and
// aliases the data that it was given; [Memory] and [Record.Clone] keep one. Where records are few, [ParseRecord] is
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

// ParseAgain is Parse for the JSON of a Record that was parsed before, byte for byte: what was valid then is not checked
// again, which is most of the work. On any other bytes it may panic.
func (p *Parser) ParseAgain(json []byte) (Record, error) {
	p.top = jsonscan.Spans(p.top[:0], json)
	r := Record{JSON: json, top: p.top}
	err := r.readFields(p.top)
	return r, err
}

// Memory keeps records that a Parser returned. It holds the bytes of many, and where their members stand, in two pieces of
// memory instead of two for each record. Both grow as needed. One goroutine uses it. The zero value is ready.
type Memory struct {
	json []byte
	top  []jsonscan.Span
}

// NewMemory returns a Memory that has room for so many bytes of JSON before it grows.
func NewMemory(bytes int) Memory { return Memory{json: make([]byte, 0, bytes)} }

// Keep returns r with a copy of all that a Parser may use again. Records that it returned before stay as they are.
func (m *Memory) Keep(r Record) Record {
	from := len(m.json)
	m.json = append(m.json, r.JSON...) // records before lie in memory that this may leave
	r.JSON = m.json[from:len(m.json):len(m.json)]
	if r.top != nil {
		from = len(m.top)
		m.top = append(m.top, r.top...)
		r.top = m.top[from:len(m.top):len(m.top)]
	}
	return r
}
