package wandb

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/runfold/runfold/compactor/intake/tracker"
	"github.com/runfold/runfold/compactor/intake/tracker/trackertest"
)

// message is fields of a protobuf message, one after the other.
type message []byte

func (m message) text(n protowire.Number, s string) message {
	return protowire.AppendString(protowire.AppendTag(m, n, protowire.BytesType), s)
}

func (m message) of(n protowire.Number, inner message) message {
	return protowire.AppendBytes(protowire.AppendTag(m, n, protowire.BytesType), inner)
}

func (m message) int(n protowire.Number, v uint64) message {
	return protowire.AppendVarint(protowire.AppendTag(m, n, protowire.VarintType), v)
}

// logOf is a file with these entries, as wandb writes it.
func logOf(entries ...message) []byte {
	file := binary.LittleEndian.AppendUint16([]byte(":W&B"), magic)
	file = append(file, 0)
	for _, e := range entries {
		for begun := false; ; {
			left := blockSize - len(file)%blockSize
			if left < pieceHead {
				file = append(file, make([]byte, left)...)
				left = blockSize
			}
			n := min(len(e), left-pieceHead)
			kind := byte(whole)
			switch end := n == len(e); {
			case begun && end:
				kind = last
			case begun:
				kind = middle
			case !end:
				kind = first
			}
			sum := crc32.ChecksumIEEE(append([]byte{kind}, e[:n]...))
			file = binary.LittleEndian.AppendUint32(file, sum)
			file = append(binary.LittleEndian.AppendUint16(file, uint16(n)), kind)
			file = append(file, e[:n]...)
			if e = e[n:]; len(e) == 0 && kind != first && kind != middle {
				break
			}
			begun = true
		}
	}
	return file
}

func itemMessage(key, value string, nested ...string) message {
	var m message
	if key != "" {
		m = m.text(itemKey, key)
	}
	for _, name := range nested {
		m = m.text(itemNestedKey, name)
	}
	return m.text(itemValue, value)
}

func aboutRun(id string) message {
	return message{}.of(recordRun, message{}.text(runID, id).text(runProject, "p").of(runStartTime, message{}.int(1, 1700000000)))
}

// step is an entry of the history.
func step(n int, items ...message) message {
	var h message
	for _, it := range append(items, itemMessage("_step", tracker.Number(float64(n))), itemMessage("_timestamp", tracker.Number(float64(1700000000+n)))) {
		h = h.of(1, it)
	}
	return message{}.of(recordHistory, h)
}

// runsOf reads files by their folder, and returns the records and what was left out.
func runsOf(t testing.TB, files map[string][]byte) (runs []tracker.Run, left []string) {
	t.Helper()
	dir := trackertest.Dir(t, files)
	return trackertest.Read(dir, Runs(context.Background(), dir, tracker.Options{}))
}

// TestRun reads what the versions of wandb write in several ways.
func TestRun(t *testing.T) {
	config := message{}.of(recordConfig, message{}.of(1, itemMessage("a", "1")).of(1, itemMessage("", `"x"`, "model", "act")).of(1, itemMessage("gone", "1")).of(1, itemMessage("_wandb", "{}")))
	summary := message{}.of(recordSummary, message{}.of(1, itemMessage("loss", "0.25")).of(1, itemMessage("best", `{"max":1}`)).of(1, itemMessage("text", `"no"`)).
		of(1, itemMessage("img", `{"_type":"image-file","width":3}`)).of(1, itemMessage("_runtime", "3")))
	runs, left := runsOf(t, map[string][]byte{"wandb/run-20260101_000000-r/run-r.wandb": logOf(aboutRun("r"), config,
		message{}.of(recordConfig, message{}.of(1, itemMessage("", "2", "model", "n")).of(2, itemMessage("gone", ""))),
		step(0, itemMessage("loss", "0.5"), itemMessage("deep", `{"x":{"y":2}}`), itemMessage("late", "7"), itemMessage("img", `{"_type":"image-file"}`)),
		step(1, itemMessage("loss", "NaN"), itemMessage("word", `"w"`)), summary, message{}.of(recordExit, message{}.int(1, 1).int(2, 9)))})
	if len(runs) != 1 || len(left) != 0 {
		t.Fatalf("%d runs, left out %q", len(runs), left)
	}
	const want = `{"run_id":"r","stage":"RUN","timestamp":"2023-11-14T22:13:21.000000Z","status":"FAILED","start_time":"2023-11-14T22:13:20.000000Z",` +
		`"metrics":{"loss":0.25,"best.max":1,"deep.x.y":2,"late":7},"params":{"a":1,"model.act":"x","model.n":2},"snapshot":{"tracker":"wandb","project":"p","exit_code":1,"runtime":9,` +
		`"config":{"a":1,"model":{"act":"x","n":2},"_wandb":{}},"summary":{"loss":0.25,"best":{"max":1},"text":"no","img":{"_type":"image-file","width":3},"_runtime":3},` +
		`"history":{"loss":{"step":[0.0,1.0],"timestamp":[1700000000.0,1700000001.0],"value":[0.5,null]},"deep.x.y":{"step":[0.0],"timestamp":[1700000000.0],"value":[2]},` +
		`"late":{"step":[0.0],"timestamp":[1700000000.0],"value":[7]}}}}`
	if got := trackertest.JSON(runs[0]); got != want {
		t.Errorf("record\n%s\nwant\n%s", got, want)
	}
	if got := strings.Join(runs[0].Other, "; "); got != "image-file; texts, truth values and lists in the history" {
		t.Errorf("not taken: %s", got)
	}
}

