package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
)

// ErrNoRoot reports a directory that is not a root. What it wraps or is wrapped by is a *NoRootError.
var ErrNoRoot = errors.New("not a runfold root")

// ErrOtherRoot reports a root whose id is not the one that was asked for.
var ErrOtherRoot = errors.New("this is another root")

// NoRootError is ErrNoRoot with what was found instead of a root.
type NoRootError struct {
	Root  cohort.Root
	Found string // what is there, for people
	// Vacant tells that nobody has anything there: the directory is missing, or holds nothing but what volumes make
	// (see cohort.IsSystemEntry). A root may be made there, or a share be mounted.
	Vacant bool
	// Lost tells that it was a root: its runfold.json is gone.
	Lost bool

	moving  bool // something of ours is there: perhaps a root that has just been made
	nowhere bool // it is a link, in the place of which nothing can be made
}

func (e *NoRootError) Error() string { return fmt.Sprintf("%s: %v: %s", e.Root, ErrNoRoot, e.Found) }

// Is makes it match ErrNoRoot.
func (e *NoRootError) Is(target error) bool { return target == ErrNoRoot }

// maxSettings bounds what is read of runfold.json.
const maxSettings = 1 << 20

// OpenRoot reads the settings of an existing root. It makes nothing: a mistyped path, or a share that is not mounted,
// is a *NoRootError and never becomes an empty root.
func OpenRoot(fsys durable.FS, root cohort.Root) (cohort.Settings, error) {
	s, err := openRoot(fsys, root)
	var none *NoRootError
	if errors.As(err, &none) && none.moving { // made by another process after we had looked for runfold.json?
		s, err = openRoot(fsys, root)
	}
	return s, err
}

func openRoot(fsys durable.FS, root cohort.Root) (cohort.Settings, error) {
	if err := refuseLinks(fsys, root); err != nil {
		return cohort.Settings{}, fmt.Errorf("open root: %w", err)
	}
	data, err := durable.Read(fsys, root.Settings(), maxSettings)
	if errors.Is(err, fs.ErrNotExist) {
		return cohort.Settings{}, noRoot(fsys, root)
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

// OpenRootID is OpenRoot for the one root with this id, or for any root if id is empty. Another root is ErrOtherRoot.
func OpenRootID(fsys durable.FS, root cohort.Root, id string) (cohort.Settings, error) {
	s, err := OpenRoot(fsys, root)
	if err == nil {
		err = mustBe(id, root, s)
	}
	if err != nil {
		return cohort.Settings{}, err
	}
	return s, nil
}

func mustBe(id string, root cohort.Root, s cohort.Settings) error {
	if id == "" || id == s.RootID {
		return nil
	}
	return fmt.Errorf("%s: the root id is %s, and %s is wanted: %w", root.Settings(), s.RootID, id, ErrOtherRoot)
}

// noRoot looks what there is instead of a root. It is an error in any case; if it is no *NoRootError, nobody can
// tell.
func noRoot(fsys durable.FS, root cohort.Root) error {
	entries, err := fsys.ReadDir(string(root))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := fsys.Stat(string(root)); err == nil {
			return &NoRootError{Root: root, Found: "it is a link that leads to nothing", Vacant: true, nowhere: true}
		}
		return &NoRootError{Root: root, Found: "it does not exist", Vacant: true}
	}
	if err != nil {
		return fmt.Errorf("open root: %w", err)
	}
	e := describe(entries)
	e.Root = root
	if isMountPoint(root) {
		e.Found += " (a file system is mounted there)"
	}
	return e
}

// describe says what a directory without runfold.json is.
func describe(entries []fs.DirEntry) *NoRootError {
	var ours, system, others []string
	for _, e := range entries {
		switch name := e.Name(); {
		case name == "runfold.json":
			return &NoRootError{Found: "it is being made at this moment: try again", Vacant: true, moving: true}
		case name == "cohorts" || name == "manifests":
			ours = append(ours, name)
		case durable.IsTemp(name), strings.HasPrefix(name, ".doctor-"): // what is left of an attempt
		case cohort.IsSystemEntry(name):
			system = append(system, name)
		default:
			others = append(others, name)
		}
	}
	switch {
	case len(ours) > 0:
		found := fmt.Sprintf("it has %s/ but no runfold.json: restore that file, a new one might have another key", ours[0])
		return &NoRootError{Found: found, Lost: true, moving: true}
	case len(others) > 0:
		return &NoRootError{Found: fmt.Sprintf("it has no runfold.json but other files, such as %s", others[0])}
	case len(system) > 0:
		return &NoRootError{Found: "it is empty but for " + strings.Join(system, ", "), Vacant: true}
	}
	return &NoRootError{Found: "it is empty", Vacant: true}
}

// refuseLinks refuses a root with a link in the place of one of its own files or directories: what is written,
// moved and deleted there would be somebody else's. The root itself may be a link.
func refuseLinks(fsys durable.FS, root cohort.Root) error {
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
// once one makes it and all get the same settings. A directory that holds anything else is refused, but for what
// volumes make by themselves (cohort.IsSystemEntry).
//
// want are the settings of a new root. On an existing root, fields of want that are not zero must be what the root
// has. The id of a new root is chosen here: a RootID in want says that the root exists already, so none is made.
//
//	mkdirat root; fsync parent; create runfold.json; mkdirat cohorts, manifests, data; fsync root
func InitRoot(fsys durable.FS, root cohort.Root, want cohort.Settings) (s cohort.Settings, created bool, err error) {
	s, err = OpenRootID(fsys, root, want.RootID)
	if errors.Is(err, ErrNoRoot) && want.RootID != "" {
		return cohort.Settings{}, false, fmt.Errorf("%w; the root %s exists already, so no other one is made", err, want.RootID)
	}
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
	err := noRoot(fsys, root)
	var none *NoRootError
	if errors.As(err, &none) && none.Vacant && !none.nowhere {
		return nil
	}
	return err
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
