package generation

import (
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/runfold/runfold/cohort"
)

// TestActionVectors reads the lines of the page, and writes them again.
func TestActionVectors(t *testing.T) {
	page, err := os.ReadFile("../../docs/format/withdrawn.md")
	if err != nil {
		t.Fatal(err)
	}
	all := regexp.MustCompile("(?s)```vector\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(all) < 2 {
		t.Fatalf("the page has %d vectors", len(all))
	}
	for _, v := range all {
		r, err := decodeAction([]byte(v[1]))
		if err != nil {
			t.Errorf("%s: %v", v[1], err)
			continue
		}
		if got := string(encodeAction(r)); got != v[1] {
			t.Errorf("written again:\n%swant:\n%s", got, v[1])
		}
	}
}

func TestActionsDamaged(t *testing.T) {
	good := `{"cohort":"c","stream":"01JE0000000000000000000000","stamp":7,"record_id":"b","action":{"action":"undo","run_id":"r"}}`
	for name, line := range map[string]string{
		"no JSON": good[1:], "empty": "", "no action": `{"cohort":"c"}`, "no run": strings.Replace(good, `,"run_id":"r"`, "", 1),
		"too long": `{"cohort":"` + strings.Repeat("c", maxActionLine) + `"}`,
	} {
		err := eachAction(strings.NewReader(good+"\n"+line+"\n"), func(cohort.Record) bool { return true })
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v, want ErrCorrupt", name, err)
		}
	}
	newer := strings.Replace(good, "undo", "forget", 1)
	if err := eachAction(strings.NewReader(newer), func(cohort.Record) bool { return true }); !errors.Is(err, cohort.ErrNewer) || errors.Is(err, ErrCorrupt) {
		t.Errorf("an action of a newer program: %v, want ErrNewer", err)
	}
}
