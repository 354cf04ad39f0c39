package wandb

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/runfold/runfold/compactor/intake/tracker"
)

// The file is a log of LevelDB with a head of its own. wandb's format, do not change.
//
//	head: ":W&B", 0xBEE1 as two bytes, the version as one byte
//	then blocks of 32 KiB, the first one less the head: pieces of records, and zeros where no head of a piece fits
//	piece: CRC-32 (IEEE) of kind and data, 4 bytes | length, 2 bytes | kind: 1 whole, 2 first, 3 middle, 4 last | data
const (
	blockSize = 32 << 10
	headSize  = 7
	pieceHead = 7
	magic     = 0xBEE1
)

const (
	whole = 1 + iota
	first
	middle
	last
)

// errTorn says that a log ends within a record.
var errTorn = errors.New("the file ends within an entry")

// maxEntry bounds one record.
const maxEntry = 256 << 20

// logReader reads the records of one file.
type logReader struct {
	r     *bufio.Reader
	at    int64 // in the file
	entry []byte
}

func openLog(r io.Reader) (*logReader, error) {
	l := &logReader{r: bufio.NewReaderSize(r, 2*blockSize)}
	var head [headSize]byte
	n, err := io.ReadFull(l.r, head[:])
	switch {
	case err != nil && n == 0 && errors.Is(err, io.EOF):
		return nil, errors.New("is empty: the run ended before it wrote anything")
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
		return nil, err
	case string(head[:4]) != ":W&B" || binary.LittleEndian.Uint16(head[4:]) != magic:
		return nil, errors.New("is not a log of wandb")
	case head[6] != 0:
		return nil, fmt.Errorf("is a log of wandb's format %d, and only 0 is known: it may be of a newer wandb", head[6])
	}
	l.at = headSize
	return l, nil
}

// next is the next record; it is valid until the next call. It is io.EOF at the end, and errTorn if the file ends within a record.
func (l *logReader) next() ([]byte, error) {
	l.entry = l.entry[:0]
	for begun := false; ; {
		if left := blockSize - l.at%blockSize; left < pieceHead {
			n, err := l.r.Discard(int(left))
			l.at += int64(n)
			if err != nil {
				return nil, tracker.EndOf(err, begun, errTorn)
			}
		}
		var head [pieceHead]byte
		n, err := io.ReadFull(l.r, head[:])
		l.at += int64(n)
		if err != nil {
			return nil, tracker.EndOf(err, begun || n > 0, errTorn)
		}
		sum, size, kind := binary.LittleEndian.Uint32(head[:]), int(binary.LittleEndian.Uint16(head[4:])), head[6]
		if kind == 0 && size == 0 && sum == 0 { // a file that was made longer ahead of its data
			return nil, errTorn
		}
		if int64(size) > blockSize-l.at%blockSize && l.at%blockSize != 0 || kind < whole || kind > last {
			return nil, l.damaged("no piece of an entry")
		}
		start := len(l.entry)
		if start+size > maxEntry {
			return nil, l.damaged("an entry of more than %d bytes", maxEntry)
		}
		l.entry = append(l.entry, make([]byte, size)...)
		n, err = io.ReadFull(l.r, l.entry[start:])
		l.at += int64(n)
		if err != nil {
			return nil, tracker.EndOf(err, true, errTorn)
		}
		if crc32.Update(crc32.ChecksumIEEE(head[6:7]), crc32.IEEETable, l.entry[start:]) != sum {
			return nil, l.damaged("a piece whose checksum is wrong")
		}
		if begun != (kind == middle || kind == last) {
			return nil, l.damaged("a piece of an entry whose beginning is not there")
		}
		if kind == whole || kind == last {
			return l.entry, nil
		}
		begun = true
	}
}

func (l *logReader) damaged(format string, args ...any) error {
	return &damage{l.at, fmt.Sprintf(format, args...)}
}

// damage is what no writer leaves, not even one that was killed.
type damage struct {
	at   int64
	what string
}

func (d *damage) Error() string {
	return fmt.Sprintf("is damaged: near byte %d there is %s; what stands before it was read", d.at, d.what)
}
