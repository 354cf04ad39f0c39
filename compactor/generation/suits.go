package generation

import (
	"fmt"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/journal"
)

// suits returns an error unless a manifest is of the root that runfold.json describes. Such a manifest came after the root was
// opened, or somebody has changed runfold.json: rows of two keys in one index could never be taken apart again. A Store without
// settings takes every manifest.
func (s *Store) suits(m Manifest) error {
	if s.Settings.RootID == "" {
		return nil
	}
	if m.RootID != s.Settings.RootID {
		if err := s.Journal().Agree(); err != nil {
			return err
		}
		return fmt.Errorf("manifest %s: of root %s: %w", s.Root.Manifest(m.Generation), m.RootID, journal.ErrMixed)
	}
	repeated, ok := m.Repeated()
	is, was := s.Settings.WithDefaults(), repeated.WithDefaults()
	if !ok || is.Key == was.Key && is.Snapshots == was.Snapshots {
		return nil
	}
	return &journal.SettingsError{Root: s.Root, Manifests: true, Err: fmt.Errorf("it says %s, and manifest %v repeats %s: the key and the form of the snapshots never change",
		KeyText(is), m.Generation, KeyText(was))}
}

// KeyText is the key of a root, and the form of its snapshots, for people.
func KeyText(s cohort.Settings) string {
	text := fmt.Sprintf("key %v", s.Key.Fields())
	if s.Key.Absent() != "" {
		text += ", absent fields " + s.Key.Absent()
	}
	if s.Profile != cohort.NoProfile {
		text += fmt.Sprintf(", profile %s", s.Profile)
	}
	return fmt.Sprintf("%s, snapshots %s", text, s.WithDefaults().Snapshots)
}

// Repeated are the settings that the manifest repeats; ok is false if it repeats none, as those of versions 1 and 2, or if they cannot
// be those of its root.
func (m *Manifest) Repeated() (s cohort.Settings, ok bool) {
	if m.Settings == nil {
		return cohort.Settings{}, false
	}
	s, err := cohort.DecodeSettings(m.Settings)
	return s, err == nil && s.RootID == m.RootID
}
