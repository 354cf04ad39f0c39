package journal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"reflect"
	"runtime/debug"
	"sync"
)

// The library keeps what it wrote, for reads that never come: all bytes of the segment, copied about five times as they
// grow, and the place of each entry. Emptied after each write, a stream costs the memory of one group instead of its size
// (docs/decisions/0019).
//
// This is done to the one version of which we know that it asks the cache for nothing but its length before an append. Another
// one may have the same fields and take from them where in the file to write: emptied, it would write over records that
// were acknowledged. So its cache is left alone, and only memory is lost.

const (
	library        = "github.com/tidwall/wal"
	libraryVersion = "v1.2.1"
	ownModule      = "github.com/runfold/runfold"
)

// MemoryNote says why a Writer of this program keeps all of a stream in memory until it is sealed (Options.SealBytes), and
// copies it as it grows. It is empty if no Writer does. One that does is a little slower and writes the same.
//
// A Writer does so if the program was built with another version of tidwall/wal than the one that this package knows, v1.2.1,
// as its own go.mod may ask for, or if the program does not tell which, as tests of other modules do not.
func MemoryNote() string { return memoryNote() }

var memoryNote = sync.OnceValue(func() string {
	info, _ := debug.ReadBuildInfo()
	return noteOn(info)
})

func noteOn(info *debug.BuildInfo) string {
	const meaning = "each stream stays in memory until it is sealed"
	if info == nil {
		info = new(debug.BuildInfo)
	}
	for _, m := range info.Deps {
		switch {
		case m.Path != library:
		case m.Replace != nil:
			return fmt.Sprintf("%s was replaced by %s when this program was built: %s", library, m.Replace.Path, meaning)
		case m.Version != libraryVersion:
			return fmt.Sprintf("this program was built with %s %s and not with %s: %s", library, m.Version, libraryVersion, meaning)
		default:
			return ""
		}
	}
	if info.Main.Path == ownModule { // a test: it has no list, and our go.mod
		return ""
	}
	return fmt.Sprintf("this program does not say with which %s it was built: %s", library, meaning)
}

// cache is where the library keeps what it wrote to a segment.
type cache struct {
	data   *[]byte
	places reflect.Value // a slice
	known  bool          // it was seen to hold what was written
}

// cacheOf finds the cache of a log to which nothing was written yet. It is nil if one thing about it is not as in the version
// that we know.
func cacheOf(log any) *cache {
	p := reflect.ValueOf(log)
	if p.Kind() != reflect.Pointer {
		return nil
	}
	segments := field(p.Elem(), "segments")
	if segments.Kind() != reflect.Slice || segments.Len() != 1 || segments.Index(0).Kind() != reflect.Pointer {
		return nil
	}
	segment := segments.Index(0).Elem()
	data, places := field(segment, "ebuf"), field(segment, "epos")
	if !data.IsValid() || data.Type() != reflect.TypeFor[[]byte]() || data.Len() != 0 {
		return nil
	}
	if places.Kind() != reflect.Slice || !isPlace(places.Type().Elem()) || places.Len() != 0 {
		return nil
	}
	return &cache{
		data:   (*[]byte)(data.Addr().UnsafePointer()),
		places: reflect.NewAt(places.Type(), places.Addr().UnsafePointer()).Elem(), // which may be set, as the field may not
	}
}

// field is that of a struct itself, or not valid.
func field(v reflect.Value, name string) reflect.Value {
	if v.Kind() != reflect.Struct {
		return reflect.Value{}
	}
	f, ok := v.Type().FieldByName(name)
	if !ok || len(f.Index) != 1 {
		return reflect.Value{}
	}
	return v.Field(f.Index[0])
}

// isPlace tells whether a type is where an entry begins and ends, and nothing else.
func isPlace(t reflect.Type) bool {
	if t.Kind() != reflect.Struct || t.NumField() != 2 {
		return false
	}
	from, to := t.Field(0), t.Field(1)
	return from.Name == "pos" && from.Type.Kind() == reflect.Int && to.Name == "end" && to.Type.Kind() == reflect.Int
}

// maxCache is up to how many bytes, and entries, a cache keeps its memory.
const maxCache = 1 << 20

// empty empties the cache after frames were written. If it does not hold them and nothing else, it is something else than we
// think: it is left as it is, and must be left alone from then on.
func (c *cache) empty(frames [][]byte) bool {
	if !c.holds(frames) {
		return false
	}
	if *c.data = (*c.data)[:0]; cap(*c.data) > maxCache {
		*c.data = nil
	}
	if c.places.SetLen(0); c.places.Cap() > maxCache {
		c.places.SetZero()
	}
	return true
}

// holds compares the cache with what was written: all of it the first time, later on how much it is.
func (c *cache) holds(frames [][]byte) bool {
	if c.places.Len() != len(frames) {
		return false
	}
	if c.known {
		size := 0
		for _, f := range frames {
			size += entrySize(len(f))
		}
		return len(*c.data) == size
	}
	rest, ok := *c.data, true
	for _, f := range frames {
		if rest, ok = bytes.CutPrefix(rest, binary.AppendUvarint(nil, uint64(len(f)))); ok {
			rest, ok = bytes.CutPrefix(rest, f)
		}
		if !ok {
			return false
		}
	}
	c.known = len(rest) == 0
	return c.known
}
