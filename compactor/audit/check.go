// Package audit looks at whole roots. It checks whether everything is as it was committed, counts what waits to be folded,
// prints files as text, and repairs a damaged root so that it can be folded again.
//
//	Check        reads everything and tells what is wrong
//	Replay       also derives the newest generation again, and compares each row
//	ReadStatus   tells what waits, how old it is and who folds
//	Dump         prints one file of a root as text
//	Repair       says what is damaged and what can be done; with Apply, does it
//	Backup       copies a root, whole, into another directory
//
// All of them only read the root and take no lock, except Repair with Apply. Their results are right while others append and fold.
//
//	done, err := audit.Check(ctx, compactor.Config{Root: "runs"}, func(p audit.Problem) { fmt.Println(p) })
//	if err == nil && done.Problems > 0 { ... }
//
// # Backwards compatibility
//
// They read what every released version wrote. What a newer version wrote is cohort.ErrNewer. New kinds of
// problems may be added: a program should use Problem.Damage, and not the text of Reason.
package audit

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

// Problem is one thing that Check or Repair found.
type Problem struct {
	Path   string `json:"path"` // relative to the root
	Reason string `json:"reason"`
	// Damage is true if something is wrong. It is false for what is only worth knowing: a file that is not ours, or damage that
	// a fold or repair has handled already.
	Damage bool `json:"damage"`
}

func (p Problem) String() string { return p.Path + ": " + p.Reason }

// Checked counts what Check looked at.
type Checked struct {
	Manifests int   `json:"manifests"`
	DataFiles int   `json:"data_files"`
	Rows      int64 `json:"rows"`
	Streams   int   `json:"streams"`
	Records   int64 `json:"records"` // in streams, folded or not
	Unfolded  int64 `json:"unfolded"`
	Problems  int   `json:"problems"`         // those that are damage
	Unseen    int   `json:"unseen,omitempty"` // what was not looked at, as the storage does not answer or shows an old state
}

// Check audits a whole root and calls yield with what it finds: every frame of every stream, the chain of
// manifests, size and CRC32C of every data file, that index and snapshots hold the same keys with the
// same seqs, no key twice, seqs unique and increasing, that each folded record still on the disk is in
// the index or has a later write there, and that the public files are the newest generation.
//
// It writes nothing, except on SMB where something is missing: there it makes an empty directory for a moment, to ask the server for its
// time. Others may append, fold and sweep meanwhile; what they sweep or publish is not a problem. It takes the
// lock only for a moment, to see whether a compactor that has committed is about to publish. It holds the keys of the index in
// memory. yield is called in the calling goroutine.
//
// What has one cause is told once: of a damaged data file nothing more that follows from it, and what is wrong in the same
// way in many places with the first of them and their number.
//
// What the storage does not show, because it does not answer or shows an old state, is not damage. It is told as a note, and counted in
// Checked.Unseen; then a later Check tells more.
//
// An error means that Check could not look. What it found is counted in Checked.Problems. When ctx ends, nothing more is
// read or told, and the error is that of ctx.
func Check(ctx context.Context, cfg compactor.Config, yield func(Problem)) (Checked, error) {
	store, err := storeFor(ctx, cfg)
	if err != nil {
		return Checked{}, err
	}
	return check(ctx, store, yield)
}

// storeFor opens a root to be looked at until ctx ends.
func storeFor(ctx context.Context, cfg compactor.Config) (*generation.Store, error) {
	if cfg.FS == nil {
		cfg.FS = durable.OS
	}
	cfg.FS = until{cfg.FS, ctx}
	store, err := cfg.Store()
	if err != nil {
		return nil, err
	}
	return store, suits(store)
}

func check(ctx context.Context, store *generation.Store, yield func(Problem)) (Checked, error) {
	c := &checker{Store: store, bad: map[string]bool{}}
	c.yield = func(p Problem) {
		if ctx.Err() != nil {
			return // ctx has ended: what could not be read is not damaged
		}
		if p.Damage {
			c.done.Problems++
		}
		yield(p)
	}
	newest, err := c.manifests(ctx)
	if err != nil {
		return c.done, c.Doubt(err, 0)
	}
	for _, phase := range []func(context.Context, generation.Manifest) error{c.missing, c.dataFiles, c.rows, c.public, c.delta, c.streams, c.kept} {
		if err := ctx.Err(); err != nil {
			return c.done, err
		}
		err := phase(ctx, newest)
		c.tellCauses()
		if err != nil {
			return c.done, c.Doubt(err, 0)
		}
	}
	err = c.StillThere()
	return c.done, cmp.Or(ctx.Err(), err)
}

