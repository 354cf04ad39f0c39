package audit

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/durable"
)

// Where manifests are missing or cannot be read, the rows of a later generation may still stand in files. A repair takes them from
// there, in this order:
//
//	a manifest in quarantine/ or in the backup   it says which files belong to it, and what was folded
//	an index and snapshots that fit it           every row is there; what was folded is taken from the manifest before, so
//	                                             streams are read again, and change nothing
//
// An index without fitting snapshots is not enough: each of them has parts of a record that the other has not.

// restore is a data file that is made anew from a whole copy.
type restore struct {
	file generation.DataFile
	from string
}

// candidate is a generation that a repair may take.
type candidate struct {
	manifest generation.Manifest
	restores []restore
	rebuilt  bool // without a manifest of its own
}

// fromManifests looks among the sources for the highest manifest whose data files are whole somewhere.
func (r *repairer) fromManifests(ctx context.Context, above cohort.Generation) (best candidate, err error) {
	files, err := r.src.named(".json")
	if err != nil {
		return best, err
	}
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return best, err
		}
		if f.size > cohort.MaxManifest || !r.isManifest(f.path) {
			continue
		}
		data, err := durable.Read(r.FS, f.path, cohort.MaxManifest)
		if err != nil || !cohort.IsWholeManifest(data) {
			continue
		}
		m, err := generation.DecodeManifest(data)
		if err != nil || m.RootID != r.Settings.RootID || m.Generation <= max(above, best.manifest.Generation) || generation.IsVoid(r.chain, m.Generation) {
			continue
		}
		if restores, _, whole, err := r.copies(m); err != nil {
			return best, err
		} else if whole {
			best = candidate{manifest: m, restores: restores}
		}
	}
	return best, nil
}

// isManifest tells whether a file begins as a manifest does. Snapshots may be large, and are not read for this.
func (r *repairer) isManifest(path string) bool {
	const begin = `{"crc32c":"`
	file, err := r.FS.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	buf := make([]byte, len(begin))
	_, err = io.ReadFull(file, buf)
	return err == nil && string(buf) == begin
}

// copies finds out whether each data file of a generation is whole, in its place or in a copy.
func (r *repairer) copies(m generation.Manifest) (restores []restore, damaged []Problem, whole bool, err error) {
	whole = true
	for _, d := range m.Files() {
		cerr := r.Doubt(r.CheckFile(d), 0)
		if cerr == nil {
			continue
		}
		if durable.IsAway(cerr) {
			return nil, nil, false, cerr
		}
		damaged = append(damaged, Problem{r.Root.Rel(r.Root.Data(d.Name)), strings.TrimPrefix(cerr.Error(), r.Root.Data(d.Name)+": "), true})
		from, ok, err := r.src.of(d)
		if err != nil {
			return nil, nil, false, err
		}
		if ok {
			restores = append(restores, restore{d, from})
		}
		whole = whole && ok
	}
	return restores, damaged, whole, nil
}

// indexFile is an index that no manifest names.
type indexFile struct {
	source
	meta index.Meta
	rows int64
}

// fromIndexes looks for the highest index that is whole, has every row that Good has or a later write of it, and has snapshots
// that fit.
func (r *repairer) fromIndexes(ctx context.Context, above cohort.Generation) (candidate, error) {
	files, err := r.src.named(".parquet")
	if err != nil {
		return candidate{}, err
	}
	var all []indexFile
	for _, f := range files {
		if in, ok := r.indexOf(f, above); ok {
			all = append(all, in)
		}
	}
	slices.SortStableFunc(all, func(a, b indexFile) int { // what is published stands first in the list, and was committed
		return cmp.Or(cmp.Compare(b.meta.Generation, a.meta.Generation))
	})
	before, err := r.versionsOf(r.good)
	if err != nil {
		return candidate{}, err
	}
	for _, in := range all {
		if err := ctx.Err(); err != nil {
			return candidate{}, err
		}
		c, ok, err := r.rebuild(in, r.baseOf(in.meta.Generation), before)
		if err != nil || ok {
			return c, err
		}
	}
	return candidate{}, nil
}

// indexOf opens an index of a generation above, and not of one whose manifest is in the root: that says what its files are.
func (r *repairer) indexOf(f source, above cohort.Generation) (in indexFile, ok bool) {
	file, err := r.FS.Open(f.path)
	if err != nil {
		return in, false
	}
	defer file.Close()
	x, err := index.Open(file, f.size)
	if err != nil {
		return in, false
	}
	in = indexFile{f, x.Meta(), x.NumRows()}
	known := slices.ContainsFunc(r.chain, func(m generation.Manifest) bool { return m.Generation == in.meta.Generation })
	return in, !in.meta.Withdrawn && in.meta.Generation > above && !known && !generation.IsVoid(r.chain, in.meta.Generation)
}

// versionsOf are the rows of a generation; nil if its index is not whole either.
func (r *repairer) versionsOf(m generation.Manifest) (map[cohort.Key]cohort.Version, error) {
	if m.Generation == 0 || r.CheckFile(m.Index) != nil {
		return nil, nil
	}
	d, err := r.Data(m)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	rows := map[cohort.Key]cohort.Version{}
	for h, err := range d.Index.Identities() {
		if err != nil {
			return nil, err
		}
		rows[h.Key] = h.Version
	}
	return rows, nil
}

