package durable

import "testing"

func TestKindIn(t *testing.T) {
	table := "24 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n" +
		"90 24 0:52 / /home/u/smb rw,nosuid,nodev - fuse.smbnetfs smbnetfs rw,user_id=1000\n" +
		"91 24 0:53 / /mnt/a\\040-\\040b rw shared:2 master:1 - fuse.sshfs h:/d rw\n" +
		"92 24 259:65537 / /x rw - fuse.rclone r: rw\n" +
		"broken\n"
	for device, want := range map[string]string{
		"0:52": "fuse.smbnetfs", "0:53": "fuse.sshfs", "8:1": "ext4", "0:5": "", deviceOf(0x34): "fuse.smbnetfs", deviceOf(0x10010301): "fuse.rclone",
	} {
		if got := kindIn(table, device); got != want {
			t.Errorf("kindIn(%s) = %q, want %q", device, got, want)
		}
	}
}

func TestHasOption(t *testing.T) {
	table := "24 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,vers=4.2\n" +
		"91 24 0:53 / /mnt/a rw shared:2 - nfs4 h:/d rw,relatime,vers=4.2,rsize=1048576\n" +
		"92 24 0:54 / /mnt/b rw,vers=4.2 - nfs4 h:/d rw,vers=4.1\n" +
		"93 24 0:55 / /mnt/c rw - nfs h:/d rw,vers=4.20\n" +
		"broken\n"
	for device, want := range map[string]bool{"0:53": true, "0:54": false, "0:55": false, "0:56": false} {
		if got := hasOption(table, device, "vers=4.2"); got != want {
			t.Errorf("hasOption(%s) = %v, want %v", device, got, want)
		}
	}
}
