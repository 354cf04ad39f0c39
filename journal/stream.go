package journal

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
)

// stream is a stream that this process writes. It is used under the Writer's commit lock.
//
// An acknowledgement rests on four steps (P1). If one of them fails, the stream is dead and nothing is acknowledged.
//
//	mkdir      the directory is new, so no other process writes in it (R7)
//	write      the segment is written and synced, with all frames of the group (S3)
//	syncDirs   the directories that lead to the segment are synced (S2, R14)
//	checkPath  the path still leads to this segment, where readers look for it (R5)
//
// R, S and P are numbers in docs/durability.md.
type stream struct {
	Stream
	root     cohort.Root
	settings cohort.Settings

	seg  segment
	lock *durable.Lock
	info fs.FileInfo // the segment when it was made
	own  *ownFile    // the segment: the path must lead to this file at each acknowledgement
	size int64       // how many bytes the library wrote: where the last entry ends
	end  int64       // the size of the segment: more than size while zeros stand after the last entry

	spare  spare // writes these zeros; nil: there are none in this stream
	most   int64 // end never passes it because of zeros
	groups int   // how many were written
	synced int64 // where the group before ended

	where string   // see path
	texts []byte   // the memory of frames, used again for each group
	list  [][]byte // the memory of the list of frames, used again for each group

	seq   uint64        // of the last entry
	made  time.Time     // of the directory, by the clock of the storage: see begin
	born  time.Time     // has a monotonic reading
	timer *time.Timer   // see keepTimer
	dirs  []durable.Dir // the directories that lead to the segment, from the top, until they are synced
}

// seal is the payload of a finished stream's last frame.
type seal struct {
	Records uint64 `json:"records"`
}

// mkdirTries bounds how often a fresh name is chosen. On one file system of two mkdirs of a name both may fail (R7).
const mkdirTries = 5

// newStream makes a stream that belongs to this process alone, with the calls
//
//	openat runfold.json; openat the directories from above the root to the cohort; mkdirat stream; lstat stream; openat stream
//	openat writer.lock; flock; openat segment
//
// The stream is not durable yet: the first write makes it so.
func newStream(root cohort.Root, id cohort.ID, settings cohort.Settings) (*stream, error) {
	// A Writer lives for days, and the share may be unmounted meanwhile. Then the path is an empty directory of another
	// file system. Records that were written there would disappear when the share is mounted again.
	if _, err := OpenRoot(root, RootOptions{ID: settings.RootID}); err != nil {
		return nil, err
	}
	if err := refuseKind(root); err != nil {
		return nil, err
	}
	err := makeCohort(durable.OS, root, id, settings.DirMode.FS())
	if err != nil {
		return nil, err
	}
	s := &stream{Stream: Stream{Cohort: id}, root: root, settings: settings}
	// Each directory is opened before a name in it is made, so that syncDirs hears of every error of writing the
	// name back (S2).
	if err = s.holdAbove(); err == nil {
		err = s.mkdir()
	}
	if err == nil {
		err = s.begin()
	}
	if err == nil {
		err = s.hold(s.dir())
	}
	if err == nil {
		err = s.open()
	}
	if err != nil {
		s.abandon()
		return nil, err
	}
	return s, nil
}

// holdAbove opens the directories that lead to the stream's own, beginning with the one above the root. They stay open until
// they are synced (see durable.Dir).
func (s *stream) holdAbove() error {
	above := string(s.root) + string(filepath.Separator) + ".." // filepath.Dir would be the wrong one if the root is a link
	switch d, err := durable.OS.OpenDir(above); {
	case err == nil:
		s.dirs = append(s.dirs, aboveRoot{d})
	case !mayStayUnsynced(err):
		return err
	}
	for _, dir := range []string{string(s.root), s.root.Cohorts(), s.root.Cohort(s.Cohort)} {
		if err := s.hold(dir); err != nil {
			return err
		}
	}
	return nil
}

