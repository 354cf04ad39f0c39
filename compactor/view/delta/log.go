package delta

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/internal/durable"
)

// listing is what a log holds, each in order.
type listing struct {
	versions, checkpoints []int64
	others                []fs.DirEntry
}

// newest is the newest version, -1 if there is none.
func (l listing) newest() int64 {
	if len(l.versions) == 0 {
		return -1
	}
	return l.versions[len(l.versions)-1]
}

// checkpoint is the newest checkpoint up to a version, -1 if there is none.
func (l listing) checkpoint(v int64) int64 {
	for _, c := range slices.Backward(l.checkpoints) {
		if c <= v {
			return c
		}
	}
	return -1
}

// isWhole tells whether readers find all versions from the newest checkpoint on, or from the first one.
func (l listing) isWhole() bool {
	next := l.checkpoint(l.newest()) + 1
	for _, v := range l.versions {
		if v > next {
			return false
		}
		next = max(next, v+1)
	}
	return true
}

// list lists the log. One that does not exist is empty.
func (t table) list() (l listing, err error) {
	if err := durable.RealDir(t.FS, t.dir(), t.log()); err != nil { // what a link leads to is not ours (P13)
		return l, err
	}
	entries, err := t.FS.ReadDir(t.log())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return l, fmt.Errorf("list the log of the Delta table: %w", err)
	}
	for _, e := range entries {
		if v, ok := versionOf(e.Name(), ".json"); ok {
			l.versions = append(l.versions, v)
		} else if v, ok := versionOf(e.Name(), checkpointSuffix); ok {
			l.checkpoints = append(l.checkpoints, v)
		} else {
			l.others = append(l.others, e)
		}
	}
	return l, nil
}

// read reads one version.
func (t table) read(v int64) (commit, error) {
	data, err := durable.Read(t.FS, t.version(v), maxVersion)
	if err != nil {
		return commit{}, fmt.Errorf("read version %d of the Delta table: %w", v, err)
	}
	return decode(v, data), nil
}

// head is the newest version of ours, on which the next one stands.
type head struct {
	listing
	state *State // nil: there is no version
	torn  bool   // a version above it is not complete
}

// next is the version that comes next. One that is not complete is replaced: no reader could read it, nor anything above it.
func (h head) next() int64 {
	if h.state == nil {
		return 0
	}
	return h.state.Version + 1
}

// head reads the newest version. It is ErrForeign if that is not ours.
func (t table) head() (h head, err error) {
	if h.listing, err = t.list(); err != nil {
		return h, err
	}
	v := h.newest()
	if v < 0 {
		return h, nil
	}
	c, err := t.read(v)
	if errors.Is(err, fs.ErrNotExist) {
		return h, fmt.Errorf("%w: %w", generation.ErrConflict, err) // it was dropped since
	}
	if err == nil && c.torn {
		h.torn = true
		if v == 0 {
			return h, nil
		}
		v--
		c, err = t.read(v)
	}
	if err != nil {
		return h, err
	}
	if c.state == nil || c.state.RootID != t.Settings.RootID {
		return h, fmt.Errorf("version %d: %w", v, ErrForeign)
	}
	h.state = c.state
	return h, nil
}

// ahead is ErrAhead where a version shows a generation that the root does not have: a later one than newest, or another one of its number. It is
// generation.ErrConflict where newest is not the newest one any more: another publisher may have been faster.
func (t table) ahead(s *State, newest generation.Manifest) error {
	if s.Generation < newest.Generation || s.Generation == newest.Generation && s.Token == newest.Token {
		return nil
	}
	if now, err := t.Newest(); err != nil || now.Generation > newest.Generation {
		return errors.Join(err, generation.ErrConflict)
	}
	return t.doubt(s.Version, fmt.Errorf("version %d shows generation %d (token %s), the root has %d (token %s): %w",
		s.Version, s.Generation, s.Token, newest.Generation, newest.Token, ErrAhead))
}

// Look tells what is wrong with a table whose newest version says s, as far as names tell: it is ahead of newest, the newest generation of the root,
// or its file is gone and the next version would name it again. It is a *durable.AwayError where a share may show an old state, and
// generation.ErrConflict where newest is not the newest one any more.
func Look(s *generation.Store, is State, newest generation.Manifest) error {
	t := table{s}
	if err := t.ahead(&is, newest); err != nil || is.Index != newest.Index.Name {
		return err
	}
	there, err := t.isThere(&is)
	if err != nil || there {
		return err
	}
	return t.doubt(is.Version, ErrGone)
}

// Read is what the newest version says of itself. It is fs.ErrNotExist if there is no table.
func Read(s *generation.Store) (State, error) {
	h, err := table{s}.head()
	if err == nil && h.state == nil {
		err = fmt.Errorf("%s: %w", s.Root.Rel(s.Root.Delta()), fs.ErrNotExist)
	}
	if err != nil {
		return State{}, err
	}
	return *h.state, nil
}
