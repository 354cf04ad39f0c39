package acceptance

import (
	"flag"
	"os/exec"
	"strings"
	"testing"
)

var padded = flag.String("padded", "", "the `readers` that read the files of TestPadded, such as pyarrow,jq: make test-engines gives them")

// TestPadded reads an index whose row groups have zeros between them, of which folds took some over with other offsets, and snapshots with spaces between
// their sections. Each reader reads all of it, and what it finds by bounds and bloom filters; each cell is compared.
func TestPadded(t *testing.T) {
	if *padded == "" {
		t.Skip("no -padded: make test-engines runs this, with Python, Java and node")
	}
	dir := t.TempDir()
	if out, err := exec.Command("go", "run", "-buildvcs=false", "../padded", dir).CombinedOutput(); err != nil {
		t.Fatalf("internal/padded: %v\n%s", err, out)
	}
	for reader := range strings.SplitSeq(*padded, ",") {
		out, err := exec.Command(*enginesPython, "testdata/engines/padded.py", reader, dir).CombinedOutput()
		text := strings.TrimSpace(string(out))
		if err != nil {
			t.Errorf("%s: %v\n%s", reader, err, text[max(0, len(text)-3000):])
			continue
		}
		t.Logf("figure: %s", text[strings.LastIndexByte(text, '\n')+1:])
	}
}
