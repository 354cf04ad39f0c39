package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

// RestoredSettings is what RestoreSettings found. With apply it is also what RestoreSettings did.
type RestoredSettings struct {
	Applied bool `json:"applied"`
	// Fault is what is wrong with runfold.json; empty if it is what the manifests repeat.
	Fault string `json:"fault"`
	// Generation is that of the manifest whose copy of the settings counts, and Settings are these.
	Generation cohort.Generation `json:"generation"`
	Settings   cohort.Settings   `json:"-"`
	// Manifests and Streams are how many name the root of the settings. No other one names another root.
	Manifests int `json:"manifests"`
	Streams   int `json:"streams"`
	// Damaged are manifests that cannot be read. They say nothing.
	Damaged []Problem `json:"damaged"`
	// Kept is where the runfold.json of before is now, relative to the root; empty if there was none.
	Kept string `json:"kept,omitempty"`
}

// Whole tells whether there is nothing to restore.
func (r RestoredSettings) Whole() bool { return r.Fault == "" }

// ErrNoSettings reports a root that has no manifest which repeats the settings. Only a copy of runfold.json helps.
var ErrNoSettings = errors.New("no manifest repeats the settings")

// RestoreSettings makes a runfold.json anew that is lost or damaged. Each manifest repeats what it said. All manifests and
// the headers of all streams must name one root; else it is a *journal.MixedError that says which files name which, and nothing is
// changed. cfg.RootID may say which root is meant.
//
// A runfold.json that is there goes to quarantine/ first. Nothing is ever without a runfold.json that had one, except where a
// directory stands in its place. Any number of callers at once write the same bytes, so it takes no lock. Without apply nothing
// is written.
func RestoreSettings(cfg compactor.Config, apply bool) (RestoredSettings, error) {
	if cfg.FS == nil {
		cfg.FS = durable.OS
	}
	r := &restorer{FS: cfg.FS, root: cfg.Root, out: RestoredSettings{Damaged: []Problem{}}}
	if err := r.examine(cfg.RootID); err != nil {
		return r.out, err
	}
	if !apply || r.out.Whole() {
		return r.out, nil
	}
	if err := r.write(); err != nil {
		return r.out, fmt.Errorf("make runfold.json anew: %w", err)
	}
	r.out.Applied = true
	return r.out, nil
}

// maxSettings bounds what is read of runfold.json.
const maxSettings = 1 << 20

type restorer struct {
	durable.FS
	root cohort.Root
	old  fs.FileInfo // of the runfold.json that is there; nil if none is
	out  RestoredSettings
}

func (r *restorer) examine(wanted string) error {
	// Through a link in the place of one of our directories, files outside the root would be read or written (P13).
	err := durable.RealDir(r.FS, r.root.Manifests(), r.root.Cohorts(), r.root.ReapedDir(), r.root.QuarantineDir())
	if err != nil {
		return err
	}
	if err := r.repeated(); err != nil {
		return err
	}
	id := r.out.Settings.RootID
	if err := r.agreed(id); err != nil {
		return err
	}
	if wanted != "" && wanted != id {
		return fmt.Errorf("%s: the manifests name root %s, and %s is wanted: %w", r.root, id, wanted, journal.ErrOtherRoot)
	}
	r.out.Fault, err = r.fault()
	return err
}

// repeated finds the newest manifest that repeats the settings.
func (r *restorer) repeated() error {
	store := generation.New(generation.Store{FS: r.FS, Root: r.root})
	gens, err := store.List()
	if err != nil {
		return err
	}
	var old cohort.Generation // the newest manifest that repeats nothing
	for _, g := range slices.Backward(gens) {
		m, err := store.Read(g)
		switch {
		case errors.Is(err, fs.ErrNotExist): // swept since the listing
			continue
		case errors.Is(err, cohort.ErrNewer):
			return err
		case err != nil:
			r.out.Damaged = append(r.out.Damaged, Problem{r.root.Rel(r.root.Manifest(g)), err.Error(), true})
			continue
		}
		s, ok := m.Repeated()
		if !ok {
			old = max(old, g)
			continue
		}
		if r.out.Generation == 0 {
			r.out.Generation, r.out.Settings = g, s
		}
		if was := r.out.Settings; s.RootID == was.RootID && (s.Key != was.Key || s.WithDefaults().Snapshots != was.WithDefaults().Snapshots) {
			return fmt.Errorf("%s: manifest %v repeats %s, and manifest %v repeats %s: restore runfold.json and manifests/ from a backup",
				r.root, r.out.Generation, generation.KeyText(was), g, generation.KeyText(s))
		}
	}
	switch {
	case r.out.Generation > 0:
		return nil
	case old > 0:
		return fmt.Errorf("%s: %w: manifest %v is of a version that does not: restore runfold.json from a copy", r.root, ErrNoSettings, old)
	case len(r.out.Damaged) > 0:
		return fmt.Errorf("%s: %w: %d manifests cannot be read: restore runfold.json from a copy", r.root, ErrNoSettings, len(r.out.Damaged))
	}
	return fmt.Errorf("%s: %w: there is no manifest, as before the first fold: restore runfold.json from a copy", r.root, ErrNoSettings)
}

