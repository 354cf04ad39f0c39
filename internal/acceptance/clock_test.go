package acceptance

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
)

// TestClockForward: a machine whose storage's clock was ahead has written. That is told, with host and amount, by each fold until the
// clock has caught up; what is appended later wins, and has the time of its append.
func TestClockForward(t *testing.T) {
	for _, test := range []struct {
		ahead time.Duration
		told  string // the amount
	}{
		{5 * 365 * 24 * time.Hour, `43[78]\d\dh`},
		{11 * time.Minute, `1[01]m`},
		{9 * time.Minute, ""},
		{-24 * time.Hour, ""},
	} {
		t.Run(test.ahead.String(), func(t *testing.T) {
			root := newRoot(t)
			said := func(what, host string) {
				t.Helper()
				_, words, code := compactd(t, "once", "--root", string(root))
				match := regexp.MustCompile(`(?m)^.*(ahead|clock).*$`).FindString(words)
				if test.told != "" && !strings.Contains(match, host) {
					t.Errorf("%s: compactd once says %q, want a word of %q", what, match, host)
				}
				if ok, err := regexp.MatchString(test.told, match); err != nil || !ok || (match == "") != (test.told == "") || code != 0 {
					t.Errorf("%s: compactd once: exit code %d, says %q, want %q: %s", what, code, match, test.told, words)
				}
			}
			appendOne(t, root, "first")
			if _, words, code := compactd(t, "once", "--root", string(root)); code != 0 {
				t.Fatalf("compactd once: %s", words)
			}
			appendOne(t, root, "k", "--set", "v=1")
			open := startPipe(t, root, "c")
			open.send(t, []string{`{"run_id":"open","stage":"S","v":1}`})
			turning := startPipe(t, root, "c", "--seal-age", "1ns") // it begins a stream with each append
			turning.send(t, []string{`{"run_id":"turning","stage":"S","v":1}`})
			plant(t, root, time.Now().Add(test.ahead), `{"run_id":"ahead","stage":"S","v":1}`, `{"run_id":"open","stage":"S","v":2}`, `{"run_id":"turning","stage":"S","v":2}`)
			said("the first fold", "host node-1 is")

			since := time.Now()
			appendOne(t, root, "k", "--set", "v=3")
			appendOne(t, root, "ahead", "--set", "v=3")
			appendOne(t, root, "later")
			open.send(t, []string{`{"run_id":"open","stage":"S","v":3}`}) // in the stream that was there before
			turning.send(t, []string{`{"run_id":"turning","stage":"S","v":3}`})
			open.close(t)
			turning.close(t)
			said("the second fold", "host node-1 is") // told on and on, and of the host that began it

			want := map[string]float64{"first": 0, "k": 3, "ahead": 3, "later": 0, "open": 3, "turning": 3}
			if test.ahead > 0 {
				want["open"] = 2 // stamps are not changed: its next stream would have won
			}
			got := map[string]float64{}
			out, _, _ := compactd(t, "dump", root.Index())
			for line := range strings.Lines(out) {
				var r struct {
					RunID     string `json:"run_id"`
					V         float64
					Timestamp time.Time
				}
				if err := json.Unmarshal([]byte(line), &r); err != nil {
					t.Fatalf("row %s: %v", line, err)
				}
				got[r.RunID] = r.V
				if r.RunID == "later" && (r.Timestamp.Before(since.Truncate(time.Microsecond)) || r.Timestamp.After(time.Now())) {
					t.Errorf("later has the time %v, and was appended after %v", r.Timestamp, since)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("v by run (-want +got):\n%s", diff)
			}
			if out, words, code := compactd(t, "check", "--root", string(root)); code != 0 {
				t.Errorf("compactd check: exit code %d: %s%s", code, out, words)
			}
		})
	}
}

func appendOne(t *testing.T, root cohort.Root, run string, flags ...string) {
	t.Helper()
	args := append([]string{"--root", string(root), "--cohort", "c", "--run-id", run, "--stage", "S"}, flags...)
	if out, err := exec.Command("journal-append", args...).CombinedOutput(); err != nil {
		t.Fatalf("journal-append %v: %v: %s", args, err, out)
	}
}

// plant makes the sealed stream of a program of version 1 whose clock showed at.
func plant(t *testing.T, root cohort.Root, at time.Time, lines ...string) {
	t.Helper()
	const id = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
	text, err := os.ReadFile(filepath.Join(string(root), "runfold.json"))
	if err != nil {
		t.Fatal(err)
	}
	var settings struct {
		RootID string `json:"root_id"`
	}
	if err := json.Unmarshal(text, &settings); err != nil {
		t.Fatal(err)
	}
	var segment []byte
	seq := uint64(0)
	entry := func(kind byte, record, payload string) {
		seq++
		body := binary.LittleEndian.AppendUint64([]byte{1, kind}, seq)
		body = binary.LittleEndian.AppendUint64(body, uint64(at.UnixNano())+seq)
		body = append(append(append(body, byte(len(record))), record...), payload...)
		sum := crc32.Checksum(append([]byte(id), body...), crc32.MakeTable(crc32.Castagnoli))
		segment = binary.AppendUvarint(segment, uint64(4+len(body)))
		segment = append(binary.LittleEndian.AppendUint32(segment, sum), body...)
	}
	entry(1, "", fmt.Sprintf(`{"root_id":%q,"cohort":"c","host":"node-1","boot_id":"","pid":7,"started":"2026-01-01T00:00:00Z","program":"by hand"}`, settings.RootID))
	for i, line := range lines {
		entry(2, fmt.Sprintf("id-%d", i), line)
	}
	entry(3, "", fmt.Sprintf(`{"records":%d}`, len(lines)))
	dir := root.Stream("c", id)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{cohort.SegmentIn(dir): segment, filepath.Join(dir, "writer.lock"): nil} {
		if err := os.WriteFile(name, data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
}