// hold opens one more directory for syncDirs.
func (s *stream) hold(dir string) error {
	d, err := durable.OS.OpenDir(dir)
	if err == nil {
		s.dirs = append(s.dirs, d)
	}
	return err
}

// aboveRoot is the directory above the root. The maker of the root has synced it. We may have no right to read it, and some
// cannot be synced (autofs). Neither stops an append.
type aboveRoot struct{ durable.Dir }

func (a aboveRoot) Sync() error {
	if err := a.Dir.Sync(); !mayStayUnsynced(err) && !durable.IsUnsyncable(err) {
		return err
	}
	return nil
}

// mayStayUnsynced tells the errors with which the directory above the root may answer. EIO is not one of them: it says that the
// name of the root may not be on the disk.
func mayStayUnsynced(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EINVAL)
}

// mkdir makes the stream's directory under a name that nobody has used. Of two processes that choose one name only one mkdir
// succeeds, and the other process chooses again (R7). So a stream has one writer without any lock.
func (s *stream) mkdir() (err error) {
	for range mkdirTries {
		s.ID = cohort.StreamID(newULID())
		err = durable.OS.Mkdir(s.dir(), s.settings.DirMode.FS())
		if !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	return err
}

// begin takes the time at which the storage has made the stream's directory. On SMB a file has the time of the machine that writes
// it, and a new directory has that of the server (P7). It is taken before anything is made in the directory, because that may
// change its time.
func (s *stream) begin() error {
	s.born = time.Now()
	info, err := durable.OS.Stat(s.dir())
	if err != nil {
		return fmt.Errorf("look at own stream: %w", err)
	}
	s.made = info.ModTime()
	return nil
}

// storageTime is when the stream began, by the clock of the storage.
func (s *stream) storageTime() time.Time {
	// Some file systems have no times of directories: they say 1970, or 1980 as FAT does.
	if s.made.Year() <= 1980 {
		return s.info.ModTime()
	}
	return s.made
}

func (s *stream) dir() string { return s.root.Stream(s.Cohort, s.ID) }

// path is the path of the segment. It is built once, because every append needs it twice.
func (s *stream) path() string {
	if s.where == "" {
		s.where = s.root.Segment(s.Cohort, s.ID)
	}
	return s.where
}

// open takes the writer's lock and makes the segment.
func (s *stream) open() error {
	// The lock only helps a compactor to see sooner that this writer has ended. A lock that is not to be had does not stop an
	// append: then time decides (see compactor/reap.go), because the header does not vouch for the lock. Nobody else can hold
	// it, as the directory is new, so "locked" is one more way to say that locks do not work here.
	lock, err := durable.TryLock(s.root.WriterLock(s.Cohort, s.ID), owner(), s.settings.FileMode.FS())
	if err != nil && !errors.Is(err, durable.ErrNoLock) && !errors.Is(err, durable.ErrLocked) {
		return fmt.Errorf("lock own stream: %w", err)
	}
	s.lock = lock
	// The library may truncate or delete what it finds in a directory. This one is new and ours: nothing is in it (R7).
	s.seg, err = openSegment(s.dir(), s.settings.DirMode.FS(), s.settings.FileMode.FS())
	// The library knows nothing of modes that hold against the umask. The group must be able to read what is acknowledged.
	if err == nil {
		durable.HoldMode(s.path(), s.settings.FileMode.FS())
	}
	// The inode is remembered now. Later acknowledgements compare the path with it (R5).
	if err == nil {
		s.own, s.info, err = openOwn(s.path())
	}
	if err == nil {
		s.spare = spareOf(s.own, s.seg)
	}
	return err
}

// modes returns a *durable.ModeError if others may not use the stream as the root's settings say: fold it, or move it away.
func (s *stream) modes() error {
	return cmp.Or(durable.ModeHeld(durable.OS, s.dir(), s.settings.DirMode.FS()), durable.ModeHeld(durable.OS, s.path(), s.settings.FileMode.FS()))
}

// keepTimer keeps a timer pending while the stream is open, until it is old. Its function does nothing. While any timer is
// pending, the Go runtime does not wake a thread at each sync, which hundreds of processes would feel (docs/decisions/0022).
// A time.NewTimer would not do: it is pending only while a goroutine waits for it. The Writer does not learn the age of the
// stream from this timer, because the scheduler may run its function late: it compares a clock.
func (s *stream) keepTimer(age time.Duration) { s.timer = time.AfterFunc(age, func() {}) }

// newULID makes the names of streams, and the ids of records that came without one. The entropy is the kernel's: ulid.Make
// seeds a generator of 31 bits with the time, and a cluster starts hundreds of writers at one time.
func newULID() string {
	var id ulid.ULID
	id.SetTime(ulid.Now()) // with a clock before 1970 the time stays 0; the id is as unique as any other
	rand.Read(id[6:])      // never fails
	return id.String()
}

// write appends frames, makes them durable and checks that they are where readers look (P1).
//
//	fstat segment; write segment; fsync segment; lstat segment
//	the first time before the lstat: fsync stream dir; fsync cohort dir; fsync its parents
//	where zeros stand ahead: fdatasync segment instead of fsync segment (see spare)
//	where zeros are written: before the fsync, pwrite segment
//
// After an error the stream is dead: only abandon may follow.
func (s *stream) write(frames [][]byte) error {
	if err := s.put(frames); err != nil {
		return err
	}
	// This is the last look before the caller acknowledges. If a compactor takes the stream away after it, the stream
	// already has these frames, and reaped/ is read to the end (P10).
	return s.checkPath()
}

// put is write without the look at the path.
func (s *stream) put(frames [][]byte) error {
	// If somebody has cut the segment off, the library would write at its old end and leave a hole in front of the new
	// frames. So the size is compared before the write.
	switch size, err := s.own.size(); {
	case err != nil:
		return fmt.Errorf("look at %s: %w", s.path(), err)
	case size != s.end:
		return s.resized(size)
	}
	// One write and one sync. Neither is tried again on this file: after a failed write its end is unknown, and after a
	// failed sync the next one would report success for pages that the kernel has dropped (S3). The Writer writes the
	// records to a fresh stream instead.
	if err := s.seg.write(s.seq+1, frames); err != nil {
		return fmt.Errorf("write %s: %w", s.path(), err)
	}
	s.seq += uint64(len(frames))
	for _, f := range frames {
		s.size += int64(entrySize(len(f)))
	}
	if err := s.sync(); err != nil {
		return fmt.Errorf("sync %s: %w", s.path(), err)
	}
	// The bytes are durable, but a crash could still lose the names that lead to them. They must be durable before the
	// first acknowledgement (S2).
	return s.syncDirs()
}

// syncDirs makes the names that lead to the segment durable, the first time that it is called. It goes from the bottom up to
// the directory above the root.
func (s *stream) syncDirs() error {
	// It syncs those as well that existed before. Another process may have made one just now, and may die before it syncs
	// the parent (R14).
	for _, d := range slices.Backward(s.dirs) {
		// Where directories cannot be synced, compactd doctor has told so, and their names are as durable as that
		// file system makes them.
		if err := d.Sync(); err != nil && !durable.IsUnsyncable(err) {
			return fmt.Errorf("sync directory: %w", err)
		}
	}
	s.releaseDirs()
	return nil
}

// releaseDirs closes the directories. Nothing was written through them, so the errors of close say nothing.
func (s *stream) releaseDirs() {
	for _, d := range s.dirs {
		d.Close()
	}
	s.dirs = nil
}

// checkPath makes sure that the path still leads to the file that was written, and that the file has the size that was
// written.
func (s *stream) checkPath() error {
	// A compactor may have taken this writer for dead and moved the stream away. The open file would take more writes, which
	// nobody may read (R5). An open file descriptor does not show the move: only the path does.
	same, size, err := s.own.isAt(s.path())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("own stream was moved or removed: %w", err)
	case err != nil:
		return fmt.Errorf("look at own stream: %w", err)
	case !same:
		return fmt.Errorf("own stream %s was replaced by another file", s.path())
	case size != s.end:
		return s.resized(size)
	}
	return nil
}

