package journal

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/acceptance"
	"github.com/runfold/runfold/internal/durable"
)

// inPlace ends the test unless Writers write zeros ahead in the directories of tests.
func inPlace(t testing.TB) {
	t.Helper()
	if s, err := durable.OS.Statfs(t.TempDir()); err != nil || !s.OverwritesInPlace() {
		t.Skipf("nothing is written ahead on a file system of type %x: %v", s.Type, err)
	}
}

// aheadCalls are what TestSyscallsAhead and TestFailingCallsAhead look at.
const aheadCalls = "openat,write,pwrite64,ftruncate,?ftruncate64,fsync,fdatasync"

// TestSyscallsAhead compares what a Writer does from its fourth append on with the comments of write and spare.
func TestSyscallsAhead(t *testing.T) {
	inPlace(t)
	tracer := strace(t)
	root := newRoot(t)
	log := filepath.Join(t.TempDir(), "trace")
	run(t, child("goes on", root, tracer, "-f", "-y", "-s", "16", "-o", log, "-e", "trace="+aheadCalls+","+statCalls))
	s := streams(t, root)[0]
	got := aheadOnly(t, log, root.Segment(s.Cohort, s.ID))
	want := []string{
		"fstat", "write", "pwrite64", "fsync", "look", "acknowledge",
		"fstat", "write", "fdatasync", "look", "acknowledge",
		"fstat", "write", "fdatasync", "look", "acknowledge",
		"fstat", "ftruncate", "fsync", // the end of the zeros is durable before the seal is written
		"fstat", "write", "fsync",
		"fsync", // the library's, when it closes the file
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if c, _ := read(t, root, s, Position{}); !slices.Equal(c.runs, runs(1, firstGroups+3)) || !c.sealed || c.torn != 0 {
		t.Errorf("the stream holds %+v", c)
	}
}

// aheadOnly are the calls on a segment after the third acknowledgement, by their names.
func aheadOnly(t testing.TB, log, segment string) (out []string) {
	t.Helper()
	acked := 0
	for _, line := range logLines(t, log) {
		op, args, ok := strings.Cut(line, "(")
		switch {
		case !ok || strings.Contains(args, "= -1"):
		case op == "write" && strings.Contains(args, `"acknowledged`):
			if acked++; acked > firstGroups {
				out = append(out, "acknowledge")
			}
		case acked >= firstGroups && filepath.Clean(subject(args)) == segment:
			switch op {
			case "newfstatat", "lstat", "fstatat64", "lstat64":
				op = "look"
			case "fstat64":
				op = "fstat"
			case "ftruncate64":
				op = "ftruncate"
			}
			out = append(out, op)
		}
	}
	return out
}

// TestFailingCallsAhead lets the n-th call of a kind fail in a process that goes on long enough to write over zeros. What it acknowledged is
// there. Where zeros could not be written, it goes on in the same stream; where they could not be cut off, there is no seal.
func TestFailingCallsAhead(t *testing.T) {
	inPlace(t)
	tracer := strace(t)
	last := firstGroups + 3
	for _, test := range []struct {
		inject  string
		streams int
		sealed  bool
	}{
		{"pwrite64:error=ENOSPC:when=1", 1, true}, {"pwrite64:error=EDQUOT:when=1", 1, true}, {"pwrite64:error=EIO:when=1", 1, true}, {"pwrite64:error=EINTR:when=1", 1, true},
		{"pwrite64:retval=100:when=1", 1, true}, // a short write
		{"fdatasync:error=EIO:when=1", 2, true}, {"fdatasync:error=EIO:when=2", 2, true}, {"fdatasync:error=EINTR:when=1", 1, true},
		{"ftruncate,?ftruncate64:error=EIO:when=1", 1, false}, {"ftruncate,?ftruncate64:error=EINTR:when=1", 1, true},
	} {
		root := newRoot(t)
		log := filepath.Join(t.TempDir(), "trace")
		cmd := child("goes on", root, tracer, "-f", "-y", "-s", "16", "-o", log, "-e", "trace="+aheadCalls, "-e", "inject="+test.inject)
		err := cmd.Run()
		lines := logLines(t, log)
		if !slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, "(INJECTED)") }) {
			t.Errorf("%s: nothing was injected", test.inject)
		}
		acked := 0
		for _, l := range lines {
			if strings.Contains(l, `"acknowledged`) {
				acked++
			}
		}
		if acked != last || (err == nil) != test.sealed || len(streams(t, root)) != test.streams {
			t.Errorf("%s: %v, %d acknowledged in %d streams", test.inject, err, acked, len(streams(t, root)))
		}
		got := copies(t, root)
		for _, run := range runs(1, last) {
			if len(got[run]) == 0 {
				t.Errorf("%s: %s was acknowledged and is not there", test.inject, run)
			}
		}
		all := streams(t, root)
		if c, _ := read(t, root, all[len(all)-1], Position{}); c.sealed != test.sealed || c.torn != 0 {
			t.Errorf("%s: the last stream ends with %+v", test.inject, c)
		}
	}
}

