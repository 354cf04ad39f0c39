//go:build unix

package acceptance

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/runfold/runfold/cohort"
)

// TestShareGoesAway unmounts a volume whose top directory is a root, while a writer is open. An empty directory is in its
// place. Nothing is acknowledged or made there, and all that was acknowledged is there when the volume is mounted again.
func TestShareGoesAway(t *testing.T) {
	disk, image := Disk(t)
	root := cohort.Root(disk)
	if _, err := os.Stat(disk + "/lost+found"); err != nil {
		t.Fatalf("a fresh volume: %v", err)
	}
	stdout, stderr, code := compactd(t, "init", "--root", disk, "--json")
	var made struct {
		RootID string `json:"root_id"`
	}
	if err := json.Unmarshal([]byte(stdout), &made); err != nil || code != 0 {
		t.Fatalf("compactd init: exit code %d, %v: %s%s", code, err, stdout, stderr)
	}
	w := startWriter(t, root, 0)
	if err := errors.Join(w.send(2), w.ack(), w.ack()); err != nil {
		t.Fatal(err)
	}
	call := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", name, err, out)
		}
	}
	call("umount", "--lazy", disk)
	if err := w.send(1); err != nil {
		t.Fatal(err)
	}
	if !w.acks.Scan() || !strings.Contains(w.acks.Text(), `"line":3,"error":"append: `) {
		t.Errorf("the volume is away, and a record is answered with %q, want an error", w.acks.Text())
	}
	if err := w.ack(); !errors.Is(err, io.EOF) {
		t.Errorf("behind that answer: %v", err)
	}
	if err := w.cmd.Wait(); err == nil || !strings.Contains(w.stderr.String(), "not a runfold root: it is empty") {
		t.Errorf("the open writer ends with %v: %s", err, w.stderr.String())
	}
	line := `{"run_id":"late","stage":"S"}`
	if words, code := journalAppend(t, root, line); code != 1 || !strings.Contains(words, "not a runfold root: it is empty\n") {
		t.Errorf("journal-append: exit code %d: %s", code, words)
	}
	if words, code := journalAppend(t, root, line, "--create", "--root-id", made.RootID); code != 1 {
		t.Errorf("journal-append --create --root-id: exit code %d: %s", code, words)
	}
	if _, stderr, code := compactd(t, "once", "--root", disk); code != 1 {
		t.Errorf("compactd once: exit code %d: %s", code, stderr)
	}
	if entries, err := os.ReadDir(disk); err != nil || len(entries) > 0 {
		t.Errorf("the mount point has %v, %v", entries, err)
	}
	call("mount", "-o", "loop", image, disk)
	if words, code := journalAppend(t, root, line, "--create", "--root-id", made.RootID); code != 0 {
		t.Errorf("journal-append to the volume that is back: exit code %d: %s", code, words)
	}
	settle(t, root, "--dead-after", "1ns")
	rows := readIndex(t, root)
	if n := len(rows); n != 3 && n != 4 { // the record that was refused may have reached the volume
		t.Errorf("%d rows, want the two that were acknowledged and the late one", n)
	}
}
