//go:build linux

package acceptance

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestBackupSmallDisk backs a root up to another file system that is full: exit code 75, and nothing is left there. With room it works. Where
// the file system is mounted, no backup can be made, as its directory cannot be renamed.
func TestBackupSmallDisk(t *testing.T) {
	disk := smallDisk(t)
	root := newRoot(t)
	for range 4 {
		appendOne(t, root, "big", "--set-string", "note="+strings.Repeat("x", 100_000))
	}
	if err := os.WriteFile(disk+"/ballast", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	fill := exec.Command("dd", "if=/dev/zero", "of="+disk+"/ballast", "bs=1k")
	fill.Run() // until the disk is full
	if err := os.Truncate(disk+"/ballast", 10<<20); err != nil {
		t.Fatal(err)
	}
	for step := int64(10 << 20); ; step -= 64 << 10 { // until there is room for a part of the backup
		if err := os.Truncate(disk+"/ballast", step); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(disk+"/probe", make([]byte, 150_000), 0o644); err == nil {
			break
		}
		os.Remove(disk + "/probe")
	}
	if err := os.Remove(disk + "/probe"); err != nil {
		t.Fatal(err)
	}
	before := namesIn(t, disk)
	if _, stderr, code := compactd(t, "backup", "--root", string(root), disk+"/b"); code != 75 || !strings.Contains(stderr, "no backup was made") {
		t.Errorf("a backup to a full disk: exit code %d: %s", code, stderr)
	}
	if diff := cmp.Diff(before, namesIn(t, disk)); diff != "" {
		t.Errorf("something is left (-before +after):\n%s", diff)
	}
	if err := os.Remove(disk + "/ballast"); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := compactd(t, "backup", "--root", string(root), disk+"/b"); code != 0 {
		t.Errorf("a backup with room: exit code %d: %s", code, stderr)
	}
	if stdout, stderr, code := compactd(t, "check", "--root", disk+"/b"); code != 0 {
		t.Errorf("check of the backup: exit code %d: %s%s", code, stdout, stderr)
	}
	empty := smallDisk(t)
	if err := os.Remove(empty + "/lost+found"); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := compactd(t, "backup", "--root", string(root), empty); code != 1 || !strings.Contains(stderr, "name a directory below it") {
		t.Errorf("a backup to a mount point: exit code %d: %s", code, stderr)
	}
}

func namesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
