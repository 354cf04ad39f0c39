package journal

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
)

// ErrNoRoot reports a directory that is not a root. Every *NoRootError matches it, and says more.
var ErrNoRoot = errors.New("not a runfold root")

// ErrOtherRoot reports a root whose id is not the one that was asked for.
var ErrOtherRoot = errors.New("this is another root")

// NoRootError tells what was found instead of a root. It matches ErrNoRoot.
type NoRootError struct {
	Root  cohort.Root
	Found string // what is there, for people
	// Vacant tells that the place is free: the directory is missing, or holds only what volumes make by themselves
	// (see cohort.IsSystemEntry). A root may be made there, or a share may have to be mounted there.
	Vacant bool
	// Lost tells that it was a root: its runfold.json is gone.
	Lost bool
	// Manifests tells that there are manifests, which repeat what runfold.json said: see audit.RestoreSettings.
	Manifests bool

	moving  bool // something of ours is there: perhaps another process has just made a root
	nowhere bool // it is a link that leads to nothing, so no root can be made there
}

func (e *NoRootError) Error() string { return fmt.Sprintf("%s: %v: %s", e.Root, ErrNoRoot, e.Found) }

// Is makes it match ErrNoRoot.
func (*NoRootError) Is(target error) bool { return target == ErrNoRoot }

// maxSettings bounds what is read of runfold.json.
const maxSettings = 1 << 20

// Root is an open root: a directory, and the settings that were fixed when it was made. [OpenRoot] and [InitRoot] return one.
//
// It is a value. It holds no file open and needs no Close, and any number of goroutines may use one.
type Root struct {
	// Dir is the directory. Settings are what its runfold.json says.
	Dir      cohort.Root
	Settings cohort.Settings
	// FS makes every call on the disk, except those of a Writer. It is for the tests of this module: leave it nil.
	FS durable.FS
}

func (r Root) fs() durable.FS { return RootOptions{FS: r.FS}.fs() }

// RootOptions say which root is meant. The zero value is the recommended one for a root on a local disk. For a root on a share,
// set ID.
type RootOptions struct {
	// ID is the id that the root must have: Settings.RootID of an earlier call. Another root is ErrOtherRoot. This
	// finds a share that is not mounted, and another share in its place. If empty, any root is good.
	ID string
	// FS makes every call on the disk. It is for the tests of this module: leave it nil.
	FS durable.FS
}

func (o RootOptions) fs() durable.FS {
	if o.FS == nil {
		return durable.OS
	}
	return o.FS
}

// OpenRoot opens an existing root. It makes nothing: a mistyped path, or a share that is not mounted, is a *NoRootError
// and never becomes an empty root. A root of a later version is cohort.ErrNewer. Where runfold.json names another root than the
// newest manifest does, or the streams do while there is no manifest, it is a *MixedError.
func OpenRoot(dir cohort.Root, o RootOptions) (Root, error) {
	s, err := settingsOf(o.fs(), dir)
	if err == nil {
		err = mustBe(o.ID, dir, s)
	}
	if err == nil {
		err = agree(o.fs(), dir, s)
	}
	if err != nil {
		return Root{}, err
	}
	return Root{Dir: dir, Settings: s, FS: o.FS}, nil
}

// settingsOf reads the settings of an existing root.
func settingsOf(fsys durable.FS, root cohort.Root) (cohort.Settings, error) {
	s, err := readSettings(fsys, root)
	var none *NoRootError
	if errors.As(err, &none) && none.moving { // another process may have made the root after we looked for runfold.json
		s, err = readSettings(fsys, root)
	}
	return s, err
}

func readSettings(fsys durable.FS, root cohort.Root) (cohort.Settings, error) {
	if err := refuseLinks(fsys, root); errors.Is(err, syscall.EISDIR) {
		return cohort.Settings{}, &SettingsError{root, errors.New("it is a directory"), hasManifest(fsys, root)}
	} else if err != nil {
		return cohort.Settings{}, fmt.Errorf("open root: %w", err)
	}
	data, err := durable.Read(fsys, root.Settings(), maxSettings)
	if errors.Is(err, fs.ErrNotExist) {
		return cohort.Settings{}, noRoot(fsys, root)
	}
	if info, serr := fsys.Stat(root.Settings()); err != nil && serr == nil && info.Size() > maxSettings {
		return cohort.Settings{}, &SettingsError{root, err, hasManifest(fsys, root)}
	}
	if err != nil {
		return cohort.Settings{}, fmt.Errorf("open root: %w", err)
	}
	s, err := cohort.DecodeSettings(data)
	if errors.Is(err, cohort.ErrNewer) {
		return cohort.Settings{}, fmt.Errorf("%s: %w", root.Settings(), err)
	}
	if err != nil {
		return cohort.Settings{}, &SettingsError{root, err, hasManifest(fsys, root)}
	}
	return s, nil
}

func mustBe(id string, root cohort.Root, s cohort.Settings) error {
	if id == "" || id == s.RootID {
		return nil
	}
	return fmt.Errorf("%s: the root id is %s, and %s is wanted: %w", root.Settings(), s.RootID, id, ErrOtherRoot)
}

