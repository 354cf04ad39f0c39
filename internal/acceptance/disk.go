package acceptance

import (
	"os"
	"os/exec"
	"testing"
)

// Disk mounts an ext4 of 12 MiB on a loop device until the test ends. options are for mkfs.ext4. Where nobody may mount, as in a container or without
// root, the test is skipped; where only mkfs.ext4 is missing, it fails if RUNFOLD_MUST_RUN is set.
func Disk(t testing.TB, options ...string) (dir, image string) {
	t.Helper()
	skip := t.Skipf
	if os.Getenv("RUNFOLD_MUST_RUN") != "" && os.Getuid() == 0 {
		skip = t.Fatalf
	}
	image, dir = t.TempDir()+"/image", t.TempDir()
	if err := os.WriteFile(image, make([]byte, 12<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", append(options, "-q", "-F", image)...).CombinedOutput(); err != nil {
		skip("mkfs.ext4: %v: %s", err, out)
	}
	if out, err := exec.Command("mount", "-o", "loop", image, dir).CombinedOutput(); err != nil {
		t.Skipf("this machine does not let us mount: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return dir, image
}
