package compactor

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

// A fold reads what a writer has written, also before the writer has synced it. A generation that holds such a record is durable by
// itself. But after a power loss the stream would be shorter than its watermark, which looks as if somebody had cut it off. So a fold
// makes durable what it has read, before it commits (docs/durability.md, R29). Where it cannot, the watermark says how far the
// stream is known to be durable, and a stream that ends between these two is no damage.

// syncer makes durable what streams hold. Many goroutines use it at once.
type syncer struct {
	fsys   durable.FS
	root   string
	remote bool // a sync by this machine proves nothing

	mu   sync.Mutex // guards dirs
	dirs map[string]func() error
}

func newSyncer(store *generation.Store) *syncer {
	root := string(store.Root)
	return &syncer{fsys: store.FS, root: root, remote: store.IsRemote(), dirs: map[string]func() error{}}
}

// sync makes durable what in has read for r, and the names that lead to it. It changes only r. A fold does not stop where that fails:
// its own files hold the records, and the writer hears of the same error from the kernel before it acknowledges anything.
func (s *syncer) sync(r *reading, in *journal.Reader) {
	m := r.mark
	if m.Sealed || m.Offset <= r.old.Synced || s.remote && m.Position == r.old.Position {
		return // a seal is written after all else is synced, and the rest is known to be durable, or is not by a sync
	}
	r.unsynced = in.Sync()
	if r.unsynced == nil && r.old.Synced == 0 {
		r.unsynced = s.names(r.p)
	}
	r.synced = r.unsynced == nil && !s.remote
}

// names syncs the directories that lead to a stream. All streams were listed before, so one sync of each is enough for all.
func (s *syncer) names(p journal.Place) error {
	// Not durable.SyncDir: it may leave a file, and a stream's directory is to have nothing else. The syncs below bring this one along there.
	if err := s.fsys.SyncDir(p.Dir); err != nil && !durable.IsUnsyncable(err) {
		return err
	}
	byCohort := filepath.Dir(p.Dir)
	for _, dir := range []string{byCohort, filepath.Dir(byCohort), s.root} {
		if err := s.once(dir)(); err != nil {
			return err
		}
	}
	return nil
}

func (s *syncer) once(dir string) func() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dirs[dir] == nil {
		s.dirs[dir] = sync.OnceValue(func() error { return durable.SyncDir(s.fsys, dir) })
	}
	return s.dirs[dir]
}

// syncedTo is how far a stream is known to be durable, once it is read.
func (r *reading) syncedTo(now cohort.Stamp) int64 {
	m := r.mark
	switch {
	case m.Sealed:
		return 0
	case r.synced:
		return m.Offset
	case m.Offset > r.old.Offset:
		return max(r.old.Offset, r.old.Synced) // its writer has synced that before it wrote more
	case m.Grown > 0 && (now-m.Grown).Duration() >= generation.OldestView:
		return m.Offset // no server keeps written bytes in memory for so long
	}
	return m.Synced
}

// tellUnsynced tells of an error of the disk. A file of another user, or on this storage, may be one that cannot be synced: that is not told.
func (s *scanner) tellUnsynced(r *reading) {
	err := r.unsynced
	if err == nil || durable.IsUnsyncable(err) || errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EROFS) {
		return
	}
	s.say.once(NotSynced{r.p.Stream, err})
}

// shortened gives a stream that is shorter than its watermark a watermark at its end, if nothing can be missing but what was not
// synced when it was folded. It will not grow: its writer died with the machine, or has found its stream shorter and left it.
// Should the bytes come back all the same, they are read again, and change nothing.
func (s *scanner) shortened(r *reading, now cohort.Stamp) {
	if !journal.IsCutOff(r.err) || s.store.MayBeOld(r.old.Grown) {
		return
	}
	end, err := s.End(r.p)
	if err != nil || !r.old.MayEndAt(end) {
		return
	}
	s.say.tell(LostUnsynced{r.p.Stream, end.Offset, r.old.Offset})
	r.err = nil
	r.mark = generation.Watermark{Stream: r.p.Stream, Position: end, Damaged: r.old.Damaged, Synced: r.old.Synced, Grown: now, Shortened: true}
}

// NotSynced tells that the disk reported an error when a fold wanted to make durable what it had read of a stream. What was read was
// folded.
type NotSynced struct {
	Stream journal.Stream
	Err    error
}

func (n NotSynced) String() string {
	return fmt.Sprintf("stream %v: was read and folded, but could not be made durable: %v: look at the disk; its writer writes again elsewhere what it "+
		"has not acknowledged", n.Stream, n.Err)
}

// LostUnsynced tells that a stream has lost what was folded before its writer had synced it. The records are in the index, and none was
// acknowledged.
type LostUnsynced struct {
	Stream    journal.Stream
	At        int64 // where it ends now
	Watermark int64 // up to where it was folded
}

func (n LostUnsynced) String() string {
	return fmt.Sprintf("stream %v: ends at offset %d and was folded up to offset %d: a power loss took what its writer had not synced; these records are "+
		"folded, so none is missing; the next folds go on from its end (if somebody has put an older copy in its place, what came after "+
		"offset %d is lost)", n.Stream, n.At, n.Watermark, n.Watermark)
}