type checker struct {
	*generation.Store
	yield    func(Problem)
	done     Checked
	all      []generation.Manifest         // the newest manifest and its ancestors on the disk, oldest first
	versions map[cohort.Key]cohort.Version // of the rows, also of the withdrawn ones
	acts     map[cohort.Version]bool       // actions in force
	erased   *cohort.Erased                // tombstones; nil if there are none
	lostOut  bool                          // the withdrawn rows or the actions cannot be read
	bad      map[string]bool               // data files that are not what was committed: nothing that follows from it is told
	unerased int64                         // records of erased runs in streams
	unjudged int64                         // folded records that were not looked for, as the index is one of these
	causes   []*cause
	since    cohort.Stamp // see generation.Store.Doubt
	lacks    bool         // manifests are missing: what is published is of a later generation
}

// manifests reads the commit log and checks that each child names its parent.
func (c *checker) manifests(context.Context) (generation.Manifest, error) {
	gens, err := c.List()
	if err != nil {
		return generation.Manifest{}, err
	}
	unreadable := map[cohort.Generation]error{}
	for _, g := range gens {
		m, err := c.Read(g)
		if errors.Is(err, fs.ErrNotExist) {
			continue // swept since the listing
		}
		if errors.Is(err, cohort.ErrNewer) {
			return generation.Manifest{}, err // it is not damage, for example a newer version or an error of the disk
		}
		if err != nil {
			unreadable[g] = err
			continue
		}
		c.done.Manifests++
		c.all = append(c.all, m)
	}
	for _, g := range gens {
		if err := unreadable[g]; err != nil {
			c.damageOf(g, c.Root.Manifest(g), err)
		}
	}
	if len(c.all) == 0 {
		return c.Zero(), nil
	}
	if g, met := c.Met(c.all[len(c.all)-1], c.all); met {
		c.damage(c.Root.Manifest(g), "%v", generation.TwoHistories{Generation: g})
	}
	if len(unreadable) == 0 {
		if err := c.stranded(); err != nil {
			return generation.Manifest{}, err
		}
	}
	line, others := generation.Ancestors(c.all)
	c.outside(others)
	c.all = line
	for i := len(c.all) - 1; i > 0; i-- {
		c.chain(c.all[i-1], c.all[i])
	}
	return c.all[len(c.all)-1], nil
}

// stranded tells of index files that no manifest names and that hold rows which nobody else has.
func (c *checker) stranded() error {
	newest := c.all[len(c.all)-1]
	names, err := c.Unnamed(newest, c.all)
	if err != nil {
		return err
	}
	all, err := c.Stranded(newest, c.Judged(names))
	if generation.IsDamage(err) || errors.Is(err, generation.ErrConflict) {
		return nil // the newest index is damaged, which rows tells, or not the newest any more
	}
	for _, n := range all {
		c.damage(c.Root.Data(n.File), "%s", n.Reason())
	}
	return err
}

// chain checks two manifests of which one is the parent of the other, or an earlier ancestor.
func (c *checker) chain(parent, child generation.Manifest) {
	path := c.Root.Manifest(child.Generation)
	if child.NextSeq < parent.NextSeq || child.HighestStamp < parent.HighestStamp {
		c.damage(path, "next_seq %d and highest_stamp %d are below those of its parent", child.NextSeq, child.HighestStamp)
	}
	if child.RootID != parent.RootID {
		c.damage(path, "belongs to root %s, its parent to %s", child.RootID, parent.RootID)
	}
}

// outside tells of manifests that are not ancestors of the newest one. A compactor that slept created
// them too late (R2), and they are void. They are never the newest, nobody reads them, and
// their data files may be gone.
func (c *checker) outside(void []generation.Manifest) {
	for _, m := range void {
		c.note(c.Root.Manifest(m.Generation), "is not an ancestor of the newest generation: void, or left over")
	}
}