// rebuild makes a manifest of an index and of snapshots that fit. ok is false if the index is not whole, lacks a row of before, or
// has no such snapshots.
func (r *repairer) rebuild(in indexFile, base generation.Manifest, before map[cohort.Key]cohort.Version) (c candidate, ok bool, err error) {
	file, err := r.FS.Open(in.path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, false, nil
	}
	if err != nil {
		return c, false, err
	}
	defer file.Close()
	x, err := index.Open(file, in.size)
	if err != nil {
		return c, false, nil
	}
	ids, highest, ok := wholeRows(x, before)
	sum, readable := r.src.sum(in.path)
	if !ok || !readable {
		return c, false, nil
	}
	m := base
	m.Generation, m.Schema, m.NextSeq = in.meta.Generation, x.Schema(), max(base.NextSeq, 1)
	if len(ids) > 0 {
		m.NextSeq = max(m.NextSeq, ids[len(ids)-1].seq+1)
	}
	m.HighestStamp = max(base.HighestStamp, highest)
	m.Index = generation.DataFile{Name: cohort.IndexName(in.meta.Generation, in.meta.Token), Size: in.size, Rows: in.rows, CRC32C: sum}
	c = candidate{manifest: m, rebuilt: true, restores: []restore{{m.Index, in.path}}}
	ok, err = r.addSnapshots(&c, in.meta, ids)
	if err != nil || !ok || r.contradicts(c) {
		return candidate{}, false, err
	}
	return c, true, nil
}

// contradicts tells whether the damaged manifest of a generation still says that one of its files had another checksum.
func (r *repairer) contradicts(c candidate) bool {
	data, err := durable.Read(r.FS, r.Root.Manifest(c.manifest.Generation), cohort.MaxManifest)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(c.manifest.Files(), func(d generation.DataFile) bool {
		return bytes.Contains(data, []byte(d.Name)) && !bytes.Contains(data, []byte(d.CRC32C.String()))
	})
}

// wholeRows reads all of an index: every page, keys that stand once, seqs that increase, and each key of before, in the same write
// or a later one.
func wholeRows(x *index.File, before map[cohort.Key]cohort.Version) (ids []identity, highest cohort.Stamp, ok bool) {
	for _, err := range x.Rows() {
		if err != nil {
			return nil, 0, false
		}
	}
	seen, found := map[cohort.Key]bool{}, 0
	for h, err := range x.Identities() {
		if err != nil || seen[h.Key] || len(ids) > 0 && h.Seq <= ids[len(ids)-1].seq {
			return nil, 0, false
		}
		seen[h.Key] = true
		if was, is := before[h.Key]; is {
			if h.Version.Compare(was) < 0 && !h.Version.SameWrite(was) {
				return nil, 0, false
			}
			found++
		}
		highest = max(highest, h.Version.Stamp)
		ids = append(ids, identity{h.Cohort, h.Key, h.Seq, h.Version})
	}
	return ids, highest, found == len(before)
}

// addSnapshots finds the snapshots files of a rebuilt generation among all sources, by what they hold.
func (r *repairer) addSnapshots(c *candidate, of index.Meta, ids []identity) (ok bool, err error) {
	files, err := r.src.named(".json", "snapshot")
	if err != nil {
		return false, err
	}
	c.manifest.Snapshots = nil
	parts := map[cohort.ID][]identity{"": ids}
	if r.Settings.Snapshots == cohort.PerCohort {
		parts = map[cohort.ID][]identity{}
		for _, h := range ids {
			parts[h.cohort] = append(parts[h.cohort], h)
		}
	}
	for id, rows := range parts {
		i := slices.IndexFunc(files, func(f source) bool { return r.fits(f, rows) })
		if i < 0 {
			return false, nil
		}
		sum, readable := r.src.sum(files[i].path)
		if !readable {
			return false, nil
		}
		name := cohort.SnapshotsName(of.Generation, of.Token)
		if id != "" { // a number that no fold has given
			name = cohort.CohortSnapshotsName(of.Generation, of.Token, 900_000+len(c.manifest.Snapshots))
		}
		d := generation.DataFile{Name: name, Size: files[i].size, Rows: int64(len(rows)), CRC32C: sum}
		c.manifest.Snapshots = append(c.manifest.Snapshots, generation.SnapshotsFile{Cohort: id, DataFile: d})
		c.restores = append(c.restores, restore{d, files[i].path})
	}
	slices.SortFunc(c.manifest.Snapshots, func(a, b generation.SnapshotsFile) int { return cmp.Compare(a.Cohort, b.Cohort) })
	return true, nil
}

// fits tells whether a file holds the snapshots of exactly these rows. Most files are refused by their first line.
func (r *repairer) fits(f source, rows []identity) bool {
	file, err := r.FS.Open(f.path)
	if err != nil {
		return false
	}
	defer file.Close()
	i := 0
	for line, err := range index.Snapshots(file) {
		if err != nil || i >= len(rows) || line.Key != rows[i].key || line.Seq != rows[i].seq {
			return false
		}
		i++
	}
	return i == len(rows)
}

// keepOrphans keeps the data files above a generation that no manifest names: once a higher generation is committed, a sweep takes
// them for what a killed fold has left.
func (r *repairer) keepOrphans(above cohort.Generation) error {
	entries, err := r.FS.ReadDir(r.Root.DataDir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		g, _, ours := cohort.ParseDataName(e.Name())
		if !ours || g <= above || !e.Type().IsRegular() {
			continue
		}
		if _, err := r.Keep(filepath.Join(r.Root.DataDir(), e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("keep %s: %w", e.Name(), err)
		}
	}
	return nil
}
