package journal

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/runfold/runfold/cohort"
)

func TestWriterOfHeader(t *testing.T) {
	for _, tt := range []struct {
		name string
		h    Header
		want string
	}{
		{"all", Header{User: "ann", Host: "node-7", PID: 42}, "ann@node-7:42"},
		{"no user, as in older streams", Header{Host: "node-7", PID: 42}, "node-7:42"},
		{"no host", Header{User: "ann", PID: 42}, "ann@unknown:42"},
		{"no process", Header{User: "ann", Host: "node-7"}, ""},
		{"empty", Header{}, ""},
		{"a user of a directory", Header{User: "ann@corp", Host: "h", PID: 1}, "ann@corp@h:1"},
		{"what nobody can read", Header{User: "a\n\x1b[31mnn\u200b", Host: "h\x00ost\ufffd", PID: 7}, "a[31mnn@host:7"},
	} {
		if got := tt.h.Writer(); got != tt.want {
			t.Errorf("%s: Writer() = %q, want %q", tt.name, got, tt.want)
		}
	}
	long := Header{User: strings.Repeat("ü", 1000), Host: strings.Repeat("日", 1000), PID: 1<<31 - 1}.Writer()
	if len(long) > 255 || !utf8.ValidString(long) || !strings.HasSuffix(long, "日:2147483647") {
		t.Errorf("Writer() of long names = %q, of %d bytes", long, len(long))
	}
}

// TestUserName takes the user from the environment, else from a file of the system.
func TestUserName(t *testing.T) {
	for _, name := range []string{"USER", "LOGNAME", "USERNAME"} {
		t.Setenv(name, "")
	}
	passwd := strings.NewReader("root:x:0:0:root:/root:/bin/sh\nbroken\nann:x:1001:1001::/:/bin/sh\n")
	if got := userIn(passwd, 1001); got != "ann" {
		t.Errorf("userIn = %q, want ann", got)
	}
	if got := userIn(strings.NewReader("ann:x:1001:1::/:"), 1); got != "" {
		t.Errorf("userIn of a number that is not there = %q", got)
	}
	if data, err := os.ReadFile("/etc/passwd"); err == nil {
		if got, want := userName(), userIn(strings.NewReader(string(data)), os.Getuid()); got != want {
			t.Errorf("userName() without an environment = %q, want %q", got, want)
		}
	}
	t.Setenv("USERNAME", "third")
	t.Setenv("LOGNAME", "second")
	if got := userName(); got != "second" {
		t.Errorf("userName() = %q, want second", got)
	}
	t.Setenv("USER", "first")
	if got := userName(); got != "first" {
		t.Errorf("userName() = %q, want first", got)
	}
}

// TestHeaderOfReader reads the header from the beginning and from any later position, and moves nothing by that.
func TestHeaderOfReader(t *testing.T) {
	t.Setenv("USER", "ann")
	dir := newRoot(t)
	root := openRoot(t, dir)
	w := newWriter(t, dir, Options{Program: "test " + strings.Repeat("long ", 1000)}) // longer than most headers
	var want []cohort.Record
	for i := range 3 { // larger than what a Reader has of a stream in memory
		r, err := cohort.ParseRecord(fmt.Appendf(nil, `{"run_id":"r%d","stage":"S","text":"%s"}`, i, strings.Repeat(fmt.Sprint(i), 100_000)), 0)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, r)
	}
	if err := w.Append(want); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	streams, _, err := root.Streams()
	if err != nil || len(streams) != 1 {
		t.Fatalf("%d streams, %v", len(streams), err)
	}
	var from []Position
	from = append(from, Position{})
	for n := 0; n < len(from); n++ {
		in, err := root.Open(streams[0], from[n])
		if err != nil {
			t.Fatal(err)
		}
		in.ReuseMemory()
		got, err := in.Next()
		if err != nil { // after the last record
			in.Close()
			break
		}
		at, ref := in.Position(), in.Ref()
		h, ok, err := in.Header()
		if err != nil || !ok || h.User != "ann" || h.PID != os.Getpid() || h.Cohort != streams[0].Cohort {
			t.Errorf("Header of a Reader at %d = %+v, %v, %v", from[n].Offset, h, ok, err)
		}
		if string(got.JSON) != string(want[n].JSON) || in.Position() != at || in.Ref() != ref {
			t.Errorf("after Header the record is %.50s, at %v, want %.50s at %v", got.JSON, in.Position(), want[n].JSON, at)
		}
		from = append(from, at)
		in.Close()
	}
	if len(from) != 4 {
		t.Errorf("%d positions, want that of the beginning and of 3 records", len(from))
	}
}

// TestNoHeader finds none in a stream whose first entry is damaged, and reads its records all the same.
func TestNoHeader(t *testing.T) {
	s := newSample(3, true)
	s.data[10] ^= 1
	in, err := (&memFS{data: s.data}).reader(inC, Position{})
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if h, ok, err := in.Header(); ok || err != nil {
		t.Errorf("Header = %+v, %v, %v, want none", h, ok, err)
	}
	n := 0
	for {
		_, err := in.Next()
		if err == nil {
			n++
		} else if !errors.Is(err, ErrCorrupt) {
			break
		}
	}
	if h, ok, err := in.Header(); ok || err != nil || n != 3 {
		t.Errorf("after %d records: Header = %+v, %v, %v, want none", n, h, ok, err)
	}
}

// TestHeaderThatCannotBeRead tells an error of the file system from damage, and tries again.
func TestHeaderThatCannotBeRead(t *testing.T) {
	s := newSample(3, true)
	eio := errors.New("input/output error")
	m := &memFS{data: s.data, fail: func(off int64, _ int) error {
		if off == 0 {
			return eio
		}
		return nil
	}}
	in, err := m.reader(inC, Position{Offset: s.at[1], Seq: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if _, ok, err := in.Header(); ok || !errors.Is(err, eio) {
		t.Errorf("Header = %v, %v, want the error of the file system", ok, err)
	}
	m.fail = nil
	if h, ok, err := in.Header(); !ok || err != nil || h.Cohort != "c" {
		t.Errorf("Header, once the file can be read = %+v, %v, %v", h, ok, err)
	}
}
