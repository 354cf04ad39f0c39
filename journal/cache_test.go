package journal

import (
	"bytes"
	"encoding/binary"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type (
	place   struct{ pos, end int }
	sameSeg struct {
		ebuf []byte
		epos []place
	}
	sameLog struct{ segments []*sameSeg }
)

// logOf is a log of another library, with the field that ours has.
type logOf[S any] struct{ segments []S }

func logWith[S any](segments ...S) any { return &logOf[S]{segments} }

// TestCacheOfOtherLibraries looks for the cache in logs that differ a little from the one that is known.
func TestCacheOfOtherLibraries(t *testing.T) {
	type bytesType []byte
	type embedded struct{ *sameSeg }
	for name, log := range map[string]any{
		"nothing":               nil,
		"a nil log":             (*sameLog)(nil),
		"no pointer":            sameLog{segments: []*sameSeg{{}}},
		"a pointer to a number": new(int),
		"no segments":           &struct{ parts []*sameSeg }{[]*sameSeg{{}}},
		"a map of segments":     &struct{ segments map[int]*sameSeg }{map[int]*sameSeg{0: {}}},
		"an empty list":         logWith[*sameSeg](),
		"two segments":          logWith(&sameSeg{}, &sameSeg{}),
		"a nil segment":         logWith[*sameSeg](nil),
		"segments by value":     logWith(sameSeg{}),
		"segments of numbers":   logWith(new(int)),
		"segments of any":       logWith[any](&sameSeg{}),
		"fields of a struct within, which is nil": logWith(&embedded{}),
		"fields of a struct within":               logWith(&embedded{&sameSeg{}}),
		"no bytes":                                logWith(&struct{ epos []place }{}),
		"no places":                               logWith(&struct{ ebuf []byte }{}),
		"bytes that are a string": logWith(&struct {
			ebuf string
			epos []place
		}{}),
		"bytes of another type": logWith(&struct {
			ebuf bytesType
			epos []place
		}{}),
		"a list of bytes": logWith(&struct {
			ebuf [][]byte
			epos []place
		}{}),
		"an array of bytes": logWith(&struct {
			ebuf [8]byte
			epos []place
		}{}),
		"places that are numbers": logWith(&struct {
			ebuf []byte
			epos []int
		}{}),
		"places through pointers": logWith(&struct {
			ebuf []byte
			epos []*place
		}{}),
		"places with a checksum": logWith(&struct {
			ebuf []byte
			epos []struct{ pos, end, crc int }
		}{}),
		"places of other numbers": logWith(&struct {
			ebuf []byte
			epos []struct{ pos, end uint32 }
		}{}),
		"places with a length": logWith(&struct {
			ebuf []byte
			epos []struct{ pos, length int }
		}{}),
		"bytes before anything was written":  logWith(&sameSeg{ebuf: []byte{1}}),
		"places before anything was written": logWith(&sameSeg{epos: []place{{0, 1}}}),
	} {
		if c := cacheOf(log); c != nil {
			t.Errorf("a cache is found in a log with %s", name)
		}
	}
	if cacheOf(&sameLog{segments: []*sameSeg{{}}}) == nil {
		t.Error("no cache is found in a log like ours")
	}
}

// TestCacheThatHoldsSomethingElse shows that a cache is emptied only if it holds what was written.
func TestCacheThatHoldsSomethingElse(t *testing.T) {
	frames := [][]byte{[]byte("first"), bytes.Repeat([]byte("second"), 50)}
	var written []byte
	for _, f := range frames {
		written = append(binary.AppendUvarint(written, uint64(len(f))), f...)
	}
	flipped := bytes.Clone(written)
	flipped[len(flipped)-1] ^= 1
	places := make([]place, 2)
	tests := map[string]struct {
		data   []byte
		places []place
		first  bool // it is found out at the first write
		later  bool // at a later one
	}{
		"what was written":           {written, places, false, false},
		"nothing":                    {nil, nil, true, true},
		"only places":                {nil, places, true, true},
		"only bytes":                 {written, nil, true, true},
		"a byte more":                {append(bytes.Clone(written), 0), places, true, true},
		"a byte less":                {written[:len(written)-1], places, true, true},
		"places of more":             {written, make([]place, 3), true, true},
		"bytes that were packed":     {flipped, places, true, false},
		"the entries without length": {bytes.Join(frames, nil), places, true, true},
	}
	for name, test := range tests {
		for _, known := range []bool{false, true} {
			seg := &sameSeg{}
			c := cacheOf(&sameLog{segments: []*sameSeg{seg}})
			c.known = known
			seg.ebuf, seg.epos = bytes.Clone(test.data), slices.Clone(test.places)
			foundOut := test.first
			if known {
				foundOut = test.later
			}
			if got := c.empty(frames); got == foundOut {
				t.Errorf("a cache that holds %s (known: %t): emptied %t", name, known, got)
			}
			want := &sameSeg{ebuf: test.data, epos: test.places}
			if !foundOut {
				want = &sameSeg{ebuf: []byte{}, epos: []place{}}
			}
			if diff := cmp.Diff(want, seg, cmp.AllowUnexported(sameSeg{}, place{})); diff != "" {
				t.Errorf("a cache that holds %s (known: %t) (-want +got):\n%s", name, known, diff)
			}
		}
	}
}

// TestCacheIsLeftAlone appends with a library whose cache is different. All appends succeed, in one stream, and nothing is emptied.
func TestCacheIsLeftAlone(t *testing.T) {
	root := newRoot(t)
	w := newWriter(t, root, Options{})
	create := w.create
	other := []byte("something else")
	w.create = func() (*stream, error) {
		st, err := create()
		if err == nil {
			st.seg.(*walSegment).cache.data = &other
		}
		return st, err
	}
	appendRuns(t, w, 1, 5)
	if w.stream.seg.(*walSegment).cache != nil || string(other) != "something else" {
		t.Errorf("the cache, which holds %q now, is still emptied", other)
	}
	if diff := cmp.Diff(runs(1, 5), all(t, root)); diff != "" || len(streams(t, root)) != 1 {
		t.Errorf("%d streams; records (-want +got):\n%s", len(streams(t, root)), diff)
	}
}

// TestMemoryNote asks for each way in which a program may have been built.
func TestMemoryNote(t *testing.T) {
	wal := func(version string, replace *debug.Module) *debug.BuildInfo {
		return &debug.BuildInfo{
			Main: debug.Module{Path: "example.com/training"},
			Deps: []*debug.Module{{Path: "example.com/other", Version: "v1.0.0"}, {Path: library, Version: version, Replace: replace}},
		}
	}
	for _, test := range []struct {
		info *debug.BuildInfo
		want string
	}{
		{wal("v1.2.1", nil), ""},
		{wal("v1.3.0", nil), "this program was built with github.com/tidwall/wal v1.3.0 and not with v1.2.1: each stream stays in memory until it is sealed"},
		{wal("v1.2.1", &debug.Module{Path: "../wal"}), "github.com/tidwall/wal was replaced by ../wal when this program was built: each stream stays in memory until it is sealed"},
		{&debug.BuildInfo{Main: debug.Module{Path: ownModule}}, ""},
		{&debug.BuildInfo{Main: debug.Module{Path: "example.com/training"}}, "this program does not say with which github.com/tidwall/wal it was built: each stream stays in memory until it is sealed"},
		{nil, "this program does not say with which github.com/tidwall/wal it was built: each stream stays in memory until it is sealed"},
	} {
		if got := noteOn(test.info); got != test.want {
			t.Errorf("note on %+v is %q, want %q", test.info, got, test.want)
		}
	}
}

// TestLibraryVersion compares the version that is known with the one that our go.mod requires. If you change it, read the
// library again: docs/decisions/0019.
func TestLibraryVersion(t *testing.T) {
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if want := "\t" + library + " " + libraryVersion + "\n"; !strings.Contains(string(mod), want) {
		t.Errorf("go.mod has no line %q", want)
	}
	if !strings.HasPrefix(string(mod), "module "+ownModule+"\n") {
		t.Errorf("go.mod is not that of %s", ownModule)
	}
}
