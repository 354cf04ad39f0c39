package journal

import (
	"fmt"
	"slices"

	"io/fs"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
)

// SettingsError reports a runfold.json that is not what runfold writes: it is empty, cut off, garbage, or says something else than the
// manifests repeat. It is never the error of a file that cannot be read, nor of one that a newer program wrote.
type SettingsError struct {
	Root cohort.Root
	Err  error
	// Manifests tells that there are manifests, which repeat what runfold.json said: see audit.RestoreSettings.
	Manifests bool
}

func (e *SettingsError) Error() string { return fmt.Sprintf("%s: %v", e.Root.Settings(), e.Err) }
func (e *SettingsError) Unwrap() error { return e.Err }

// hasManifest tells whether a directory has a manifest, whole or not.
func hasManifest(fsys durable.FS, root cohort.Root) bool {
	entries, err := fsys.ReadDir(root.Manifests())
	return err == nil && slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		_, ok := cohort.ParseManifestName(e.Name())
		return ok
	})
}
