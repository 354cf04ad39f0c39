package cohort_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/runfold/runfold/cohort"
)

// TestMemory: records that a Memory keeps stay as they were, whatever the Parser reads next, across many pieces of memory, and
// after a Reset for other records.
func TestMemory(t *testing.T) {
	var parser cohort.Parser
	memory := cohort.NewMemory(100)
	for round := range 3 {
		text := func(i int) string {
			long := strings.Repeat("x", i%7*(i%500)*10) // from nothing to 30 KB, so that some do not fit into what is left
			return fmt.Sprintf(`{"run_id":"r%d-%d","stage":"S","metrics":{"a":%d},"note":"%s"}`, round, i, i, long)
		}
		var all []cohort.Record
		memory.Reset()
		for i := range 1000 {
			data := []byte(text(i))
			r, err := parser.Parse(data, 0)
			if err != nil {
				t.Fatal(err)
			}
			keep := memory.Keep
			if i%2 == 1 {
				keep = memory.KeepBytes
			}
			all = append(all, keep(r))
			clear(data)
		}
		for i, r := range all {
			names := ""
			for name := range r.Members {
				names += string(name) + " "
			}
			if string(r.JSON) != text(i) || r.RunID != fmt.Sprintf("r%d-%d", round, i) || names != "run_id stage metrics note " {
				t.Fatalf("round %d, record %d: run_id %q, members %q, %.80s", round, i, r.RunID, names, r.JSON)
			}
		}
	}
}
