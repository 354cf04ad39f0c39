//go:build unix

package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
)

// systemChildren are those of children that only this kind of system can run.
var systemChildren = map[string]func(root cohort.Root) error{
	"limited":  limitedInChild,
	"shared":   sharedInChild,
	"stranger": strangerInChild,
}

// TestFileSizeLimit lets a write fail after each of its bytes, as on a full disk. What was acknowledged
// is there, what is there was sent, and nothing is damaged.
func TestFileSizeLimit(t *testing.T) {
	step := "1"
	if testing.Short() {
		step = "41"
	}
	root := newRoot(t)
	cmd := child("limited", root)
	cmd.Env = append(cmd.Env, "RUNFOLD_STEP="+step)
	sent := map[string]string{} // "cohort/run" -> "ack" or what went wrong
	for line := range strings.Lines(run(t, cmd)) {
		what, answer, _ := strings.Cut(strings.TrimSpace(line), " ")
		sent[what] = answer
	}
	got := map[string]bool{}
	for _, s := range streams(t, root) {
		c, _ := read(t, root, s, Position{})
		if c.damage != nil {
			t.Errorf("stream %v: damage %v", s, c.damage)
		}
		for _, run := range c.runs {
			got[string(s.Cohort)+"/"+run] = true
		}
	}
	failed := 0
	for what, answer := range sent {
		if answer != "ack" {
			failed++
		} else if !got[what] {
			t.Errorf("%s was acknowledged and is not there", what)
		}
	}
	for what := range got {
		if sent[what] == "" {
			t.Errorf("%s is there and was never sent", what)
		}
	}
	if failed == 0 || failed > len(sent)/2 {
		t.Errorf("%d of %d appends failed: the limits are not where the writes are", failed, len(sent))
	}
}

// limitedInChild appends two runs to a cohort of its own for each limit on the size of a file. The first
// run goes beyond the limit or not; the second one goes into a stream of its own if it does.
func limitedInChild(root cohort.Root) error {
	signal.Ignore(syscall.SIGXFSZ) // so that the write fails and not the process
	var step int
	if _, err := fmt.Sscan(os.Getenv("RUNFOLD_STEP"), &step); err != nil {
		return err
	}
	for limit := 0; limit < 700; limit += step {
		id := cohort.ID(fmt.Sprint("c", limit))
		w, err := Create(root, id, Options{})
		if err != nil {
			return err
		}
		var rl syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &rl); err != nil {
			return err
		}
		lower := rl
		lower.Cur = likeLimit(rl.Cur, limit)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &lower); err != nil {
			return err
		}
		var answers []string
		for n := 1; n <= 2; n++ {
			r, err := cohort.ParseRecord(fmt.Appendf(nil, `{"run_id":"r-%d","stage":"T"}`, n), 0)
			if err != nil {
				return err
			}
			answer := "ack"
			if err := w.Append([]cohort.Record{r}); err != nil {
				answer = strings.ReplaceAll(err.Error(), "\n", "; ")
			}
			answers = append(answers, fmt.Sprintf("%s/%s %s", id, r.RunID, answer))
		}
		w.Close() // a seal that does not fit is no loss
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &rl); err != nil {
			return err
		}
		fmt.Println(strings.Join(answers, "\n"))
	}
	return nil
}

// likeLimit is n in the type of a limit, which differs between systems.
func likeLimit[T int64 | uint64](_ T, n int) T { return T(n) }

// TestModes looks at the permissions of all that InitRoot and a Writer make.
func TestModes(t *testing.T) {
	tests := []struct{ dirMode, fileMode, umask, wantDir, wantFile string }{
		{"2775", "0664", "0002", "2775", "0664"},
		{"2775", "0664", "0022", "2775", "0664"}, // given modes hold against the umask
		{"2775", "0664", "0077", "2775", "0664"},
		{"2770", "0660", "0007", "2770", "0660"},
		{"0777", "0666", "0022", "0755", "0644"},
		{"0777", "0666", "0077", "0700", "0600"},
		{"0700", "0600", "0000", "0700", "0600"},
	}
	for _, test := range tests {
		root := cohort.Root(filepath.Join(t.TempDir(), "runs"))
		cmd := child("shared", root)
		cmd.Env = append(cmd.Env, "RUNFOLD_MODES="+test.dirMode+" "+test.fileMode+" "+test.umask)
		run(t, cmd)
		files, dirs := 0, 0
		err := filepath.WalkDir(string(root), func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := e.Info()
			if err != nil {
				return err
			}
			mode, want := cohort.Mode(info.Mode().Perm()), test.wantFile
			if info.Mode()&fs.ModeSetgid != 0 {
				mode |= 0o2000
			}
			if files++; e.IsDir() {
				files, dirs, want = files-1, dirs+1, test.wantDir
			}
			if mode.String() != want {
				t.Errorf("%+v: %s has mode %v, want %s", test, root.Rel(path), mode, want)
			}
			return nil
		})
		if err != nil || files != 3 || dirs != 6 {
			t.Errorf("%d files in %d directories, %v: want the settings, a segment and a lock in 6", files, dirs, err)
		}
	}
}

