package delta_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/runfold/runfold/compactor/view/delta"
	"github.com/runfold/runfold/internal/durable"
)

// TestPublish publishes generation after generation, and reads each version.
func TestPublish(t *testing.T) {
	disk := newDisk(t)
	if done := publish(t, disk); done.Version != -1 || done.Published {
		t.Errorf("a root without a generation: %+v", done)
	}
	for n := range 25 {
		grow(t, disk, run(n))
		if done := publish(t, disk); done.Version != int64(n) || !done.Published || done.Mapped || len(done.LeftOut) > 0 {
			t.Fatalf("fold %d: %+v", n, done)
		}
		if done := publish(t, disk); done.Version != int64(n) || done.Published {
			t.Fatalf("fold %d, published again: %+v", n, done)
		}
		s := mustShow(t, disk, "published")
		if s.protocol != [2]int32{1, 2} || s.config["delta.enableChangeDataFeed"] != "false" || strings.Contains(s.schema, `"_stamp"`) {
			t.Errorf("protocol %v, configuration %v, schema %s", s.protocol, s.config, s.schema)
		}
	}
	s := mustShow(t, disk, "at the end")
	if !slices.IsSorted(s.times) || len(slices.Compact(s.times)) != len(s.times) {
		t.Errorf("times do not rise: %v", s.times)
	}
	for v := range int64(25) {
		if s, err := isWhole(t, disk, v); err != nil || s.version != v {
			t.Errorf("version %d: %+v, %v", v, s, err)
		}
	}
	var st struct {
		NumRecords           int
		MinValues, MaxValues map[string]any
		NullCount            map[string]int
	}
	if err := json.Unmarshal(s.stats[s.files[0]], &st); err != nil || st.NumRecords != 25 {
		t.Errorf("statistics: %v, %+v", err, st)
	}
	if st.MinValues["run_id"] != "r-0" || st.MaxValues["run_id"] != "r-9" || st.MinValues["snapshot_seq"] != 1.0 ||
		st.MinValues["timestamp"] != "2026-01-02T03:04:05.000Z" || st.MaxValues["timestamp"] != "2026-01-02T03:04:05.001Z" ||
		st.MaxValues["metrics.auc"] != 0.9 || st.NullCount["_extra"] != 25 {
		t.Errorf("statistics: %+v", st)
	}
	if got := wrong(t, disk); got != "" {
		t.Errorf("Check: %s", got)
	}
}

// wrong is what Check tells.
func wrong(t testing.TB, fsys durable.FS) string {
	t.Helper()
	var all []string
	if _, err := delta.Check(store(t, fsys), func(path, reason string) { all = append(all, path+": "+reason) }); err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, "\n")
}
