package compactor

import (
	"context"
	"iter"

	"github.com/runfold/runfold/cohort"
)

// RunsOf yields the rows of one generation that is kept, as Runs does those of the newest. A generation that is not kept, or is void, is a
// *generation.NotKeptError, which names the nearest ones; generation.Store.At finds the one of a time. If it is
// swept while it is read, the iteration goes on or ends with that error: no row of another generation is yielded.
func RunsOf(ctx context.Context, cfg Config, g cohort.Generation) iter.Seq2[Run, error] {
	return runsOf(ctx, func() (*moment, error) {
		r, err := open(cfg)
		if err != nil {
			return nil, err
		}
		m, err := r.past(g)
		return m, r.store.Doubt(err, 0)
	})
}

// past opens a generation as it was.
func (r *run) past(g cohort.Generation) (*moment, error) {
	m, err := r.store.Kept(g)
	if err != nil {
		return nil, err
	}
	data, err := r.store.Data(m)
	if err != nil {
		return nil, r.store.WhyGone(err, g)
	}
	return &moment{store: r.store, data: data, form: r.streams.Settings.Key, newest: m}, nil
}
