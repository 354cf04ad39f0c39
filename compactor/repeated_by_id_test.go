package compactor_test

import (
	"strings"
	"testing"

	"github.com/runfold/runfold/compactor"
)

// TestRepeatedByID: a row that an older program wrote keeps no digest, so its id alone tells a repeat. That is told, as the
// bytes may be others; of a row of this program nothing is to be told.
func TestRepeatedByID(t *testing.T) {
	root := copyOf(t, "testdata/formats/v1/root")
	foldNow(t, compactor.Config{Root: root})
	for _, test := range []struct {
		line string
		byID int
	}{
		{`{"run_id":"types","stage":"S","record_id":"mine","v":9}`, 1},
		{`{"run_id":"types","stage":"S","record_id":"other","v":9}`, 0},
		{`{"run_id":"types","stage":"S","record_id":"other","v":9}`, 0},
		{`{"run_id":"types","stage":"S","record_id":"other","v":8}`, 0},
	} {
		appendTo(t, root, "c", test.line)
		said := &notices{}
		r := foldNow(t, compactor.Config{Root: root, Notify: said.add})
		if told := strings.Contains(said.text(), compactor.RepeatedByID{Count: 1}.String()); r.ByID != test.byID || told != (test.byID > 0) {
			t.Errorf("%s: %d repeats by id, says %q; want %d", test.line, r.ByID, said.text(), test.byID)
		}
	}
}