func sharedInChild(root cohort.Root) error {
	var s cohort.Settings
	var umask cohort.Mode
	for i, text := range strings.Fields(os.Getenv("RUNFOLD_MODES")) {
		mode, err := cohort.ParseMode(text)
		if err != nil {
			return err
		}
		*[]*cohort.Mode{&s.DirMode, &s.FileMode, &umask}[i] = mode
	}
	syscall.Umask(int(umask))
	if _, _, err := InitRoot(root, s, RootOptions{}); err != nil {
		return err
	}
	return appendInChild(root)
}

// TestIsMountPoint asks for /proc, which is a file system of its own if it exists, and for a fresh directory, which is not.
func TestIsMountPoint(t *testing.T) {
	if _, err := os.Stat("/proc/self"); err == nil && !isMountPoint("/proc") {
		t.Error("isMountPoint(/proc) = false")
	}
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink("/proc", link); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/proc/self"); err == nil && !isMountPoint(cohort.Root(link)) {
		t.Error("isMountPoint of a link to /proc = false")
	}
	for _, none := range []string{dir, filepath.Join(dir, "missing"), "/"} {
		if isMountPoint(cohort.Root(none)) {
			t.Errorf("isMountPoint(%s) = true", none)
		}
	}
}

// TestDirectoryAboveIsSecret appends to a root in a directory that the writer may pass through but not
// read, such as a home directory.
func TestDirectoryAboveIsSecret(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only the superuser can become another user")
	}
	for dir := t.TempDir(); len(dir) > len(os.TempDir()); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	root := cohort.Root(filepath.Join(t.TempDir(), "runs"))
	if _, _, err := InitRoot(root, cohort.Settings{}, RootOptions{}); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(string(root), func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Chown(path, stranger, stranger))
	})
	if err = errors.Join(err, os.Chmod(filepath.Dir(string(root)), 0o711)); err != nil {
		t.Fatal(err)
	}
	run(t, child("stranger", root))
	if diff := cmp.Diff(runs(1, 2), all(t, root)); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

// stranger is a user without rights.
const stranger = 65534

func strangerInChild(root cohort.Root) error {
	if err := errors.Join(syscall.Setgid(stranger), syscall.Setuid(stranger)); err != nil {
		return err
	}
	if _, err := os.ReadDir(filepath.Dir(string(root))); !errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("the directory above can be read: %w", err)
	}
	return appendInChild(root)
}

// TestKilledWriter kills a writer while it appends as fast as it can. All that it acknowledged is there,
// there is no damage, and the lock is free.
func TestKilledWriter(t *testing.T) {
	root := newRoot(t)
	cmd := child("endless", root)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	acked := readLines(t, out, 20)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	acked = append(acked, readLines(t, out, -1)...)
	cmd.Wait() // it was killed
	got := all(t, root)
	if len(got) < len(acked) || len(got) > len(acked)+1 || !slices.Equal(acked, got[:len(acked)]) {
		t.Errorf("%d acknowledged, %d there: %v", len(acked), len(got), got)
	}
	for _, s := range streams(t, root) {
		if free, err := durable.LockIsFree(root.WriterLock(s.Cohort, s.ID)); !free || err != nil {
			t.Errorf("lock of %v: free %t, %v", s, free, err)
		}
	}
}

// TestWriterIsGone: only a free lock and a header of this boot prove that a writer has ended.
func TestWriterIsGone(t *testing.T) {
	if bootID() == "" {
		t.Skip("this system does not tell its boots apart")
	}
	root := newRoot(t)
	w, err := Create(root, "c", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	appendRuns(t, w, 0, 1)
	s := w.stream.Stream
	if gone, err := openRoot(t, root).WriterIsGone(s); gone || err != nil {
		t.Errorf("the writer lives: %v, %v", gone, err)
	}
	w.stream.lock.Unlock() // as the kernel does when a process ends
	if gone, err := openRoot(t, root).WriterIsGone(s); !gone || err != nil {
		t.Errorf("the lock is free: %v, %v", gone, err)
	}
	if err := os.Remove(root.WriterLock(s.Cohort, s.ID)); err != nil {
		t.Fatal(err)
	}
	if gone, err := openRoot(t, root).WriterIsGone(s); gone || err == nil {
		t.Errorf("without a lock file: %v, %v", gone, err)
	}
}

// TestWriterOfAnotherBoot: the lock of a stream that was written on another machine, or before this one
// started, proves nothing.
func TestWriterOfAnotherBoot(t *testing.T) {
	root := newRoot(t)
	s := Stream{"c", "01JE0000000000000000000001"}
	if err := os.MkdirAll(root.Stream(s.Cohort, s.ID), 0o755); err != nil {
		t.Fatal(err)
	}
	b := appendFrame(nil, s.ID, frame{kind: kindHeader, seq: 1, stamp: 1, payload: []byte(`{"cohort":"c","boot_id":"another"}`)})
	for name, data := range map[string][]byte{
		root.Segment(s.Cohort, s.ID): append(binary.AppendUvarint(nil, uint64(len(b))), b...), root.WriterLock(s.Cohort, s.ID): nil,
	} {
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if gone, err := openRoot(t, root).WriterIsGone(s); gone || err != nil {
		t.Errorf("WriterIsGone = %v, %v", gone, err)
	}
}
