package journal

import (
	"fmt"
	"io/fs"
	"math"

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
	s := &walSegment{log: log}
	if MemoryNote() == "" {
		s.cache = cacheOf(log)
	}
	return s, nil
}

type walSegment struct {
	log   *wal.Log
	batch wal.Batch
	cache *cache // nil if the library's is left alone
}

func (s *walSegment) write(first uint64, frames [][]byte) error {
	s.batch.Clear()
	for i, f := range frames {
		s.batch.Write(first+uint64(i), f)
	}
	err := s.log.WriteBatch(&s.batch)
	if err != nil {
		return err // it is never written again
	}
	if s.cache != nil && !s.cache.empty(frames) {
		s.cache = nil
	}
	return nil
}

func (s *walSegment) close() error { return s.log.Close() }
