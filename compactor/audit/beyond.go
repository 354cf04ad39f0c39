package audit

import (
	"context"
	"errors"
	"math"
	"slices"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
)

// fromFiles looks beyond the manifests of the root where they do not lead to the newest generation: manifests are missing, or the
// newest cannot be read, or none leads to a whole generation, which none says.
func (r *repairer) fromFiles(ctx context.Context, none error) error {
	missing, err := r.lacking()
	if err != nil {
		return err
	}
	if !missing && none == nil && r.out.Good == r.top {
		r.use(r.restores)
		return nil
	}
	if err := r.readChain(); err != nil {
		return err
	}
	c, err := r.later(ctx, r.out.Good)
	if err != nil {
		return err
	}
	is := c.manifest.Generation > 0
	if none != nil && !missing {
		is = is && c.manifest.Generation == r.out.Newest // else it would give up what the newest had folded, and nobody knows what that was
	}
	if is && !missing && none == nil { // going back may be enough: then the manifest that it goes back to says what was folded
		if is, err = r.hasMore(c); err != nil {
			return err
		}
	}
	switch {
	case is:
		r.take(c)
	case none != nil:
		return none
	}
	r.use(r.restores)
	if missing {
		r.out.doubtful = r.out.doubtful || r.out.Good < r.out.Newest
		r.unknownTo(r.out.Newest)
	}
	return nil
}

// lacking tells whether manifests are missing, and says so.
func (r *repairer) lacking() (bool, error) {
	r.top = r.out.Newest
	newest, err := r.Read(r.top)
	if r.top == 0 {
		newest = r.Zero()
	} else if err != nil {
		newest = generation.Manifest{Generation: r.top, NextSeq: math.MaxUint64} // what it had assigned is not known
	}
	err = r.CheckMissing(newest)
	var missing *generation.MissingError
	switch {
	case errors.As(err, &missing):
		r.out.Missing, r.out.Newest, r.out.Anew = missing.Error(), missing.Seen, true
		return true, nil
	case errors.Is(err, generation.ErrConflict):
		return false, nil // others commit: what can be repaired is found by the next try
	}
	return false, err
}

// readChain reads all manifests of the root that can be read.
func (r *repairer) readChain() error {
	gens, err := r.List()
	if err != nil || r.chain != nil {
		return err
	}
	for _, g := range gens {
		if m, err := r.Read(g); err == nil {
			r.chain = append(r.chain, m)
		}
	}
	return nil
}

// use notes what is made anew from copies, each file once: generations share files.
func (r *repairer) use(all []restore) {
	for _, d := range all {
		path := r.Root.Data(d.file.Name)
		noted := slices.ContainsFunc(r.out.Restored, func(made Restored) bool { return made.Path == r.Root.Rel(path) })
		if path != d.from && !noted && r.CheckFile(d.file) != nil {
			r.out.Restored = append(r.out.Restored, Restored{r.Root.Rel(path), r.Root.Rel(d.from)})
		}
	}
}

// take makes a candidate the generation that the root goes to.
func (r *repairer) take(c candidate) {
	r.good, r.restores = c.manifest, c.restores
	r.out.Good, r.out.Rebuilt, r.out.Anew = c.manifest.Generation, c.rebuilt, true
	r.out.Unerased = c.unerased
	r.out.Newest = max(r.out.Newest, r.out.Good)
	// No manifest says how the generations above follow from this one, or whether it is one of a compactor that slept (R2).
	r.out.doubtful = r.out.Good < r.out.Newest
	r.lost = slices.DeleteFunc(r.lost, func(m generation.Manifest) bool { return m.Generation <= r.out.Good })
	r.out.Unknown = slices.DeleteFunc(r.out.Unknown, func(g cohort.Generation) bool { return g <= r.out.Good })
}

// maxUnknown bounds how many generations are named whose manifests are missing.
const maxUnknown = 1000

// unknownTo notes the generations above Good whose manifests are missing.
func (r *repairer) unknownTo(seen cohort.Generation) {
	for g := max(r.out.Good, r.top) + 1; g <= seen && len(r.out.Unknown) < maxUnknown; g++ {
		r.out.Unknown = append(r.out.Unknown, g)
	}
}

// hasMore tells whether a generation has rows that going back to Good cannot give again: their streams are gone, they were imported, or
// going back is not known to be without a loss.
func (r *repairer) hasMore(c candidate) (bool, error) {
	here, err := r.StreamsHere()
	if err != nil {
		return false, err
	}
	if r.out.doubtful || len(r.out.Unknown) > 1 {
		return true, nil
	}
	files := []generation.DataFile{c.manifest.Index}
	if c.manifest.Withdrawn != nil {
		files = append(files, c.manifest.Withdrawn.Index)
	}
	for _, d := range files {
		if r.moreIn(r.placeOf(c, d), d, here) {
			return true, nil
		}
	}
	return false, nil
}

// placeOf is where a data file of a candidate stands.
func (r *repairer) placeOf(c candidate, d generation.DataFile) string {
	for _, from := range c.restores {
		if from.file.Name == d.Name {
			return from.from
		}
	}
	return r.Root.Data(d.Name)
}

// moreIn tells whether a file has rows whose streams are gone, and that came after Good.
func (r *repairer) moreIn(path string, d generation.DataFile, here map[cohort.StreamID]bool) bool {
	file, err := r.FS.Open(path)
	if err != nil {
		return true
	}
	defer file.Close()
	x, err := index.Open(file, d.Size)
	if err != nil {
		return true
	}
	for h, err := range x.IdentitiesFrom(max(r.good.NextSeq, 1)) {
		if err != nil || !here[h.Stream] {
			return true
		}
	}
	return false
}

// later looks for the best generation above one: the one with the highest number.
func (r *repairer) later(ctx context.Context, above cohort.Generation) (candidate, error) {
	found, err := r.fromManifests(ctx, above)
	if err != nil {
		return candidate{}, err
	}
	built, err := r.fromIndexes(ctx, max(above, found.manifest.Generation))
	if err != nil || built.rebuilt {
		return built, err
	}
	return found, nil
}

// baseOf is the highest manifest of the root up to g that can be read: its watermarks are those of a generation that has none. What
// it had not folded is read again from the streams.
func (r *repairer) baseOf(g cohort.Generation) generation.Manifest {
	if r.good.Generation == g {
		return r.good
	}
	for _, m := range r.lost { // newest first, all above good
		if m.Generation <= g {
			return m
		}
	}
	if r.good.Generation > 0 {
		return r.good
	}
	return r.Zero()
}
