package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
)

// ErrMixed reports a root whose files name different roots. Every *MixedError matches it, and says which file names which.
var ErrMixed = errors.New("its files name different roots")

// MixedError tells which files of a directory name which root. It matches ErrMixed. Nothing may be written, moved or removed there
// before a person knows which of them are right: either runfold.json is damaged, or files of another root were copied in.
type MixedError struct {
	Root cohort.Root
	Said []Said // runfold.json is the first, unless it is missing
}

// Said is one root id, and which files name it.
type Said struct {
	RootID string
	What   string // "runfold.json", "manifest" or "stream"
	N      int    // how many files
	Such   string // the path of the first of them, relative to the root
}

func (s Said) String() string {
	switch {
	case s.What == "runfold.json" || s.N == 1:
		return fmt.Sprintf("%s says %s", s.Such, s.RootID)
	}
	return fmt.Sprintf("%d %ss, such as %s, say %s", s.N, s.What, s.Such, s.RootID)
}

func (e *MixedError) Error() string {
	said := make([]string, len(e.Said))
	for i, s := range e.Said {
		said[i] = s.String()
	}
	return fmt.Sprintf("%s: %v: %s", e.Root, ErrMixed, strings.Join(said, "; "))
}

// Is makes it match ErrMixed.
func (*MixedError) Is(target error) bool { return target == ErrMixed }

// Agreed is the one root id that all files name but runfold.json, or empty. manifests tells whether a manifest is one of them.
func (e *MixedError) Agreed() (id string, manifests bool) {
	for _, s := range e.Said {
		if s.What == "runfold.json" {
			continue
		}
		if id != "" && id != s.RootID {
			return "", false
		}
		id, manifests = s.RootID, manifests || s.What == "manifest"
	}
	return id, manifests
}

// Strangers are the files that name another root than runfold.json does, if files of each kind name that root as well.
func (e *MixedError) Strangers() (strangers []Said) {
	if len(e.Said) == 0 || e.Said[0].What != "runfold.json" {
		return nil
	}
	ours := false
	for _, s := range e.Said[1:] {
		if s.RootID == e.Said[0].RootID {
			ours = true
		} else {
			strangers = append(strangers, s)
		}
	}
	if !ours {
		return nil
	}
	return strangers
}

// Agree returns a *MixedError unless the files of the root name the root that runfold.json names. [OpenRoot] has called it.
func (r Root) Agree() error { return agree(r.fs(), r.Dir, r.Settings) }

// agree returns a *MixedError unless the newest manifest names the root that runfold.json names. Without a manifest some stream
// must name it, if any stream can be read. A bit of the id in runfold.json may have flipped, or the file may be that of another
// root: what a program then wrote would belong to a root that does not exist, and all records of before would count as strangers.
//
// It reads little: the beginning of one manifest, or the headers of a few streams.
func agree(fsys durable.FS, root cohort.Root, s cohort.Settings) error {
	r := Root{Dir: root, Settings: s, FS: fsys}
	named, ok := newestRootID(fsys, root, s.RootID)
	if !ok {
		named, ok = r.sampleRootID()
	}
	if !ok || named == s.RootID {
		return nil
	}
	said, err := Testimony(root, RootOptions{FS: fsys})
	if err != nil {
		return err
	}
	all := append([]Said{{s.RootID, "runfold.json", 1, root.Rel(root.Settings())}}, said...)
	// A sample is not all. Streams of another root beside ours are no reason to stop: a fold leaves them alone and tells of them.
	byManifest := slices.ContainsFunc(said, func(s Said) bool { return s.What == "manifest" })
	if !byManifest && slices.ContainsFunc(said, func(other Said) bool { return other.RootID == s.RootID }) {
		return nil
	}
	return &MixedError{root, all}
}

// manifestHead is how many bytes of a manifest are read at first. The root id stands in them.
const manifestHead = 1 << 10

// manifestsOf lists the numbers of the manifests that are files, in order.
func manifestsOf(fsys durable.FS, root cohort.Root) (gens []cohort.Generation, err error) {
	entries, err := fsys.ReadDir(root.Manifests())
	for _, e := range entries {
		if g, ok := cohort.ParseManifestName(e.Name()); ok && e.Type().IsRegular() {
			gens = append(gens, g)
		}
	}
	return gens, err
}