// TestRoomOfASegment looks at the descriptor itself: the zeros, the cut, and what the system lets a process write.
func TestRoomOfASegment(t *testing.T) {
	inPlace(t)
	w := newWriter(t, newRoot(t), Options{})
	appendRuns(t, w, 1, firstGroups+1)
	st := w.stream
	if st.spare == nil || st.end != st.size+leastAhead {
		t.Fatalf("%d bytes in %d, %v", st.size, st.end, st.spare)
	}
	longer := st.end + 3*int64(len(noughts)) + 5
	if err := st.spare.fill(st.end, longer); err != nil {
		t.Fatal(err)
	}
	if data := bytesOf(t, w); int64(len(data)) != longer || int64(lastOf(data)) != st.size {
		t.Errorf("%d bytes, %d before the zeros", len(data), lastOf(data))
	}
	if err := st.spare.cut(st.end); err != nil || int64(len(bytesOf(t, w))) != st.end {
		t.Errorf("cut: %d bytes, %v", len(bytesOf(t, w)), err)
	}
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	lower := was
	lower.Cur = 1 << 40
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &lower); err != nil {
		t.Skip(err)
	}
	got := st.spare.limit()
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was); err != nil || got != 1<<40 {
		t.Errorf("limit = %d, %v", got, err)
	}
	st.own.f.Close()
	if err := st.spare.syncData(); err == nil {
		t.Error("the sync of a closed file succeeds")
	}
}

// TestZerosWithoutJournal writes groups of one record and of many to an ext4 with a journal and to one without. There those of many have no zeros.
func TestZerosWithoutJournal(t *testing.T) {
	const many = largeWithoutJournal / 60 // an entry has more bytes than that
	for _, test := range []struct {
		feature string
		records int // of a group
		zeros   bool
	}{{"has_journal", 1, true}, {"has_journal", many, true}, {"^has_journal", 1, true}, {"^has_journal", many, false}} {
		dir, _ := acceptance.Disk(t, "-O", test.feature)
		if said, _ := filepath.Glob("/sys/fs/ext4/*/journal_task"); len(said) == 0 {
			t.Skip("this kernel does not say whether an ext4 has a journal")
		}
		root := cohort.Root(filepath.Join(dir, "runs"))
		if _, _, err := InitRoot(root, cohort.Settings{}, RootOptions{}); err != nil {
			t.Fatal(err)
		}
		w := newWriter(t, root, Options{})
		const groups = 2 * firstGroups
		for g := range groups {
			var all []cohort.Record
			for n := range test.records {
				all = append(all, rec(t, g*test.records+n+1))
			}
			if err := w.Append(all); err != nil {
				t.Fatal(err)
			}
		}
		if group := w.stream.size / groups; test.records == many && (group < largeWithoutJournal || group >= largeGroup) {
			t.Fatalf("a group has %d bytes", group)
		}
		if zeros := w.stream.end > w.stream.size; zeros != test.zeros {
			t.Errorf("%s, groups of %d records: zeros %v, want %v", test.feature, test.records, zeros, test.zeros)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if c, _ := read(t, root, streams(t, root)[0], Position{}); !slices.Equal(c.runs, runs(1, groups*test.records)) || !c.sealed || c.torn != 0 {
			t.Errorf("%s: %d of %d records, sealed %v, %d torn", test.feature, len(c.runs), groups*test.records, c.sealed, c.torn)
		}
	}
}

// TestNotAhead: on a file system of a kind that was not measured, the descriptor is not even opened to write.
func TestNotAhead(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "runfold") // tmpfs
	if err != nil {
		t.Skip(err)
	}
	defer os.RemoveAll(dir)
	if s, err := durable.OS.Statfs(dir); err != nil || s.OverwritesInPlace() {
		t.Skipf("type %x, %v", s.Type, err)
	}
	root := cohort.Root(filepath.Join(dir, "runs"))
	if _, _, err := InitRoot(root, cohort.Settings{}, RootOptions{}); err != nil {
		t.Fatal(err)
	}
	w := newWriter(t, root, Options{})
	appendRuns(t, w, 1, 2*firstGroups)
	flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, w.stream.own.f.Fd(), syscall.F_GETFL, 0)
	if w.stream.spare != nil || w.stream.end != w.stream.size || errno != 0 || int(flags)&syscall.O_ACCMODE != os.O_RDONLY {
		t.Errorf("spare %v, %d bytes of %d, flags %x in %s", w.stream.spare, w.stream.size, w.stream.end, flags, strconv.Itoa(int(errno)))
	}
}