func (s *stream) resized(size int64) error {
	return fmt.Errorf("own stream %s has %d bytes instead of %d", s.path(), size, s.end)
}

// maxTexts bounds how many bytes of memory a stream keeps for frames from one group to the next.
const maxTexts = 1 << 20

// frames makes the entries of a group. The header comes first if the stream is new. The entries are valid until the next
// call; the library has copied them by then.
func (s *stream) frames(recs []*cohort.Record, program string) [][]byte {
	frames := s.list[:0]
	if cap(s.texts) > maxTexts {
		s.texts = nil
	}
	rest, seq := s.texts[:0], s.seq
	add := func(f frame) {
		seq++
		f.seq = seq
		if need := frameHead + clockSize + len(f.recordID) + len(f.payload); cap(rest)-len(rest) < need {
			rest = make([]byte, 0, max(2*cap(rest), need)) // the frames until here stay in the memory that they have
		}
		b := appendFrame(rest[len(rest):], s.ID, f)
		rest = rest[:len(rest)+len(b)]
		frames = append(frames, b)
	}
	// The header is written and synced together with the first records, so it costs no sync of its own.
	if seq == 0 {
		add(frame{kind: kindHeader, stamp: recs[0].Stamp, payload: s.header(program)})
	}
	for _, r := range recs {
		add(frame{kind: kindOf(r), stamp: r.Stamp, recordID: r.ID, written: clockOf(r.Written), payload: r.JSON})
	}
	s.texts, s.list = rest, frames
	return frames
}

