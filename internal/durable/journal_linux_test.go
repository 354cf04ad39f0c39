package durable

import (
	"os"
	"path/filepath"
	"testing"
)

// TestWithoutJournal reads trees as Linux 6.18 has them in /sys, and others that it does not have. A Writer looks at real ones in package journal.
func TestWithoutJournal(t *testing.T) {
	sys := t.TempDir()
	for path, text := range map[string]string{
		"fs/ext4/vda/journal_task": "<none>\n", "fs/ext4/sda1/journal_task": "226\n", "fs/ext4/dm-0/journal_task": "<none>", "fs/ext4/sdb/features": "", "fs/xfs/sdc/log/log_grant_unit": "",
	} {
		path = filepath.Join(sys, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(sys, "dev/block"), 0o755); err != nil {
		t.Fatal(err)
	}
	for device, to := range map[string]string{
		"254:0": "../../devices/pci0000:00/0000:00:02.0/virtio1/block/vda", "8:1": "../../devices/pci0000:00/ata1/block/sda/sda1", "252:0": "../../devices/virtual/block/dm-0",
		"8:16": "../../devices/pci0000:00/ata1/block/sdb", "8:32": "../../devices/pci0000:00/ata1/block/sdc", "8:48": "..", "8:64": "/",
	} {
		if err := os.Symlink(to, filepath.Join(sys, "dev/block", device)); err != nil {
			t.Fatal(err)
		}
	}
	for dev, want := range map[uint64]bool{
		254 << 8: true, 252 << 8: true, // also without a line feed
		8<<8 | 1: false, 8<<8 | 16: false, 8<<8 | 32: false, 8<<8 | 48: false, 8<<8 | 64: false,
		7 << 8: false, 0: false, ^uint64(0): false, // no such device
	} {
		if got := withoutJournal(sys, dev); got != want {
			t.Errorf("device %s: %v, want %v", deviceOf(dev), got, want)
		}
	}
	if withoutJournal(filepath.Join(sys, "nothing"), 254<<8) {
		t.Error("where there is no /sys, an ext4 has no journal")
	}
}
