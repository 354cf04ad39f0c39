package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

// BackedUp is what Backup copied.
type BackedUp struct {
	Root       cohort.Root       `json:"root"`
	To         string            `json:"to"`
	RootID     string            `json:"root_id"`
	Generation cohort.Generation `json:"generation"` // the one that was copied; 0: never folded
	Rows       int64             `json:"rows"`
	Streams    int               `json:"streams"`  // with records that this generation has not folded
	Unfolded   int64             `json:"unfolded"` // those records
	Bytes      int64             `json:"bytes"`    // of all copies
	// Problems are places in streams that are damaged in the root, and so in the backup.
	Problems []Problem `json:"problems"`
	// Left are directories beside To that a backup left which was killed, or that belong to one that is at work.
	Left []string `json:"left"`
}

// Whole tells whether no stream is damaged.
func (b BackedUp) Whole() bool {
	return !slices.ContainsFunc(b.Problems, func(p Problem) bool { return p.Damage })
}

// ErrTaken reports a place in which no backup can be made.
var ErrTaken = errors.New("a backup needs a new or empty directory outside the root")

// Backup copies a root while others append and fold. The backup is a root: one whole generation, the streams that it has not folded,
// each up to the end of an entry, and what stands in quarantine/. It holds every record that was acknowledged before Backup was
// called, as far as this machine could see it then. dir must not exist, or be an empty directory; the directory above it must exist.
//
//	the newest manifest      which streams need not be copied
//	list and copy streams    what is not folded
//	the newest manifest      this generation is copied; it is the same one, or a later one
//	its data files           compared with their checksums; if it was swept meanwhile: the newest one
//	drop streams             that this generation has folded
//	rename                   to dir: the backup is whole, or it is not there
//
// This order makes it right without a lock. A record that was acknowledged before is in its stream when that is copied, or it was
// folded before, and so is in every later generation (docs/durability.md, R26).
//
// On success all of it is on stable storage. On error dir is as it was, and nothing is left beside it; if the process is killed, a
// directory ".NAME.*.tmp" is left, which is no root. It writes nothing in the root. A restore is a Backup of the backup.
func Backup(ctx context.Context, cfg compactor.Config, dir string) (BackedUp, error) {
	if cfg.FS == nil {
		cfg.FS = durable.OS
	}
	disk := cfg.FS
	cfg.FS = until{disk, ctx}
	store, err := cfg.Store()
	if err != nil {
		return BackedUp{}, err
	}
	p, err := claim(disk, store.Root, dir, store.Settings.DirMode.FS())
	if err != nil {
		return BackedUp{}, err
	}
	b := &backup{
		Store: store, to: cohort.Root(p.temp), disk: disk,
		dirs: map[string]durable.Dir{}, files: map[string]bool{}, streams: map[journal.Stream]copied{},
	}
	b.out = BackedUp{Root: store.Root, To: dir, RootID: store.Settings.RootID, Problems: []Problem{}, Left: p.left}
	err = b.all(ctx)
	b.closeDirs()
	if err == nil {
		err = p.keep()
	}
	if err != nil {
		return BackedUp{}, errors.Join(fmt.Errorf("back up %s: %w", store.Root, err), p.drop())
	}
	return b.out, nil
}

// backup is one call of Backup.
type backup struct {
	*generation.Store             // of the root
	to                cohort.Root // the copy, under its temporary name
	disk              durable.FS  // does not end with the context
	out               BackedUp

	dirs    map[string]durable.Dir    // those of the copy, open since before their first entry (S2)
	files   map[string]bool           // data files that were copied
	streams map[journal.Stream]copied // those of which a copy was made
	gone    []journal.Stream          // listed, and not there any more
}

// maxSwept bounds how often a backup takes the next generation because the one that it copied was swept.
const maxSwept = 20

func (b *backup) all(ctx context.Context) error {
	if err := b.open(string(b.to)); err != nil {
		return err
	}
	first, err := b.Newest()
	if err != nil {
		return err
	}
	if err := b.copyStreams(ctx, first); err != nil {
		return err
	}
	m, err := b.copyGeneration(ctx, first)
	if err != nil {
		return err
	}
	if err := b.dropFolded(first, m); err != nil {
		return err
	}
	if err := b.copyTree(ctx, b.Root.QuarantineDir(), b.to.QuarantineDir()); err != nil {
		return err
	}
	if m.Generation > 0 {
		there := generation.New(generation.Store{FS: b.disk, Root: b.to, Settings: b.Settings})
		if err := there.Publish(m, false); err != nil {
			return err
		}
	}
	b.out.Generation, b.out.Rows = m.Generation, m.Index.Rows
	// The settings come last: a directory without them is no root.
	data, err := durable.Read(b.FS, b.Root.Settings(), 1<<20)
	if err == nil {
		err = b.write(b.to.Settings(), bytes.NewReader(data), b.Settings.FileMode.FS())
	}
	if err != nil {
		return err
	}
	return b.syncDirs()
}

