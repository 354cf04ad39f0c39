package wandb

import (
	"encoding/json"
	"errors"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/runfold/runfold/compactor/intake/tracker"
)

// The numbers of the fields that are read, of wandb_internal.proto. wandb's format, do not change.
const (
	recordHistory = 2
	recordSummary = 3
	recordConfig  = 5
	recordRun     = 17
	recordExit    = 18

	recordEnvironment = 26

	environmentOS         = 1
	environmentPython     = 2
	environmentArgs       = 5
	environmentProgram    = 6
	environmentExecutable = 14

	runID        = 1
	runEntity    = 2
	runProject   = 3
	runConfig    = 4
	runSummary   = 5
	runGroup     = 6
	runJobType   = 7
	runName      = 8
	runNotes     = 9
	runTags      = 10
	runSweep     = 12
	runHost      = 13
	runStartTime = 17
	runGit       = 21

	itemKey       = 1
	itemNestedKey = 2
	itemValue     = 16
)

var errWire = errors.New("has an entry that is not what wandb writes")

// each calls do with every field of a message that is a text, a message or an integer: its bytes, or the number.
func each(message []byte, do func(number protowire.Number, data []byte, n uint64) error) error {
	for len(message) > 0 {
		number, kind, size := protowire.ConsumeTag(message)
		if size < 0 {
			return errWire
		}
		message = message[size:]
		var data []byte
		var n uint64
		switch kind {
		case protowire.BytesType:
			data, size = protowire.ConsumeBytes(message)
		case protowire.VarintType:
			n, size = protowire.ConsumeVarint(message)
		default:
			size = protowire.ConsumeFieldValue(number, kind, message)
		}
		if size < 0 {
			return errWire
		}
		message = message[size:]
		if kind != protowire.BytesType && kind != protowire.VarintType {
			continue
		}
		if err := do(number, data, n); err != nil {
			return err
		}
	}
	return nil
}

// item is a value with the names that lead to it.
type item struct {
	path  []string
	value json.RawMessage // null where it is NaN or infinite
	odd   int             // how many such values it has
}

// itemOf reads an item of a config, a summary or a history.
func itemOf(message []byte) (it item, err error) {
	var key string
	var value []byte
	err = each(message, func(number protowire.Number, data []byte, _ uint64) error {
		switch number {
		case itemKey:
			key = string(data)
		case itemNestedKey:
			it.path = append(it.path, string(data))
		case itemValue:
			value = data
		}
		return nil
	})
	if len(it.path) == 0 {
		it.path = []string{key}
	}
	for _, name := range it.path {
		if !utf8.ValidString(name) {
			return it, errWire
		}
	}
	var ok bool
	if it.value, it.odd, ok = tracker.FromPython(value); err == nil && !ok && len(value) > 0 {
		err = errWire
	}
	return it, err
}

// timeOf reads a google.protobuf.Timestamp.
func timeOf(message []byte) (time.Time, error) {
	var seconds, nanos int64
	err := each(message, func(number protowire.Number, _ []byte, n uint64) error {
		switch number {
		case 1:
			seconds = int64(n)
		case 2:
			nanos = int64(n)
		}
		return nil
	})
	t := time.Unix(seconds, nanos)
	if err == nil && (t.Year() < 1 || t.Year() > 9999) {
		err = errWire
	}
	return t, err
}
