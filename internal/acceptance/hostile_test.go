package acceptance

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/runfold/runfold/cohort"
)

// journalAppend runs the command to its end on one input.
func journalAppend(t *testing.T, root cohort.Root, input string, flags ...string) (stderr string, code int) {
	t.Helper()
	cmd := exec.Command("journal-append", append([]string{"--root", string(root), "--cohort", "c"}, flags...)...)
	cmd.Stdin = strings.NewReader(input)
	var words strings.Builder
	cmd.Stderr = &words
	cmd.Run()
	return words.String(), cmd.ProcessState.ExitCode()
}

// TestBombs appends records that are made to break parsers, each as large as a record may be: they go the whole
// way, or are refused alone. With -short they are of the same kinds and an eighth as large.
func TestBombs(t *testing.T) {
	const limit = 16 << 20
	part := 1
	if testing.Short() {
		part = 8
	}
	members := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `"k%d":%d,`, i, i)
		}
		return b.String()
	}
	bombs := map[string]string{
		"long key":       `"` + strings.Repeat("k", 10<<20/part) + `":1,`,
		"long string":    `"x":"` + strings.Repeat("\\u0001", 2<<20/part) + `",`,
		"many keys":      members(700_000 / part),
		"many equal":     strings.Repeat(`"k":1,`, 2<<20/part),
		"deep":           `"x":` + strings.Repeat("[", 499) + strings.Repeat("]", 499) + `,`,
		"deep objects":   strings.Repeat(`"x":{`, 499) + strings.Repeat("}", 499) + `,`,
		"long number":    `"x":` + strings.Repeat("9", 10<<20/part) + `,`,
		"large exponent": `"x":1e999999999,`,
		"own names":      `"_key":"a","_stamp":1,"_record_id":"b","_stream":"c","_writer":"w","extra":"d","snapshot_seq":null,`,
		"odd names":      `"":1,"a.b":2,"a\u0000":3,"__proto__":4,"\ud800":5,`,
	}
	root := newRoot(t)
	want := map[string]bool{}
	for name, bomb := range bombs {
		line := fmt.Sprintf(`{%s"run_id":%q,"stage":"S"}`, bomb, name)
		if len(line) > limit {
			t.Fatalf("%s is a bomb of %d bytes, which is refused for that", name, len(line))
		}
		words, code := journalAppend(t, root, line+"\n"+`{"run_id":"after `+name+`","stage":"S"}`)
		switch {
		case code == 0:
			want[name+":S"] = true
		case code != 1 || !strings.Contains(words, "<stdin>:1: ") || len(words) > 1000:
			t.Errorf("%s: exit code %d: %.2000s", name, code, words)
		}
		want["after "+name+":S"] = true
	}
	settle(t, root)
	if stdout, stderr, code := compactd(t, "check", "--root", string(root)); code != 0 {
		t.Errorf("check: exit code %d: %.2000s%.2000s", code, stdout, stderr)
	}
	data, err := os.ReadFile(root.Snapshots())
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]json.RawMessage
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	rows := readIndex(t, root)
	for key := range want {
		if _, ok := rows[key]; !ok || got[key] == nil {
			t.Errorf("%s was acknowledged and is in index.parquet: %t, in snapshot_index.json: %t", key, ok, got[key] != nil)
		}
	}
	if len(got) != len(want) || len(rows) != len(want) {
		t.Errorf("%d entries and %d rows, want %d", len(got), len(rows), len(want))
	}
	t.Logf("figure: %d records made to break parsers", len(bombs))
}
