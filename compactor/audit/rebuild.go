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
	"regexp"
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
// An index without fitting snapshots is not enough: each of them has parts of a record that the other has not. An index that says that
// withdrawn rows belong to it is not enough without these and the actions.

// restore is a data file that is made anew from a whole copy.
type restore struct {
	file generation.DataFile
	from string
}

// candidate is a generation that a repair may take.
type candidate struct {
	manifest generation.Manifest
	restores []restore
	rebuilt  bool   // without a manifest of its own
	says     []byte // see saysOf
	unerased bool   // see Repaired.Unerased
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
	file, err := r.FS.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	head := make([]byte, 32)
	n, _ := io.ReadFull(file, head) // a manifest is longer
	return cohort.IsManifest(head[:n])
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

// versionsOf are the rows of a generation, also the withdrawn ones; nil if its files are not whole either.
func (r *repairer) versionsOf(m generation.Manifest) (map[cohort.Key]cohort.Version, error) {
	if m.Generation == 0 || r.CheckFile(m.Index) != nil {
		return nil, nil
	}
	if m.Withdrawn != nil && r.CheckFile(m.Withdrawn.Index) != nil {
		return nil, nil
	}
	d, err := r.Data(m)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	rows := map[cohort.Key]cohort.Version{}
	for _, d := range []*generation.Data{d, d.Withdrawn} {
		if d == nil {
			continue
		}
		for h, err := range d.Index.Identities() {
			if err != nil {
				return nil, err
			}
			rows[h.Key] = h.Version
		}
	}
	return rows, nil
}

// rebuild makes a manifest of an index and of snapshots that fit, and of the withdrawn rows that belong to it. ok is false if the index
// is not whole, if a row of before is missing, or if there are no such files.
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
	seen := rowsSeen{before: before, keys: map[cohort.Key]bool{}, next: max(base.NextSeq, 1), highest: base.HighestStamp}
	c.says = r.saysOf(in.meta)
	ids, ok := seen.add(x)
	if !ok {
		return c, false, nil
	}
	name := cohort.IndexName(in.meta.Generation, in.meta.Token)
	sum, ok := r.sumOf(&c, in.path, name)
	if !ok {
		return c, false, nil
	}
	m := base
	m.Generation, m.Schema = in.meta.Generation, x.Schema()
	m.Index = generation.DataFile{Name: name, Size: in.size, Rows: in.rows, CRC32C: sum}
	c.manifest, c.rebuilt, c.restores = m, true, []restore{{m.Index, in.path}}
	c.manifest.Snapshots, ok, err = r.addSnapshots(&c, ids, func(n int) string {
		if n == 0 {
			return cohort.SnapshotsName(in.meta.Generation, in.meta.Token)
		}
		return cohort.CohortSnapshotsName(in.meta.Generation, in.meta.Token, n)
	})
	if err == nil && ok {
		ok, err = r.addWithdrawn(&c, in.meta, &seen, ids)
	}
	if err == nil && ok {
		err = r.addErased(&c, in.meta)
	}
	if err != nil || !ok || seen.lacks() {
		return candidate{}, false, err
	}
	c.manifest.NextSeq, c.manifest.HighestStamp = seen.next, seen.highest
	return c, true, nil
}

// saysOf is what is left of the manifest of an attempt; nil if nothing is, or if it is that of another one.
func (r *repairer) saysOf(m index.Meta) []byte {
	data, err := durable.Read(r.FS, r.Root.Manifest(m.Generation), cohort.MaxManifest)
	if err != nil || !bytes.Contains(data, []byte(m.Token)) {
		return nil
	}
	return data
}

// sumOf is the checksum of a file that is to be the data file of this name. ok is false if it cannot be read, or if the damaged manifest
// of the candidate still says that the data file has another one.
func (r *repairer) sumOf(c *candidate, path, name string) (sum generation.CRC, ok bool) {
	sum, ok = r.src.sum(path)
	return sum, ok && !contradicts(c.says, name, sum)
}

// saidFile is how manifests name a data file.
var saidFile = regexp.MustCompile(`(?s)"name": "(.{20,120}?)",\s+"size": [0-9]+,\s+"rows": [0-9]+,\s+"crc32c": "([0-9a-f]{8})"`)

