package tensorboard

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/runfold/runfold/compactor/intake/tracker"
	"github.com/runfold/runfold/compactor/intake/tracker/trackertest"
)

type message []byte

func (m message) of(n protowire.Number, inner message) message {
	return protowire.AppendBytes(protowire.AppendTag(m, n, protowire.BytesType), inner)
}

func (m message) text(n protowire.Number, s string) message { return m.of(n, message(s)) }

func (m message) int(n protowire.Number, v uint64) message {
	return protowire.AppendVarint(protowire.AppendTag(m, n, protowire.VarintType), v)
}

func (m message) double(n protowire.Number, v float64) message {
	return protowire.AppendFixed64(protowire.AppendTag(m, n, protowire.Fixed64Type), math.Float64bits(v))
}

func (m message) float(n protowire.Number, v float32) message {
	return protowire.AppendFixed32(protowire.AppendTag(m, n, protowire.Fixed32Type), math.Float32bits(v))
}

// fileOf is an event file.
func fileOf(events ...message) (file []byte) {
	for _, e := range events {
		size := binary.LittleEndian.AppendUint64(nil, uint64(len(e)))
		file = binary.LittleEndian.AppendUint32(append(file, size...), masked(size))
		file = binary.LittleEndian.AppendUint32(append(file, e...), masked(e))
	}
	return file
}

func event(step uint64, values ...message) message {
	var summary message
	for _, v := range values {
		summary = summary.of(1, v)
	}
	return message{}.double(eventTime, 1700000000+float64(step)).int(eventStep, step).of(eventSummary, summary)
}

func simple(tag string, v float32) message {
	return message{}.text(valueTag, tag).float(valueSimple, v)
}

func plugin(tag, name string, content message) message {
	return message{}.text(valueTag, tag).of(valueMetadata, message{}.of(1, message{}.text(1, name).of(2, content)))
}

func runsOf(t testing.TB, files map[string][]byte) (runs []tracker.Run, left []string) {
	t.Helper()
	within := map[string][]byte{}
	for name, data := range files {
		within["logs/"+name] = data
	}
	dir := filepath.Join(trackertest.Dir(t, within), "logs")
	return trackertest.Read(dir, Runs(context.Background(), dir, tracker.Options{}))
}

func TestRun(t *testing.T) {
	param := func(name string, v message) message { return message{}.text(1, name).of(2, v) }
	start := message{}.of(sessionStart, message{}.of(startParams, param("lr", message{}.double(2, 0.1))).of(startParams, param("opt", message{}.text(3, "adam"))).
		of(startParams, param("on", message{}.int(4, 1))).of(startParams, param("off", message{}.int(4, 0))).of(startParams, param("list", message{}.of(6, nil))).
		text(startGroup, "g").double(startTime, 1699999999.5))
	end := message{}.of(sessionEnd, message{}.int(endStatus, 1).double(endTime, 1700000009))
	tensor := func(tag string, m message) message { return message{}.text(valueTag, tag).of(valueTensor, m) }
	packed := func(n protowire.Number, b message) message { return message{}.of(n, b) }
	runs, left := runsOf(t, map[string][]byte{
		"a/b/events.out.tfevents.1": fileOf(message{}.double(eventTime, 1700000000).text(3, "brain.Event:2"), event(0, plugin("_hparams_/session_start_info", "hparams", start)),
			event(1, simple("loss", 0.5), simple("nan", float32(math.NaN()))), event(2, simple("loss", 0.1)),
			event(2, plugin("t", "scalars", nil).of(valueTensor, message{}.int(tensorType, typeDouble).of(tensorShape, nil).of(tensorDoubles, message{}.double(1, 0.25)[1:]))),
			event(3, tensor("t", message{}.int(tensorType, typeDouble).of(tensorContent, binary.LittleEndian.AppendUint64(nil, math.Float64bits(0.125))))),
			event(3, tensor("i", message{}.int(tensorType, typeInt32).of(tensorContent, message("\xfe\xff\xff\xff")))),
			event(3, tensor("half", message{}.int(tensorType, typeHalf).of(tensorHalfs, protowire.AppendVarint(nil, 0x3800)))),
			event(3, tensor("vector", message{}.int(tensorType, typeFloat).of(tensorShape, message{}.of(2, message{}.int(1, 3))).of(tensorContent, make(message, 12)))),
			event(4, plugin("img", "images", nil), message{}.text(valueTag, "h").of(valueHisto, nil), plugin("text", "text", nil)),
			event(5, tensor("zero", append(message{}.int(tensorType, typeFloat), packed(tensorFloats, nil)...)))),
		"a/b/events.out.tfevents.2": fileOf(event(4, simple("loss", 0.0625)), event(4, plugin("_hparams_/session_end_info", "hparams", end))),
	})
	if len(runs) != 1 || len(left) != 0 {
		t.Fatalf("%d runs, left out %q", len(runs), left)
	}
	const want = `{"run_id":"a/b","stage":"RUN","timestamp":"2023-11-14T22:13:29.000000Z","status":"FINISHED","start_time":"2023-11-14T22:13:19.500000Z","end_time":"2023-11-14T22:13:29.000000Z",` +
		`"metrics":{"loss":0.0625,"nan":null,"t":0.125,"i":-2,"half":0.5,"zero":0.0},"params":{"lr":0.1,"opt":"adam","on":true,"off":false},"snapshot":{"tracker":"tensorboard","hparams":{"group_name":"g"},` +
		`"history":{"loss":{"step":[1,2,4],"timestamp":[1700000001.0,1700000002.0,1700000004.0],"value":[0.5,0.10000000149011612,0.0625]},` +
		`"nan":{"step":[1],"timestamp":[1700000001.0],"value":[null]},"t":{"step":[2,3],"timestamp":[1700000002.0,1700000003.0],"value":[0.25,0.125]},` +
		`"i":{"step":[3],"timestamp":[1700000003.0],"value":[-2]},"half":{"step":[3],"timestamp":[1700000003.0],"value":[0.5]},"zero":{"step":[5],"timestamp":[1700000005.0],"value":[0.0]}}}}`
	if got := trackertest.JSON(runs[0]); got != want {
		t.Errorf("record\n%s\nwant\n%s", got, want)
	}
	if got := strings.Join(runs[0].Other, "; "); got != "histograms; images; parameters that are no scalars; tensors; text" {
		t.Errorf("not taken: %s", got)
	}
}

