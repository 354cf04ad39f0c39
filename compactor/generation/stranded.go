package generation

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/durable"
)

// Stranded tells that an index that no manifest names holds rows that are nowhere else: their streams are gone, so a fold has
// committed them, and the newest generation does not have them. So it was a generation of another copy of the root. What a fold
// leaves that was killed, or that another one overtook, has no such rows: their streams are still there, or the newest generation
// has them.
//
// The same goes for a file of withdrawn rows, and for actions: a withdrawal that only another copy knew would be lost.
type Stranded struct {
	File string // in data/
	Rows int64  // or actions
}

// Reason is String without the file.
func (n Stranded) Reason() string {
	if isActions(n.File) {
		actions := "1 action in it is nowhere else, and its stream is gone"
		if n.Rows > 1 {
			actions = fmt.Sprintf("%d actions in it are nowhere else, and their streams are gone", n.Rows)
		}
		return actions + ": two copies of this root were merged by a file tool; nothing is removed: compactd dump shows them, take them again"
	}
	again := ""
	if !isIndex(n.File) {
		again = ", and withdraw again what it held"
	}
	rows := "1 row in it is nowhere else, and its stream is gone"
	if n.Rows > 1 {
		rows = fmt.Sprintf("%d rows in it are nowhere else, and their streams are gone", n.Rows)
	}
	return rows + ": two copies of this root were merged by a file tool; nothing is removed: take it in with compactd import --index" + again
}

func (n Stranded) String() string { return "data/" + n.File + ": " + n.Reason() }

// Met is the function Met of all manifests, of which m is the newest, with a look at the files. If thinned retention kept the parent of one that is of
// another history, and not what had its number, that may be a compactor that slept (R27). Then its rows are in the newest generation or in
// streams, as are all that a fold has read.
func (s *Store) Met(m Manifest, all []Manifest) (g cohort.Generation, met bool) {
	g, met = Met(all)
	if !met || all[len(all)-1].Generation != m.Generation {
		return g, met
	}
	i := slices.IndexFunc(all, func(m Manifest) bool { return m.Generation == g })
	line, _ := Ancestors(all)
	parent := slices.IndexFunc(line, func(m Manifest) bool { return m.IsParentOf(&all[i]) })
	now, err := s.time(m)
	if err != nil || parent < 0 || !m.Keeps().thins(&line[parent], now) {
		return g, true
	}
	stranded, err := s.Stranded(m, []string{all[i].Index.Name})
	if errors.Is(err, ErrConflict) {
		return 0, false // who looks again will see
	}
	return g, err != nil || len(stranded) > 0
}

// Unnamed lists the files of data/ with rows or actions of a generation up to m that no manifest names. all are all manifests.
func (s *Store) Unnamed(m Manifest, all []Manifest) ([]string, error) {
	entries, err := s.FS.ReadDir(s.Root.DataDir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	ours := named(all)
	var names []string
	for _, entry := range entries {
		if name := entry.Name(); mayStrand(name) && isUnnamed(name, m, ours) {
			names = append(names, name)
		}
	}
	return names, err
}

// isIndex tells whether a data file has that name of an index, and not of withdrawn rows.
func isIndex(name string) bool {
	g, t, ok := cohort.ParseDataName(name)
	return ok && name == cohort.IndexName(g, t)
}

// mayStrand tells whether a data file has that name of rows, of an index or withdrawn, or of actions. Snapshots go with their rows.
func mayStrand(name string) bool {
	g, t, ok := cohort.ParseDataName(name)
	return isIndex(name) || isActions(name) || ok && name == cohort.WithdrawnIndexName(g, t)
}

func isActions(name string) bool {
	g, t, ok := cohort.ParseDataName(name)
	return ok && name == cohort.ActionsName(g, t)
}

// Judged are those of the files of data/ of which Stranded can say something. On storage that shows old listings, the streams of a file that another machine
// wrote a moment ago may not be seen yet.
func (s *Store) Judged(names []string) []string {
	if !s.remote() {
		return names
	}
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return s.MayBeOld(s.timeOf(s.Root.Data(name))) })
}

