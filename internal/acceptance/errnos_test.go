//go:build linux

package acceptance

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable/durabletest"
)

// straced runs a command to its end while the kernel answers some of its calls, and those of its children, with an errno.
func straced(t *testing.T, inject []string, stdin, name string, args ...string) (words string, code int) {
	t.Helper()
	all := append([]string{"-f", "-o", os.DevNull}, inject...)
	cmd := exec.Command("strace", append(append(all, name), args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("strace %v: %v", args, err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// syscalls are the calls of the kernel that a kind of the table is.
var syscalls = map[string]string{
	"link": "linkat", "statfs": "statfs,fstatfs", "fsync": "fsync", "rename": "renameat", "remove": "unlinkat",
}

// exitCodes are those of the table.
var exitCodes = map[durabletest.Outcome]int{durabletest.GoesOn: 0, durabletest.Told: 0, durabletest.Fails: 1, durabletest.Again: 75}

// exitOf is the exit code of a command that meets a row. ESTALE and ENOTCONN say that the storage is away.
func exitOf(row durabletest.Errno) int {
	if row.Then == durabletest.Fails && (errors.Is(row.Err, syscall.ESTALE) || errors.Is(row.Err, syscall.ENOTCONN)) {
		return exitCodes[durabletest.Again]
	}
	return exitCodes[row.Then]
}

// usual are the errnos of rows that fail with which the commands are run. The others are tried within one process.
var usual = []error{syscall.EIO, syscall.EROFS, syscall.EACCES, syscall.EINVAL}

// errnoName is the name that strace knows.
func errnoName(t *testing.T, row durabletest.Errno) string {
	t.Helper()
	var errno syscall.Errno
	if !errors.As(row.Err, &errno) {
		t.Fatalf("%v has no errno", row)
	}
	if errno == syscall.EOPNOTSUPP {
		return "EOPNOTSUPP" // one number, two names
	}
	return unix.ErrnoName(errno)
}

// TestErrnosOfCommands runs the commands where the kernel answers every call of a kind with one errno. They exit as the table says,
// and doctor has foretold it. What was acknowledged is in the index once the calls work again.
func TestErrnosOfCommands(t *testing.T) {
	Strace(t)
	runs := 0
	defer func() { t.Logf("figure: %d runs of commands in which all calls of a kind failed", runs) }()
	for i, row := range durabletest.Errnos() {
		calls := syscalls[row.Op]
		if calls == "" || testing.Short() && i%6 != 0 || row.Then == durabletest.Fails && !slices.Contains(usual, row.Err) {
			continue
		}
		root := string(newRoot(t))
		if words, code := journalAppend(t, cohort.Root(root), `{"run_id":"before","stage":"S"}`); code != 0 {
			t.Fatal(words)
		}
		inject := []string{"-e", "trace=" + calls, "-e", "inject=" + calls + ":error=" + errnoName(t, row)}
		runs += 3
		want := exitOf(row)
		appends := 0 // an append makes, of these calls, no other than fsync
		if row.Op == "fsync" {
			appends = want
		}
		foretold, doctor := straced(t, inject, "", "compactd", "doctor", "--root", root, "--no-save")
		words, appended := straced(t, inject, `{"run_id":"during","stage":"S"}`, "journal-append", "--root", root, "--cohort", "c", "--summary", "none")
		if appended != appends {
			t.Errorf("%v: journal-append exits with %d, want %d: %s", row, appended, appends, words)
		}
		words, folded := straced(t, inject, "", "compactd", "once", "--root", root)
		if folded != want {
			t.Errorf("%v: compactd once exits with %d, want %d: %s", row, folded, want, words)
		}
		if (doctor == 0) != (appended == 0 && folded == 0) {
			t.Errorf("%v: compactd doctor exits with %d, an append with %d and a fold with %d: %s", row, doctor, appended, folded, foretold)
		}
		settle(t, cohort.Root(root))
		rows := readIndex(t, cohort.Root(root))
		if _, ok := rows["before:S"]; !ok {
			t.Errorf("%v: a record from before is lost: %v", row, rows)
		}
		if _, ok := rows["during:S"]; !ok && appended == 0 {
			t.Errorf("%v: an acknowledged record is lost: %v", row, rows)
		}
		if _, err := os.Stat(filepath.Join(root, "index.parquet")); err != nil {
			t.Errorf("%v: %v", row, err)
		}
	}
}

// TestAppendWithoutServer: on storage that other machines may change, EIO and EAGAIN say that its server is away: try again. On a local disk they are an error
// of the disk. A file system that does not say what it is counts as the former.
func TestAppendWithoutServer(t *testing.T) {
	Strace(t)
	for _, errno := range []string{"EIO", "EAGAIN"} {
		for _, at := range []string{"openat", "fsync"} {
			for _, remote := range []bool{false, true} {
				root := newRoot(t)
				calls, inject := at, []string{"-e", "inject=" + at + ":error=" + errno}
				if remote {
					calls += ",statfs"
					inject = append(inject, "-e", "inject=statfs:error=ENOSYS")
				}
				if at == "openat" { // of one file; all syncs fail, whatever they are about
					inject = append(inject, "-P", root.Settings(), "-P", string(root))
				}
				words, code := straced(t, append(inject, "-e", "trace="+calls), `{"run_id":"r","stage":"S"}`,
					"journal-append", "--root", string(root), "--cohort", "c", "--summary", "none")
				if want := map[bool]int{false: 1, true: 75}[remote]; code != want {
					t.Errorf("%s says %s, remote %v: exit code %d, want %d: %s", at, errno, remote, code, want, words)
				}
			}
		}
	}
}

// TestDirSyncOfCommands: where directories cannot be synced, and files can, an append and a fold go on.
func TestDirSyncOfCommands(t *testing.T) {
	Strace(t)
	for _, row := range durabletest.Errnos() {
		if row.Op != "syncdir" {
			continue
		}
		root := newRoot(t)
		if words, code := journalAppend(t, root, `{"run_id":"before","stage":"S"}`); code != 0 {
			t.Fatal(words)
		}
		inject := []string{"-e", "trace=fsync", "-e", "inject=fsync:error=" + errnoName(t, row)}
		for _, dir := range []string{string(root), root.Cohorts(), root.Cohort("c"), root.Manifests(), root.DataDir()} {
			inject = append(inject, "-P", dir)
		}
		want := exitOf(row)
		words, code := straced(t, inject, `{"run_id":"during","stage":"S"}`, "journal-append", "--root", string(root), "--cohort", "c", "--summary", "none")
		if code != want {
			t.Errorf("%v: journal-append exits with %d, want %d: %s", row, code, want, words)
		}
		if words, code = straced(t, inject, "", "compactd", "once", "--root", string(root)); code != want {
			t.Errorf("%v: compactd once exits with %d, want %d: %s", row, code, want, words)
		}
		if code == 0 && strings.Count(words, "the sync of a directory is not available here") != 1 {
			t.Errorf("%v: compactd once says %s", row, words)
		}
		settle(t, root)
	}
}
