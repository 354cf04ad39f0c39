package durable

import (
	"errors"
	"syscall"
)

// ownKinds are file systems by the f_type of statfs(2) whose state no other machine changes while this one has them mounted. The
// list is longer than that of package doctor: an overlay may not have a network file system as its upper layer.
var ownKinds = map[uint32]bool{
	0xEF53: true, 0x58465342: true, 0x9123683E: true, 0x01021994: true, // ext4, xfs, btrfs, tmpfs
	0xF2F52010: true, 0x2FC12FC1: true, 0xCA451A4E: true, 0x858458F6: true, // f2fs, zfs, bcachefs, ramfs
	0x794C7630: true, 0x4D44: true, 0x2011BAB0: true, 0x7366746E: true, // overlay, vfat, exfat, ntfs3
	0x3153464A: true, 0x3434: true, 0x52654973: true, // jfs, nilfs, reiserfs
}

func remote(path string) bool {
	var s syscall.Statfs_t
	err := syscall.Statfs(path, &s)
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ENOTDIR) {
		return false // nothing is there that could be old
	}
	return err != nil || !ownKinds[uint32(s.Type)]
}