// dataFiles checks size and checksum of every data file that a manifest names.
func (c *checker) dataFiles(ctx context.Context, _ generation.Manifest) error {
	seen := map[string]bool{}
	for _, m := range slices.Backward(c.all) {
		for _, d := range m.Files() {
			if seen[d.Name] {
				continue
			}
			seen[d.Name] = true
			if err := ctx.Err(); err != nil {
				return err
			}
			c.dataFile(m, d)
		}
	}
	return nil
}

func (c *checker) dataFile(m generation.Manifest, d generation.DataFile) {
	path := c.Root.Data(d.Name)
	c.done.DataFiles++
	err := c.CheckFile(d)
	if errors.Is(err, fs.ErrNotExist) && c.isSwept(m) {
		return
	}
	if err != nil {
		c.damageOf(m.Generation, path, err)
	}
}

// damageOf tells of a damaged file of a generation. It is only a note if a repair has gone back to an earlier generation.
func (c *checker) damageOf(g cohort.Generation, path string, err error) {
	if generation.IsVoid(c.all, g) {
		c.note(path, "%v: a repair has gone back to an earlier generation", err)
		return
	}
	c.damage(path, "%v", err)
	c.bad[path] = true
}

func (c *checker) isSwept(m generation.Manifest) bool {
	_, err := c.FS.Stat(c.Root.Manifest(m.Generation))
	return errors.Is(err, fs.ErrNotExist)
}

// rows reads both data files of the newest generation side by side.
func (c *checker) rows(ctx context.Context, newest generation.Manifest) error {
	c.versions = map[cohort.Key]cohort.Version{}
	if newest.Generation == 0 {
		return nil
	}
	open := c.Data
	if w := newest.Withdrawn; w != nil && c.bad[c.Root.Data(w.Index.Name)] {
		open = c.FirstPair // dataFiles has told of the other
	}
	d, err := open(newest)
	path := c.Root.Data(newest.Index.Name)
	if errors.Is(err, generation.ErrConflict) {
		c.bad[path] = true // so that no record is looked for in it
		return nil         // swept, because a later generation was committed: the next check reads that
	}
	if err != nil {
		c.damage(path, "%v", err)
		c.bad[path] = true
		return nil
	}
	defer d.Close()
	c.tombstones(d, newest)
	ids := c.pair(d, newest.Index, newest.Snapshots, newest)
	c.done.Rows = int64(len(ids))
	c.extras(d.Index, path)
	c.withdrawn(d, ids, newest)
	return ctx.Err()
}

// pair reads an index and its snapshots side by side.
func (c *checker) pair(d *generation.Data, of generation.DataFile, snapshots generation.Snapshots, newest generation.Manifest) []identity {
	path := c.Root.Data(of.Name)
	ids := c.indexRows(d.Index, path, newest)
	if int64(len(ids)) != of.Rows {
		c.damage(path, "has %d readable rows, its manifest says %d", len(ids), of.Rows)
	}
	for _, s := range snapshots {
		if c.bad[path] {
			break // there is nothing to compare them with, and dataFiles has compared their checksums
		}
		c.snapshotLines(d, s, ids)
	}
	for _, err := range d.Index.Rows() {
		if err != nil {
			c.damage(path, "%v", err)
			break
		}
	}
	return ids
}

// identity is what index and snapshots must agree on.
type identity struct {
	cohort cohort.ID
	key    cohort.Key
	seq    cohort.Seq
	at     cohort.Version
}

// indexRows checks keys and seqs of an index and returns them in file order.
func (c *checker) indexRows(file *index.File, path string, newest generation.Manifest) []identity {
	var ids []identity
	last := cohort.Seq(0)
	for h, err := range file.Identities() {
		if err != nil {
			c.damage(path, "row %d: %v", len(ids)+1, err)
			break
		}
		if _, twice := c.versions[h.Key]; twice {
			c.among(path, "key %q stands twice, again in row %d", h.Key, len(ids)+1)
		}
		if h.Seq <= last || h.Seq >= newest.NextSeq {
			c.among(path, "row %d has snapshot_seq %d: it must be above %d and below %d", len(ids)+1, h.Seq, last, newest.NextSeq)
		}
		if h.Version.Stamp > newest.HighestStamp {
			c.among(path, "row %d has a stamp above the manifest's highest", len(ids)+1)
		}
		last = max(last, h.Seq)
		c.versions[h.Key] = h.Version
		ids = append(ids, identity{h.Cohort, h.Key, h.Seq, h.Version})
	}
	return ids
}

