package compactor

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/journal"
)

// Unmovable tells of streams that were folded and stay in their cohorts, because this user may not move them: their writers have another
// umask or group. It is told once for each stream. Nothing is lost or folded twice by it.
type Unmovable struct {
	Streams int
	Path    string // of one of them
	Err     error
}

func (n Unmovable) String() string {
	dir := filepath.Dir(n.Path)
	return fmt.Sprintf("%d streams, such as %s, cannot be moved away by this user, and stay: %v; their records are folded. The owner of the files, or root, "+
		"lets it: chgrp -R GROUP %s; chmod -R g+rwX %s; a root that was made with --dir-mode 2775 --file-mode 0664 has no such streams. "+
		"This is told once; compactd status counts them", n.Streams, n.Path, n.Err, dir, dir)
}

// couldNot notes that a stream could not be moved. Want of permission lasts: it is told once, and a manifest remembers that it was. Every
// other error may be gone at the next fold, and is told now.
func (s *sweeper) couldNot(of journal.Stream, path string, err error) {
	if s.stuck != nil && errors.Is(err, fs.ErrPermission) {
		s.stuck[of] = err
		return
	}
	s.notSwept(path, err)
}

// isStuckAnew tells whether a stream could not be moved in this run and no manifest says so yet.
func (s *sweeper) isStuckAnew(m generation.Watermark) bool {
	return !m.Stuck && s.stuck[m.Stream] != nil
}

// hasStuckAnew tells whether another round must note it in a manifest.
func (s *sweeper) hasStuckAnew(m generation.Manifest) bool {
	for _, w := range m.Streams {
		if s.isStuckAnew(w) {
			return true
		}
	}
	return false
}

// noteStuck sets the mark in the watermarks of a batch that is read. The batch is committed for that alone, so a later fold does not tell
// of the same stream again.
func (s *scanner) noteStuck(b *batch) {
	n := Unmovable{}
	for i := range b.marks {
		m := &b.marks[i]
		if !s.sweeper.isStuckAnew(*m) {
			continue
		}
		m.Stuck, b.moved = true, true
		if n.Streams++; n.Streams == 1 {
			n.Path, n.Err = s.where(m.Stream), permission(s.sweeper.stuck[m.Stream])
		}
	}
	if n.Streams > 0 {
		s.say.once(n)
	}
}

func (s *scanner) where(of journal.Stream) string { return s.Dir.Stream(of.Cohort, of.ID) }

// permission is the cause of an error, without the two paths that it names.
func permission(err error) error {
	for next := err; next != nil; next = errors.Unwrap(next) {
		err = next
	}
	return err
}
