package delta

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/internal/durable"
)

// Publish makes the table show the newest generation. On success it does, and that is durable. On error it is as it was, or shows that generation;
// no reader ever sees anything else. Generations in between are left out. A root without a generation has no table.
//
//	link delta/FILE; durable.Create(_delta_log/V+1); look whether FILE is there; at times a checkpoint
//
// ErrForeign, ErrGone and ErrAhead (see IsWrong) need a person, and nothing was changed. Any other error may go by itself: the next call goes on
// from there.
func Publish(s *generation.Store) (Done, error) { return again(s, false) }

// Reassert is Publish for a table into which another program has written, or whose file is gone. It puts a version above all others that
// removes every file but its own. The versions of that program stay in the log, for readers that travel back.
func Reassert(s *generation.Store) (Done, error) { return again(s, true) }

func again(s *generation.Store, reassert bool) (done Done, err error) {
	for try := 0; ; try++ {
		done, err = publishOnce(table{s}, reassert)
		if !errors.Is(err, generation.ErrConflict) || try == maxConflicts {
			return done, err
		}
	}
}

// publisher is one try.
type publisher struct {
	table
	newest   generation.Manifest
	head     head
	taken    bool     // the next version takes the table back
	actives  []remove // what it removes then
	reassert bool
	state    State // of the version to come
	done     Done
}

func publishOnce(t table, reassert bool) (Done, error) {
	newest, err := t.Newest()
	if err != nil || newest.Generation == 0 {
		return Done{Version: -1}, err
	}
	p := publisher{table: t, newest: newest, reassert: reassert}
	if p.head, err = t.head(); errors.Is(err, ErrForeign) && reassert {
		p.taken = true
		p.head, p.actives, err = t.replay()
	}
	if err == nil && p.head.torn {
		err = p.mayMend()
	}
	if err != nil {
		return Done{}, err
	}
	shown, err := p.isShown()
	if err != nil {
		return Done{}, err
	}
	if !shown {
		if err := p.publish(); err != nil {
			return Done{}, err
		}
	}
	p.done.Version, p.done.Generation, p.done.Published = p.head.state.Version, p.head.state.Generation, !shown
	// The version stands, whatever becomes of this: a later call tries it again.
	return p.done, p.keepCheckpoints()
}

// tornAge is how old a version must be that is not complete, before another publisher takes its place: one that lives needs less to write it.
const tornAge = time.Minute

// mayMend returns an error if the publisher of a version that is not complete may be at work. It is so only where hard links are missing.
func (p *publisher) mayMend() error {
	v := p.head.newest()
	info, err := p.FS.Stat(p.version(v))
	if errors.Is(err, fs.ErrNotExist) {
		return generation.ErrConflict
	}
	if err != nil {
		return err
	}
	if !isOld(p.Stamp(p.newest).Time(), info, tornAge) {
		return fmt.Errorf("version %d of the Delta table is not complete: another publisher may be at work: it is made anew when it is a minute old", v)
	}
	c, err := p.read(v)
	if err == nil && !c.torn {
		err = generation.ErrConflict
	}
	return err
}

// isShown tells whether the newest version shows the newest generation.
func (p *publisher) isShown() (bool, error) {
	s := p.head.state
	if s == nil {
		return false, nil
	}
	if err := p.ahead(s, p.newest); err != nil {
		return false, err
	}
	same := s.Generation == p.newest.Generation
	if p.taken {
		return false, nil
	}
	if s.Index != p.newest.Index.Name {
		return false, nil // whatever became of the old file
	}
	there, err := p.isThere(s)
	if err != nil || there {
		return same, err
	}
	if p.reassert {
		p.taken, p.actives = true, []remove{{Path: s.File, DataChange: true}}
		return false, nil
	}
	return false, p.doubt(s.Version, fmt.Errorf("%s: %w", p.Root.Rel(p.file(s.File)), ErrGone))
}

