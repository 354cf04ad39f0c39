package generation

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

// OldestView is how old a state a storage may show that is not local. Attributes and names were measured to be up to 30 s old on
// NFS, and by default a mount may make it a minute.
const OldestView = 10 * time.Minute

// Doubt returns a *durable.AwayError in the place of err where err tells nothing of the bytes that were written: the storage
// does not answer, the root is not there any more, or another machine's changes are not seen yet. Else it returns err.
//
// since is when what is missing stood in the storage for certain, by its own clock; 0 is the time of the newest manifest. A name
// that is missing there, or a file that is shorter, may be an old state until OldestView has passed. After that it is damage.
// The AwayError of what looked like damage does not match ErrCorrupt.
func (s *Store) Doubt(err error, since cohort.Stamp) error {
	err = durable.Away(err, s.remote)
	var away *durable.AwayError
	if err == nil || errors.Is(err, io.EOF) || errors.As(err, &away) {
		return err
	}
	var lacks *MissingError
	missing := errors.As(err, &lacks) || errors.Is(err, fs.ErrNotExist) || journal.IsCutOff(err) || errors.Is(err, errSize)
	if s.isGone() || missing && s.MayBeOld(since) {
		return &durable.AwayError{Err: errors.New(err.Error())} // without what it matches
	}
	return err
}

// IsRemote tells whether other machines may change the storage: see durable.Remote.
func (s *Store) IsRemote() bool { return s.remote() }

// MayBeOld tells whether what stood in the storage at a time may be missing only because the storage shows an old state.
func (s *Store) MayBeOld(since cohort.Stamp) bool {
	if !s.remote() {
		return false
	}
	newest, err := s.Newest()
	if err != nil {
		return true // the storage shows no state that could be compared
	}
	now := s.Stamp(newest)
	if since == 0 {
		since = s.committed(newest)
	}
	return now == 0 || since == 0 || (now-since).Duration() < OldestView
}

// committed is the time of a manifest, by the storage's clock; 0 if it is not known.
func (s *Store) committed(m Manifest) cohort.Stamp {
	if m.Generation == 0 {
		return 0
	}
	return s.timeOf(s.Root.Manifest(m.Generation))
}

// timeOf is when a file was written last, by the storage's clock; 0 if it is not known.
func (s *Store) timeOf(path string) cohort.Stamp {
	info, err := s.FS.Stat(path)
	if err != nil || info.ModTime().Before(time.Unix(0, 1)) {
		return 0
	}
	return cohort.Stamp(info.ModTime().UnixNano())
}

// StillThere is a *durable.AwayError if the root cannot be reached any more. An empty mount point has no manifests and no
// streams, and looks like a root that was never folded. So what looked at a root asks this last.
func (s *Store) StillThere() error {
	if s.isGone() {
		return &durable.AwayError{Err: fmt.Errorf("the root %s went away meanwhile", s.Root)}
	}
	return nil
}

// isGone tells whether the root cannot be reached any more, or another one is there in its place.
func (s *Store) isGone() bool {
	_, err := journal.OpenRoot(s.Root, journal.RootOptions{ID: s.Settings.RootID, FS: s.FS})
	var none *journal.NoRootError
	if errors.As(err, &none) {
		return !none.Lost // if it is, the root is there, and its runfold.json is not
	}
	if err == nil { // the last thing that it read may have been a manifest that it can do without
		_, err = s.FS.Stat(s.Root.Settings())
	}
	err = durable.Away(err, s.remote)
	return durable.IsAway(err) || errors.Is(err, journal.ErrOtherRoot) || errors.Is(err, fs.ErrNotExist)
}

// errSize is matched by the error of a data file that does not have the size that was committed.
var errSize = errors.New("another size")

type sizeError struct{ is, want int64 }

func (e sizeError) Error() string {
	return fmt.Sprintf("%d bytes, not the %d that were committed", e.is, e.want)
}
func (sizeError) Is(target error) bool { return target == errSize }