// agreed makes sure that every manifest and every stream that can be read names one root.
func (r *restorer) agreed(id string) error {
	said, err := journal.Testimony(r.root, journal.RootOptions{FS: r.FS})
	if err != nil {
		return err
	}
	for _, s := range said {
		switch {
		case s.RootID != id:
			return &journal.MixedError{Root: r.root, Said: said}
		case s.What == "manifest":
			r.out.Manifests = s.N
		default:
			r.out.Streams = s.N
		}
	}
	return nil
}

// fault says what is wrong with the runfold.json that is there. An error means that nobody can tell, for example because it may not be
// read: then it may be right.
func (r *restorer) fault() (string, error) {
	info, err := r.Stat(r.root.Settings())
	if errors.Is(err, fs.ErrNotExist) {
		return "is missing", nil
	}
	if err != nil {
		return "", err
	}
	r.old = info
	if !info.Mode().IsRegular() {
		return "is no regular file", nil
	}
	if info.Size() > maxSettings {
		return fmt.Sprintf("is damaged: %d bytes are too many", info.Size()), nil
	}
	data, err := durable.Read(r.FS, r.root.Settings(), maxSettings)
	if err != nil {
		return "", err
	}
	is, err := cohort.DecodeSettings(data)
	switch {
	case errors.Is(err, cohort.ErrNewer):
		return "", fmt.Errorf("%s: %w", r.root.Settings(), err)
	case err != nil:
		return "is damaged: " + err.Error(), nil
	case is.RootID != r.out.Settings.RootID:
		return fmt.Sprintf("says root id %s, and all manifests and streams say %s", is.RootID, r.out.Settings.RootID), nil
	case !bytes.Equal(is.Encode(), r.out.Settings.Encode()):
		return "says other settings than the manifests repeat", nil
	}
	return "", nil
}

// write makes runfold.json. What stands there goes to quarantine/ before.
func (r *restorer) write() error {
	s := r.out.Settings.WithDefaults()
	name, perm := r.root.Settings(), s.FileMode.FS()
	if r.old == nil {
		// Put-if-absent: somebody may bring back a copy at this moment. If it differs, the next command tells.
		if err := durable.Create(r.FS, name, s.Encode(), perm); !errors.Is(err, fs.ErrExist) {
			return err
		}
		return fmt.Errorf("%s: somebody else has made it just now: look again", name)
	}
	kept, err := r.freeName()
	if err == nil {
		err = durable.MkdirWithin(r.FS, string(r.root), r.root.DamagedGenerations(), s.DirMode.FS())
	}
	if err != nil {
		return err
	}
	r.out.Kept = r.root.Rel(kept)
	if !r.old.Mode().IsRegular() {
		if err := durable.Move(r.FS, name, kept); err != nil {
			return err
		}
		return durable.Create(r.FS, name, s.Encode(), perm)
	}
	if err := durable.ReplaceWith(r.FS, kept, name, perm); err != nil {
		return err
	}
	return durable.Replace(r.FS, name, s.Encode(), perm)
}

// freeName is a name in quarantine/ that is not taken. Two callers may choose one name; both keep the same bytes under it.
func (r *restorer) freeName() (string, error) {
	for n := 1; ; n++ {
		name := r.root.DamagedSettings(n)
		if _, err := r.Stat(name); errors.Is(err, fs.ErrNotExist) {
			return name, nil
		} else if err != nil {
			return "", err
		}
	}
}

// suits returns an error if the newest manifest is of another root than runfold.json says, or of another key. Then nothing that Check or
// Repair could say would be right. That a manifest is damaged is no such error.
func suits(store *generation.Store) error {
	_, err := store.Newest()
	if errors.Is(err, journal.ErrMixed) || errors.As(err, new(*journal.SettingsError)) {
		return err
	}
	return nil
}