// doubt returns a *durable.AwayError in the place of err where this machine may not see yet what another one has done: version v, which is the
// newest, is younger than the state that a share may show.
func (t table) doubt(v int64, err error) error {
	info, serr := t.FS.Stat(t.version(v))
	if serr == nil && t.MayBeOld(cohort.Stamp(info.ModTime().UnixNano())) {
		return &durable.AwayError{Err: errors.New(err.Error())} // without what it matches
	}
	return err
}

// isThere tells whether the file of a version is there.
func (t table) isThere(s *State) (bool, error) {
	info, err := t.FS.Stat(t.file(s.File))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && info.Mode().IsRegular() && info.Size() == s.Size, err
}

// publish commits the next version.
func (p *publisher) publish() error {
	if err := durable.MkdirWithin(p.FS, string(p.Root), p.log(), p.Settings.DirMode.FS()); err != nil {
		return fmt.Errorf("make the Delta table: %w", err)
	}
	all, err := p.actions()
	if err != nil {
		return err
	}
	if p.state.File != p.shownFile() {
		if err := p.link(); err != nil {
			return err
		}
	}
	if err := p.commit(encode(all)); err != nil {
		return err
	}
	p.head.state, p.head.torn = &p.state, false
	return p.lookAgain()
}

// shownFile is the file of the version before, if it stays the file of the table.
func (p *publisher) shownFile() string {
	if s := p.head.state; s != nil && !p.taken && s.Index == p.newest.Index.Name {
		return s.File
	}
	return ""
}

// actions are the lines of the next version.
func (p *publisher) actions() (all []action, err error) {
	data, err := p.Data(p.newest)
	if err != nil {
		return nil, err
	}
	defer data.Close()
	last := State{Time: -1}
	if p.head.state != nil {
		last = *p.head.state
	}
	columns := shapeOf(data.Index, last.Mapped)
	meta := p.metaData(columns)
	p.done.LeftOut, p.done.Mapped = columns.leftOut, columns.mapped
	p.state = State{
		Version: p.head.next(), RootID: p.Settings.RootID, Generation: p.newest.Generation, Token: p.newest.Token,
		File: p.shownFile(), Size: last.Size, Added: last.Added, Index: p.newest.Index.Name, Meta: meta.digest(), Mapped: columns.mapped, LeftOut: columns.leftOut,
		Reasserted: p.taken,
		// Clocks of the file system may go back, and the times of versions must not.
		Time: max(timeOf(p.newest), last.Time+1),
	}
	if p.state.Attempt, err = newAttempt(); err != nil {
		return nil, err
	}
	all = []action{{CommitInfo: p.info()}}
	anew := p.head.state == nil || p.state.Reasserted
	if anew || last.Mapped != p.state.Mapped {
		all = append(all, action{Protocol: columns.protocol()})
	}
	p.done.NewColumns = anew || last.Meta != p.state.Meta
	if p.done.NewColumns {
		all = append(all, action{MetaData: meta})
	}
	all = append(all, action{Txn: p.state.txn()})
	if p.state.File == "" { // the rows are others
		p.state.File, p.state.Size, p.state.Added = fileName(p.newest.Generation, p.newest.Token, p.state.Attempt), p.newest.Index.Size, p.state.Time
		for _, r := range p.removed() {
			r.DeletionTimestamp = p.state.Time
			all = append(all, action{Remove: &r})
		}
		all = append(all, action{Add: p.state.add(statsOf(data.Index, columns))})
	}
	p.state.Lines = len(all)
	return all, nil
}

// removed are the files that the next version takes out of the table.
func (p *publisher) removed() []remove {
	if p.taken || p.head.state == nil {
		return p.actives
	}
	return []remove{{Path: p.head.state.File, DataChange: true}}
}

func (p *publisher) info() *commitInfo {
	return &commitInfo{
		Runfold: &p.state, Timestamp: p.state.Time, Operation: "WRITE",
		OperationParameters: map[string]string{"mode": "Overwrite", "partitionBy": "[]"},
		UserMetadata:        fmt.Sprintf("generation %d", p.newest.Generation), EngineInfo: p.Program,
	}
}

// txn makes a generation known to those who ask for the last transaction of an application.
func (s *State) txn() *txn { return &txn{s.RootID, int64(s.Generation), s.Time} }