// extras tells what stands in no column.
func (c *checker) extras(file *index.File, path string) {
	all, err := file.Extras()
	if err != nil {
		c.damage(path, "%v", err)
		return
	}
	for _, line := range all.Lines() {
		c.note(path, "%s", line)
	}
}

// snapshotLines checks that the snapshots of a file are those of the rows, in the same order.
func (c *checker) snapshotLines(d *generation.Data, file generation.SnapshotsFile, ids []identity) {
	path := c.Root.Data(file.Name)
	r, err := d.Snapshots(file)
	if errors.Is(err, generation.ErrConflict) {
		return // swept
	}
	if err != nil {
		c.damage(path, "%v", err)
		return
	}
	defer r.Close()
	if file.Cohort != "" {
		ids = slices.DeleteFunc(slices.Clone(ids), func(h identity) bool { return h.cohort != file.Cohort })
	}
	i := 0
	for s, err := range index.Snapshots(r) {
		switch {
		case err != nil:
			c.damage(path, "entry %d: %v", i+1, err)
			return
		case i >= len(ids):
			c.damage(path, "entry %d (%q) has no row in the index", i+1, s.Key)
			return
		case s.Key != ids[i].key || s.Seq != ids[i].seq:
			c.damage(path, "entry %d is %q with seq %d, the index has %q with seq %d there", i+1, s.Key, s.Seq, ids[i].key, ids[i].seq)
			return
		}
		i++
	}
	if i < len(ids) {
		c.damage(path, "has %d entries, the index has %d rows", i, len(ids))
	}
}

// public checks that the published files are the newest generation, which may change meanwhile.
func (c *checker) public(ctx context.Context, newest generation.Manifest) error {
	for newest.Generation > 0 && !c.lacks && ctx.Err() == nil {
		old, busy, err := unpublished(c.Store, newest)
		now, lerr := c.Newest()
		if lerr != nil {
			return nil // manifests tells of it
		}
		if now.Generation != newest.Generation {
			newest = now
			continue
		}
		if err != nil {
			c.damage(c.Root.Index(), "%v", err)
		}
		for _, p := range old {
			if c.bad[c.Root.Data(p.Data.Name)] {
				continue // the same file by another name, or about to be
			}
			if !busy && c.MayBeOld(0) {
				c.unseen(p.Name, notShown, newest.Generation)
			} else if busy {
				c.note(p.Name, notPublished, newest.Generation)
			} else {
				c.damage(p.Name, "is not generation %d, which is committed: compactd once publishes it", newest.Generation)
			}
		}
		break
	}
	return ctx.Err()
}

// What is said of a public file that is not the newest generation, and may be soon.
const (
	notShown     = "the storage does not show it as generation %d yet, which is committed"
	notPublished = "is not generation %d yet, which a compactor at work has committed"
)

// unpublished are the public names that do not show m. If there are any, busy tells whether a compactor holds the lock, as far as locks work
// here. The lock is not kept.
func unpublished(store *generation.Store, m generation.Manifest) (old []generation.Public, busy bool, err error) {
	old, err = store.Unpublished(m)
	if err == nil && len(old) > 0 {
		busy = compactor.IsBusy(store.Root, time.Now())
		old, err = store.Unpublished(m) // again: a compactor that has just finished may have published it
	}
	return old, busy, err
}

// streams reads every stream from its first byte.
func (c *checker) streams(ctx context.Context, newest generation.Manifest) error {
	streams, unknown, err := c.Journal().Streams()
	if err != nil {
		c.damage(c.Root.Cohorts(), "%v", err)
	}
	for _, path := range unknown {
		c.note(path, "was not made by runfold")
	}
	marks := newest.Marks()
	for _, s := range streams {
		if err := ctx.Err(); err != nil {
			return err
		}
		c.stream(s, marks[s.Stream], newest)
	}
	if err := c.goneStreams(streams, newest); err != nil {
		return err
	}
	if c.unjudged > 0 {
		c.note(c.Root.Cohorts(), "%d folded records were not looked for in the index, which could not be read", c.unjudged)
	}
	return nil
}

