package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/runfold/runfold/internal/jsonscan"
)

// packed are files that begin with bytes by which they are known, and what makes lines of JSON of them; %s is the file.
var packed = []struct{ magic, kind, way string }{
	{"\x1f\x8b", "gzip data", "gzip -dc %s | journal-append ..."},
	{"\x28\xb5\x2f\xfd", "zstd data", "zstd -dc %s | journal-append ..."},
	{"\xfd7zXZ\x00", "xz data", "xz -dc %s | journal-append ..."},
	{"BZh", "bzip2 data", "bzip2 -dc %s | journal-append ..."},
	{"\x04\x22\x4d\x18", "lz4 data", "lz4 -dc %s | journal-append ..."},
	{"PK\x03\x04", "a zip archive", "unzip -p %s | journal-append ..."},
	{"PAR1", "a Parquet file", "compactd import --root DIR --index %s"},
	{"ARROW1", "an Arrow file", "write it as Parquet, then compactd import --root DIR --index FILE"},
	{"SQLite format 3\x00", "an SQLite database", "export its rows as JSON, one object on a line"},
	{"\xff\xfe\x00\x00", "text in UTF-32", "iconv -f UTF-32 -t UTF-8 %s | journal-append ..."},
	{"\x00\x00\xfe\xff", "text in UTF-32", "iconv -f UTF-32 -t UTF-8 %s | journal-append ..."},
	{"\xff\xfe", "text in UTF-16", "iconv -f UTF-16 -t UTF-8 %s | journal-append ..."},
	{"\xfe\xff", "text in UTF-16", "iconv -f UTF-16 -t UTF-8 %s | journal-append ..."},
}

// strange tells what is no file of JSON lines by what it begins with, so that people read one line with the way out instead of one
// for each line. What is only perhaps something else passes: its lines are judged one by one.
func strange(head []byte, path string) error {
	for _, p := range packed {
		if bytes.HasPrefix(head, []byte(p.magic)) {
			return notLines(p.kind, p.way, path)
		}
	}
	if order := utf16Order(head); order != "" {
		return notLines("text in UTF-16", "iconv -f "+order+" -t UTF-8 %s | journal-append ...", path)
	}
	text := bytes.TrimSpace(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")))
	switch {
	case len(text) == 0:
		return nil
	case text[0] == '[' && isList(text):
		return notLines("a JSON array", "jq -c '.[]' %s | journal-append ...", path)
	case text[0] == '{' && isSpread(text):
		return notLines("JSON over several lines", "jq -c . %s | journal-append ...", path)
	case isTable(text, path):
		return notLines("CSV", `duckdb -c "COPY (FROM '%s') TO 'FILE.ndjson' (FORMAT json)"`, path)
	}
	return nil
}

// shellWord are names that a shell takes as they are.
var shellWord = regexp.MustCompile(`^[A-Za-z0-9_./][A-Za-z0-9_./+,=@:-]*$`)

func notLines(kind, way, path string) error {
	name := path
	if path == "-" || !shellWord.MatchString(path) {
		name = "FILE"
	}
	if strings.Contains(way, "%s") {
		way = fmt.Sprintf(way, name)
	}
	return fmt.Errorf("this is %s, but records are JSON objects, one on each line; a way out: %s", kind, way)
}

// utf16Order is the byte order of a text without a mark: every other byte of what is there is zero, and no other one.
func utf16Order(head []byte) string {
	head = head[:min(len(head), 64)&^1]
	if len(head) < 4 {
		return ""
	}
	zeros := [2]int{}
	for i, c := range head {
		if c == 0 {
			zeros[i%2]++
		}
	}
	switch half := len(head) / 2; {
	case zeros[0] == 0 && zeros[1] == half:
		return "UTF-16LE"
	case zeros[1] == 0 && zeros[0] == half:
		return "UTF-16BE"
	}
	return ""
}

// isList tells whether text begins an array of objects, or an array that goes on in the next line. Another array that
// ends in its line is a bad line, and the next one may be a good one.
func isList(text []byte) bool {
	first, rest, more := bytes.Cut(text, []byte("\n"))
	within := bytes.TrimSpace(text[1:])
	if len(within) > 0 && within[0] == '{' {
		return true
	}
	return more && len(rest) > 0 && !jsonscan.Valid(bytes.TrimSpace(first)) && endsEarly(first)
}

// isSpread tells whether text begins an object that goes on in the next line. A line that was cut off is different: the next object
// comes after it.
func isSpread(text []byte) bool {
	first, rest, _ := bytes.Cut(text, []byte("\n"))
	first, rest = bytes.TrimSpace(first), bytes.TrimSpace(rest)
	return len(rest) > 0 && (rest[0] == '"' || rest[0] == '}') && endsEarly(first)
}

// endsEarly tells whether text is the front of a JSON value.
func endsEarly(text []byte) bool {
	var raw json.RawMessage
	var syntax *json.SyntaxError
	err := json.Unmarshal(text, &raw)
	return errors.As(err, &syntax) && syntax.Offset >= int64(len(text)) && strings.HasPrefix(syntax.Error(), "unexpected end")
}

var (
	heading = regexp.MustCompile(`^"?[A-Za-z_][A-Za-z0-9_. -]*"?$`)
	ours    = regexp.MustCompile(`(?i)^"?(run_id|run|stage|phase)"?$`)
)

// isTable tells whether the first line is the heads of columns, and something else says so, too: one of our names among them, the
// name of the file, or a second line with as many columns.
func isTable(text []byte, path string) bool {
	first, rest, more := bytes.Cut(text, []byte("\n"))
	second, _, _ := bytes.Cut(bytes.TrimSpace(rest), []byte("\n"))
	ext := strings.ToLower(filepath.Ext(path))
	for _, separator := range []string{",", "\t", ";"} {
		heads := strings.Split(strings.TrimSpace(string(first)), separator)
		if len(heads) < 2 {
			continue
		}
		known, all := false, true
		for _, h := range heads {
			known = known || ours.MatchString(strings.TrimSpace(h))
			all = all && heading.MatchString(strings.TrimSpace(h))
		}
		alike := more && !bytes.HasPrefix(second, []byte("{")) && bytes.Count(second, []byte(separator)) == len(heads)-1
		if all && (known || alike || ext == ".csv" || ext == ".tsv") {
			return true
		}
	}
	return false
}

// explain is err with the reason for it where that is no mistake in JSON.
func explain(data []byte, err error) error {
	data = bytes.TrimSpace(data)
	front := len(data) - len(bytes.TrimLeft(data, "\x00"))
	switch {
	case len(data) > 0 && front == len(data):
		return nulBytes(front)
	case front > 0:
		return fmt.Errorf("the line begins with %d NUL bytes: what was written there is lost (a crash, or a full disk): "+
			"take the record from its source again", front)
	case bytes.IndexByte(data, 0) > 0:
		return fmt.Errorf("%w: there is a NUL byte at byte %d", err, bytes.IndexByte(data, 0)+1)
	}
	return err
}

func nulBytes(n int) error {
	return fmt.Errorf("the line is %d NUL bytes: what was written there is lost (a crash, or a full disk): "+
		"take the records from their source again", n)
}
