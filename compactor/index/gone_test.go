package index

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestColumnsThatComeAndGo lets columns make room for others, again and again, as a run does that is appended over and over with
// names of its own. What the root wants can be read back each time, and no id is given away twice.
func TestColumnsThatComeAndGo(t *testing.T) {
	columns := Columns{Max: MostColumns}
	var schema Schema
	highest := int32(firstID - 1)
	for round := range 5 {
		var unused []string
		for _, c := range schema {
			unused = append(unused, c.Name)
		}
		schema, columns = columns.Apply(schema, unused)
		for n := len(schema); n < MostColumns; n++ {
			schema = append(schema, Column{Name: fmt.Sprintf("c%d_%04d", round, n), Kind: Int})
		}
		schema, columns = columns.Apply(schema, nil)
		for _, c := range schema {
			if c.ID <= highest {
				t.Fatalf("round %d: %v has an id that was given away before, up to %d", round, c, highest)
			}
		}
		highest = schema[len(schema)-1].ID

		text, err := json.Marshal(columns)
		if err != nil {
			t.Fatal(err)
		}
		var read Columns
		if err := json.Unmarshal(text, &read); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if diff := cmp.Diff(columns, read); diff != "" {
			t.Fatalf("round %d (-written +read):\n%s", round, diff)
		}
	}
	if n := len(columns.Gone); n != MostColumns || columns.Gone[n-1].Name[:2] != "c3" {
		t.Errorf("%d columns are remembered, the last one %v; want the last %d that went", n, columns.Gone[n-1], MostColumns)
	}
	last := columns.Gone[len(columns.Gone)-1].Name
	if _, after, err := columns.Drop(schema, schema[0].Name); err != nil || len(after.Gone) != MostColumns || after.Gone[MostColumns-2].Name != last {
		t.Errorf("Drop of one more remembers %d, %v; want it in the place of the one that went first", len(after.Gone), err)
	}
}
