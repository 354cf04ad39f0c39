package intake

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/runfold/runfold/cohort"
)

// read reads one file of rows, and returns the records and what was left out, or the error.
func read(t *testing.T, table bool, text string) (lines, left []string, err error) {
	t.Helper()
	src := Source{Cohort: "c", Stage: "S"}
	if table {
		src.Tables = []TableFile{{Name: "f.csv", Data: slowReader{strings.NewReader(text)}}}
	} else {
		src.Lines = []LinesFile{{Name: "f.ndjson", Data: slowReader{strings.NewReader(text)}}}
	}
	f := &files{src: src, names: naming{src.fields(), map[string]bool{}}, settings: cohort.Settings{MaxRecord: 1 << 20}}
	if err := f.read(context.Background()); err != nil {
		return nil, nil, err
	}
	for _, r := range f.records() {
		lines = append(lines, string(r.JSON))
	}
	for _, n := range f.left.list {
		left = append(left, n.String())
	}
	return lines, left, nil
}

// slowReader gives few bytes at a time, so that no read ends where a cell does.
type slowReader struct{ r io.Reader }

func (r slowReader) Read(p []byte) (int, error) { return r.r.Read(p[:min(len(p), 7)]) }

func TestTable(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"bytes of cells":    {"run_id,a,b\r\nr,\"one\r\ntwo\nthree\rfour\",\" x \"\r\n", `{"run_id":"r","stage":"S","a":"one\r\ntwo\nthree\rfour","b":" x "}`},
		"byte order mark":   {"\xef\xbb\xbfrun_id,a\nr,1\n", `{"run_id":"r","stage":"S","a":1}`},
		"numbers":           {"run_id,a,b,c,d,e\nr,1.50,007,1e-05,+1,12345678901234567890\n", `{"run_id":"r","stage":"S","a":1.50,"b":"007","c":1e-05,"d":"+1","e":12345678901234567890}`},
		"empty cells":       {"run_id,a,b\nr,,\"\"\n", `{"run_id":"r","stage":"S"}`},
		"a number as id":    {"run_id,a\n17,1\n", `{"run_id":"17","stage":"S","a":1}`},
		"last line":         {"run_id,a\nr,1", `{"run_id":"r","stage":"S","a":1}`},
		"empty lines":       {"run_id,a\n\nr,1\n\n", `{"run_id":"r","stage":"S","a":1}`},
		"names in quotes":   {"run_id,\"a, \"\"b\"\"\"\nr,1\n", `{"run_id":"r","stage":"S","a, \"b\"":1}`},
		"no rows":           {"run_id,a\n", ""},
		"pandas":            {",run_id\n0,r\n1,s\n", `{"run_id":"r","stage":"S"}` + "\n" + `{"run_id":"s","stage":"S"}`},
		"R":                 {"\"\",\"run_id\"\n\"1\",\"r\"\n\"2\",\"s\"\n", `{"run_id":"r","stage":"S"}` + "\n" + `{"run_id":"s","stage":"S"}`},
		"names of rows":     {",run_id\nfirst,r\n", `{"run_id":"r","stage":"S"};column 1 left out: the first column has no name: give it one in the first line of the file, such as run_id`},
		"nan":               {"run_id,metrics.a,b,metrics.c\nr,nan,nan,-inf\n", `{"run_id":"r","stage":"S","b":"nan"}`},
		"Latin-1":           {"run_id,a\nr,gr\xfc\xdfe\ns,1\n", `{"run_id":"s","stage":"S","a":1};line 2 left out: is not UTF-8: iconv -f LATIN1 -t UTF-8 FILE changes a file that is Latin-1`},
		"Latin-1 ÿ":         {"run_id,a\nr,\"\xff\"\n", `read f.csv, line 1: the names of the columns: it has bytes that are not UTF-8: iconv -f LATIN1 -t UTF-8 FILE changes a file that is Latin-1`},
		"names in Latin-1":  {"run_id,gr\xfc\xdfe\nr,1\n", `read f.csv, line 1: the name of column 2 is not UTF-8: iconv -f LATIN1 -t UTF-8 FILE changes a file that is Latin-1`},
		"UTF-16":            {"\xff\xfer\x00u\x00n\x00", `read f.csv, line 1: it is UTF-16, and not CSV in UTF-8: iconv -f UTF-16 -t UTF-8 FILE changes that`},
		"gzip":              {"\x1f\x8b\x08\x00", `read f.csv, line 1: it is compressed by gzip, and not CSV: gunzip FILE`},
		"unterminated":      {"run_id,a\nr,1\ns,\"2\nt,3\n", `{"run_id":"r","stage":"S","a":1};line 3 left out: extraneous or missing " in quoted-field`},
		"binary":            {"\x00\x01\x02", `read f.csv, line 1: it is UTF-16, and not CSV in UTF-8: iconv -f UTF-16 -t UTF-8 FILE changes that`},
		"only a quote":      {"\"", `read f.csv, line 1: the names of the columns: parse error on line 1, column 2: extraneous or missing " in quoted-field`},
		"a name like ours":  {"run_id,_key,snapshot_seq\nr,k,1.0\n", `{"run_id":"r","stage":"S"}`},
		"the stage has ':'": {"run_id,stage\nr,a:b\n", `;line 2 left out: stage "a:b" has a ':', which separates run_id and stage in keys`},
	} {
		t.Run(name, func(t *testing.T) {
			lines, left, err := read(t, true, c.text)
			got := strings.Join(lines, "\n")
			if len(left) > 0 {
				got += ";" + strings.Join(left, ";")
			}
			if err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestLines(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"bytes of values": {"\xef\xbb\xbf{\"run_id\":\"r\", \"a\": {\"x\": 1.0 , \"y\":[1,  2]}}\r\n\n", `{"run_id":"r","stage":"S","a":{"x": 1.0 , "y":[1,  2]}}`},
		"no end of line":  {`{"run_id":"r"}`, `{"run_id":"r","stage":"S"}`},
		"NaN":             {`{"run_id":"r","a":[NaN,"NaN"],"b":-Infinity}`, `{"run_id":"r","stage":"S","a":[null,"NaN"],"b":null}`},
		"bad ones":        {"{\n[]\n\"\xff\"\n{\"run_id\":\"r\"}\n" + strings.Repeat("[", 600) + "\n1\n", `{"run_id":"r","stage":"S"};line 1 left out: is not JSON;line 2, line 6 left out: is not an object;line 3 left out: is not UTF-8;line 5 left out: is nested deeper than 500 levels`},
		"a long one":      {`{"run_id":"` + strings.Repeat("x", maxLine) + "\"}\n" + `{"run_id":"r"}`, `{"run_id":"r","stage":"S"};line 1 left out: is longer than 67108864 bytes`},
		"a large record":  {`{"run_id":"r","a":"` + strings.Repeat("x", 1<<20) + "\"}\n", `;line 1 left out: record of 1048609 bytes is over the limit of 1048576`},
		"nothing":         {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			lines, left, err := read(t, false, c.text)
			got := strings.Join(lines, "\n")
			if len(left) > 0 {
				got += ";" + strings.Join(left, ";")
			}
			if err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("got  %.300s\nwant %.300s", got, c.want)
			}
		})
	}
}

// TestBrokenReader says of which file the reading failed.
func TestBrokenReader(t *testing.T) {
	gone := errors.New("the disk is gone")
	for _, src := range []Source{
		{Tables: []TableFile{{Name: "f", Data: io.MultiReader(strings.NewReader("run_id\nr\n"), broken{gone})}}},
		{Lines: []LinesFile{{Name: "f", Data: io.MultiReader(strings.NewReader("{\"run_id\":\"r\"}\n"), broken{gone})}}},
	} {
		f := &files{src: src, names: naming{src.fields(), map[string]bool{}}}
		var at *FileError
		if err := f.read(context.Background()); !errors.Is(err, gone) || !errors.As(err, &at) || at.File != "f" {
			t.Errorf("%v", err)
		}
	}
}

type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }
