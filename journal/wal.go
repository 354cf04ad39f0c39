package journal

import (
	"fmt"
	"io/fs"
	"math"
	"reflect"

	"github.com/tidwall/wal"
)

// segment is the one file of a stream while it is written. It is what we ask of tidwall/wal, and where
// tests make it fail.
type segment interface {
	// write appends the frames as entries first, first+1, ... and syncs the file. After an error
	// nothing but close may be called: the library would write behind the garbage.
	write(first uint64, frames [][]byte) error
	close() error
}

// openSegment makes the segment of a stream whose directory this process has just made. wal.Open is
// called here and nowhere else: it truncates, deletes and repairs nothing only on a directory that
// nobody else knows.
func openSegment(dir string, dirMode, fileMode fs.FileMode) (segment, error) {
	log, err := wal.Open(dir, &wal.Options{ // fresh: the library changes it
		SegmentSize:      math.MaxInt, // it never begins a second file
		SegmentCacheSize: 1,
		DirPerms:         dirMode,
		FilePerms:        fileMode,
	})
	if err != nil {
		return nil, fmt.Errorf("open segment: %w", err)
	}
	return &walSegment{log: log, cache: cacheOf(log)}, nil
}

type walSegment struct {
	log   *wal.Log
	batch wal.Batch
	cache []*[]byte // see cacheOf
}

// cacheOf finds where the library keeps what it wrote, for reads that never come: all bytes of the segment, copied
// about five times as they grow, and the place of each entry. Emptied behind each write, a stream costs the memory
// of one group instead of its size (docs/decisions/0019). The library writes the cache from where it stood before an
// append to its end, and asks it nothing else; its indices and the file's position are its own.
//
// It is nil if the library is not the one that we know: then the cache stays, and only memory is lost. Should a later
// one have these fields and mean something else by them, the segment does not have the size that it must have
// (stream.checkPath), and nothing is acknowledged.
func cacheOf(log *wal.Log) []*[]byte {
	segments := reflect.ValueOf(log).Elem().FieldByName("segments")
	if segments.Kind() != reflect.Slice || segments.Len() != 1 || segments.Index(0).Kind() != reflect.Pointer {
		return nil
	}
	segment := segments.Index(0).Elem()
	if segment.Kind() != reflect.Struct {
		return nil
	}
	var cache []*[]byte
	for _, name := range []string{"ebuf", "epos"} {
		f := segment.FieldByName(name)
		if f.Kind() != reflect.Slice || f.Len() != 0 {
			return nil
		}
		cache = append(cache, (*[]byte)(f.Addr().UnsafePointer())) // of epos only the length is touched
	}
	return cache
}

// maxCache is up to how many bytes, and entries, a cache keeps its memory.
const maxCache = 1 << 20

func (s *walSegment) write(first uint64, frames [][]byte) error {
	s.batch.Clear()
	for i, f := range frames {
		s.batch.Write(first+uint64(i), f)
	}
	err := s.log.WriteBatch(&s.batch)
	if err != nil {
		return err // it is never written again
	}
	for _, c := range s.cache {
		if *c = (*c)[:0]; cap(*c) > maxCache {
			*c = nil
		}
	}
	return nil
}

func (s *walSegment) close() error { return s.log.Close() }
