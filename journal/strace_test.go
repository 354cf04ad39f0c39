package journal

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/acceptance"
)

// strace finds the tracer, or ends the test: as a failure where it must run.
func strace(t *testing.T) string {
	t.Helper()
	if emulator != "" {
		t.Skip("strace would see the calls of the emulator")
	}
	return acceptance.Strace(t)
}

// TestSyscalls compares what a Writer's first two appends and its end do with the comments of newStream
// and write.
func TestSyscalls(t *testing.T) {
	tracer := strace(t)
	root := newRoot(t)
	log := filepath.Join(t.TempDir(), "trace")
	run(t, child("append", root, tracer, "-f", "-y", "-s", "16", "-o", log,
		"-e", "trace=openat,write,pwrite64,fsync,fdatasync,mkdir,mkdirat,"+statCalls))
	s := streams(t, root)[0]
	names := map[string]string{
		root.Segment(s.Cohort, s.ID): "segment", root.Stream(s.Cohort, s.ID): "stream", root.Cohort(s.Cohort): "cohort",
		root.Cohorts(): "cohorts", string(root): "root", filepath.Dir(string(root)): "above",
	}
	want := []string{
		"open cohorts", // whether streams name another root, as there is no manifest
		"open cohorts", // which cohorts there are
		"open cohorts", // whether streams name another root, before a stream
		"open cohorts", "mkdir cohort", "fsync cohorts",
		"open cohorts", // which there are now
		"open above", "open root", "open cohorts", "open cohort", "mkdir stream", "open stream",
		"create segment", "size segment", // it asks which file it is
		"size segment", "write segment", "fsync segment", "fsync stream", "fsync cohort", "fsync cohorts", "fsync root", "fsync above",
		"stat segment", "acknowledge",
		"size segment", "write segment", "fsync segment", "stat segment", "acknowledge",
		"size segment", "write segment", "fsync segment", // the seal: nobody looks at the path after it
		"fsync segment", // the library's, when it closes the file
	}
	if diff := cmp.Diff(want, calls(t, log, names)); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

// verbs are the words that the comments use for the calls.
var verbs = map[string]string{
	"openat": "create", "write": "write", "pwrite64": "write", "fsync": "fsync", "fdatasync": "fsync",
	"mkdir": "mkdir", "mkdirat": "mkdir", "newfstatat": "stat", "lstat": "stat", "fstat": "size",
	"fstatat64": "stat", "lstat64": "stat", "fstat64": "size", // where an int has 32 bits
}

// statCalls are those that look at a file. strace refuses names that no architecture of its own has.
const statCalls = "newfstatat,lstat,fstat,?fstatat64,?lstat64,?fstat64"

// calls are the successful calls of a trace on what has a name, and the acknowledgements. Of directories
// only what opens and changes them counts.
func calls(t testing.TB, log string, names map[string]string) (out []string) {
	t.Helper()
	for _, line := range logLines(t, log) {
		op, args, ok := strings.Cut(line, "(")
		verb, name := verbs[op], names[filepath.Clean(subject(args))]
		if verb == "create" && strings.Contains(args, "O_DIRECTORY") {
			verb = "open"
		}
		switch {
		case !ok || strings.Contains(args, "= -1") || verb == "create" && !strings.Contains(args, "O_CREAT"):
		case verb == "write" && strings.Contains(args, `"acknowledged`):
			out = append(out, "acknowledge")
		case verb != "" && name != "" && (verb != "stat" && verb != "size" || name == "segment"):
			out = append(out, verb+" "+name)
		}
	}
	return out
}

// logLines are the calls of a trace, without the number of the thread before them.
func logLines(t testing.TB, log string) (out []string) {
	t.Helper()
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		_, call, _ := strings.Cut(line, " ")
		out = append(out, strings.TrimSpace(call))
	}
	return out
}

// subject is the path that a call is about: that of its descriptor, or the first string.
func subject(args string) string {
	open, end := `"`, `"`
	if fd, _, ok := strings.Cut(args, "<"); ok && !strings.ContainsAny(fd, `",`) && fd != "AT_FDCWD" {
		open, end = "<", ">"
	}
	_, rest, _ := strings.Cut(args, open)
	path, _, _ := strings.Cut(rest, end)
	return path
}

// TestFailingCalls lets the n-th call of a kind fail in a process that appends two runs, before the call does
// anything. What it acknowledged is there, and what it acknowledged after a stream had failed is in another
// one. A call that was interrupted is only made again.
func TestFailingCalls(t *testing.T) {
	tracer := strace(t)
	for _, inject := range []string{
		"fsync:error=EIO", "write:error=EIO", "openat:error=EIO", "mkdirat:error=EIO",
		"write:error=ENOSPC", "openat:error=ENOSPC", "mkdirat:error=ENOSPC",
		"fsync:error=EINTR", "write:error=EINTR", "openat:error=EINTR", "mkdirat:error=EINTR",
	} {
		op, cause, _ := strings.Cut(inject, ":error=")
		elsewhere, n := 0, 0
		for injected := true; injected; {
			if n++; testing.Short() && n%4 == 1 {
				n += 3
			}
			root := newRoot(t)
			log := filepath.Join(t.TempDir(), "trace")
			cmd := child("append", root, tracer, "-f", "-y", "-s", "16", "-o", log, "-e", "trace=write,fsync,openat,mkdirat",
				"-e", "inject="+inject+":when="+strconv.Itoa(n))
			err := cmd.Run()
			where := map[string][]cohort.StreamID{} // each run
			for _, s := range streams(t, root) {
				c, _ := read(t, root, s, Position{})
				for _, run := range c.runs {
					where[run] = append(where[run], s.ID)
				}
			}
			injected = false
			lockFailed := false
			failed, acked := cohort.StreamID(""), 0
			for _, line := range logLines(t, log) {
				if strings.Contains(line, "(INJECTED)") {
					injected = true
					if lockFailed = strings.Contains(line, "writer.lock"); cause != "EINTR" && !lockFailed {
						failed = streamOf(line)
					}
				} else if _, rest, ok := strings.Cut(line, `"acknowledged `); ok {
					acked++
					run := rest[:len("r-1")]
					if !slices.ContainsFunc(where[run], func(id cohort.StreamID) bool { return id != failed }) {
						t.Errorf("%s %d: %s was acknowledged and stands in %q, of which %q failed", inject, n, run, where[run], failed)
					}
					if failed != "" {
						elsewhere++
					}
				}
			}
			if err == nil && acked != 2 {
				t.Errorf("%s %d: no error, and %d runs acknowledged", inject, n, acked)
			}
			if (cause == "EINTR" || lockFailed) && (err != nil || len(where) != 2 || len(streams(t, root)) != 1) {
				t.Errorf("%s %d: %v, %d runs in %d streams, want 2 in 1", inject, n, err, len(where), len(streams(t, root)))
			}
		}
		t.Logf("figure: %d system calls failed while two runs were appended (%s)", n-1, inject)
		if goesOn := (op == "write" || op == "fsync") && cause != "EINTR"; n < 3 || goesOn && elsewhere == 0 {
			t.Errorf("%s: %d calls, %d runs went to a second stream: nothing was tested", inject, n, elsewhere)
		}
	}
}

// streamOf is the stream in whose directory the path of a call lies, if any.
func streamOf(call string) cohort.StreamID {
	for _, part := range strings.FieldsFunc(call, func(r rune) bool { return strings.ContainsRune(`/<>"`, r) }) {
		if id, err := cohort.ParseStreamID(part); err == nil {
			return id
		}
	}
	return ""
}
