//go:build unix

package acceptance

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/runfold/runfold/cohort"
)

// TestSmallDisk fills a file system of a few MiB to its end: what was acknowledged is there, who appends or
// folds into it is told to try again later, and with room everything goes on.
func TestSmallDisk(t *testing.T) {
	disk := smallDisk(t)
	root := cohort.Root(disk + "/runs")
	if _, stderr, code := compactd(t, "init", "--root", string(root)); code != 0 {
		t.Fatal(stderr)
	}
	ballast, weight := disk+"/ballast", 7<<20
	if testing.Short() {
		weight = 9 << 20 // less to fill
	}
	if err := os.WriteFile(ballast, make([]byte, weight), 0o644); err != nil {
		t.Fatal(err)
	}
	acked, code := 0, 0
	for n := 0; code == 0; n++ {
		if n > 10000 {
			t.Fatal("the disk does not get full")
		}
		line := fmt.Sprintf(`{"run_id":"r-%05d","stage":"S","note":%q}`, n, strings.Repeat("x", 20000))
		cmd := exec.Command("journal-append", "--root", string(root), "--cohort", "c")
		cmd.Stdin = strings.NewReader(line)
		var words strings.Builder
		cmd.Stderr = &words
		cmd.Run()
		switch code = cmd.ProcessState.ExitCode(); code {
		case 0:
			acked++
		case 75:
			if !strings.Contains(words.String(), "no space left on device") {
				t.Errorf("exit code 75: %s", words.String())
			}
		default:
			t.Fatalf("journal-append: exit code %d: %s", code, words.String())
		}
	}
	if _, stderr, code := compactd(t, "once", "--root", string(root)); code != 75 || !strings.Contains(stderr, "no space left on device") {
		t.Errorf("a fold on a full disk: exit code %d: %s", code, stderr)
	}
	if stdout, stderr, code := compactd(t, "check", "--root", string(root)); code != 0 {
		t.Errorf("check of a full disk: exit code %d: %s%s", code, stdout, stderr)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	settleWith(t, root, " are not an entry: still being written") // of the append for which there was no more room
	if rows := readIndex(t, root); len(rows) < acked || len(rows) > acked+1 {
		t.Errorf("%d rows, %d records were acknowledged and one was not", len(rows), acked)
	}
}

// TestFullDiskSummary appends one file until the disk is full: each line that was read has an answer, and the summary names the last
// one that is durable and from where on to append again. What it says is what is in the root.
func TestFullDiskSummary(t *testing.T) {
	disk := smallDisk(t)
	root := cohort.Root(disk + "/runs")
	if _, stderr, code := compactd(t, "init", "--root", string(root)); code != 0 {
		t.Fatal(stderr)
	}
	ballast := disk + "/ballast"
	if err := os.WriteFile(ballast, make([]byte, 8<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	const total = 20000
	for n := range total {
		fmt.Fprintf(&lines, `{"run_id":"r-%05d","stage":"S","note":%q}`+"\n", n+1, strings.Repeat("x", 1000))
	}
	big := t.TempDir() + "/big.ndjson"
	if err := os.WriteFile(big, []byte(lines.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("journal-append", "--root", string(root), "--cohort", "c", "--ack", "--summary", "json", big, "next.ndjson")
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Run()
	if code := cmd.ProcessState.ExitCode(); code != 75 || !strings.Contains(stderr.String(), "no space left on device") {
		t.Fatalf("exit code %d: %s", code, stderr.String())
	}
	answers := strings.Split(strings.TrimSpace(stdout.String()), "\n")
	acked := 0
	for i, a := range answers[:len(answers)-1] {
		if !strings.HasPrefix(a, fmt.Sprintf(`{"file":%q,"line":%d,`, big, i+1)) {
			t.Fatalf("answer %d is %s", i+1, a)
		}
		if !strings.Contains(a, `"error":"append: `) {
			acked = i + 1
		}
	}
	want := fmt.Sprintf(`"last_durable":{"file":%q,"line":%d},"not_read":[{"file":%q,"after_line":%d},{"file":"next.ndjson","after_line":0}]}`, big, acked, big, acked)
	if got := answers[len(answers)-1]; !strings.Contains(got, fmt.Sprintf(`"appended":%d,"refused":0,`, acked)) || !strings.HasSuffix(got, want) {
		t.Errorf("summary %s, want %s at its end", got, want)
	}
	words := fmt.Sprintf("journal-append: not read to the end: %s behind line %d, next.ndjson; the last durable line is %s:%d\n", big, acked, big, acked)
	if !strings.Contains(stderr.String(), words) || acked == 0 || acked == total {
		t.Errorf("%d lines acknowledged; standard error %s, want %s", acked, stderr.String(), words)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := compactd(t, "once", "--root", string(root)); code != 0 {
		t.Fatalf("once: exit code %d: %s", code, stderr)
	}
	if rows := readIndex(t, root); len(rows) < acked || len(rows) >= total {
		t.Errorf("%d rows, %d records were acknowledged", len(rows), acked)
	}
}

// smallDisk is a Disk that nobody unmounts before the test ends.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir, _ := Disk(t)
	return dir
}

// TestReadOnlyMount goes through all commands where nothing can be written: who only reads works, anybody else
// says what is in the way and leaves no trace.
func TestReadOnlyMount(t *testing.T) {
	disk := smallDisk(t)
	root := cohort.Root(disk + "/runs")
	if _, stderr, code := compactd(t, "init", "--root", string(root)); code != 0 {
		t.Fatal(stderr)
	}
	for _, id := range []string{"folded", "waiting"} {
		if words, code := journalAppend(t, root, fmt.Sprintf(`{"run_id":%q,"stage":"S"}`, id)); code != 0 {
			t.Fatal(words)
		}
		if id == "folded" {
			settle(t, root)
		}
	}
	mount := func(how string) {
		t.Helper()
		if out, err := exec.Command("mount", "-o", "remount,"+how, disk).CombinedOutput(); err != nil {
			t.Fatalf("mount: %v: %s", err, out)
		}
	}
	mount("ro")
	for _, args := range [][]string{{"status"}, {"check"}, {"repair"}, {"previous", "--cohort", "c", "--run-id", "x", "--stage", "S"}} {
		if _, stderr, code := compactd(t, append(args, "--root", string(root))...); code != 0 {
			t.Errorf("%s: exit code %d: %s", args, code, stderr)
		}
	}
	if stdout, stderr, code := compactd(t, "dump", root.Index()); code != 0 || !strings.Contains(stdout, `"folded"`) {
		t.Errorf("dump: exit code %d: %s%s", code, stdout, stderr)
	}
	snapshots := filepath.Join(t.TempDir(), "old.json")
	if err := os.WriteFile(snapshots, []byte(`{"x:S": {"v": 1}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"once"}, {"doctor"}, {"repair", "--apply"}, {"import", "--cohort", "x", "--snapshots", snapshots},
	} {
		_, stderr, code := compactd(t, append(args, "--root", string(root))...)
		hinted := strings.Contains(stderr, "hint: status, check") || args[0] == "doctor" // whose child only sends words
		if code != 1 || !strings.Contains(stderr, ": read-only file system") || !hinted {
			t.Errorf("%s: exit code %d: %s", args, code, stderr)
		}
	}
	words, code := journalAppend(t, root, `{"run_id":"refused","stage":"S"}`)
	if code != 1 || !strings.Contains(words, ": read-only file system") || !strings.Contains(words, "hint: mount the file system") {
		t.Errorf("journal-append: exit code %d: %s", code, words)
	}
	mount("rw")
	settle(t, root)
	if rows := readIndex(t, root); len(rows) != 2 {
		t.Errorf("rows %v, want two", rows)
	}
}
