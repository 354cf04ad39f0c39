package acceptance

import (
	"os"
	"os/exec"
	"testing"
)

// Strace is the path of strace. Where it does not run, as in some containers, the test is skipped, or fails if RUNFOLD_MUST_RUN is set.
func Strace(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("strace")
	if err == nil {
		err = exec.Command(path, "-f", "-o", os.DevNull, "true").Run()
	}
	if err != nil && os.Getenv("RUNFOLD_MUST_RUN") != "" {
		t.Fatalf("strace does not run: %v", err)
	}
	if err != nil {
		t.Skipf("strace does not run here: %v", err)
	}
	return path
}
