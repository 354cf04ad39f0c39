package history

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
)

// NotKeptError tells that a root does not have a generation, or not any more.
type NotKeptError struct {
	Generation cohort.Generation
	Void       bool                // its manifest is there, and it was never a part of the root's history, or a repair has left it
	Kept       []cohort.Generation // those that are there, in their order
}

func (e *NotKeptError) Error() string {
	why := "is not kept"
	if e.Void {
		why = "is void: another commit took its place, or a repair went back to an earlier one"
	}
	return fmt.Sprintf("generation %d %s; %s", e.Generation, why, keptText(e.Kept))
}

// keptText names generations, those in a row as one part.
func keptText(kept []cohort.Generation) string {
	if len(kept) == 0 {
		return "no generation is kept"
	}
	const most = 20
	var parts []string
	for i := 0; i < len(kept); {
		last := i
		for last+1 < len(kept) && kept[last+1] == kept[last]+1 {
			last++
		}
		part := fmt.Sprint(uint64(kept[i]))
		if last > i {
			part = fmt.Sprintf("%d to %d", kept[i], kept[last])
		}
		parts, i = append(parts, part), last+1
	}
	if more := len(parts) - most; more > 0 {
		parts = slices.Concat([]string{fmt.Sprintf("%d more", more)}, parts[more:])
	}
	return "kept are " + strings.Join(parts, ", ")
}

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
		return nil, notKept(store, err, g)
	}
	return &side{store, m, data}, nil
}

func read(store *generation.Store, g cohort.Generation) (generation.Manifest, error) {
	if g == 0 {
		m, err := store.Newest()
		return m, store.Doubt(err, 0)
	}
	m, err := store.Read(g)
	if errors.Is(err, fs.ErrNotExist) {
		return m, &NotKeptError{Generation: g, Kept: kept(store)}
	}
	if err != nil {
		return m, err
	}
	all, err := manifests(store)
	if err != nil {
		return m, err
	}
	if isVoid(all, m) {
		return m, &NotKeptError{Generation: g, Void: true, Kept: kept(store)}
	}
	return m, nil
}

// isVoid tells whether a manifest is no part of the history that the newest one ends: the generation after it is a part, and has another
// parent. all are sorted.
func isVoid(all []generation.Manifest, m generation.Manifest) bool {
	if generation.IsVoid(all, m.Generation) {
		return true
	}
	next := slices.IndexFunc(all, func(n generation.Manifest) bool { return n.Generation == m.Generation+1 })
	return next >= 0 && !m.IsParentOf(&all[next]) && !isVoid(all, all[next])
}

// manifests are those that can be read, oldest first.
func manifests(store *generation.Store) (all []generation.Manifest, err error) {
	gens, err := store.List()
	if err != nil {
		return nil, err
	}
	for _, g := range gens {
		if m, err := store.Read(g); err == nil { // a damaged one says nothing, and is no error here: check tells of it
			all = append(all, m)
		}
	}
	return all, nil
}

// kept are the generations that can be named, for an error.
func kept(store *generation.Store) (gens []cohort.Generation) {
	all, err := manifests(store)
	if err != nil {
		return nil
	}
	for _, m := range all {
		if !isVoid(all, m) {
			gens = append(gens, m.Generation)
		}
	}
	return gens
}

// notKept makes a *NotKeptError of an error that says that a generation was swept while it was read. If none of gens is gone, the error stays.
func notKept(store *generation.Store, err error, gens ...cohort.Generation) error {
	if !errors.Is(err, generation.ErrConflict) {
		return err
	}
	for _, g := range gens {
		if _, rerr := store.Read(g); g > 0 && errors.Is(rerr, fs.ErrNotExist) {
			return &NotKeptError{Generation: g, Kept: kept(store)}
		}
	}
	return err
}
