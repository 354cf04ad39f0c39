package journal

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
)

// plantManifest makes a manifest as far as this package reads one.
func plantManifest(t *testing.T, root cohort.Root, g cohort.Generation, rootID string) {
	t.Helper()
	data := cohort.SealManifest([]byte(" \"version\": 3,\n \"root_id\": \"" + rootID + "\",\n \"highest_stamp\": 7\n}\n"))
	if err := os.WriteFile(root.Manifest(g), data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// rename writes runfold.json anew with another root id, as a flipped bit does.
func rename(t *testing.T, root cohort.Root, id string) {
	t.Helper()
	s := openRoot(t, root).Settings
	s.RootID = id
	if err := os.WriteFile(root.Settings(), s.Encode(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestMixed opens roots whose files name different roots. Nothing is written there.
func TestMixed(t *testing.T) {
	for _, test := range []struct {
		name      string
		make      func(t *testing.T, root cohort.Root, id string)
		want      []string // parts of the error; nil: the root opens
		agreed    string   // the id that all others name
		strangers int
	}{
		{"a young root with streams of its own", func(t *testing.T, root cohort.Root, _ string) {
			appendRuns(t, newWriter(t, root, Options{}), 1, 1)
		}, nil, "", 0},
		{"streams name another root", func(t *testing.T, root cohort.Root, _ string) {
			for range 3 {
				appendRuns(t, newWriter(t, root, Options{}), 1, 1)
			}
			rename(t, root, aRootID)
		}, []string{"runfold.json says " + aRootID, "3 streams, such as cohorts/c/", ", say ID"}, "ID", 0},
		{"so does the newest manifest", func(t *testing.T, root cohort.Root, id string) {
			appendRuns(t, newWriter(t, root, Options{}), 1, 1)
			plantManifest(t, root, 4, id)
			plantManifest(t, root, 5, id)
			rename(t, root, aRootID)
		}, []string{"2 manifests, such as manifests/00000000000000000005.json, say ID"}, "ID", 0},
		{"only the newest manifest is of another root", func(t *testing.T, root cohort.Root, id string) {
			appendRuns(t, newWriter(t, root, Options{}), 1, 1)
			plantManifest(t, root, 4, id)
			plantManifest(t, root, 5, aRootID)
		}, []string{"manifests/00000000000000000005.json says " + aRootID, "manifests/00000000000000000004.json says ID"}, "", 1},
		{"an older manifest is of another root", func(t *testing.T, root cohort.Root, id string) {
			plantManifest(t, root, 4, aRootID)
			plantManifest(t, root, 5, id)
		}, nil, "", 0},
		{"a stream of another root lies beside ours", func(t *testing.T, root cohort.Root, _ string) {
			appendRuns(t, newWriter(t, root, Options{}), 1, 1)
			hide(t, root, cohortStreams(t, root)[0], func() {
				rename(t, root, aRootID)
				appendRuns(t, newWriter(t, root, Options{}), 2, 2)
			})
		}, nil, "", 0},
		{"a stream of another root beside a manifest of ours", func(t *testing.T, root cohort.Root, _ string) {
			appendRuns(t, newWriter(t, root, Options{}), 1, 1)
			rename(t, root, aRootID)
			plantManifest(t, root, 5, aRootID)
		}, nil, "", 0},
		{"the newest manifest is damaged in its root id", func(t *testing.T, root cohort.Root, id string) {
			plantManifest(t, root, 4, id)
			plantManifest(t, root, 5, id)
			data, err := os.ReadFile(root.Manifest(5))
			if err != nil {
				t.Fatal(err)
			}
			data = []byte(strings.Replace(string(data), id, aRootID, 1))
			if err := os.WriteFile(root.Manifest(5), data, 0o644); err != nil {
				t.Fatal(err)
			}
		}, nil, "", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := newRoot(t)
			id := openRoot(t, root).Settings.RootID
			test.make(t, root, id)
			before := tree(t, string(root))
			_, err := OpenRoot(root, RootOptions{})
			if test.want == nil {
				if err != nil {
					t.Errorf("OpenRoot = %v, want nil", err)
				}
				return
			}
			var mixed *MixedError
			if !errors.Is(err, ErrMixed) || !errors.As(err, &mixed) {
				t.Fatalf("OpenRoot = %v, want ErrMixed", err)
			}
			for _, part := range test.want {
				if part := strings.ReplaceAll(part, "ID", id); !strings.Contains(err.Error(), part) {
					t.Errorf("OpenRoot = %v\nwant it to say %q", err, part)
				}
			}
			if got, _ := mixed.Agreed(); got != strings.ReplaceAll(test.agreed, "ID", id) {
				t.Errorf("Agreed = %q, want %q", got, test.agreed)
			}
			if got := mixed.Strangers(); len(got) != test.strangers {
				t.Errorf("Strangers = %v, want %d", got, test.strangers)
			}
			if _, err := Create(root, "c", Options{}); !errors.Is(err, ErrMixed) {
				t.Errorf("Create = %v, want ErrMixed", err)
			}
			if _, _, err := InitRoot(root, cohort.Settings{}, RootOptions{}); !errors.Is(err, ErrMixed) {
				t.Errorf("InitRoot = %v, want ErrMixed", err)
			}
			if diff := cmp.Diff(before, tree(t, string(root))); diff != "" {
				t.Errorf("what was refused changes the root (-before +after):\n%s", diff)
			}
		})
	}
}

// hide takes a stream out of the root while do runs.
func hide(t *testing.T, root cohort.Root, s Stream, do func()) {
	t.Helper()
	away := t.TempDir() + "/stream"
	if err := os.Rename(root.Stream(s.Cohort, s.ID), away); err != nil {
		t.Fatal(err)
	}
	do()
	if err := os.Rename(away, root.Stream(s.Cohort, s.ID)); err != nil {
		t.Fatal(err)
	}
}

// TestMixedUnderAWriter flips a bit of the id under a Writer that lives: its next stream is refused, and nothing is acknowledged.
func TestMixedUnderAWriter(t *testing.T) {
	root := newRoot(t)
	w := newWriter(t, root, Options{SealBytes: 1})
	appendRuns(t, w, 1, 1)
	id := openRoot(t, root).Settings.RootID
	plantManifest(t, root, 1, id)
	plantManifest(t, root, 2, aRootID) // of another root, copied in
	before := streams(t, root)
	if err := w.Append([]cohort.Record{rec(t, 2)}); !errors.Is(err, ErrMixed) {
		t.Errorf("Append = %v, want ErrMixed", err)
	}
	if diff := cmp.Diff(before, cohortStreams(t, root)); diff != "" {
		t.Errorf("streams (-before +after):\n%s", diff)
	}
}

// cohortStreams are the streams in the cohorts, also where the root does not open.
func cohortStreams(t *testing.T, root cohort.Root) []Stream {
	t.Helper()
	all, _, err := streamsIn(durable.OS, root.Cohorts())
	if err != nil {
		t.Fatal(err)
	}
	return all
}