// copyGeneration copies the newest generation, or if that is swept meanwhile the one that is the newest then.
func (b *backup) copyGeneration(ctx context.Context, first generation.Manifest) (generation.Manifest, error) {
	for try := 0; ; try++ {
		if err := ctx.Err(); err != nil {
			return generation.Manifest{}, err
		}
		m, err := b.copyNewest(first)
		if !errors.Is(err, generation.ErrConflict) || try == maxSwept {
			return m, err
		}
	}
}

func (b *backup) copyNewest(first generation.Manifest) (generation.Manifest, error) {
	newest, err := b.Newest()
	if err != nil || newest.Generation == 0 {
		return newest, err
	}
	if newest.Generation < first.Generation {
		return newest, fmt.Errorf("generation %d is the newest after %d: the listing is an old one: %w", newest.Generation, first.Generation, generation.ErrConflict)
	}
	if err := b.mustFollow(first, newest); err != nil {
		return newest, err
	}
	data, err := durable.Read(b.FS, b.Root.Manifest(newest.Generation), cohort.MaxManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return newest, fmt.Errorf("generation %d was swept: %w", newest.Generation, generation.ErrConflict)
	}
	if err != nil {
		return newest, err
	}
	m, err := generation.DecodeManifest(data)
	if err != nil {
		return newest, fmt.Errorf("manifest %s: %w", b.Root.Manifest(newest.Generation), err)
	}
	named := map[string]bool{}
	for _, d := range m.Files() {
		named[d.Name] = true
		if err := b.copyData(m, d); err != nil {
			return m, err
		}
	}
	for name := range b.files { // of a generation that was swept before it was whole here
		if !named[name] {
			if err := b.disk.Remove(b.to.Data(name)); err != nil {
				return m, err
			}
			delete(b.files, name)
		}
	}
	if err := b.copyMore(m); err != nil {
		return m, err
	}
	if err := b.mkdir(b.to.Manifests()); err != nil {
		return m, err
	}
	return m, b.write(b.to.Manifest(m.Generation), bytes.NewReader(data), b.Settings.FileMode.FS())
}

// mustFollow returns an error unless what first had folded is in m. A repair that has gone back since has taken it out again.
func (b *backup) mustFollow(first, m generation.Manifest) error {
	for g := first.Generation + 1; g <= m.Generation; g++ {
		between, err := b.Read(g)
		if errors.Is(err, fs.ErrNotExist) {
			continue // swept
		}
		if err != nil {
			return err
		}
		if between.RepairedFrom != nil {
			return errRepaired
		}
	}
	return nil
}

var errRepaired = fmt.Errorf("the root was repaired at the same time: begin the backup again: %w", generation.ErrConflict)

// copyData copies one data file, and compares its bytes with what was committed.
func (b *backup) copyData(m generation.Manifest, d generation.DataFile) error {
	if b.files[d.Name] {
		return nil
	}
	if err := b.mkdir(b.to.DataDir()); err != nil {
		return err
	}
	path := b.Root.Data(d.Name)
	err := durable.Regular(b.FS, path)
	if errors.Is(err, durable.ErrLink) { // what it leads to was never committed
		return fmt.Errorf("%w: %w", generation.ErrCorrupt, err)
	}
	var file durable.ReadFile
	if err == nil {
		file, err = b.FS.Open(path)
	}
	if err != nil {
		return b.lost(m, err)
	}
	defer file.Close()
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	const readOnly = 0o222 // as in the root
	n := &counted{r: io.TeeReader(file, sum)}
	if err := b.write(b.to.Data(d.Name), n, b.Settings.FileMode.FS()&^readOnly); err != nil {
		if durable.IsStale(err) {
			err = b.lost(m, err)
		}
		return err
	}
	b.files[d.Name] = true
	if n.n != d.Size || generation.CRC(sum.Sum32()) != d.CRC32C {
		return fmt.Errorf("%s: %w: its bytes are not those that were committed", path, generation.ErrCorrupt)
	}
	return nil
}

type counted struct {
	r io.Reader
	n int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// lost tells a data file that was swept meanwhile from one that is missing.
func (b *backup) lost(m generation.Manifest, err error) error {
	if !errors.Is(err, fs.ErrNotExist) && !durable.IsStale(err) {
		return err
	}
	if now, lerr := b.Newest(); lerr == nil && now.Generation > m.Generation {
		return fmt.Errorf("generation %d was swept: raise --keep-age of the compactor: %w", m.Generation, generation.ErrConflict)
	}
	if durable.IsStale(err) {
		return err
	}
	return fmt.Errorf("generation %d: %w: %w", m.Generation, generation.ErrCorrupt, err)
}

// copyTree copies the regular files below a directory as they are. What is gone meanwhile is left out, and so is everything that is
// neither a file nor a directory: no link is followed (P13).
func (b *backup) copyTree(ctx context.Context, from, to string) error {
	entries, err := b.FS.ReadDir(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		source, target := filepath.Join(from, e.Name()), filepath.Join(to, e.Name())
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case e.IsDir():
			err = b.copyTree(ctx, source, target)
		case e.Type().IsRegular() && !durable.IsTemp(e.Name()):
			err = b.copyPlain(source, target)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (b *backup) copyPlain(source, target string) error {
	file, err := b.FS.Open(source)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := b.mkdir(filepath.Dir(target)); err != nil {
		return err
	}
	return b.write(target, file, b.Settings.FileMode.FS())
}
