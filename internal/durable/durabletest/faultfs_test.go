package durabletest

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/internal/durable"
)

// TestFailEverywhere lets each call of each verb fail: not done, done but doubtful, or half done. The
// name is as it was or complete. If the verb returns nil, it is durable. No temporary file stays, except one that could
// not be removed and one of which the verb cannot know that it was made.
func TestFailEverywhere(t *testing.T) {
	faults := 0
	defer func() { t.Logf("figure: %d faults injected into single verbs", faults) }()
	for _, n := range slices.Sorted(maps.Keys(verbs)) {
		for _, fault := range []error{syscall.EIO, AfterError{syscall.EIO}, ShortWrite{syscall.EIO}} {
			v := verbs[n]
			for k := 0; stopped(v, t, false, k); k++ {
				c, failed := v.disk(t, false), ""
				faults++
				err := v.do(&Fault{FS: c, Hook: func(i int, op, _ string) error {
					if i != k {
						return nil
					}
					failed = op
					return fault
				}})
				if err != nil && !errors.Is(err, syscall.EIO) {
					t.Errorf("%s, %q at call %d (%s) = %v, want EIO", n, fault, k, failed, err)
				}
				if err == nil && !harmless(failed, fault) {
					t.Errorf("%s, %q at call %d (%s) = nil, want EIO", n, fault, k, failed)
				}
				for _, m := range []Mode{{None, None}, {All, All}} {
					if wrong := v.wrong(t, c.Crash(m, nil), err == nil); wrong != "" {
						t.Errorf("%s, %q at call %d (%s), %v: %s", n, fault, k, failed, m, wrong)
					}
				}
				if failed != "remove" && failed != "create" && strings.Contains(tree(t, c, "/"), ".tmp ") {
					t.Errorf("%s, %q at call %d (%s) leaves a temporary file", n, fault, k, failed)
				}
			}
		}
	}
}

// harmless tells which failures a verb may hide: a failed removal of a temporary file, and a failed link or exchange
// of which the verb can see that it was made.
func harmless(op string, fault error) bool {
	return op == "remove" || (op == "link" || op == "exchange") && errors.As(fault, new(AfterError))
}

func TestFault(t *testing.T) {
	c := New()
	var calls []string
	f := &Fault{FS: c, Hook: func(n int, op, name string) error {
		calls = append(calls, op+" "+strings.TrimLeft(name, `/\`))
		switch n {
		case 1:
			return ShortWrite{syscall.ENOSPC}
		case 2:
			return syscall.EIO
		case 4:
			return AfterError{syscall.EIO}
		case 5:
			return AfterError{syscall.EIO}
		}
		return nil
	}}
	w, err := f.Create("a", 0o644)
	must(t, err)
	if n, err := w.Write([]byte("1234")); n != 2 || err != syscall.ENOSPC {
		t.Errorf("short write = %d, %v", n, err)
	}
	if err := w.Sync(); err != syscall.EIO {
		t.Errorf("Sync = %v", err)
	}
	must(t, w.Chmod(0o600))
	if n, err := w.Write([]byte("5")); n != 1 || err != syscall.EIO {
		t.Errorf("doubtful write = %d, %v", n, err)
	}
	if err := f.Mkdir("d", 0o755); err != syscall.EIO {
		t.Errorf("doubtful Mkdir = %v", err)
	}
	must(t, f.Link("a", "b"), f.Rename("b", "d/b"), f.SyncDir("/"), f.Remove("a"), w.Close())
	want := []string{"create a", "write a", "fsync a", "chmod a", "write a", "mkdir d", "link b", "rename d/b", "syncdir ", "remove a"}
	if diff := cmp.Diff(want, calls); diff != "" || f.Calls() != len(want) {
		t.Errorf("%d calls (-want +got):\n%s", f.Calls(), diff)
	}
	if got := tree(t, c, "/"); got != "d/\nd/b 125" {
		t.Errorf("tree is %q", got)
	}
	if _, err := f.Open("a"); err == nil {
		t.Error("Open of a removed file = nil")
	}
	var _ durable.FS = f
}
