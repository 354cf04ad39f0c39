package journal

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
)

// ErrNoRoot reports a directory that is not a root.
var ErrNoRoot = errors.New("not a runfold root: it has no runfold.json")

// maxSettings bounds what is read of runfold.json.
const maxSettings = 1 << 20

// OpenRoot reads the settings of an existing root. It makes nothing: a mistyped path is ErrNoRoot and
// never becomes an empty root.
func OpenRoot(fsys durable.FS, root cohort.Root) (cohort.Settings, error) {
	if err := noLinks(fsys, root); err != nil {
		return cohort.Settings{}, fmt.Errorf("open root: %w", err)
	}
	data, err := durable.Read(fsys, root.Settings(), maxSettings)
	if errors.Is(err, fs.ErrNotExist) {
		return cohort.Settings{}, fmt.Errorf("%s: %w", root, ErrNoRoot)
	}
	if err != nil {
		return cohort.Settings{}, fmt.Errorf("open root: %w", err)
	}
	s, err := cohort.DecodeSettings(data)
	if err != nil {
		return cohort.Settings{}, fmt.Errorf("%s: %w", root.Settings(), err)
	}
	return s, nil
}

// noLinks refuses a root with a link in the place of one of its own files or directories: what is written,
// moved and deleted there would be somebody else's. The root itself may be a link.
func noLinks(fsys durable.FS, root cohort.Root) error {
	if err := durable.Regular(fsys, root.Settings()); err != nil {
		return err
	}
	for _, dir := range []string{
		root.Cohorts(), root.Manifests(), root.DataDir(), root.ReapedDir(), root.QuarantineDir(),
	} {
		if err := durable.RealDir(fsys, dir); err != nil {
			return err
		}
	}
	return nil
}

// InitRoot makes a root, or opens it if it is one already; created tells which. Of several callers at
// once one makes it and all get the same settings. A directory that holds anything else is refused.
//
// want are the settings of a new root; its RootID is chosen here. On an existing root, fields of want
// that are not zero must be what the root has.
//
//	mkdirat root; fsync parent; create runfold.json; mkdirat cohorts, manifests, data; fsync root
func InitRoot(fsys durable.FS, root cohort.Root, want cohort.Settings) (s cohort.Settings, created bool, err error) {
	s, err = OpenRoot(fsys, root)
	if errors.Is(err, ErrNoRoot) {
		s, created, err = makeRoot(fsys, root, want)
	}
	if err != nil {
		return cohort.Settings{}, false, err
	}
	if err := agrees(want, s); err != nil {
		return cohort.Settings{}, false, fmt.Errorf("%s: %w", root.Settings(), err)
	}
	for _, dir := range []string{root.Cohorts(), root.Manifests(), root.DataDir()} {
		if err := durable.MkdirAll(fsys, dir, s.DirMode.FS()); err != nil {
			return cohort.Settings{}, false, fmt.Errorf("make root: %w", err)
		}
	}
	return s, created, nil
}

func makeRoot(fsys durable.FS, root cohort.Root, want cohort.Settings) (cohort.Settings, bool, error) {
	want.RootID = newULID()
	if err := want.Validate(); err != nil {
		return cohort.Settings{}, false, err
	}
	want = want.WithDefaults()
	err := durable.MkdirAll(fsys, string(root), want.DirMode.FS())
	if err != nil && !errors.Is(err, durable.ErrLink) { // the root may be a link, what is in it may not
		return cohort.Settings{}, false, fmt.Errorf("make root: %w", err)
	}
	if err := mayBecomeRoot(fsys, root); err != nil {
		if s, oerr := OpenRoot(fsys, root); oerr == nil { // what it saw is the work of another process
			return s, false, nil
		}
		return cohort.Settings{}, false, err
	}
	err = durable.Create(fsys, root.Settings(), want.Encode(), want.FileMode.FS())
	if errors.Is(err, fs.ErrExist) {
		s, err := OpenRoot(fsys, root) // another process was first
		return s, false, err
	}
	return want, err == nil, err
}

// mayBecomeRoot refuses a directory that holds anything but the beginnings of a root: it belongs to
// somebody, or it is a root that lost its runfold.json, whose key nobody may guess.
func mayBecomeRoot(fsys durable.FS, root cohort.Root) error {
	entries, err := fsys.ReadDir(string(root))
	if err != nil {
		return fmt.Errorf("make root: %w", err)
	}
	for _, e := range entries {
		switch name := e.Name(); {
		case durable.IsTemp(name), name == "runfold.json":
		case name == "cohorts" || name == "manifests":
			return fmt.Errorf("%s has %s but runfold.json is missing: restore it, a new one might have another key", root, name)
		default:
			return fmt.Errorf("%s is not empty (%s) and not a root: choose a new directory", root, name)
		}
	}
	return nil
}

// agrees compares the fields of want that are not zero.
func agrees(want, have cohort.Settings) error {
	for _, f := range []struct {
		name       string
		zero       bool
		want, have any
	}{
		{"key", !want.Key.Wide(), fmt.Sprint(want.Key.Fields()), fmt.Sprint(have.Key.Fields())},
		{"max_record_bytes", want.MaxRecord == 0, want.MaxRecord, have.MaxRecord},
		{"dir_mode", want.DirMode == 0, want.DirMode, have.DirMode},
		{"file_mode", want.FileMode == 0, want.FileMode, have.FileMode},
		{"snapshots", want.Snapshots == "", want.Snapshots, have.Snapshots},
	} {
		if !f.zero && f.want != f.have {
			return fmt.Errorf("%s was fixed when the root was made: it is %v and cannot become %v", f.name, f.have, f.want)
		}
	}
	return nil
}
