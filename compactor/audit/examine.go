package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

// examine finds out what is damaged. It changes nothing.
func (r *repairer) examine(ctx context.Context) error {
	if err := r.generations(ctx); err != nil {
		return err
	}
	var err error
	if r.all, _, err = r.Journal().Streams(); err != nil {
		return err
	}
	if err := r.streams(ctx); err != nil {
		return err
	}
	if err := r.wrongs(ctx); err != nil {
		return err
	}
	if err := r.declared(ctx); err != nil {
		return err
	}
	r.out.Generation = r.out.Newest
	switch {
	case r.out.Anew:
		if err := r.account(); err != nil {
			return err
		}
		return r.streamsOfBackup()
	case r.out.Newest > 0:
		return r.public()
	}
	return nil
}

// public looks whether the public files are the newest generation, which is whole. A repair with Apply publishes it anyway.
func (r *repairer) public() error {
	if r.opts.Apply {
		var err error
		r.out.Published, err = r.IsPublished(r.good)
		return err
	}
	old, busy, err := unpublished(r.Store, r.good)
	if err != nil {
		return err
	}
	r.out.Published = len(old) == 0
	r.out.NotYet = !r.out.Published && (busy || r.MayBeOld(0))
	for _, p := range old {
		switch {
		case busy:
			r.out.Waiting = append(r.out.Waiting, Problem{r.Root.Rel(p.Name), fmt.Sprintf(notPublished, r.good.Generation), false})
		case r.out.NotYet:
			r.out.Unseen = append(r.out.Unseen, Problem{r.Root.Rel(p.Name), fmt.Sprintf(notShown, r.good.Generation), false})
		}
	}
	return nil
}

// generations looks for the newest whole generation: among the manifests of the root, and where that is not the newest, or
// manifests are missing, among all files.
func (r *repairer) generations(ctx context.Context) error {
	if err := r.fromNewest(ctx); err != nil && !errors.Is(err, ErrNoGeneration) {
		return err
	} else if err := r.fromFiles(ctx, err); err != nil {
		return err
	}
	r.out.Anew = r.out.Anew || r.out.Newest != r.out.Good
	if r.out.Good == 0 {
		return nil
	}
	return r.older(ctx)
}

// fromNewest looks for the newest whole generation, beginning with the newest one. It goes down only as long as each manifest
// is the parent of the one above. A manifest below that may come from a compactor that slept (R2), and is void.
func (r *repairer) fromNewest(ctx context.Context) error {
	gens, err := r.List()
	if err != nil {
		return err
	}
	r.out.Newest = generation.Last(gens)
	lowest := r.out.Newest         // that the newest descends from
	child := generation.Manifest{} // the manifest right above, if it can be read
	for i := len(gens) - 1; i >= 0; i-- {
		if err := ctx.Err(); err != nil {
			return err
		}
		if gens[i]+1 < lowest {
			break // the manifests between are swept or lost
		}
		h, err := r.Read(gens[i])
		if errors.Is(err, cohort.ErrNewer) {
			return err // it is not damage, for example a newer version or an error of the disk
		}
		if err = r.Doubt(err, 0); durable.IsAway(err) {
			return err // to go back because of it could lose what stands there
		}
		if err != nil {
			r.damaged(r.Root.Manifest(gens[i]), err)
			r.out.Unknown = append(r.out.Unknown, gens[i])
			child, lowest = generation.Manifest{}, gens[i]
			continue
		}
		is, sure := true, true
		if gens[i] < r.out.Newest {
			is, sure = r.isParent(h, child)
		}
		if !is {
			break
		}
		restores, damaged, whole, err := r.copies(h)
		if err != nil {
			return err
		}
		r.out.Damaged = append(r.out.Damaged, damaged...)
		if whole {
			r.good, r.out.Good, r.out.doubtful, r.restores = h, h.Generation, !sure, restores
			return nil
		}
		if !sure {
			break
		}
		r.lost = append(r.lost, h)
		child, lowest = h, gens[i]
	}
	if lowest <= 1 {
		return nil // back to the empty root: the streams hold every record that was ever appended
	}
	return fmt.Errorf("%w: restore manifests/ and data/ from a backup: the journals hold only what was appended since generation %d: %w",
		ErrNoGeneration, lowest, generation.ErrCorrupt)
}

