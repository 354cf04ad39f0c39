package compactor

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestNoteVector keeps docs/format/quarantine.md and the code equal.
func TestNoteVector(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "docs", "format", "quarantine.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, from, _ := strings.Cut(string(page), "\n```vector\n")
	vector, _, ok := strings.Cut(from, "```\n")
	if !ok {
		t.Fatal("quarantine.md has no vector")
	}
	var note damageNote
	if err := json.Unmarshal([]byte(vector), &note); err != nil {
		t.Fatal(err)
	}
	again, err := json.MarshalIndent(note, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(vector, string(again)+"\n"); diff != "" {
		t.Errorf("quarantine.md (-page +code):\n%s", diff)
	}
}