func kindOf(r *cohort.Record) kind {
	if r.Action != cohort.NoAction {
		return kindAction
	}
	return kindRecord
}

// header is the payload of the stream's first frame.
func (s *stream) header(program string) []byte {
	host, _ := os.Hostname()
	boot := bootID()
	if s.lock == nil {
		boot = "" // a free lock would not tell that we have ended: see WriterIsGone
	}
	data, err := json.Marshal(Header{
		RootID: s.settings.RootID, Cohort: s.Cohort, Host: host, BootID: boot, PID: os.Getpid(), User: userName(),
		Started: s.born.UTC().Format(time.RFC3339), Program: program,
	})
	if err != nil {
		panic(fmt.Sprintf("journal: internal error: encode header: %v", err))
	}
	return data
}

// finish seals the stream and closes it. An error means that the seal may be missing. The records are durable all the same: a
// fold reads a stream without a seal, too, and only keeps it longer.
func (s *stream) finish(stamp cohort.Stamp) error {
	payload, err := json.Marshal(seal{Records: s.seq - 1}) // the header is no record
	if err != nil {
		panic(fmt.Sprintf("journal: internal error: encode seal: %v", err))
	}
	// The seal allows a compactor to delete the stream. So it goes the way of a record: after all of them, in one file, synced.
	b := appendFrame(nil, s.ID, frame{kind: kindSeal, seq: s.seq + 1, stamp: stamp, payload: payload})
	// Nobody looks at the path afterwards: a fold that has read the seal may have taken the stream away already.
	if err = s.cut(); err == nil {
		err = s.put([][]byte{b})
	}
	return errors.Join(err, s.abandon())
}

// abandon closes what is open, and leaves the files as they are: what was written may be there, so a fold reads it. After a
// failed write the errors of abandon say nothing new.
func (s *stream) abandon() error {
	var errs []error
	s.releaseDirs()
	if s.timer != nil {
		s.timer.Stop()
	}
	if s.seg != nil {
		errs = append(errs, s.seg.close())
		s.seg = nil
	}
	if s.own != nil {
		s.own.close()
		s.own = nil
	}
	// The lock is the last to go. A free lock tells a compactor that nothing more will be written.
	if s.lock != nil {
		errs = append(errs, s.lock.Unlock())
		s.lock = nil
	}
	return errors.Join(errs...)
}