// Stranded looks through files of data/ for rows and actions that only they hold. names are those of files that no manifest named when m
// was the newest. A row that stands in more than one of them counts in that of the highest generation. A file that is gone or damaged
// holds nothing. The error is ErrConflict if m is not the newest any more: then nobody knows what became of the streams.
//
// It reads the fixed columns of each file, and holds the keys of the rows that it counts.
func (s *Store) Stranded(m Manifest, names []string) ([]Stranded, error) {
	if len(names) == 0 {
		return nil, nil
	}
	newest, err := s.Data(m)
	if err != nil {
		return nil, err
	}
	defer newest.Close()
	here, err := s.StreamsHere()
	if err != nil {
		return nil, err
	}
	erased, err := newest.Erased()
	if err != nil {
		return nil, err
	}
	l := lookout{Store: s, newest: newest, here: here, erased: erased, counted: map[cohort.Key]cohort.Version{}}
	var all []Stranded
	for _, name := range slices.Backward(slices.Sorted(slices.Values(names))) {
		only := l.only
		if isActions(name) {
			only = l.onlyActions
		}
		rows, err := only(name)
		switch {
		case l.err != nil:
			return nil, l.err
		case errors.Is(err, fs.ErrNotExist), IsDamage(err):
			continue
		case err != nil:
			return nil, fmt.Errorf("%s: %w", s.Root.Data(name), err)
		case rows > 0:
			all = append(all, Stranded{name, rows})
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	gens, err := s.listNow()
	if err == nil && Last(gens) != m.Generation {
		err = fmt.Errorf("generation %d came: %w", Last(gens), ErrConflict)
	}
	if err != nil {
		return nil, err
	}
	return all, nil
}

// listNow is List, and no old state of it: a machine that has changed a directory reads it anew.
func (s *Store) listNow() ([]cohort.Generation, error) {
	if s.remote() {
		_, err := durable.Now(s.FS, s.Root.Manifests(), s.Settings.DirMode.FS())
		if durable.IsAway(durable.Away(err, s.remote)) {
			return nil, err
		} // else nobody may write there, and what the storage shows must do
	}
	return s.List()
}

// lookout looks for rows that only files without a manifest hold.
type lookout struct {
	*Store
	newest  *Data
	here    map[cohort.StreamID]bool // streams on the disk
	erased  *cohort.Erased
	counted map[cohort.Key]cohort.Version
	actions map[cohort.Version]bool // those of the newest generation, and those that were counted; nil: not read yet
	err     error                   // of the newest generation
}

// lookedUp rows are looked up at once.
const lookedUp = 4096

// only counts the rows of a data file whose streams are gone and which the newest generation does not have.
func (l *lookout) only(name string) (rows int64, err error) {
	old, file, err := l.indexAt(l.Root.Data(name))
	if err != nil {
		return 0, err
	}
	defer file.Close()
	some := make([]index.Identity, 0, lookedUp)
	for row, err := range old.Identities() {
		if err != nil {
			return 0, err
		}
		if row.Stream == "" || l.here[row.Stream] { // an imported row has no stream: who imported it has the source
			continue
		}
		if some = append(some, row); len(some) < lookedUp {
			continue
		}
		n, err := l.missing(some)
		if err != nil {
			return 0, err
		}
		rows, some = rows+n, some[:0]
	}
	n, err := l.missing(some)
	return rows + n, err
}

// missing counts those rows that the newest generation has neither as they are nor with a later write. A key that was
// imported since is there: a person has decided over it.
func (l *lookout) missing(rows []index.Identity) (n int64, err error) {
	keys := make([]cohort.Key, len(rows))
	for i, r := range rows {
		keys[i] = r.Key
	}
	found, err := l.newest.FindAnywhere(keys)
	if err != nil {
		l.err = err
		return 0, err
	}
	for _, r := range rows {
		f, ok := found[r.Key]
		if l.erased.Drops(r.Key, r.Version.Stamp) {
			continue // it is gone on purpose
		}
		had, told := l.counted[r.Key]
		if ok && (f.Stamp < cohort.FirstClockStamp || f.Compare(r.Version) >= 0 || f.SameWrite(r.Version)) || told && had.Compare(r.Version) >= 0 {
			continue
		}
		l.counted[r.Key] = r.Version
		n++
	}
	return n, nil
}

// onlyActions counts the actions of a data file whose streams are gone and that are not in force in the newest generation.
func (l *lookout) onlyActions(name string) (n int64, err error) {
	file, err := l.FS.Open(l.Root.Data(name))
	if err != nil {
		return 0, err
	}
	defer file.Close()
	if l.actions == nil {
		if l.actions, err = l.newest.ActionVersions(); err != nil {
			l.err = err
			return 0, err
		}
	}
	for r, err := range ReadActions(file) {
		if err != nil {
			return 0, err
		}
		if !l.actions[r.Version()] && !l.here[r.Stream] && !l.erased.DropsAction(r) {
			l.actions[r.Version()] = true // one that stands in several files counts in that of the highest generation
			n++
		}
	}
	return n, nil
}