// TestCut reads a file that ends anywhere, and one whose bytes are damaged.
func TestCut(t *testing.T) {
	events := []message{event(1, simple("loss", 0.5)), event(2, simple("loss", 0.25)), event(3, plugin("x", "images", make(message, 3000)))}
	file := fileOf(events...)
	ends := map[int]bool{0: true}
	for n := range events {
		ends[len(fileOf(events[:n+1]...))] = true
	}
	for n := range len(file) + 1 {
		if n > 300 && n < len(file)-50 {
			continue
		}
		runs, left := runsOf(t, map[string][]byte{"r/x.tfevents.1": file[:n]})
		whole := n >= len(fileOf(events[0]))
		if len(left) != 0 || len(runs) != map[bool]int{true: 1}[whole] || whole && (runs[0].Torn == "") != ends[n] {
			t.Errorf("cut at %d of %d: %d runs, left out %q", n, len(file), len(runs), left)
		}
	}
	for n := 0; n < len(file); n += 7 {
		bad := append([]byte(nil), file...)
		bad[n] ^= 0x10
		if runs, left := runsOf(t, map[string][]byte{"r/x.tfevents.1": bad}); len(left) == 0 {
			t.Errorf("byte %d is another: %d runs, nothing is told", n, len(runs))
		}
	}
	huge := binary.LittleEndian.AppendUint64(nil, 1<<60)
	huge = binary.LittleEndian.AppendUint32(huge, masked(huge))
	if _, left := runsOf(t, map[string][]byte{"r/x.tfevents.1": huge}); len(left) != 1 || !strings.HasPrefix(left[0], "r/x.tfevents.1: has an event of 1152921504606846976 bytes") {
		t.Errorf("a huge event: %q", left)
	}
}

// TestTop names the run of a directory that has event files itself after it.
func TestTop(t *testing.T) {
	runs, _ := runsOf(t, map[string][]byte{"x.tfevents.1": fileOf(event(1, simple("loss", 0.5))), "sub/x.tfevents.1": fileOf(event(1, simple("loss", 0.5))), "empty/x.tfevents.1": nil})
	if len(runs) != 2 || runs[0].ID != "logs" || runs[1].ID != "sub" || runs[0].Experiment != "logs" {
		t.Errorf("runs %+v", runs)
	}
}

func TestHalf(t *testing.T) {
	for bits, want := range map[uint16]float64{0: 0, 0x3c00: 1, 0xc000: -2, 0x7bff: 65504, 1: 5.960464477539063e-08, 0x7c00: math.Inf(1), 0xfc00: math.Inf(-1)} {
		if got := half(bits); got != want {
			t.Errorf("half(%#x) = %v, want %v", bits, got, want)
		}
	}
	if !math.IsNaN(half(0x7e00)) {
		t.Error("NaN is a number")
	}
}

// FuzzEvent reads any bytes as an event, and as a file. What is taken is a record.
func FuzzEvent(f *testing.F) {
	f.Add([]byte(event(1, simple("loss", 0.5))), fileOf(event(2, plugin("x", "scalars", nil))))
	f.Add([]byte(event(1, plugin("h", "hparams", message{}.of(sessionStart, message{}.of(startParams, nil))))), []byte{1})
	folder, err := tracker.OpenFolder(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data, rest []byte) {
		r := newRun(folder, tracker.Options{}, "r", "x")
		r.events(context.Background(), bytes.NewReader(append(fileOf(event(0, simple("a", 1)), data), rest...)), "x.tfevents.1") // whatever it returns, what was read is a run
		text := trackertest.JSON(r.run())
		if _, _, ok := tracker.FromPython([]byte(text)); !ok {
			t.Errorf("not JSON: %s", text)
		}
	})
}
