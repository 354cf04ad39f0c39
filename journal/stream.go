package journal

import (
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

// stream is a stream while this process writes it. It is used under the Writer's commit lock.
type stream struct {
	Stream
	root     cohort.Root
	settings cohort.Settings

	seg  segment
	lock *durable.Lock
	info fs.FileInfo // the segment as it was made
	own  *ownFile    // the segment: the path must go on being this file
	size int64       // what we wrote

	where string   // see path
	texts []byte   // the memory of frames, used again for each group
	list  [][]byte // likewise

	seq   uint64        // of the last entry
	born  time.Time     // has a monotonic reading
	timer *time.Timer   // see keepTimer
	dirs  []durable.Dir // those that lead to it, from the top, until they are durable
}

// header is the payload of a stream's first frame.
type header struct {
	RootID  string    `json:"root_id"`
	Cohort  cohort.ID `json:"cohort"`
	Host    string    `json:"host"`
	BootID  string    `json:"boot_id"`
	PID     int       `json:"pid"`
	Started string    `json:"started"` // the wall clock, for people only
	Program string    `json:"program"`
}

// seal is the payload of a finished stream's last frame.
type seal struct {
	Records uint64 `json:"records"`
}

// mkdirTries bounds how often a fresh name is chosen. One file system sometimes lets nobody win.
const mkdirTries = 5

// newStream makes a stream of this process's own, with the calls
//
//	openat runfold.json; openat the directories from above the root to the cohort; mkdirat stream; openat stream
//	openat writer.lock; flock; openat segment
//
// Nothing of it is durable yet: the first write sees to that.
func newStream(root cohort.Root, id cohort.ID, settings cohort.Settings) (*stream, error) {
	// A Writer lives for days. A share that was unmounted meanwhile leaves an empty directory, in which we would make
	// all that a stream needs, for records that vanish once the share is back.
	if _, err := OpenRoot(root, RootOptions{ID: settings.RootID}); err != nil {
		return nil, err
	}
	err := makeCohort(durable.OS, root, id, settings.DirMode.FS())
	if err != nil {
		return nil, err
	}
	s := &stream{Stream: Stream{Cohort: id}, root: root, settings: settings}
	if err = s.holdAbove(); err == nil {
		err = s.mkdir()
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

// holdAbove opens the directories that lead to the stream's own, from above the root on. They are open from before the
// change until they are synced, so that no error of writing them back is missed (see durable.Dir).
func (s *stream) holdAbove() error {
	above := string(s.root) + string(filepath.Separator) + ".." // where the root is, should its path be a link
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

func (s *stream) hold(dir string) error {
	d, err := durable.OS.OpenDir(dir)
	if err == nil {
		s.dirs = append(s.dirs, d)
	}
	return err
}

// aboveRoot is the directory above the root. Who made the root has synced it; it may be one that we must not read, or that
// cannot be synced (autofs).
type aboveRoot struct{ durable.Dir }

func (a aboveRoot) Sync() error {
	if err := a.Dir.Sync(); !mayStayUnsynced(err) {
		return err
	}
	return nil
}

func mayStayUnsynced(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EINVAL)
}

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

func (s *stream) dir() string { return s.root.Stream(s.Cohort, s.ID) }

// path is built once: every append asks for it twice.
func (s *stream) path() string {
	if s.where == "" {
		s.where = s.root.Segment(s.Cohort, s.ID)
	}
	return s.where
}

func (s *stream) open() error {
	lock, err := durable.TryLock(s.root.WriterLock(s.Cohort, s.ID), owner(), s.settings.FileMode.FS())
	if err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, syscall.ENOLCK) {
		return fmt.Errorf("lock own stream: %w", err)
	}
	s.lock = lock
	s.seg, err = openSegment(s.dir(), s.settings.DirMode.FS(), s.settings.FileMode.FS())
	if err == nil {
		s.own, s.info, err = openOwn(s.path())
	}
	if err != nil {
		return err
	}
	s.born = time.Now()
	return nil
}

// keepTimer keeps a timer pending while the stream is open, until it is old. The timer does nothing: that it is pending
// spares hundreds of processes a thread that is woken at each sync, for nothing (docs/decisions/0022). It is no time.NewTimer,
// which is pending only while somebody waits for it. How old the stream is, the Writer asks a clock: when the function of a
// timer runs is up to the scheduler.
func (s *stream) keepTimer(age time.Duration) { s.timer = time.AfterFunc(age, func() {}) }

// newULID names streams, and records that came without an id. The entropy is the kernel's: ulid.Make
// seeds a generator of 31 bits with the time, and a cluster starts hundreds of writers at one time.
func newULID() string {
	var id ulid.ULID
	id.SetTime(ulid.Now()) // a clock before 1970 leaves it 0: the id is no less unique
	rand.Read(id[6:])      // which never fails
	return id.String()
}

// write appends frames, makes them durable and checks that they are where readers look. It looks before the
// write too: behind a segment that was cut off they would stand behind a hole.
//
//	fstat segment; write segment; fsync segment; lstat segment
//	the first time before the lstat: fsync stream dir; fsync cohort dir; fsync its parents
//
// After an error the stream is dead: only abandon may follow.
func (s *stream) write(frames [][]byte) error {
	switch size, err := s.own.size(); {
	case err != nil:
		return fmt.Errorf("look at %s: %w", s.path(), err)
	case size != s.size:
		return s.resized(size)
	}
	if err := s.seg.write(s.seq+1, frames); err != nil {
		return fmt.Errorf("write %s: %w", s.path(), err)
	}
	s.seq += uint64(len(frames))
	for _, f := range frames {
		s.size += int64(entrySize(len(f)))
	}
	if err := s.syncDirs(); err != nil {
		return err
	}
	return s.checkPath()
}

// syncDirs makes the names that lead to the segment durable, from the bottom up to the root's own: a
// directory that another process has just made may not be synced by it yet.
func (s *stream) syncDirs() error {
	for _, d := range slices.Backward(s.dirs) {
		if err := d.Sync(); err != nil {
			return fmt.Errorf("sync directory: %w", err)
		}
	}
	s.releaseDirs()
	return nil
}

// releaseDirs closes the directories. Nothing was written through them: a close has nothing to tell.
func (s *stream) releaseDirs() {
	for _, d := range s.dirs {
		d.Close()
	}
	s.dirs = nil
}

// checkPath makes sure that the path is still the file that was written, and as long as what was written. A stream
// that was taken for dead and moved away goes on taking writes that nobody will read (R5).
func (s *stream) checkPath() error {
	same, size, err := s.own.isAt(s.path())
	switch {
	case err != nil:
		return fmt.Errorf("own stream was moved or removed: %w", err)
	case !same:
		return fmt.Errorf("own stream %s was replaced", s.path())
	case size != s.size:
		return s.resized(size)
	}
	return nil
}

func (s *stream) resized(size int64) error {
	return fmt.Errorf("own stream %s has %d bytes instead of %d", s.path(), size, s.size)
}

// maxTexts is up to how many bytes a stream keeps the memory of frames.
const maxTexts = 1 << 20

// frames makes the entries of a group: the header first if the stream is new. They are valid until the next
// call: the library copies what it is given to write.
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
			rest = make([]byte, 0, max(2*cap(rest), need)) // frames before stay in the memory that this leaves
		}
		b := appendFrame(rest[len(rest):], s.ID, f)
		rest = rest[:len(rest)+len(b)]
		frames = append(frames, b)
	}
	if seq == 0 {
		add(frame{kind: kindHeader, stamp: recs[0].Stamp, payload: s.header(program)})
	}
	for _, r := range recs {
		add(frame{kind: kindRecord, stamp: r.Stamp, recordID: r.ID, written: clockOf(r.Written), payload: r.JSON})
	}
	s.texts, s.list = rest, frames
	return frames
}

func (s *stream) header(program string) []byte {
	host, _ := os.Hostname()
	data, err := json.Marshal(header{
		s.settings.RootID, s.Cohort, host, bootID(), os.Getpid(), s.born.UTC().Format(time.RFC3339), program,
	})
	if err != nil {
		panic(fmt.Sprintf("journal: internal error: encode header: %v", err))
	}
	return data
}

// finish seals the stream. Whatever goes wrong, its records are durable already; a stream without a
// seal is only kept longer.
func (s *stream) finish(stamp cohort.Stamp) error {
	payload, err := json.Marshal(seal{Records: s.seq - 1}) // all but the header
	if err != nil {
		panic(fmt.Sprintf("journal: internal error: encode seal: %v", err))
	}
	b := appendFrame(nil, s.ID, frame{kind: kindSeal, seq: s.seq + 1, stamp: stamp, payload: payload})
	err = s.write([][]byte{b})
	return errors.Join(err, s.abandon())
}

// abandon closes what is open. After a failed write its errors say nothing new.
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
	if s.lock != nil {
		errs = append(errs, s.lock.Unlock())
		s.lock = nil
	}
	return errors.Join(errs...)
}
