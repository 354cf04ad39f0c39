package cohort

import (
	"slices"
	"strings"
)

// systemNames are names that volumes, file servers and desktops make in a directory by themselves, and names that
// keep an empty directory in a repository. Each has the spelling of the disk.
var systemNames = []string{
	// The top of a volume.
	"lost+found",                                               // mke2fs(8), fsck.ext4(8), xfs_repair(8): what a check of the volume finds
	"aquota.user", "aquota.group", "quota.user", "quota.group", // quotacheck(8)
	".zfs",                      // ZFS with snapdir=visible
	".snapshots",                // snapper on btrfs; IBM Spectrum Scale
	"$RECYCLE.BIN",              // Windows, the bin of a volume
	"System Volume Information", // Windows, the top of a volume
	".Trash",                    // freedesktop.org trash specification; see also .Trash-*
	".Trashes", ".fseventsd",    // macOS, the top of a volume
	".Spotlight-V100", ".TemporaryItems", // likewise
	".DocumentRevisions-V100", // likewise

	// Every directory of some file servers.
	".snapshot",                       // NetApp ONTAP, Dell Isilon, Amazon FSx, over NFS
	"~snapshot",                       // NetApp ONTAP, over SMB
	".snap",                           // CephFS; FreeBSD's UFS at the top of a volume
	"@eaDir", "#recycle", "#snapshot", // Synology DSM
	"@Recycle", "@Recently-Snapshot", // QNAP QTS

	// Programs that show a directory in a window.
	".DS_Store", ".AppleDouble", ".localized", // macOS Finder, netatalk; see also ._*
	"Thumbs.db", "desktop.ini", "ehthumbs.db", // Windows Explorer
	".directory", // KDE Dolphin

	// A directory that is kept in a repository although it is empty.
	".gitkeep", ".gitignore", ".keep",
}

// systemPrefixes are the beginnings of such names that end in a number or in the name of another file.
var systemPrefixes = []string{
	".nfs",         // Linux NFS client: a file that was removed while a process has it open (".nfs" and hex digits)
	".fuse_hidden", // libfuse, so sshfs and others: likewise
	".Trash-",      // freedesktop.org trash specification: the bin of one user on a volume
	"._",           // macOS, on file systems without extended attributes: those of the file whose name follows
}

// IsSystemEntry tells whether name is one that volumes, file servers or desktops make by themselves. A root may be
// made beside such entries, and they are ignored at every place. runfold uses none of these names itself. A few of them
// are valid names of cohorts, so look for a cohort's directory first.
func IsSystemEntry(name string) bool {
	return slices.Contains(systemNames, name) ||
		slices.ContainsFunc(systemPrefixes, func(p string) bool { return strings.HasPrefix(name, p) && name != p })
}
