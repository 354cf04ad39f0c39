package doctor

import (
	"fmt"
	"syscall"
)

// kinds are file systems by the f_type of statfs(2), from linux/magic.h and from the modules of ZFS. Two machines never mount
// a local one at the same time. Overlays are not local, because the file system under one may be of any kind.
var kinds = map[uint32]struct {
	name  string
	local bool
}{
	0xEF53: {"ext4", true}, 0x58465342: {"xfs", true}, 0x9123683E: {"btrfs", true}, 0x01021994: {"tmpfs", true},
	0xF2F52010: {"f2fs", true}, 0x2FC12FC1: {"zfs", true}, 0xCA451A4E: {"bcachefs", true},
	0x794C7630: {"overlay", false}, 0x6969: {"nfs", false}, 0xFE534D42: {"smb3", false}, 0xFF534D42: {"cifs", false},
	0x517B: {"smb", false}, 0x65735546: {"fuse", false}, 0x01021997: {"9p", false}, 0x00C36400: {"ceph", false},
	0x0BD00BD0: {"lustre", false}, 0x47504653: {"gpfs", false}, 0x01161970: {"gfs2", false}, 0x7461636F: {"ocfs2", false},
	0x6A656A63: {"virtiofs", false}, 0x4D44: {"vfat", false}, 0x2011BAB0: {"exfat", false},
}

// IsLocal names the kind of file system that holds an existing path, and tells whether it is one that a
// single machine mounts. What is not known is not local.
func IsLocal(path string) (kind string, local bool, err error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(path, &s); err != nil {
		return "", false, fmt.Errorf("statfs %s: %w", path, err)
	}
	k, ok := kinds[uint32(s.Type)]
	if !ok {
		return fmt.Sprintf("type 0x%x", uint32(s.Type)), false, nil
	}
	return k.name, k.local, nil
}
