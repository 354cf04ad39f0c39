package durable

import (
	"errors"
	"math"
	"math/bits"
)

// Statfs is what statfs(2) says of a file system, as it says it. Many file systems of FUSE, and those of servers, say 0 or
// nonsense: read it by its methods.
type Statfs struct {
	Type               uint32 // f_type of Linux; 0 elsewhere
	BlockSize          uint64
	Blocks, FreeBlocks uint64 // in all, and those that this user may still write
	FreeInodes         uint64
}

// ErrUnknown reports a figure that the file system does not know. It never means that nothing is free.
var ErrUnknown = errors.New("the file system does not say")

// FreeBytes is how many bytes this user may still write. Quotas and delayed allocation can make it less. It is ErrUnknown where
// the file system says 0, more than there is, or more than a file offset can hold. A disk that is really full says 0 as well:
// there the write finds out.
func (s Statfs) FreeBytes() (int64, error) {
	hi, free := bits.Mul64(s.FreeBlocks, s.BlockSize)
	if free == 0 || hi != 0 || free > math.MaxInt64 || s.FreeBlocks > s.Blocks {
		return 0, ErrUnknown
	}
	return int64(free), nil
}

// Inodes is how many files can still be made. SMB and btrfs say 0, which is ErrUnknown.
func (s Statfs) Inodes() (int64, error) {
	if s.FreeInodes == 0 || s.FreeInodes > math.MaxInt64 {
		return 0, ErrUnknown
	}
	return int64(s.FreeInodes), nil
}

// IsSMB tells whether the file system is a share of SMB. While one name of a file is open there, the same machine cannot open
// another name of it (EINVAL): the server gives its lease to one path.
func (s Statfs) IsSMB() bool {
	const cifs, smb2, smb = 0xFF534D42, 0xFE534D42, 0x517B // linux/magic.h
	return s.Type == cifs || s.Type == smb2 || s.Type == smb
}

// FreeBytes is Statfs.FreeBytes for the file system of an existing path of this machine.
func FreeBytes(path string) (int64, error) {
	s, err := OS.Statfs(path)
	if err != nil {
		return 0, err
	}
	return s.FreeBytes()
}
