package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"sync"
)

const (
	spoolMemory = 1 << 20 // bytes that wait in memory
	spoolFile   = 1 << 30 // bytes that wait in a file
)

// spool takes what a query says as fast as the query makes it, and gives it on as fast as the reader takes it. So a pager that is left open does not hold
// the copy of the root, which the next query must bring up to date. What has no room in memory waits in a temporary file; where that has none either, Write
// waits. One goroutine may write.
type spool struct {
	to   io.Writer
	done chan struct{} // closed when all was given on, or that failed

	mu      sync.Mutex // guards all below
	changed sync.Cond
	memory  []byte   // comes before what is in the file
	file    *os.File // nil: not needed yet
	noFile  bool     // none can be made
	read    int64    // how much of the file was given on
	size    int64
	ended   bool  // nothing more is written
	err     error // of to, or of the file
}

func newSpool(to io.Writer) *spool {
	s := &spool{to: to, done: make(chan struct{})}
	s.changed.L = &s.mu
	go s.give()
	return s
}

// Write keeps p. An error is that of an earlier part that could not be given on.
func (s *spool) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.err == nil {
		if s.inMemory(p) || s.inFile(p) {
			s.changed.Broadcast()
			return len(p), nil
		}
		s.changed.Wait()
	}
	return 0, s.err
}

// inMemory keeps p in memory, if nothing waits in the file, which it would overtake.
func (s *spool) inMemory(p []byte) bool {
	if s.read < s.size || len(s.memory) > 0 && len(s.memory)+len(p) > spoolMemory {
		return false
	}
	s.memory = append(s.memory, p...)
	return true
}

// inFile keeps p in the file, if that can be.
func (s *spool) inFile(p []byte) bool {
	if s.file == nil && !s.noFile {
		file, err := os.CreateTemp("", "compactd-query-")
		if s.file, s.noFile = file, err != nil; err == nil {
			os.Remove(file.Name()) // where an open file cannot be removed, end removes it
		}
	}
	if s.noFile || s.size+int64(len(p)) > spoolFile {
		return false
	}
	if _, err := s.file.WriteAt(p, s.size); err != nil {
		return false // a full disk: there is room again when the reader has taken all
	}
	s.size += int64(len(p))
	return true
}

// give gives on until all is given.
func (s *spool) give() {
	defer close(s.done)
	part := make([]byte, 64<<10)
	for {
		text, err := s.next(part)
		if len(text) == 0 && err == nil {
			return
		}
		if err == nil {
			_, err = s.to.Write(text)
		}
		if err != nil {
			s.mu.Lock()
			s.err = err
			s.changed.Broadcast()
			s.mu.Unlock()
			return
		}
	}
}

// next takes what comes next, and waits for it. It is empty at the end.
func (s *spool) next(part []byte) (text []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.memory) == 0 && s.read == s.size && !s.ended {
		s.changed.Wait()
	}
	switch {
	case len(s.memory) > 0:
		text, s.memory = s.memory, nil
	case s.read < s.size:
		text = part[:min(int64(len(part)), s.size-s.read)]
		if _, err = s.file.ReadAt(text, s.read); err != nil {
			return nil, fmt.Errorf("read what waits for the reader: %w", err)
		}
		if s.read += int64(len(text)); s.read == s.size {
			s.read, s.size = 0, 0
			err = s.file.Truncate(0)
		}
	}
	s.changed.Broadcast()
	return text, err
}

// end waits until the reader has taken all, or ctx ends. The error is that of the reader. The temporary file is gone then.
func (s *spool) end(ctx context.Context) error {
	s.mu.Lock()
	s.ended = true
	s.changed.Broadcast()
	s.mu.Unlock()
	var stopped error
	select {
	case <-s.done:
	case <-ctx.Done():
		stopped = ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file != nil {
		s.file.Close() // it was only scratch
		os.Remove(s.file.Name())
	}
	return cmp.Or(s.err, stopped)
}
