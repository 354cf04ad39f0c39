package index

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// magics are how files of other kinds start.
var magics = []struct{ start, kind string }{
	{"PAR1", "a parquet file"},
	{"\x1f\x8b", "a gzip file"},
	{"\x28\xb5\x2f\xfd", "a zstd file"},
	{"\x04\x22\x4d\x18", "an LZ4 file"},
	{"BZh", "a bzip2 file"},
	{"\xfd7zXZ", "an xz file"},
	{"PK\x03\x04", "a zip file"},
	{"ARROW1", "an Arrow (Feather) file"},
	{"FEA1", "an old Feather file"},
	{"ORC", "an ORC file"},
	{"Obj\x01", "an Avro file"},
	{"SQLite format 3", "an SQLite file"},
	{"\x89HDF", "an HDF5 file"},
	{"\x93NUMPY", "a NumPy file"},
	{"\x80\x04", "a Python pickle"},
	{"\x80\x05", "a Python pickle"},
	{"\xff\xfe", "text in UTF-16"},
	{"\xfe\xff", "text in UTF-16"},
}

// looksLike guesses from its first bytes what a file is, for a message. It is empty where nothing fits.
func looksLike(head []byte) string {
	for _, m := range magics {
		if bytes.HasPrefix(head, []byte(m.start)) {
			return m.kind
		}
	}
	text := strings.TrimLeft(strings.TrimPrefix(string(head), "\ufeff"), " \t\r\n")
	first, _, _ := strings.Cut(text, "\n")
	switch {
	case text == "" || !isText(text):
		return ""
	case text[0] == '{' || text[0] == '[':
		return "JSON"
	case text[0] == '<':
		return "HTML or XML"
	case strings.ContainsAny(first, ",;\t"):
		return "CSV"
	}
	return "text"
}

// isText tells whether all of it is printable UTF-8. The last character may be cut.
func isText(s string) bool {
	for i, r := range s {
		if r == utf8.RuneError && i < len(s)-utf8.UTFMax || r < ' ' && !strings.ContainsRune("\t\r\n", r) {
			return false
		}
	}
	return true
}