// noRoot finds out what is there instead of a root. It always returns an error. If that is not a *NoRootError, the directory
// could not be read.
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
	if e.Lost && hasManifest(fsys, root) {
		e.Manifests = true
		e.Found = "its runfold.json is missing; the manifests repeat what it said"
	}
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
		case durable.IsTemp(name), strings.HasPrefix(name, ".doctor-"): // left by a process that was killed
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
		return &NoRootError{Found: "it is empty except for " + strings.Join(system, ", "), Vacant: true}
	}
	return &NoRootError{Found: "it is empty", Vacant: true}
}

// refuseLinks refuses a root in which a link stands in the place of one of its own files or directories. Through the link we
// would write, move and delete files outside the root (docs/durability.md, P13). The root itself may be a link.
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

// InitRoot makes a root, or opens it if it is one already; created tells which. On success the root is on stable storage.
// Of several callers at once one makes the root, and all get the same root. A directory that holds other files is
// refused with a *NoRootError. Files that volumes make by themselves do not count (see cohort.IsSystemEntry).
//
// want are the settings of a new root; the zero value is the recommended one. If the root exists, each field of want
// that is not zero must equal that of the root. InitRoot chooses the id of a new root. An ID in o, or a RootID in want,
// says that the root exists already, so no new one is made.
//
//	mkdirat root; fsync parent; create runfold.json; mkdirat cohorts, manifests, data; fsync root
func InitRoot(dir cohort.Root, want cohort.Settings, o RootOptions) (r Root, created bool, err error) {
	id := cmp.Or(o.ID, want.RootID)
	r, err = OpenRoot(dir, RootOptions{ID: id, FS: o.FS})
	if errors.Is(err, ErrNoRoot) && id != "" {
		return Root{}, false, fmt.Errorf("%w; the root %s exists already, so no other one is made", err, id)
	}
	if errors.Is(err, ErrNoRoot) {
		r = Root{Dir: dir, FS: o.FS}
		r.Settings, created, err = makeRoot(o.fs(), dir, want)
	}
	if err != nil {
		return Root{}, false, err
	}
	if err := agrees(want, r.Settings); err != nil {
		return Root{}, false, fmt.Errorf("%s: %w", dir.Settings(), err)
	}
	for _, name := range []string{dir.Cohorts(), dir.Manifests(), dir.DataDir()} {
		if err := durable.MkdirAll(o.fs(), name, r.Settings.DirMode.FS()); err != nil {
			return Root{}, false, fmt.Errorf("make root: %w", err)
		}
	}
	return r, created, nil
}

func makeRoot(fsys durable.FS, root cohort.Root, want cohort.Settings) (cohort.Settings, bool, error) {
	want.RootID = newULID()
	if err := want.Validate(); err != nil {
		return cohort.Settings{}, false, err
	}
	want = want.WithDefaults()
	// What is above the root is not ours: the umask decides there, whatever modes the root has.
	err := durable.MkdirAll(fsys, filepath.Dir(string(root)), want.DirMode.FS()&^(durable.Exact|fs.ModeSetgid))
	if err == nil || errors.Is(err, durable.ErrLink) {
		err = durable.MkdirAll(fsys, string(root), want.DirMode.FS())
	}
	if err != nil && !errors.Is(err, durable.ErrLink) { // the root itself may be a link
		return cohort.Settings{}, false, fmt.Errorf("make root: %w", err)
	}
	if err := mayBecomeRoot(fsys, root); err != nil {
		if s, oerr := settingsOf(fsys, root); oerr == nil { // another process has made the root meanwhile
			return s, false, nil
		}
		return cohort.Settings{}, false, err
	}
	if err := refuseStorage(fsys, root); err != nil {
		return cohort.Settings{}, false, fmt.Errorf("make root: %w", err)
	}
	err = durable.Create(fsys, root.Settings(), want.Encode(), want.FileMode.FS())
	if errors.Is(err, fs.ErrExist) {
		s, err := settingsOf(fsys, root) // another process was first
		return s, false, err
	}
	return want, err == nil, err
}

// mayBecomeRoot returns an error unless a root may be made in a directory. Files of others mean that the directory is not ours.
// Files of ours mean that it is a root without its runfold.json: a new one might have another key.
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
		{"root_id", want.RootID == "", want.RootID, have.RootID},
		{"key", !want.Key.Wide(), fmt.Sprint(want.Key.Fields()), fmt.Sprint(have.Key.Fields())},
		{"key_absent", !want.Key.Wide(), fmt.Sprintf("%q", want.Key.Absent()), fmt.Sprintf("%q", have.Key.Absent())},
		{"max_record_bytes", want.MaxRecord == 0, want.MaxRecord, have.MaxRecord},
		{"dir_mode", want.DirMode == 0, want.DirMode, have.DirMode},
		{"file_mode", want.FileMode == 0, want.FileMode, have.FileMode},
		{"snapshots", want.Snapshots == "", want.Snapshots, have.Snapshots},
		{"profile", want.Profile == cohort.NoProfile, want.Profile, cmp.Or(have.Profile, "none")},
	} {
		if !f.zero && f.want != f.have {
			return fmt.Errorf("%s was fixed when the root was made: it is %v and cannot become %v", f.name, f.have, f.want)
		}
	}
	return nil
}
