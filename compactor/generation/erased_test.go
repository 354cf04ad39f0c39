package generation

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/journal"
)

// sampleErased is the tombstones of the format page.
func sampleErased() *cohort.Erased {
	var salt cohort.Salt
	for i := range salt {
		salt[i] = byte(i)
	}
	all := cohort.NewErased(cohort.KeyForm{}, salt)
	for _, d := range []cohort.NameDigest{salt.OfKey("r-17:TRAINING"), salt.OfRun("r-17"), salt.OfStage("r-17", "TRAINING")} {
		all.Add(cohort.Tombstone{Digest: d, Stamp: 1_700_000_000_000_000_000, Generation: 7})
	}
	return all
}

// tombstonesOf writes tombstones as a draft does, into a root of their own.
func tombstonesOf(t *testing.T, all *cohort.Erased) (*Store, Manifest) {
	t.Helper()
	root := cohort.Root(t.TempDir() + "/runs")
	if _, _, err := journal.InitRoot(root, cohort.Settings{}, journal.RootOptions{}); err != nil {
		t.Fatal(err)
	}
	s, err := Open(root, journal.RootOptions{})
	if err != nil {
		t.Fatal(err)
	}
	d := Draft{Manifest: Manifest{Generation: 7, Token: "0123456789abcdef"}, store: s}
	if err := d.erase(nil, Changes{Erase: all}); err != nil {
		t.Fatal(err)
	}
	return s, d.Manifest
}

func TestErasedVector(t *testing.T) {
	s, m := tombstonesOf(t, sampleErased())
	data, err := os.ReadFile(s.Root.Data(m.Erased.Name))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(vectors(t, "erased.md")[0], string(data)); diff != "" {
		t.Errorf("erased.md (-page +code):\n%s", diff)
	}
	got, err := s.Erased(m)
	if err != nil || !cmp.Equal(got.All(), sampleErased().All()) || got.Salt != sampleErased().Salt {
		t.Errorf("read back: %v, %v", got, err)
	}
	if m.Erased.Since != 7 || m.Requires[0] != "erased" {
		t.Errorf("manifest: %+v, requires %v", m.Erased, m.Requires)
	}
}

// TestErasedDamage flips a bit of each byte: none is passed by.
func TestErasedDamage(t *testing.T) {
	s, m := tombstonesOf(t, sampleErased())
	path := s.Root.Data(m.Erased.Name)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 4
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, bad, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Erased(m); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("byte %d: %v, want ErrCorrupt", i, err)
		}
	}
}

// TestErasedManifest: a manifest says that tombstones are required, and its file is of its history.
func TestErasedManifest(t *testing.T) {
	m := sampleToday()
	m.Requires = append(m.Requires, "erased")
	m.Erased = &Erased{DataFile{Name: cohort.ErasedName(m.Generation, m.Token), Size: 100, Rows: 1}, 3}
	if _, err := DecodeManifest(m.Encode()); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string][2]string{
		"another file":      {`"name": "erased-`, `"name": "actions-`},
		"since later":       {`"since": 3`, `"since": 300`},
		"not required":      {`"erased"` + "\n ]", `"withdrawn"` + "\n ]"},
		"required, missing": {`"erased": {`, `"other": {`},
	} {
		if !strings.Contains(string(m.Encode()), change[0]) {
			t.Fatalf("%s: %s does not stand in the manifest", name, change[0])
		}
		if _, err := DecodeManifest(resealedOf(t, m, change[0], change[1])); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v, want ErrCorrupt", name, err)
		}
	}
	if _, err := DecodeManifest(resealedOf(t, m, `"erased"`+"\n ]", `"later"`+"\n ]")); !errors.Is(err, cohort.ErrNewer) {
		t.Errorf("another requirement: %v, want ErrNewer", err)
	}
}
