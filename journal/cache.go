package journal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"reflect"
	"runtime/debug"
	"sync"
)

// The library keeps what it wrote, for reads that we never make: all bytes of the segment, copied about five times as they
// grow, and the place of each entry. We empty this cache after each write. So a stream needs the memory of one group instead of
// the memory of all that it wrote (docs/decisions/0019).
//
// We do this only to the version that we know. Before an append it uses only the length of the cache. Another version may have
// the same fields and may compute from them where to write in the file. With an emptied cache it would write over
// acknowledged records. So the cache of another version is not touched, which costs only memory.

const (
	library        = "github.com/tidwall/wal"
	libraryVersion = "v1.2.1"
	ownModule      = "github.com/runfold/runfold"
)

// MemoryNote says why the Writers of this program keep all of a stream in memory until it is sealed (Options.SealBytes), and
// copy it as it grows. It is empty if they do not. A Writer that does is a little slower and writes the same bytes.
//
// The reason is one of two. Either the program was built with another version of tidwall/wal than v1.2.1, which is the one
// that this package knows; the program's go.mod may require another. Or the program does not say which version it has, as is
// so for tests of other modules.
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
	if info.Main.Path == ownModule { // a test of ours: it has no list of modules, but is built with our go.mod
		return ""
	}
	return fmt.Sprintf("this program does not say with which %s it was built: %s", library, meaning)
}

// cache is where the library keeps what it wrote to a segment.
type cache struct {
	data   *[]byte
	places reflect.Value // a slice
	known  bool          // it was compared once with what was written
}

// cacheOf finds the cache of a log to which nothing was written yet. It is nil if anything about the log differs from the
// version that we know.
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
		places: reflect.NewAt(places.Type(), places.Addr().UnsafePointer()).Elem(), // reflect may set this value, but not the field
	}
}

// field is a field of a struct itself, not of an embedded one. It is not valid if there is none.
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

// isPlace tells whether a type holds exactly the begin and the end of an entry.
func isPlace(t reflect.Type) bool {
	if t.Kind() != reflect.Struct || t.NumField() != 2 {
		return false
	}
	from, to := t.Field(0), t.Field(1)
	return from.Name == "pos" && from.Type.Kind() == reflect.Int && to.Name == "end" && to.Type.Kind() == reflect.Int
}

// maxCache bounds how many bytes, and entries, of memory an emptied cache keeps.
const maxCache = 1 << 20

// empty empties the cache after frames were written. If the cache does not hold exactly these frames, it works in a way that we
// do not know. Then empty returns false and changes nothing, and the caller must not use the cache any more.
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

// holds compares the cache with what was written: every byte the first time, later only the length.
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
