package generation

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/durable"
)

// Draft is a generation that is being made. It ends with Commit or with Discard. If neither is called, a later sweep
// removes its data files. One goroutine uses it.
type Draft struct {
	// Manifest is what will be committed. At first it has all of its parent's content, with a number and token of its own.
	Manifest

	store *Store
	made  []string // the data files that this draft makes
}

// Draft begins the child of parent, with these watermarks. Nothing is written.
func (s *Store) Draft(parent Manifest, streams []Watermark) (*Draft, error) {
	// The token is random. It is part of the names of the data files, so no other attempt writes the same files. It is
	// also how Commit recognises its own manifest (R1).
	token, err := newToken()
	if err != nil {
		return nil, err
	}
	next := parent
	next.digest = ""
	next.Version, next.Generation, next.Token = manifestVersion, parent.Generation+1, token
	// The digest of the parent chains the manifests. A repair follows it, and so passes by void manifests (R2).
	next.RootID, next.Parent = s.Settings.RootID, parent.digest
	next.CreatedAt = cohort.FormatTime(s.Now())
	next.Host, next.PID, next.Program = host(), os.Getpid(), s.Program
	next.Streams, next.RepairedFrom = streams, nil
	next.Verb, next.User, next.Changed = "", account(), nil // who drafts sets Verb and Changed
	next.At, next.Firsts = 0, parent.firsts()               // Commit sets At
	next.Settings = json.RawMessage(s.Settings.Encode())
	return &Draft{Manifest: next, store: s}, nil
}

// DraftAgain begins a child of the newest generation, whose files may be damaged. The child has the content of good, an
// earlier generation. The generations between the two become void.
func (s *Store) DraftAgain(good Manifest, newest cohort.Generation) (*Draft, error) {
	from := good.Generation
	parent := good
	// The child follows the newest generation and not good. So its number is above all others, and a compactor that
	// still works on the damaged one gets a conflict (R12).
	parent.Generation, parent.digest = newest, ""
	if data, err := s.bytesOf(newest); err == nil {
		parent.digest = digestOf(data)
	}
	d, err := s.Draft(parent, good.Streams)
	if err != nil {
		return nil, err
	}
	d.RepairedFrom = &from
	d.Verb, d.Firsts = DidRepair, good.firsts()
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

// Changes is the difference between a generation and the one before.
type Changes struct {
	Puts, Raised []index.Put
	Bytes        int64                     // of the records as JSON
	Rows, Lines  index.Load                // load the records of puts that have none; each is called by one goroutine
	Cohort       func(index.Put) cohort.ID // of a put's record
	Whole        bool                      // write all data files anew: name none of the generation before
}

// Write writes the data files of the draft, and sets what its manifest says of them. No manifest names them yet. The
// draft's NextSeq, HighestStamp and Schema must be those of the new generation. old is the data of the parent, which must be
// Summed, and found is what old has under the keys of the puts. It returns what was done.
//
// On success the files are durable, and all of old was compared with its checksum. On error none of the new files stays:
// on a full disk they would leave no room for the next try (docs/durability.md, P12). Index and snapshots are written side by
// side.
func (d *Draft) Write(old *Data, found map[cohort.Key]index.Found, c Changes) (stats index.Stats, err error) {
	// No commit was tried yet, so no manifest can name these files, and removing them is safe.
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Discard())
		}
	}()
	s := d.store
	// If another compactor has just made data/, its name may not be durable. Commit syncs the root before the manifest (R14).
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
	// The index gets its name only now, after all of old was compared with its checksum. A file that carries a damaged row
	// on would never be named.
	if d.Index, err = rows.commit(); err != nil {
		return index.Stats{}, fmt.Errorf("write index: %w", err)
	}
	// The structure is read back, because a later fold copies row groups of this file without decoding them.
	if err := s.verify(d.Index); err != nil {
		return index.Stats{}, fmt.Errorf("read back index: %w", err)
	}
	return stats, nil
}

// fill writes the content of the index, and the snapshots files.
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
		// A flipped bit of old must not get a new, fitting checksum. And only because old was read whole here may the sweep
		// delete the streams that old had folded (P6, docs/decisions/0014).
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
	// Index and snapshots are made by different code from the same records. Different counts mean that one of them lost or
	// doubled something: such a generation is not committed.
	if lines := d.Snapshots.Rows(); rows.rows != lines {
		return index.Stats{}, fmt.Errorf("%w: index would have %d rows and snapshots %d", ErrCorrupt, rows.rows, lines)
	}
	d.Merged = new(Merged)
	d.Merged.Add(stats)
	return stats, nil
}

// margin is room for small things: the fixed part of the manifest, directories, the file system's own data.
const margin = 1 << 20

// headroom returns an error that matches durable.IsFull if the new data files may fill the disk. Writers need room for their
// records more than a fold does (docs/durability.md, P12). If the free space is not known, the write itself finds out.
func (d *Draft) headroom(parts []*part, records int64) error {
	// The new files take at most about as much as the old ones, and twice the records. The draft still names the old index.
	need := d.Index.Size + int64(len(d.Streams))*256 + margin + 2*records
	for _, p := range parts {
		need += p.old.Size
	}
	// On SMB the public files are copies of the new ones.
	if about, err := d.store.FS.Statfs(string(d.store.Root)); err == nil && about.IsSMB() {
		need *= 2
	}
	dir := d.store.Root.DataDir()
	free, known := d.store.free(dir)
	if known && free < need {
		return &roomError{dir, d.Generation, need, free}
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
