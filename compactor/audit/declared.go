package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/journal"
)

// ErrNoStream reports a stream of RepairOptions.Dead that the root does not know. Its name was mistyped.
var ErrNoStream = errors.New("no such stream")

// declared makes sure that each stream whose writer the caller declared dead belongs to this root. Such a stream lies in its
// cohort, in reaped/ or in quarantine/, or its records were folded. Any other name is mistyped.
func (r *repairer) declared(ctx context.Context) error {
	for _, s := range r.opts.Dead {
		known, err := r.isKnown(ctx, s)
		if err != nil {
			return fmt.Errorf("look for stream %v: %w", s, err)
		}
		if !known {
			return fmt.Errorf("%w: %v is not in cohorts/, reaped/ or quarantine/, and no manifest or row tells of it: check its name", ErrNoStream, s)
		}
	}
	return nil
}

func (r *repairer) isKnown(ctx context.Context, s journal.Stream) (bool, error) {
	if slices.ContainsFunc(r.all, func(p journal.Place) bool { return p.Stream == s }) {
		return true, nil
	}
	for _, known := range []func(context.Context, journal.Stream) (bool, error){r.isQuarantined, r.isInManifests, r.isInIndex} {
		if ok, err := known(ctx, s); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// isQuarantined looks for the stream, or a note of what was damaged in it.
func (r *repairer) isQuarantined(_ context.Context, s journal.Stream) (bool, error) {
	entries, err := r.FS.ReadDir(r.Root.Quarantine(s.Cohort))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), string(s.ID)) {
			return true, nil
		}
	}
	return false, err
}

// isInManifests looks for a watermark. It skips manifests that cannot be read.
func (r *repairer) isInManifests(ctx context.Context, s journal.Stream) (bool, error) {
	gens, err := r.List()
	for _, g := range slices.Backward(gens) {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		h, err := r.Read(g)
		if err == nil && slices.ContainsFunc(h.Streams, func(m generation.Watermark) bool { return m.Stream == s }) {
			return true, nil
		}
	}
	return false, err
}

// isInIndex looks for a row that came from the stream.
func (r *repairer) isInIndex(ctx context.Context, s journal.Stream) (bool, error) {
	if r.good.Generation == 0 {
		return false, nil
	}
	d, err := r.Data(r.good)
	if err != nil {
		return false, err
	}
	defer d.Close()
	for h, err := range d.Index.Identities() {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return false, err
		}
		if h.Stream == s.ID && h.Cohort == s.Cohort {
			return true, nil
		}
	}
	return false, nil
}
