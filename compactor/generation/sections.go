package generation

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
)

// Section is a part of a data file with a checksum of its own. In an index it is the file's head, the columns of a row group, the bits of its filters
// with what follows up to the next group, or the footer. In a snapshots file it is some lines.
type Section struct {
	Size   int64
	CRC32C CRC
	Rows   int64      // that stand in it; filters, heads and footers have 0
	First  cohort.Seq // of the first row; 0 if there is none
	// Fresh tells that the commit which names the file first has made these bytes: no other file has them. The next fold reads and copies such a
	// section, so that it stands on two places of the disk before anything relies on it (docs/durability.md, P6).
	Fresh bool
}

// Sections are all of a data file, in order. They are nil where nobody has noted them: in files of older programs, and in those of actions and
// tombstones. In JSON they are one text, see docs/format/manifest.md.
type Sections []Section

// MarshalText writes size:crc32c, :rows:first where there are rows, and + if the section is fresh; spaces stand between sections.
func (all Sections) MarshalText() ([]byte, error) {
	b := make([]byte, 0, 32*len(all))
	for i, s := range all {
		if i > 0 {
			b = append(b, ' ')
		}
		b = strconv.AppendInt(b, s.Size, 10)
		b = append(append(b, ':'), s.CRC32C.String()...)
		if s.Rows > 0 {
			b = strconv.AppendInt(append(b, ':'), s.Rows, 10)
			b = strconv.AppendUint(append(b, ':'), uint64(s.First), 10)
		}
		if s.Fresh {
			b = append(b, '+')
		}
	}
	return b, nil
}

// UnmarshalText reads what MarshalText writes.
func (all *Sections) UnmarshalText(text []byte) error {
	*all = nil
	if len(text) == 0 {
		return nil
	}
	for word := range strings.SplitSeq(string(text), " ") {
		s, err := parseSection(word)
		if err != nil {
			return fmt.Errorf("section %d, %q: %w", len(*all)+1, word, err)
		}
		*all = append(*all, s)
	}
	return nil
}

func parseSection(word string) (s Section, err error) {
	word, s.Fresh = strings.CutSuffix(word, "+")
	parts := strings.Split(word, ":")
	if len(parts) != 2 && len(parts) != 4 {
		return s, fmt.Errorf("%d parts", len(parts))
	}
	if s.Size, err = strconv.ParseInt(parts[0], 10, 64); err == nil {
		err = s.CRC32C.UnmarshalText([]byte(parts[1]))
	}
	if err == nil && len(parts) == 4 {
		var first uint64
		s.Rows, err = strconv.ParseInt(parts[2], 10, 64)
		if err == nil {
			first, err = strconv.ParseUint(parts[3], 10, 63)
		}
		if s.First = cohort.Seq(first); err == nil && s.Rows <= 0 {
			err = fmt.Errorf("%d rows", s.Rows)
		}
	}
	if err == nil && s.Size <= 0 {
		err = fmt.Errorf("%d bytes", s.Size)
	}
	return s, err
}

// fit tells whether the sections are all of the file, as far as a manifest shows it.
func (d DataFile) fit() bool {
	if d.Sections == nil {
		return true
	}
	var size, rows int64
	for i, s := range d.Sections {
		if size += s.Size; i+1 < len(d.Sections) && size%index.Align != 0 && s.Rows == 0 {
			return false
		}
		rows += s.Rows
		if size < 0 || rows < 0 {
			return false
		}
	}
	return size == d.Size && rows == d.Rows
}

// parts are the sections of the file; where nobody has noted them, all of it is one, which is read and copied.
func (d DataFile) parts() Sections {
	if d.Sections != nil {
		return d.Sections
	}
	return Sections{{Size: d.Size, CRC32C: d.CRC32C, Fresh: true}}
}

// lines are the sections of a snapshots file, for MergeSnapshots; nil if nobody has noted them.
func (d DataFile) lines() (all []index.LineSection) {
	at := int64(0)
	for _, s := range d.Sections {
		all = append(all, index.LineSection{From: at, Size: s.Size, Rows: s.Rows, First: s.First})
		at += s.Size
	}
	return all
}

// shareable is the size of the sections that are not fresh, and that have none of these rows, which are sorted.
func (d DataFile) shareable(seqs []cohort.Seq) (n int64) {
	for i, s := range d.Sections {
		if s.Fresh || s.Rows == 0 {
			continue
		}
		next := cohort.Seq(math.MaxInt64)
		for _, after := range d.Sections[i+1:] {
			if after.Rows > 0 {
				next = after.First
				break
			}
		}
		if at, _ := slices.BinarySearch(seqs, s.First); at == len(seqs) || seqs[at] >= next {
			n += s.Size
		}
	}
	return n
}

// crc is the checksum of the whole file, combined from those of its sections: no byte is read for it.
func (all Sections) crc() (sum CRC) {
	for _, s := range all {
		sum = sum.then(s.CRC32C, s.Size)
	}
	return sum
}

// castagnoliBits is the polynomial of CRC32C, the lowest power in the highest bit.
const castagnoliBits = 0x82f63b78

// then is the checksum of bytes with this one that are followed by size bytes with the checksum next. A checksum is a polynomial over GF(2), and
// to put size bytes after it is to multiply it by x^(8*size).
func (c CRC) then(next CRC, size int64) CRC {
	shift, square := uint32(1)<<31, uint32(1)<<23 // 1, and x^8
	for n := size; n > 0; n >>= 1 {
		if n&1 == 1 {
			shift = times(shift, square)
		}
		square = times(square, square)
	}
	return CRC(times(uint32(c), shift)) ^ next
}

// times multiplies two polynomials modulo that of CRC32C.
func times(a, b uint32) (product uint32) {
	for ; a != 0; a <<= 1 {
		if a&(1<<31) != 0 {
			product ^= b
		}
		carry := b & 1
		b >>= 1
		if carry == 1 {
			b ^= castagnoliBits
		}
	}
	return product
}