// TestResumed makes one run of the folders of one that was resumed.
func TestResumed(t *testing.T) {
	exit := message{}.of(recordExit, nil)
	files := map[string][]byte{
		"wandb/offline-run-20260102_000000-r/run-r.wandb": logOf(aboutRun("r"), step(1, itemMessage("loss", "0.25")), exit),
		"wandb/run-20260101_000000-r/run-r.wandb":         logOf(aboutRun("r"), step(0, itemMessage("loss", "0.5"))),
		"wandb/run-20260101_000000-s/run-s.wandb":         logOf(aboutRun("s")),
	}
	runs, left := runsOf(t, files)
	if len(runs) != 2 || len(left) != 0 {
		t.Fatalf("%d runs, left out %q", len(runs), left)
	}
	for _, r := range runs {
		if text := trackertest.JSON(r); r.ID == "r" && (!strings.Contains(text, `"value":[0.5,0.25]`) || r.Status != tracker.Finished) {
			t.Errorf("the run that was resumed: %s", text)
		}
	}
}

// TestCut reads a file that ends anywhere: what was whole is there, and it is told where the end is not.
func TestCut(t *testing.T) {
	long := strings.Repeat("x", 50<<10) // several blocks
	entries := []message{aboutRun("r"), step(0, itemMessage("loss", "0.5")), message{}.of(recordConfig, message{}.of(1, itemMessage("long", `"`+long+`"`))), step(1, itemMessage("loss", "0.25"))}
	file := logOf(entries...)
	ends := map[int]bool{}
	for n := range entries {
		ends[len(logOf(entries[:n+1]...))] = true
	}
	cuts := []int{}
	for n := range len(file) + 1 {
		if n < 400 || n > len(file)-200 || n%4099 == 0 || n%blockSize < 20 {
			cuts = append(cuts, n)
		}
	}
	for _, n := range cuts {
		runs, left := runsOf(t, map[string][]byte{"w/run-1-r/run-r.wandb": file[:n]})
		switch {
		case len(runs) == 0 && len(left) == 1 && n < len(logOf(entries[0])):
		case len(runs) == 1 && len(left) == 0 && (runs[0].Torn == "") == ends[n]:
		default:
			t.Errorf("cut at %d of %d: %d runs, left out %q", n, len(file), len(runs), left)
		}
	}
	for n := 0; n < len(file); n += 977 { // and one whose bytes are damaged
		bad := append([]byte(nil), file...)
		bad[n] ^= 0x40
		runs, left := runsOf(t, map[string][]byte{"w/run-1-r/run-r.wandb": bad})
		if len(left) == 0 && (len(runs) != 1 || runs[0].Torn == "") {
			t.Errorf("byte %d is another: %d runs, nothing is told", n, len(runs))
		}
	}
	if runs, left := runsOf(t, map[string][]byte{"w/run-1-r/run-r.wandb": append(file, make([]byte, 9000)...)}); len(runs) != 1 || len(left) != 0 || runs[0].Torn == "" {
		t.Errorf("with zeros after it: %d runs, left out %q", len(runs), left)
	}
}

func TestOther(t *testing.T) {
	newer := logOf()
	newer[6] = 1
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"empty":   {nil, "is empty: the run ended before it wrote anything"},
		"text":    {[]byte("no log at all"), "is not a log of wandb"},
		"newer":   {newer, "is a log of wandb's format 1, and only 0 is known: it may be of a newer wandb"},
		"no run":  {logOf(step(0)), "says nothing of its run: the process was killed at its beginning"},
		"no wire": {logOf(message("\xff\xff\xff")), "has an entry that is not what wandb writes"},
	} {
		if runs, left := runsOf(t, map[string][]byte{"w/run-1-r/run-r.wandb": c.data}); len(runs) != 0 || len(left) != 1 || left[0] != "w/run-1-r/run-r.wandb: "+c.want {
			t.Errorf("%s: %d runs, left out %q, want %q", name, len(runs), left, c.want)
		}
	}
}

// FuzzRun reads any bytes as the entries of a log, and as a log. What is taken is a record.
func FuzzRun(f *testing.F) {
	f.Add([]byte(aboutRun("r")), []byte(step(0, itemMessage("loss", "0.5"))))
	f.Add([]byte(message{}.of(recordConfig, message{}.of(1, itemMessage("", "1", "a", "b")))), logOf(aboutRun("s"))[headSize:])
	f.Add([]byte(step(0, message{}.text(itemKey, "x"))), []byte(nil))
	folder, err := tracker.OpenFolder(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, entry, rest []byte) {
		r := newRun(folder, tracker.Options{})
		r.entries(context.Background(), bytes.NewReader(append(logOf(aboutRun("r"), entry), rest...)), "run-r.wandb") // whatever it returns, what was read is a run
		if text := trackertest.JSON(r.run([]string{"w/run-r.wandb"})); !isJSON(text) {
			t.Errorf("not JSON: %s", text)
		}
	})
}

func isJSON(text string) bool {
	_, _, ok := tracker.FromPython([]byte(text))
	return ok
}