// isParent tells whether m is the parent of the manifest above it. child is that manifest, or generation 0 if it cannot be read.
func (r *repairer) isParent(m, child generation.Manifest) (is, sure bool) {
	if child.Generation != 0 {
		return m.IsParentOf(&child), true
	}
	return r.MayBeParent(m)
}

func (r *repairer) damaged(path string, err error) {
	r.out.Damaged = append(r.out.Damaged, Problem{r.Root.Rel(path), err.Error(), true})
}

// streams finds the streams that stop every fold, and those that wait for a decision.
func (r *repairer) streams(ctx context.Context) error {
	marks := r.good.Marks()
	for _, p := range r.all {
		if err := ctx.Err(); err != nil {
			return err
		}
		from := marks[p.Stream].Position
		if from.Sealed {
			continue
		}
		torn, err := r.tryStream(p, from)
		absent := errors.Is(err, fs.ErrNotExist)
		unsynced := journal.IsCutOff(err) && r.mayEndWhereItEnds(p, marks[p.Stream])
		switch err = r.Doubt(err, marks[p.Stream].Grown); {
		case absent, errors.Is(err, cohort.ErrNewer):
		case durable.IsAway(err):
			r.out.Unseen = append(r.out.Unseen, Problem{r.Root.Rel(p.Dir), err.Error(), false})
		case unsynced:
			r.out.Waiting = append(r.out.Waiting, Problem{r.Root.Rel(p.Dir), "a power loss took what was folded before its writer had synced it: " +
				"the next fold goes on from its end", false})
		case journal.IsMisfit(err):
			r.out.Misfits = append(r.out.Misfits, Problem{r.Root.Rel(p.Dir), err.Error(), true})
			r.why[r.Root.Rel(p.Dir)] = err
		case err != nil:
			r.out.Waiting = append(r.out.Waiting, Problem{r.Root.Rel(p.Dir), err.Error(), false})
		case torn > 0 && !p.Reaped:
			r.out.Waiting = append(r.out.Waiting, Problem{r.Root.Rel(p.Dir), fmt.Sprintf(
				"%d bytes are not an entry, perhaps not yet; if its writer has ended, repair with --dead %v", torn, p.Stream), false})
		}
	}
	return nil
}

// mayEndWhereItEnds tells whether a stream that is shorter than its watermark has lost only what was not synced when it was folded.
func (r *repairer) mayEndWhereItEnds(p journal.Place, mark generation.Watermark) bool {
	end, err := r.Journal().End(p)
	return err == nil && mark.MayEndAt(end)
}

// tryStream reads a stream to its end. It ignores damage that a fold passes over by itself.
func (r *repairer) tryStream(p journal.Place, from journal.Position) (torn int64, err error) {
	s, err := r.Journal().Open(p, from)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	for {
		_, err := s.Next()
		switch {
		case err == nil, errors.Is(err, journal.ErrCorrupt):
		case errors.Is(err, io.EOF):
			return s.Torn(), nil
		default:
			return 0, err
		}
	}
}

// account finds the entries that were folded after the generation to go back to, and cannot be folded again.
func (r *repairer) account() error {
	here := map[journal.Stream]bool{}
	for _, p := range r.all {
		here[p.Stream] = true
	}
	kept, err := r.Journal().Quarantined()
	if err != nil {
		return err
	}
	for _, s := range kept {
		here[s] = true
	}
	read := map[journal.Stream]uint64{} // the last entry that good has folded
	for _, m := range r.good.Streams {
		read[m.Stream] = m.Seq
	}
	parent := r.good
	for i := len(r.lost) - 1; i >= 0; i-- { // oldest first
		h := r.lost[i]
		moved := false
		for _, m := range h.Streams {
			last := read[m.Stream]
			moved = moved || m.Seq > last
			if m.Seq > last && !here[m.Stream] {
				r.out.Lost = append(r.out.Lost, LostEntries{m.Stream.String(), last + 1, m.Seq})
			}
			read[m.Stream] = max(last, m.Seq)
		}
		if !moved && h.RepairedFrom == nil && h.Index.Name != parent.Index.Name {
			r.out.Imports = append(r.out.Imports, h.Generation)
		}
		parent = h
	}
	return nil
}
