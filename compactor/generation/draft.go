package generation

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/durable"
)

// Draft is a generation that is being made. It ends with Commit, or with Discard; if it is left as it is, a later sweep
// removes its data files. One goroutine uses it.
type Draft struct {
	// Manifest is what will be committed: at first all of its parent's content, under a number and token of its own.
	Manifest

	store *Store
	made  []string // data files of this draft's own
}

// Draft begins the child of parent, with these watermarks. Nothing is written.
func (s *Store) Draft(parent Manifest, streams []Watermark) (*Draft, error) {
	token, err := newToken()
	if err != nil {
		return nil, err
	}
	next := parent
	next.digest = ""
	next.Version, next.Generation, next.Token = manifestVersion, parent.Generation+1, token
	next.RootID, next.Parent = s.Settings.RootID, parent.digest
	next.CreatedAt = cohort.FormatTime(s.Now())
	next.Host, next.PID, next.Program = host(), os.Getpid(), s.Program
	next.Streams, next.RepairedFrom = streams, nil
	next.Settings = json.RawMessage(s.Settings.Encode())
	return &Draft{Manifest: next, store: s}, nil
}

// DraftAgain begins a child of the newest generation, whose files may be damaged, that has the content of good, an
// earlier one, anew. What is between the two becomes void.
func (s *Store) DraftAgain(good Manifest, newest cohort.Generation) (*Draft, error) {
	from := good.Generation
	parent := good
	parent.Generation, parent.digest = newest, ""
	if data, err := s.bytesOf(newest); err == nil {
		parent.digest = digestOf(data)
	}
	d, err := s.Draft(parent, good.Streams)
	if err != nil {
		return nil, err
	}
	d.RepairedFrom = &from
	return d, nil
}

// host is this machine's name for people to read.
func host() string {
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
}

func newToken() (cohort.Token, error) {
	var raw [8]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return "", fmt.Errorf("choose a token: %w", err)
	}
	return cohort.Token(hex.EncodeToString(raw[:])), nil
}

// Changes is what a generation has that the one before had not.
type Changes struct {
	Puts, Raised []index.Put
	Bytes        int64                     // of the records as JSON
	Rows, Lines  index.Load                // of puts without a record; each for a goroutine of its own
	Cohort       func(index.Put) cohort.ID // of a put's record
	Whole        bool                      // no data file of the one before is to be named
}

// Write writes the data files of the draft and fills in what its manifest says of them; no manifest names them yet. The
// draft's NextSeq, HighestStamp and Schema must be those of the new generation. old is the data that it goes on from, Summed,
// and found what that has under the keys of the puts. It returns what was done.
//
// On success the files are durable, and all of old was compared with its checksum. On error none of them stays: on a full
// disk they would be in the way of the next try. Index and snapshots are written side by side.
func (d *Draft) Write(old *Data, found map[cohort.Key]index.Found, c Changes) (stats index.Stats, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Discard())
		}
	}()
	s := d.store
	if err := durable.MkdirAll(s.FS, s.Root.DataDir(), s.Settings.DirMode.FS()); err != nil {
		return index.Stats{}, err
	}
	parts := d.parts(c, found)
	if err := d.headroom(parts, c.Bytes); err != nil {
		return index.Stats{}, err
	}
	rows, err := s.newFile(d.made[0])
	if err != nil {
		return index.Stats{}, fmt.Errorf("write index: %w", err)
	}
	defer rows.discard(&err)
	stats, err = d.fill(old, found, c, rows, parts)
	if err != nil {
		return index.Stats{}, err
	}
	if d.Index, err = rows.commit(); err != nil {
		return index.Stats{}, fmt.Errorf("write index: %w", err)
	}
	if err := s.verify(d.Index); err != nil {
		return index.Stats{}, fmt.Errorf("read back index: %w", err)
	}
	return stats, nil
}

// fill writes what the index holds, and all of the snapshots.
func (d *Draft) fill(old *Data, found map[cohort.Key]index.Found, c Changes, rows *newFile, parts []*part) (index.Stats, error) {
	meta := index.Meta{Generation: d.Generation, Token: d.Token, Program: d.Program}
	var stats index.Stats
	var written Snapshots
	var both errgroup.Group
	both.Go(func() (err error) {
		stats, err = index.Merge(rows, old.Index, found, d.Schema, append(slices.Clip(c.Puts), c.Raised...), c.Rows, meta)
		if err != nil {
			return old.blame(fmt.Errorf("write index: %w", err))
		}
		rows.rows = stats.Rows
		return old.Check()
	})
	both.Go(func() error {
		for _, p := range parts {
			file, err := d.store.writePart(p, old, c.Lines)
			if err != nil {
				return fmt.Errorf("write snapshots: %w", err)
			}
			written = append(written, SnapshotsFile{p.cohort, file})
		}
		return nil
	})
	if err := both.Wait(); err != nil {
		return index.Stats{}, err
	}
	d.Snapshots = d.Snapshots.with(written)
	if lines := d.Snapshots.Rows(); rows.rows != lines {
		return index.Stats{}, fmt.Errorf("%w: index would have %d rows and snapshots %d", ErrCorrupt, rows.rows, lines)
	}
	d.Merged = new(Merged)
	d.Merged.Add(stats)
	return stats, nil
}

// margin is room for what is small: the manifest's fixed part, directories, the file system's own books.
const margin = 1 << 20

// headroom refuses to begin what would fill the disk, and perhaps be in the way of writers: the new data
// files take at most about what the old ones do, and twice the records. The draft still names the old index.
// Where nobody can tell what is free, the write finds out.
func (d *Draft) headroom(parts []*part, records int64) error {
	need := d.Index.Size + int64(len(d.Streams))*256 + margin + 2*records
	for _, p := range parts {
		need += p.old.Size
	}
	dir := d.store.Root.DataDir()
	free, err := d.store.Free(dir)
	if err == nil && free < need {
		return fmt.Errorf("%s: generation %d may need %d bytes and %d are free: %w", dir, d.Generation, need, free, syscall.ENOSPC)
	}
	return nil
}

// verify reads back the structure of an index that no manifest names yet.
func (s *Store) verify(d DataFile) error {
	file, err := s.openFile(d)
	if err != nil {
		return err
	}
	defer file.Close()
	return index.Verify(file, d.Size, d.Rows)
}
