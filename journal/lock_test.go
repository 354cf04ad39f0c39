//go:build linux

package journal

import (
	"errors"
	"os"
	"testing"

	"github.com/runfold/runfold/internal/durable"
)

// TestAppendWithoutLock lets flock answer in each way that means "not here", for the writer alone. The append is acknowledged,
// and its stream says that its lock proves nothing: others can take that lock while the writer lives.
func TestAppendWithoutLock(t *testing.T) {
	tracer := strace(t)
	for errno, boots := range map[string]bool{
		"EPERM": false, "EACCES": false, "EINVAL": false, "ENOSYS": false, "EOPNOTSUPP": false, "524": false, "ENOLCK": false,
		"EIO": false, "ESTALE": false, "EAGAIN": false,
		"EINTR:when=1": true, // tried again, so this writer has its lock
	} {
		t.Run(errno, func(t *testing.T) {
			t.Parallel()
			root := newRoot(t)
			cmd := child("lives", root, tracer, "-f", "-o", os.DevNull, "-e", "trace=flock", "-e", "inject=flock:error="+errno)
			in, ierr := cmd.StdinPipe()
			out, oerr := cmd.StdoutPipe()
			if err := errors.Join(ierr, oerr, cmd.Start()); err != nil {
				t.Fatal(err)
			}
			if acked := readLines(t, out, 1); len(acked) != 1 {
				t.Error("nothing was acknowledged")
			}
			for _, s := range streams(t, root) {
				r := openRoot(t, root)
				if gone, err := r.WriterIsGone(s); gone || err != nil {
					t.Errorf("the writer lives, WriterIsGone says %v, %v", gone, err)
				}
				free, err := durable.LockIsFree(root.WriterLock(s.Cohort, s.ID))
				if free == boots || err != nil {
					t.Errorf("the lock of the living writer is free: %v, %v", free, err)
				}
				h, ok, err := r.header(r.InCohort(s))
				if (h.BootID == bootID()) != boots || !ok || err != nil {
					t.Errorf("the header says boot %q, %v, %v", h.BootID, ok, err)
				}
			}
			if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
				t.Errorf("the writer ends with %v", err)
			}
		})
	}
}
