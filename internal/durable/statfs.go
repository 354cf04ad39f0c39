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

// SyncsNames tells whether the sync of a directory is known to make its names durable. Clients of SMB and GlusterFS, and most of FUSE, say yes to it
// and do nothing, as was measured by cutting the power of their servers (docs/durability.md, R32). What is not known, as elsewhere than on Linux,
// counts as a local disk.
func (s Statfs) SyncsNames() bool {
	const nfs = 0x6969 // its server has changed the name on its disk before it answers
	return s.Type == 0 || s.Type == nfs || ownKinds[s.Type]
}

// OverwritesInPlace tells whether a file on this file system keeps its blocks when bytes in it are written again, so that a sync of the data
// is enough for them and needs no commit of the file system. It is true for kinds that were measured (docs/decisions/0064): ext4, by whose
// number ext2 and ext3 go as well, and xfs. Those that copy on write (btrfs, zfs, bcachefs, f2fs) gain nothing.
func (s Statfs) OverwritesInPlace() bool { return s.Type == 0xEF53 || s.Type == 0x58465342 }

// ownKinds are file systems by the f_type of statfs(2) whose state no other machine changes while this one has them mounted. The
// list is longer than that of package doctor: an overlay may not have a network file system as its upper layer.
var ownKinds = map[uint32]bool{
	0xEF53: true, 0x58465342: true, 0x9123683E: true, 0x01021994: true, // ext4, xfs, btrfs, tmpfs
	0xF2F52010: true, 0x2FC12FC1: true, 0xCA451A4E: true, 0x858458F6: true, // f2fs, zfs, bcachefs, ramfs
	0x794C7630: true, 0x4D44: true, 0x2011BAB0: true, 0x7366746E: true, // overlay, vfat, exfat, ntfs3
	0x3153464A: true, 0x3434: true, 0x52654973: true, // jfs, nilfs, reiserfs
}

// FreeBytes is Statfs.FreeBytes for the file system of an existing path of this machine.
func FreeBytes(path string) (int64, error) {
	s, err := OS.Statfs(path)
	if err != nil {
		return 0, err
	}
	return s.FreeBytes()
}
