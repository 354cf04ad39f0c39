package intake

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
)

// TestFoxmlItems: what pandas and json make of the files of a root with the profile becomes the records of before.
func TestFoxmlItems(t *testing.T) {
	settings := cohort.Settings{Profile: cohort.Foxml, MaxRecord: 1 << 20}.WithDefaults()
	for _, c := range []struct {
		name, row, snap string // snap is its key, a space, and its value
		want            string
		segment         string
	}{
		{
			name:    "doubles of a column of integers are integers again, others stay",
			row:     `{"run_id":"r1","phase":"T","cohort_id":"c","segment_id":3.0,"n_effective":52000.0,"folds_executed":2.5,"auc":1.0,"mine":4.0}`,
			want:    `{"run_id":"r1","stage":"T","n_effective":52000,"folds_executed":2.5,"auc":1.0,"mine":4.0}`,
			segment: "3",
		},
		{
			name:    "a segment that is missing",
			row:     `{"run_id":"r1","phase":"T","cohort_id":"c","segment_id":null,"auc":1}`,
			want:    `{"run_id":"r1","stage":"T","auc":1}`,
			segment: "none",
		},
		{
			name:    "a text is no segment and is kept",
			row:     `{"run_id":"r1","phase":"T","cohort_id":"c","segment_id":"x"}`,
			want:    `{"run_id":"r1","stage":"T","segment_id":"x"}`,
			segment: "none",
		},
		{
			name:    "the record's own segment in _extra is no segment of the row",
			row:     `{"run_id":"r1","phase":"T","cohort_id":"c","segment_id":2,"_extra":"{\"segment_id\":99,\"mode\":\"loso\"}","mode":"LOSO"}`,
			want:    `{"run_id":"r1","stage":"T","segment_id":99,"mode":"loso","mode":"LOSO"}`,
			segment: "2",
		},
		{
			name:    "mode is the view and is not named twice",
			row:     `{"run_id":"r1","phase":"T","cohort_id":"c","mode":"LOSO"}`,
			snap:    `r1:T:NONE:LOSO:NONE {"view":"LOSO","x":1}`,
			want:    `{"run_id":"r1","stage":"T","mode":"LOSO","snapshot":{"view":"LOSO","x":1}}`,
			segment: "none",
		},
		{
			name:    "a snapshot of another spelling of the target is that of the row",
			row:     `{"run_id":"r1","phase":"T","cohort_id":"c","target":"y/5m","mode":"LOSO","model_family":"lgbm"}`,
			snap:    `r1:T:y_5m:LOSO:NONE {"x":1}`,
			want:    `{"run_id":"r1","stage":"T","target":"y/5m","mode":"LOSO","model_family":"lgbm","snapshot":{"x":1}}`,
			segment: "none",
		},
		{
			name:    "a time without a zone stays",
			row:     `{"run_id":"r1","phase":"T","cohort_id":"c","timestamp":"2026-03-01T12:00:00.123456"}`,
			want:    `{"run_id":"r1","stage":"T","timestamp":"2026-03-01T12:00:00.123456"}`,
			segment: "none",
		},
		{
			name:    "one in another form gets one that a record may have",
			row:     `{"run_id":"r1","phase":"T","cohort_id":"c","timestamp":"2026-03-01 12:00:00"}`,
			want:    `{"run_id":"r1","stage":"T","timestamp":"2026-03-01T12:00:00Z"}`,
			segment: "none",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &files{names: naming{nil, map[string]bool{}}, settings: settings}
			it, err := f.names.rowItem([]byte(c.row))
			f.add(it, err, position{where: "row"})
			if c.snap != "" {
				key, value, _ := strings.Cut(c.snap, " ")
				it, err := f.names.snapshotItem(index.ForeignSnapshot{Key: key, Value: []byte(value)}, settings.Key)
				f.add(it, err, position{where: "snapshot", ofSnapshots: true})
			}
			recs := f.records()
			if len(recs) != 1 || f.report.Left != 0 {
				t.Fatalf("%d records, %d left out: %+v", len(recs), f.report.Left, f.left.list)
			}
			segment := "none"
			if s := recs[0].Segment; s != nil {
				segment = fmt.Sprint(*s)
			}
			if diff := cmp.Diff([]string{c.want, c.segment}, []string{string(recs[0].JSON), segment}); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
