package compactor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

// keeper keeps damaged bytes of streams under quarantine/.
type keeper struct {
	journal.Root
	say *speaker
}

// maxKept bounds the bytes that a note about damage repeats. The stream itself goes to quarantine/ too.
const maxKept = 1 << 20

// damageNote is a file under quarantine/: the smallest unit that could not be read.
type damageNote struct {
	Version int    `json:"version"`
	Path    string `json:"path"` // of the segment, relative to the root
	Offset  int64  `json:"offset"`
	Length  int64  `json:"length"`
	Reason  string `json:"reason"`
	Bytes   []byte `json:"bytes_base64"` // the first maxKept of them
}

// damaged keeps damaged bytes and tells of them. It is called before a watermark passes them (docs/durability.md, P5).
func (k keeper) damaged(s journal.Stream, damage *journal.CorruptError) error {
	kept, err := k.keep(s, damage)
	if err != nil {
		return err
	}
	k.say.once(DamagedBytes{k.Dir.Rel(damage.Path), damage.Offset, damage.Length, damage.Err.Error(), k.Dir.Rel(kept)})
	return nil
}

// keep writes a note of damaged bytes, their place and the reason. On success the note is durable. To keep the same bytes
// again, after a fold that did not commit, changes nothing.
func (k keeper) keep(s journal.Stream, damage *journal.CorruptError) (kept string, err error) {
	bytes, err := bytesAt(k.FS, damage, maxKept)
	if err != nil {
		return "", fmt.Errorf("keep damage: %w", err)
	}
	note := damageNote{1, k.Dir.Rel(damage.Path), damage.Offset, damage.Length, damage.Err.Error(), bytes}
	data, err := json.MarshalIndent(note, "", " ")
	if err != nil {
		return "", fmt.Errorf("keep damage: %w", err)
	}
	if err := durable.MkdirWithin(k.FS, string(k.Dir), k.Dir.Quarantine(s.Cohort), k.Settings.DirMode.FS()); err != nil {
		return "", fmt.Errorf("keep damage: %w", err)
	}
	kept = k.Dir.Damaged(s.Cohort, s.ID, damage.Offset)
	err = durable.Create(k.FS, kept, append(data, '\n'), k.Settings.FileMode.FS())
	if errors.Is(err, fs.ErrExist) { // another compactor has made it, and may not have synced the name yet (R14)
		err = durable.SyncDir(k.FS, k.Dir.Quarantine(s.Cohort))
	}
	if err != nil {
		return "", fmt.Errorf("keep damage: %w", err)
	}
	return kept, nil
}

// bytesAt reads damaged bytes, at most the first most of them.
func bytesAt(fsys durable.FS, damage *journal.CorruptError, most int64) ([]byte, error) {
	file, err := fsys.Open(damage.Path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	buf := make([]byte, min(max(damage.Length, 0), most))
	n, err := file.ReadAt(buf, damage.Offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %w", damage.Path, err)
	}
	return buf[:n], nil
}

// tail keeps the bytes after the last entry of a dead stream. Either they were never acknowledged, or they are
// an entry that was damaged later. Nobody can tell which, so they are kept.
func (k keeper) tail(p journal.Place, m generation.Watermark) error {
	tail := &journal.CorruptError{
		Path: cohort.SegmentIn(p.Dir), Offset: m.Offset, Length: m.Torn, Err: errTorn,
	}
	kept, err := k.keep(p.Stream, tail)
	if err != nil {
		return err
	}
	k.say.once(TornTail{p.Stream, m.Torn, k.Dir.Rel(kept)})
	return nil
}

var errTorn = errors.New("the end of a dead stream is not an entry: it was being written, or was damaged later")

// NoteMisfit keeps a note about a stream that no fold can read where it lies, before it is put into quarantine/. why is the
// error of the reader, which matches journal.IsMisfit. On success the note is durable. It is for package audit.
func NoteMisfit(root journal.Root, p journal.Place, why error) error {
	k := keeper{root, nil}
	if _, err := k.FS.Stat(cohort.SegmentIn(p.Dir)); errors.Is(err, fs.ErrNotExist) {
		return nil // there is nothing to keep but the directory itself
	}
	var cut *journal.CorruptError
	if !errors.As(why, &cut) { // nothing in it is damaged: it lies in another cohort or root than it was written for
		cut = &journal.CorruptError{Path: cohort.SegmentIn(p.Dir), Err: why}
	}
	_, err := k.keep(p.Stream, cut)
	return err
}

// Notes are the notes in quarantine/ about one stream. damaged tells that one of them is about bytes that are damaged or
// missing, or cannot be read. It is for package audit.
func Notes(root journal.Root, s journal.Stream) (paths []string, damaged bool, err error) {
	dir := root.Dir.Quarantine(s.Cohort)
	entries, err := root.FS.ReadDir(dir)
	if err != nil {
		return nil, false, err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), string(s.ID)+"-") {
			continue
		}
		path := filepath.Join(dir, e.Name())
		paths = append(paths, path)
		var note damageNote
		data, err := durable.Read(root.FS, path, 4*maxKept)
		if err != nil || json.Unmarshal(data, &note) != nil || note.Length != 0 {
			damaged = true
		}
	}
	return paths, damaged, nil
}
