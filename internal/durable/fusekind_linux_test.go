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
