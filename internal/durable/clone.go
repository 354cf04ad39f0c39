package durable

import (
	"errors"
	"fmt"
)

// CloneBlock is what the places and lengths of a Clone must be multiples of. It is the block of the file systems that share blocks, as most
// people make them; where blocks are larger, a Clone is ErrNoClone.
const CloneBlock = 4096

// ErrNoClone reports that a file system does not share blocks between two files, or not these. Nothing was written that a later Write does not
// write over.
var ErrNoClone = errors.New("blocks are not shared here")

// Cloner is a WriteFile that can share blocks with another file.
type Cloner interface {
	// Clone appends n bytes that another file has from an offset on. The blocks belong to both files from then on, so damage to them
	// is damage to both. The Sync of this file makes the bytes durable, as if they had been written. n and both offsets are
	// multiples of CloneBlock. An error matches ErrNoClone.
	Clone(from ReadFile, off, n int64) error
}

// Unwrapper is a ReadFile around another one. A Clone takes the blocks of that.
type Unwrapper interface{ Unwrap() ReadFile }

// Clone is Write of n bytes of another file, whose blocks both share from then on: see Cloner. After ErrNoClone the file can be written to
// as before.
func (f *File) Clone(from ReadFile, off, n int64) error {
	c, ok := f.w.(Cloner)
	if f.err != nil || !ok || (f.size|off|n)%CloneBlock != 0 {
		return ErrNoClone
	}
	if err := c.Clone(from, off, n); err != nil {
		return fmt.Errorf("%w: %w", ErrNoClone, err)
	}
	f.size += n
	f.started = f.size
	return nil
}