func (s *State) add(stats string) *add {
	return &add{s.File, map[string]string{}, s.Size, s.Added, true, stats}
}

func newAttempt() (string, error) {
	var raw [8]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return "", fmt.Errorf("choose a name: %w", err)
	}
	return hex.EncodeToString(raw[:]), nil
}

// link makes the file of the next version. It is durable before a version names it.
func (p *publisher) link() error {
	src := p.Root.Data(p.newest.Index.Name)
	err := p.CheckSize(p.newest.Index)
	if err == nil {
		err = durable.ReplaceWith(p.FS, p.file(p.state.File), src, p.Settings.FileMode.FS()&^readOnly)
	}
	if errors.Is(err, fs.ErrNotExist) {
		if now, lerr := p.Newest(); lerr == nil && now.Generation > p.newest.Generation {
			return fmt.Errorf("generation %d was swept: %w", p.newest.Generation, generation.ErrConflict)
		}
	}
	if err != nil {
		return fmt.Errorf("link the file of version %d of the Delta table: %w", p.state.Version, err)
	}
	return nil
}

// commit creates the next version. On success it is ours, complete and durable. On ErrConflict another publisher has made it.
func (p *publisher) commit(data []byte) (err error) {
	name, perm := p.version(p.state.Version), p.Settings.FileMode.FS()
	if p.head.torn {
		// Only where hard links are missing. Two that mend it at once both write a whole version; who comes last stays.
		err = durable.Replace(p.FS, name, data, perm)
	} else {
		err = durable.Create(p.FS, name, data, perm)
	}
	there, rerr := durable.Read(p.FS, name, maxVersion)
	switch {
	case rerr == nil && bytes.Equal(there, data):
		// The name may not be on the disk, and a second sync could report success all the same (S3): the next call finds out.
		if errors.Is(err, durable.ErrUnsynced) || err == nil {
			return err
		}
		return durable.SyncDir(p.FS, p.log()) // a request that was sent twice, or an error after the fact (R1)
	case rerr == nil && (err == nil || errors.Is(err, fs.ErrExist)):
		p.unlink()
		return fmt.Errorf("version %d: %w", p.state.Version, generation.ErrConflict)
	case errors.Is(rerr, fs.ErrNotExist) && (errors.Is(err, fs.ErrExist) || p.isPast()):
		return fmt.Errorf("version %d came and went: %w", p.state.Version, generation.ErrConflict)
	case err == nil:
		err = rerr
	}
	// In doubt the file stays: the version may stand and name it. A sweep removes it if not.
	return fmt.Errorf("commit version %d of the Delta table: %w", p.state.Version, err)
}

// isPast tells whether others have published the next version, or later ones, and removed it: our temporary file may have gone with it.
func (p *publisher) isPast() bool {
	l, err := p.list()
	return err == nil && l.newest() >= p.state.Version
}

// unlink removes the file of a version that was refused: no other version can name it.
func (p *publisher) unlink() {
	if p.state.File != p.shownFile() {
		p.FS.Remove(p.file(p.state.File)) // an error is dropped: a sweep removes it later
	}
}

// lookAgain is the look after the commit.
func (p *publisher) lookAgain() error {
	l, err := p.list()
	if err != nil {
		return err
	}
	// We may have slept so long that the versions before ours were removed, and ours as well, so that the create met no file. Such a
	// version is below a checkpoint, where no reader looks for it; the one before it is missing.
	v := p.state.Version
	if c := l.checkpoint(l.newest()); c > v && v > 0 && !contains(l.versions, v-1) {
		if err := durable.Remove(p.FS, p.version(v)); err != nil {
			return err
		}
		p.unlink()
		return fmt.Errorf("version %d is void: %w", v, generation.ErrConflict)
	}
	// A VACUUM takes every file that no version names and that is old. A link is as old as the file that it shows, so a VACUUM may have
	// taken it before the commit. From now on the version names it.
	p.head.listing = l // a drop may have taken what was below
	there, err := p.isThere(&p.state)
	if err == nil && !there && l.newest() == v {
		err = p.link()
	}
	return err
}
