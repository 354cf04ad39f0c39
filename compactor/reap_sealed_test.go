package compactor_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/internal/durable"
)

// TestSealedStreamThatChangedStays: a sealed stream in reaped/ that is not as long as it was when it was folded is kept, and told of. One
// that is as it was is deleted, and so is one whose deletion was cut off, or that lacks only its seal.
func TestSealedStreamThatChangedStays(t *testing.T) {
	for name, test := range map[string]struct {
		change func(t *testing.T, segment string)
		kept   bool
	}{
		"as it was": {func(*testing.T, string) {}, false},
		"its segment is gone": {func(t *testing.T, segment string) {
			if err := durable.Remove(durable.OS, segment); err != nil {
				t.Fatal(err)
			}
		}, false},
		"longer by one byte": {func(t *testing.T, segment string) { extend(t, segment, []byte{0}) }, true},
		"an entry was added": {func(t *testing.T, segment string) {
			change(t, segment, func(b []byte) []byte { return append(bytes.Clone(b), b...) })
		}, true},
		"cut off": {func(t *testing.T, segment string) {
			change(t, segment, func(b []byte) []byte { return b[:len(b)/2] })
		}, true},
		"its seal is cut off": {func(t *testing.T, segment string) {
			change(t, segment, func(b []byte) []byte { return b[:len(b)-1] })
		}, false},
		"a link": {func(t *testing.T, segment string) {
			away := segment + ".away"
			if err := os.Rename(segment, away); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(away, segment); err != nil {
				t.Fatal(err)
			}
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			root := newDamagedRoot(t)
			appendTo(t, root, "c", firstLines...)
			foldNow(t, compactor.Config{Root: root})
			s := inReaped(t, root, "c")[0]
			segment := cohort.SegmentIn(root.Reaped(s.Cohort, s.ID))
			test.change(t, segment)
			var before []byte
			if test.kept {
				before, _ = os.ReadFile(segment)
			}
			appendTo(t, root, "c", secondLines...)
			said := &notices{}
			foldNow(t, compactor.Config{Root: root, Notify: said.add})
			told := strings.Contains(said.text(), s.String()+" in reaped/: ")
			after, err := os.ReadFile(segment)
			if kept := err == nil; kept != test.kept || told != test.kept || !bytes.Equal(before, after) {
				t.Errorf("kept %v, told %v (%q): want %v", kept, told, said.text(), test.kept)
			}
		})
	}
}
