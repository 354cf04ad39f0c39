package history

import (
	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
)

// side is one of two generations, opened.
type side struct {
	store    *generation.Store
	manifest generation.Manifest
	data     *generation.Data
}

func (s *side) close() { s.data.Close() }

// open opens a generation that is a part of the root's history; 0 is the newest.
func open(store *generation.Store, g cohort.Generation) (*side, error) {
	m, err := read(store, g)
	if err != nil {
		return nil, err
	}
	data, err := store.Data(m)
	if err != nil {
		return nil, store.WhyGone(err, m.Generation)
	}
	return &side{store, m, data}, nil
}

func read(store *generation.Store, g cohort.Generation) (m generation.Manifest, err error) {
	if g > 0 {
		return store.Kept(g)
	}
	return store.Newest()
}
