package tensorboard

import (
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/runfold/runfold/compactor/intake/tracker"
)

// The fields of HParamsPluginData and of what it holds. TensorBoard's format, do not change.
const (
	sessionStart = 3
	sessionEnd   = 4

	startParams  = 1
	startModel   = 2
	startMonitor = 3
	startGroup   = 4
	startTime    = 5

	endStatus = 1
	endTime   = 2
)

// statuses are those of a session.
var statuses = map[uint64]string{1: tracker.Finished, 2: tracker.Failed, 3: tracker.Running}

// hparams reads what the plugin says of a run. What it says of the experiment names no values.
func (r *run) hparams(message []byte) error {
	return each(message, func(f field) error {
		switch f.number {
		case sessionStart:
			return r.sessionStart(f.data)
		case sessionEnd:
			return each(f.data, func(f field) error {
				switch {
				case f.number == endStatus:
					r.status = statuses[f.n]
				case f.number == endTime && f.kind == protowire.Fixed64Type:
					r.ended = f.double()
				}
				return nil
			})
		}
		return nil
	})
}

func (r *run) sessionStart(message []byte) error {
	r.params, r.about = tracker.Fields{}, tracker.Fields{}
	if r.status == "" {
		r.status = tracker.Running
	}
	return each(message, func(f field) error {
		text := map[protowire.Number]string{startModel: "model_uri", startMonitor: "monitor_url", startGroup: "group_name"}[f.number]
		switch {
		case text != "" && utf8.Valid(f.data) && len(f.data) > 0:
			r.about.Text(text, string(f.data))
		case f.number == startTime && f.kind == protowire.Fixed64Type:
			r.start = f.double()
		case f.number == startParams:
			return r.param(f.data)
		}
		return nil
	})
}

// param reads one parameter: an entry of a map, with a google.protobuf.Value.
func (r *run) param(message []byte) error {
	var name string
	var value []byte
	err := each(message, func(f field) error {
		switch f.number {
		case 1:
			name = string(f.data)
		case 2:
			value = f.data
		}
		return nil
	})
	if err != nil || !utf8.ValidString(name) {
		return errWire
	}
	return each(value, func(f field) error {
		switch {
		case f.number == 2 && f.kind == protowire.Fixed64Type:
			r.params.Float(name, f.double())
		case f.number == 3 && utf8.Valid(f.data):
			r.params.Text(name, string(f.data))
		case f.number == 4 && f.kind == protowire.VarintType && f.n != 0:
			r.params.JSON(name, []byte("true"))
		case f.number == 4 && f.kind == protowire.VarintType:
			r.params.JSON(name, []byte("false"))
		default:
			r.other["parameters that are no scalars"] = true
		}
		return nil
	})
}
