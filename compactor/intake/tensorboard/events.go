package tensorboard

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/runfold/runfold/compactor/intake/tracker"
)

// An event file is a TFRecord file. TensorFlow's format, do not change.
//
//	length, 8 bytes | masked CRC32C of them, 4 bytes | data | masked CRC32C of data, 4 bytes
const (
	recordHead = 12
	recordTail = 4
	// maxRecord bounds one event: an image or a graph may be large.
	maxRecord = 1 << 30
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)

	// errTorn says that a file ends within an event.
	errTorn = errors.New("the file ends within an event")
)

func masked(data []byte) uint32 {
	sum := crc32.Checksum(data, castagnoli)
	return (sum>>15 | sum<<17) + 0xa282ead8
}

// records reads the records of one file.
type records struct {
	r   *bufio.Reader
	at  int64
	buf []byte
}

// next is the next record; it is valid until the next call. It is io.EOF at the end, and errTorn if the file ends within a record.
func (r *records) next() ([]byte, error) {
	var head [recordHead]byte
	n, err := io.ReadFull(r.r, head[:])
	if err != nil {
		return nil, tracker.EndOf(err, n > 0, errTorn)
	}
	size := binary.LittleEndian.Uint64(head[:])
	if masked(head[:8]) != binary.LittleEndian.Uint32(head[8:]) {
		return nil, fmt.Errorf("is damaged: at byte %d there is no length of an event; what stands before it was read", r.at)
	}
	if size > maxRecord {
		return nil, fmt.Errorf("has an event of %d bytes at byte %d; what stands before it was read", size, r.at)
	}
	if r.buf, err = readAll(r.r, r.buf[:0], int(size)+recordTail); err != nil {
		return nil, tracker.EndOf(err, true, errTorn)
	}
	data, sum := r.buf[:size], r.buf[size:]
	if masked(data) != binary.LittleEndian.Uint32(sum) {
		return nil, fmt.Errorf("is damaged: the checksum of the event at byte %d is wrong; what stands before it was read", r.at)
	}
	r.at += recordHead + int64(size) + recordTail
	return data, nil
}

// readAll reads n bytes. It takes no more memory than there are bytes.
func readAll(r io.Reader, buf []byte, n int) ([]byte, error) {
	for len(buf) < n {
		start := len(buf)
		buf = append(buf, make([]byte, min(n-start, 1<<20))...)
		if _, err := io.ReadFull(r, buf[start:]); err != nil {
			return buf, err
		}
	}
	return buf, nil
}

var errWire = errors.New("has an event that is not what TensorFlow writes")

// field is one field of a message.
type field struct {
	number protowire.Number
	kind   protowire.Type
	data   []byte // of a text, a message or a packed list
	n      uint64 // of an integer, or the bits of a float or double
}

func (f field) double() float64 { return math.Float64frombits(f.n) }
func (f field) float() float64  { return float64(math.Float32frombits(uint32(f.n))) }

// each calls do with every field of a message.
func each(message []byte, do func(field) error) error {
	for len(message) > 0 {
		number, kind, size := protowire.ConsumeTag(message)
		if size < 0 {
			return errWire
		}
		message = message[size:]
		f := field{number: number, kind: kind}
		switch kind {
		case protowire.BytesType:
			f.data, size = protowire.ConsumeBytes(message)
		case protowire.VarintType:
			f.n, size = protowire.ConsumeVarint(message)
		case protowire.Fixed64Type:
			f.n, size = protowire.ConsumeFixed64(message)
		case protowire.Fixed32Type:
			var bits uint32
			bits, size = protowire.ConsumeFixed32(message)
			f.n = uint64(bits)
		default:
			size = protowire.ConsumeFieldValue(number, kind, message)
		}
		if size < 0 {
			return errWire
		}
		message = message[size:]
		if err := do(f); err != nil {
			return err
		}
	}
	return nil
}