func (c *checker) stream(s journal.Place, mark generation.Watermark, newest generation.Manifest) {
	path := cohort.SegmentIn(s.Dir)
	c.since = mark.Grown
	defer func() { c.since = 0 }()
	if c.lacksSegment(s, mark, newest) {
		return
	}
	r, err := c.Journal().Open(s, journal.Position{})
	if errors.Is(err, fs.ErrNotExist) {
		return // swept since the listing
	}
	if err != nil {
		c.damage(path, "%v", err)
		return
	}
	defer r.Close()
	c.done.Streams++
	met := mark.Offset == 0
	for {
		rec, err := r.Next()
		at := r.Position()
		met = met || at == mark.Position
		var damage *journal.CorruptError
		switch {
		case errors.As(err, &damage) && mark.Damaged && damage.Offset < mark.Offset:
			c.note(path, "%d bytes at offset %d are damaged and were passed over: %s keeps them", damage.Length, damage.Offset, c.Root.Rel(c.Root.Quarantine(s.Cohort)))
			continue
		case errors.As(err, &damage) && !mark.Sealed && damage.Offset >= mark.Synced && damage.Offset+damage.Length <= mark.Offset:
			c.lostUnsynced(path, damage.Offset, mark)
			continue
		case errors.As(err, &damage):
			c.damage(path, "%d bytes at offset %d: %v", damage.Length, damage.Offset, damage.Err)
			met = true // or it is in these bytes
			continue
		case errors.Is(err, io.EOF):
			if n := r.Torn(); n > 0 {
				c.note(path, "%d bytes at offset %d are not an entry: %s", n, at.Offset, tailMeans(s.Reaped))
			}
			if !met && at.Offset < mark.Offset && c.MayBeOld(mark.Grown) {
				c.unseen(path, "the storage does not show it up to offset %d, up to which it was folded", mark.Offset)
			} else if !met && mark.MayEndAt(at) {
				c.lostUnsynced(path, at.Offset, mark)
			} else if !met {
				c.damage(path, "has no entry that ends at offset %d, up to which it was folded", mark.Offset)
			}
			return
		case errors.Is(err, cohort.ErrNewer):
			c.note(path, "%v", err)
			return
		case err != nil:
			c.damage(path, "%v", err)
			return
		}
		c.record(path, rec, at.Offset <= mark.Offset, newest)
	}
}

func tailMeans(reaped bool) string {
	if reaped {
		return "its writer ended there"
	}
	return "still being written, or damage that is decided when the stream has its seal or is reaped"
}

// record checks that a folded record is in the index, or a later write of its key.
func (c *checker) record(path string, rec cohort.Record, isFolded bool, newest generation.Manifest) {
	c.done.Records++
	switch {
	case !isFolded:
		c.done.Unfolded++
		return
	case c.bad[c.Root.Data(newest.Index.Name)], c.lostOut:
		c.unjudged++
		return
	case c.isErased(path, rec):
		return
	case rec.Action != cohort.NoAction:
		if !c.acts[rec.Version()] {
			c.among(path, "action %s (%v %q) was folded and is not among the actions", rec.ID, rec.Action, rec.RunID)
		}
		return
	}
	key := c.Settings.Key.Of(rec)
	at, ok := c.versions[key]
	v := rec.Version()
	// A row of before digests has none, and would be below the very record that it was made of.
	stands := at.Compare(v) >= 0 || at.SameWrite(v) && at.Stamp >= v.Stamp
	if !ok || !stands {
		c.among(path, "record %s (%q) was folded and is not in the index", rec.ID, key)
	}
}

// kept tells what is in quarantine.
func (c *checker) kept(context.Context, generation.Manifest) error {
	aside, err := c.SetAside()
	if err != nil {
		c.damage(c.Root.DamagedGenerations(), "%v", err)
	}
	for _, name := range aside {
		c.note(filepath.Join(string(c.Root), filepath.FromSlash(name)), "another program has saved it over a public file: take its rows in with compactd import, then delete it")
	}
	n, err := countQuarantine(c.Store)
	if err != nil {
		c.damage(c.Root.QuarantineDir(), "%v", err)
	} else if n > 0 {
		c.note(c.Root.QuarantineDir(), "keeps %d damaged places and streams of earlier folds", n)
	}
	return nil
}
