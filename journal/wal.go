package journal

import (
	"fmt"
	"io/fs"
	"math"

	"github.com/tidwall/wal"
)

// segment is the one file of a stream while it is written. It is what we need of tidwall/wal. Tests have
// another one, which fails.
type segment interface {
	// write appends the frames as entries first, first+1, ... After an error only close may be called: the library would write
	// after the half-written bytes.
	write(first uint64, frames [][]byte) error
	// sync makes durable what was written, and the size of the file. It does nothing where write has done it already.
	sync() error
	close() error
}

// openSegment makes the segment of a stream whose directory this process has just made. wal.Open is
// called only here. It may truncate and delete files, so it is safe only in a directory that no other process
// uses.
func openSegment(dir string, dirMode, fileMode fs.FileMode) (segment, error) {
	known := MemoryNote() == ""
	log, err := wal.Open(dir, &wal.Options{ // not shared between calls: the library changes it
		NoSync:           known,       // sync does it. Whether another version has a way to do it later, nobody has looked
		SegmentSize:      math.MaxInt, // it never begins a second file
		SegmentCacheSize: 1,
		DirPerms:         dirMode,
		FilePerms:        fileMode,
	})
	if err != nil {
		return nil, fmt.Errorf("open segment: %w", err)
	}
	s := &walSegment{log: log, known: known}
	if known {
		s.cache = cacheOf(log)
	}
	return s, nil
}

type walSegment struct {
	log   *wal.Log
	batch wal.Batch
	cache *cache // nil if the library's cache is not emptied
	known bool   // it is the version that we know, which writes at its own position and syncs when it is asked to
}

func (s *walSegment) write(first uint64, frames [][]byte) error {
	s.batch.Clear()
	for i, f := range frames {
		s.batch.Write(first+uint64(i), f)
	}
	err := s.log.WriteBatch(&s.batch)
	if err != nil {
		return err // no later write follows: the stream is dead
	}
	if s.cache != nil && !s.cache.empty(frames) {
		s.cache = nil
	}
	return nil
}

func (s *walSegment) sync() error {
	if !s.known {
		return nil
	}
	return s.log.Sync()
}

func (s *walSegment) close() error { return s.log.Close() }
