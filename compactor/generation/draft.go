package generation

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/durable"
)

// Draft is a generation that is being made. It ends with Commit or with Discard. If neither is called, a later sweep
// removes its data files. One goroutine uses it.
type Draft struct {
	// Manifest is what will be committed. At first it has all of its parent's content, with a number and token of its own.
	Manifest

	// From is the version of the index that Write has made the draft's own of; 0 if there was none.
	From int

	// Bytes are those of the index and snapshots that Write has made, and of the withdrawn rows.
	Bytes Bytes

	store  *Store
	made   []string                       // the data files that this draft makes
	before map[cohort.Generation]Manifest // see lastBefore
	copies bool                           // it shares no block: where something is damaged, all is read and compared
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
	next.Verb, next.User, next.Changed = "", Account(), nil // who drafts sets Verb and Changed
	next.Lock = s.Lock
	next.At, next.Firsts = 0, parent.firsts() // Commit sets At
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
		if m, err := DecodeManifest(data); err == nil {
			// Settings are no content. And a table that is there must be followed, or an erasure would not reach it.
			parent.Delta, parent.Retention = m.Delta, m.Retention
		}
	}
	d, err := s.Draft(parent, good.Streams)
	if err != nil {
		return nil, err
	}
	d.RepairedFrom, d.copies = &from, true
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
	Side      // of the index
	Withdrawn Side
	Actions   []cohort.Record           // what comes to the actions in force; Write sorts it
	NoActions func(cohort.Record) bool  // which actions of the generation before go; nil: none
	Bytes     int64                     // of the records as JSON
	Rows      index.Load                // loads the records of puts that have none, as Lines does; each is called by one goroutine
	Lines     index.Load                // for the snapshots
	Cohort    func(index.Put) cohort.ID // of a put's record
	Whole     bool                      // write all data files anew: name none of the generation before
	Erase     *cohort.Erased            // all tombstones from now on; nil: those of the generation before
}

// Side is what changes in one pair of files: the index or the withdrawn rows, and their snapshots.
type Side struct {
	Puts, Raised []index.Put
	In           []index.Put                // rows that come from the other pair, see index.Moves
	Out          []cohort.Key               // rows that leave this pair
	Found        map[cohort.Key]index.Found // what the pair has under all of these keys, and those of In as the other pair has them
	Stays        bool                       // nothing changes: the pair keeps its files
}

// Write writes the data files of the draft, and sets what its manifest says of them. No manifest names them yet. The
// draft's NextSeq, HighestStamp and Schema must be those of the new generation. old is the data of the parent, which must be
// Summed. It returns what was done in the index.
//
// On success the files are durable, and all of old that they stand on was compared with its checksums. On error none of the new files stays:
// on a full disk they would leave no room for the next try (docs/durability.md, P12). Index and snapshots are written side by
// side.
func (d *Draft) Write(old *Data, c Changes) (stats index.Stats, err error) {
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
	pairs := d.pairs(old, c)
	if err := d.headroom(pairs, c.Bytes); err != nil {
		return index.Stats{}, err
	}
	if old.Index != nil {
		d.From = old.Index.Version()
	}
	segments, err := d.segments(old, c)
	if err != nil {
		return index.Stats{}, err
	}
	for _, p := range pairs { // the withdrawn rows follow those of the index
		p.segments = segments
		done, err := p.write(d, c)
		if err != nil {
			return index.Stats{}, err
		}
		if p.what == whatIndex {
			d.Index, d.Snapshots, stats = p.index, d.Snapshots.with(p.written), done
			d.Merged = new(Merged)
			d.Merged.Add(stats)
		} else {
			d.Withdrawn.Index, d.Withdrawn.Snapshots = p.index, p.oldParts.with(p.written)
		}
		d.Bytes.Add(p.bytes)
		d.Bytes.Add(p.lines)
	}
	if d.Merged != nil && len(pairs) > 0 {
		d.Merged = new(*d.Merged) // that of the parent, if only the withdrawn rows were written
		d.Merged.Bytes = d.Bytes
	}
	if err := d.writeRest(old, c); err != nil {
		return index.Stats{}, err
	}
	return stats, nil
}

// writeRest writes the actions, and compares with their checksums what of old the pairs have not read: the decision came from there.
func (d *Draft) writeRest(old *Data, c Changes) (err error) {
	if d.Withdrawn != nil && c.writesWithdrawn() {
		if d.Withdrawn.Actions, err = d.writeActions(old, c.Actions, c.NoActions); err != nil {
			return fmt.Errorf("write actions: %w", err)
		}
	}
	if err := d.erase(old, c); err != nil {
		return err
	}
	return old.CheckBoth()
}

// margin is room for small things: the fixed part of the manifest, directories, the file system's own data.
const margin = 1 << 20

// headroom returns an error that matches durable.IsFull if the new data files may fill the disk. Writers need room for their
// records more than a fold does (docs/durability.md, P12). If the free space is not known, the write itself finds out.
func (d *Draft) headroom(pairs []*pair, records int64) error {
	// The new files take at most about as much as the old ones, and twice the records. A row that moves is in the old files, too.
	need := int64(len(d.Streams))*256 + margin + 2*records
	for _, p := range pairs {
		need += p.size()
		if d.Merged != nil && d.Merged.Cloned > 0 { // of the parent: files share blocks here
			need -= p.shareable()
		}
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
