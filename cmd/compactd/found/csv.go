package found

import (
	"bytes"
	"strings"

	"github.com/runfold/runfold/compactor/query"
)

// AppendCSV appends a line of CSV, which tells NULL, which is empty, from an empty text, which is "". A line of one empty field would be no line to most readers,
// so NULL is "", too, where there is one cell only.
func AppendCSV(b []byte, cells []query.Cell) []byte {
	for i, c := range cells {
		if i > 0 {
			b = append(b, ',')
		}
		if !c.IsNull() || len(cells) == 1 {
			b = AppendField(b, c.Text())
		}
	}
	return append(b, '\n')
}

// AppendField appends a field as RFC 4180 has it.
func AppendField(b []byte, text string) []byte {
	if text != "" && text != `\.` && !strings.ContainsAny(text, ",\"\r\n") && strings.TrimSpace(text) == text {
		return append(b, text...)
	}
	b = append(b, '"')
	b = append(b, bytes.ReplaceAll([]byte(text), []byte{'"'}, []byte(`""`))...)
	return append(b, '"')
}