// newestRootID is the root id in the newest manifest that can be read; ok is false if there is none.
func newestRootID(fsys durable.FS, root cohort.Root, want string) (id string, ok bool) {
	gens, err := manifestsOf(fsys, root)
	if err != nil {
		return "", false
	}
	for _, g := range slices.Backward(gens) {
		// The beginning has no checksum of its own. So it is believed only where it says what runfold.json says as well; else
		// the whole manifest is read, because it may be damaged just there.
		if headNames(fsys, root.Manifest(g), want) {
			return want, true
		}
		data, err := durable.Read(fsys, root.Manifest(g), cohort.MaxManifest)
		if err != nil {
			continue
		}
		if id, ok := cohort.ManifestRootID(data); ok {
			return id, true
		}
	}
	return "", false
}

// headNames tells whether the first root id in a manifest is the wanted one.
func headNames(fsys durable.FS, name, want string) bool {
	f, err := fsys.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	head, err := io.ReadAll(io.LimitReader(f, manifestHead))
	if err != nil {
		return false
	}
	_, after, ok := bytes.Cut(head, []byte(`"root_id": "`))
	return ok && bytes.HasPrefix(after, []byte(want+`"`))
}

// How many cohorts, and how many streams of each, are looked at in a root without a manifest.
const (
	sampleCohorts = 8
	sampleStreams = 4
)

// sampleRootID is the root id in the headers of a few streams: that of the settings if one of them names it. ok is false if none
// can be read.
func (r Root) sampleRootID() (id string, ok bool) {
	ids, _, err := cohorts(r.fs(), r.Dir.Cohorts())
	if err != nil {
		return "", false
	}
	for _, c := range ids[:min(len(ids), sampleCohorts)] {
		entries, err := r.fs().ReadDir(r.Dir.Cohort(c))
		if err != nil {
			continue
		}
		looked := 0
		for _, e := range entries {
			s, err := cohort.ParseStreamID(e.Name())
			if err != nil || !e.IsDir() {
				continue
			}
			if said, _, read := r.WrittenFor(r.InCohort(Stream{c, s})); read {
				id, ok = said, true
			}
			if ok && id == r.Settings.RootID {
				return id, true
			}
			if looked++; looked == sampleStreams {
				break
			}
		}
	}
	return id, ok
}

// WrittenFor is the root and the cohort for which a stream was written, as its header says; ok is false if it cannot be read.
func (r Root) WrittenFor(p Place) (rootID string, id cohort.ID, ok bool) {
	h, ok, err := r.header(p)
	if err != nil || !ok {
		return "", "", false
	}
	if _, err := cohort.ParseRootID(h.RootID); err != nil {
		return "", "", false
	}
	_, err = cohort.ParseID(string(h.Cohort))
	return h.RootID, h.Cohort, err == nil
}

// Testimony is what the manifests and streams of a directory say about its root id. It reads all manifests, and the header of
// each stream. What cannot be read says nothing.
func Testimony(root cohort.Root, o RootOptions) ([]Said, error) {
	fsys := o.fs()
	var said []Said
	add := func(what, id, path string) {
		i := slices.IndexFunc(said, func(s Said) bool { return s.What == what && s.RootID == id })
		if i < 0 {
			i = len(said)
			said = append(said, Said{RootID: id, What: what, Such: root.Rel(path)})
		}
		said[i].N++
	}
	gens, err := manifestsOf(fsys, root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list manifests: %w", err)
	}
	for _, g := range slices.Backward(gens) {
		data, err := durable.Read(fsys, root.Manifest(g), cohort.MaxManifest)
		if err != nil {
			continue
		}
		if id, ok := cohort.ManifestRootID(data); ok {
			add("manifest", id, root.Manifest(g))
		}
	}
	r := Root{Dir: root, FS: fsys}
	streams, _, err := r.Streams()
	if err != nil && len(streams) == 0 {
		return nil, err
	}
	for _, p := range streams {
		if id, _, ok := r.WrittenFor(p); ok {
			add("stream", id, p.Dir)
		}
	}
	return said, nil
}