// endsWhole is how manifests end: with the list of streams.
var endsWhole = regexp.MustCompile(`\]\s*\}\s*$`)

// contradicts tells whether what is left of a manifest speaks against a data file with this checksum. A manifest with its end still has
// the checksum of each of its files, whatever the file is called now. One that was cut off may still have another checksum for the
// name. One byte of a name, or of a checksum, may be damaged, too.
func contradicts(manifest []byte, name string, sum generation.CRC) bool {
	if len(manifest) == 0 || isSaid(manifest, sum) {
		return false
	}
	if endsWhole.Match(manifest) {
		return true
	}
	for _, said := range saidFile.FindAllSubmatch(manifest, -1) {
		if len(said[1]) == len(name) && differing(said[1], name) <= 1 {
			return true
		}
	}
	return false
}

// isSaid tells whether a checksum stands in quotes in a manifest, of which one byte may be damaged.
func isSaid(manifest []byte, sum generation.CRC) bool {
	quoted := `"` + sum.String() + `"`
	for i := 0; i+len(quoted) <= len(manifest); i++ {
		if differing(manifest[i:i+len(quoted)], quoted) <= 1 {
			return true
		}
	}
	return false
}

// differing counts the bytes in which two texts of one length differ.
func differing(a []byte, b string) (n int) {
	for i := range a {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}

// rowsSeen are the rows of a generation that is rebuilt, of one file after the other.
type rowsSeen struct {
	before  map[cohort.Key]cohort.Version // rows that must be there, in the same write or a later one
	keys    map[cohort.Key]bool
	found   int // of before
	next    cohort.Seq
	highest cohort.Stamp
}

// lacks tells whether a row of before was in no file.
func (s *rowsSeen) lacks() bool { return s.found != len(s.before) }

// add reads all of a file: every page, keys that stand once, also in the other files, and seqs that increase.
func (s *rowsSeen) add(x *index.File) (ids []identity, ok bool) {
	for _, err := range x.Rows() {
		if err != nil {
			return nil, false
		}
	}
	for h, err := range x.Identities() {
		if err != nil || s.keys[h.Key] || len(ids) > 0 && h.Seq <= ids[len(ids)-1].seq {
			return nil, false
		}
		s.keys[h.Key] = true
		if was, is := s.before[h.Key]; is {
			if h.Version.Compare(was) < 0 && !h.Version.SameWrite(was) {
				return nil, false
			}
			s.found++
		}
		s.next, s.highest = max(s.next, h.Seq+1), max(s.highest, h.Version.Stamp)
		ids = append(ids, identity{h.Cohort, h.Key, h.Seq, h.Version})
	}
	return ids, true
}

// addSnapshots finds the snapshots files of the rows of a rebuilt generation among all sources, by what they hold. name makes the name of
// the n-th, 0 where there is one for all cohorts.
func (r *repairer) addSnapshots(c *candidate, ids []identity, name func(n int) string) (all generation.Snapshots, ok bool, err error) {
	files, err := r.src.named(".json", "snapshot")
	if err != nil {
		return nil, false, err
	}
	parts := map[cohort.ID][]identity{"": ids}
	if r.Settings.Snapshots == cohort.PerCohort {
		parts = map[cohort.ID][]identity{}
		for _, h := range ids {
			parts[h.cohort] = append(parts[h.cohort], h)
		}
	}
	for id, rows := range parts {
		n := 0
		if id != "" { // a number that no fold has given
			n = 900_000 + len(all)
		}
		var sum generation.CRC
		i := slices.IndexFunc(files, func(f source) (ok bool) {
			if r.fits(f, rows) {
				sum, ok = r.sumOf(c, f.path, name(n))
			}
			return ok
		})
		if i < 0 {
			return nil, false, nil
		}
		d := generation.DataFile{Name: name(n), Size: files[i].size, Rows: int64(len(rows)), CRC32C: sum}
		all = append(all, generation.SnapshotsFile{Cohort: id, DataFile: d})
		c.restores = append(c.restores, restore{d, files[i].path})
	}
	slices.SortFunc(all, func(a, b generation.SnapshotsFile) int { return cmp.Compare(a.Cohort, b.Cohort) })
	return all, true, nil
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
