package audit

import (
	"maps"
	"path/filepath"
	"strings"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
)

// addWithdrawn finds the withdrawn rows and the actions that belong to the index of a rebuilt generation. Their names follow from what the
// index says of itself. Without them the index is not taken: a withdrawn row would be lost, or come back although nobody brought it back.
// ids are the rows of the index.
func (r *repairer) addWithdrawn(c *candidate, of index.Meta, seen *rowsSeen, ids []identity) (ok bool, err error) {
	if !of.Beside {
		return c.manifest.Withdrawn == nil, nil
	}
	files, err := r.src.named(".parquet")
	if err != nil {
		return false, err
	}
	acts, actions, ok, err := r.actionsOf(c, of)
	if err != nil || !ok {
		return false, err
	}
	name := cohort.WithdrawnIndexName(of.Generation, of.Token)
	for _, f := range files {
		rows, then, ok := r.withdrawnIn(f, of, *seen)
		if !ok || !standAsDecided(acts, ids, rows) {
			continue
		}
		sum, ok := r.sumOf(c, f.path, name)
		if !ok {
			continue
		}
		w := &generation.Withdrawn{Actions: actions.file}
		w.Index = generation.DataFile{Name: name, Size: f.size, Rows: int64(len(rows)), CRC32C: sum}
		nameOf := func(n int) string { return cohort.WithdrawnSnapshotsName(of.Generation, of.Token, n) }
		if w.Snapshots, ok, err = r.addSnapshots(c, rows, nameOf); err != nil || !ok {
			return false, err
		}
		c.restores = append(c.restores, actions, restore{w.Index, f.path})
		c.manifest.SetWithdrawn(w)
		*seen = then
		seen.highest = max(seen.highest, acts.highest)
		return true, nil
	}
	return false, nil
}

// withdrawnIn reads a file, if it is that of the withdrawn rows of an attempt. then is seen with its rows.
func (r *repairer) withdrawnIn(f source, of index.Meta, seen rowsSeen) (rows []identity, then rowsSeen, ok bool) {
	file, err := r.FS.Open(f.path)
	if err != nil {
		return nil, seen, false
	}
	defer file.Close()
	x, err := index.Open(file, f.size)
	if err != nil {
		return nil, seen, false
	}
	if m := x.Meta(); !m.Withdrawn || m.Generation != of.Generation || m.Token != of.Token {
		return nil, seen, false
	}
	then = seen
	then.keys = maps.Clone(seen.keys)
	rows, ok = then.add(x)
	return rows, then, ok
}

// foundActions are the actions of an attempt.
type foundActions struct {
	*cohort.InForce
	highest cohort.Stamp
}

// actionsOf finds the actions of an attempt among all sources, by their name.
func (r *repairer) actionsOf(c *candidate, of index.Meta) (acts foundActions, from restore, ok bool, err error) {
	name := cohort.ActionsName(of.Generation, of.Token)
	files, err := r.src.named(name)
	if err != nil {
		return acts, from, false, err
	}
	for _, f := range files {
		if !strings.HasPrefix(filepath.Base(f.path), name) {
			continue
		}
		acts, rows, ok := r.actionsIn(f)
		if !ok {
			continue
		}
		if sum, ok := r.sumOf(c, f.path, name); ok {
			return acts, restore{generation.DataFile{Name: name, Size: f.size, Rows: rows, CRC32C: sum}, f.path}, true, nil
		}
	}
	return acts, from, false, nil
}

func (r *repairer) actionsIn(f source) (acts foundActions, rows int64, ok bool) {
	file, err := r.FS.Open(f.path)
	if err != nil {
		return acts, 0, false
	}
	defer file.Close()
	acts.InForce = cohort.NewInForce(r.Settings.Key)
	var last cohort.Record
	for a, err := range generation.ReadActions(file) {
		if err != nil || rows > 0 && generation.CompareActions(last, a) >= 0 {
			return acts, 0, false
		}
		acts.Add(a)
		acts.highest = max(acts.highest, a.Stamp)
		last = a
		rows++
	}
	return acts, rows, true
}

// standAsDecided tells whether each row stands in the pair in which these actions want it. A file of actions that was cut off at the end
// of a line has lost what the withdrawn rows need.
func standAsDecided(acts foundActions, in, out []identity) bool {
	for _, h := range in {
		if acts.Decide(h.key, h.at, h.cohort).Withdrawn {
			return false
		}
	}
	for _, h := range out {
		if !acts.Decide(h.key, h.at, h.cohort).Withdrawn {
			return false
		}
	}
	return true
}
