package audit

import (
	"cmp"
	"encoding/json"
	"hash/maphash"
	"slices"
	"strings"
	"unicode/utf8"
)

// FieldDifference is a field that two writes have with other values. Each is the JSON of the value, cut to 80 bytes; empty if the write does
// not have the field.
type FieldDifference struct {
	Field  string `json:"field"`
	Before string `json:"before"`
	After  string `json:"after"`
}

// fieldText is a value, cut, and a hash of the whole.
type fieldText struct {
	name, text string
	sum        uint64
}

// fieldTexts are the values of one write, sorted by name; nil if there was no room for them.
type fieldTexts []fieldText

const (
	mostText    = 80       // bytes of a value that are shown
	mostDiffer  = 20       // fields that are named
	fieldsBytes = 64 << 20 // of the values of all writes
)

// fieldMemory bounds what the values of all writes take.
type fieldMemory struct {
	left int
	seed maphash.Seed
}

func newFieldMemory() fieldMemory { return fieldMemory{fieldsBytes, maphash.MakeSeed()} }

// of are the values of a write. They alias nothing.
func (m *fieldMemory) of(fields map[string]json.RawMessage) fieldTexts {
	out := make(fieldTexts, 0, len(fields))
	for name, value := range fields {
		text := fieldText{strings.Clone(name), cut(value), maphash.Bytes(m.seed, value)}
		if m.left -= len(text.name) + len(text.text) + 48; m.left < 0 {
			return nil
		}
		out = append(out, text)
	}
	slices.SortFunc(out, func(a, b fieldText) int { return cmp.Compare(a.name, b.name) })
	return out
}

func cut(value []byte) string {
	if len(value) <= mostText {
		return string(value)
	}
	value = value[:mostText]
	for !utf8.Valid(value) && len(value) > mostText-utf8.UTFMax {
		value = value[:len(value)-1]
	}
	return string(value) + "..."
}

// differences are the fields in which two writes differ. Of a write that only a row tells of, the object "snapshot" is not known.
func differences(before, after *Write) (all []FieldDifference, more int) {
	add := func(name, a, b string) {
		switch {
		case name == "snapshot" && (before.isRow || after.isRow):
		case len(all) < mostDiffer:
			all = append(all, FieldDifference{name, a, b})
		default:
			more++
		}
	}
	a, b := before.fields, after.fields
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].name < b[0].name:
			add(a[0].name, a[0].text, "")
			a = a[1:]
		case len(a) == 0 || b[0].name < a[0].name:
			add(b[0].name, "", b[0].text)
			b = b[1:]
		default:
			if a[0].sum != b[0].sum {
				add(a[0].name, a[0].text, b[0].text)
			}
			a, b = a[1:], b[1:]
		}
	}
	return all, more
}
