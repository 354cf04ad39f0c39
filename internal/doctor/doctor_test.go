package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
)

// TestMain makes this binary the processes that measure. One role is only for the test: it hangs.
func TestMain(m *testing.M) {
	if os.Getenv("RUNFOLD_DOCTOR") == "" {
		os.Exit(m.Run())
	}
	if os.Getenv("RUNFOLD_DOCTOR") == "hang" {
		select {} // as in a call that does not return
	}
	if err := Run(os.Args[1:], os.Stdin, os.Stdout, self); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func as(mode string) Again {
	return func(args ...string) *exec.Cmd {
		cmd := exec.Command(os.Args[0], args...)
		cmd.Env = append(os.Environ(), "RUNFOLD_DOCTOR="+mode,
			"GORACE=atexit_sleep_ms=0") // the race detector waits a second at each exit
		return cmd
	}
}

var self = as("1")

func TestMeasure(t *testing.T) {
	dir := t.TempDir()
	v, err := Measure(t.Context(), dir, self)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range v.Checks {
		names = append(names, c.Name)
		if c.Needed && c.Result != yes {
			t.Errorf("%s: %s, %s", c.Name, c.Result, c.Detail)
		}
	}
	if len(names) != len(checks) || !v.Supported || len(v.Missing()) != 0 {
		t.Errorf("%d of %d checks, supported %v, missing %v", len(names), len(checks), v.Supported, v.Missing())
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("%v is left over, %v", left, err)
	}
	root := cohort.Root(dir)
	if err := Save(durable.OS, root, v, 0o644); err != nil {
		t.Fatal(err)
	}
	again, err := Read(durable.OS, root)
	if diff := cmp.Diff(v, again); diff != "" || err != nil {
		t.Errorf("read back: %v (-saved +read):\n%s", err, diff)
	}
}

// TestMeasureHangs: a child that does not come back is left, and what it was doing is told.
func TestMeasureHangs(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cmd := as("hang")("measure", t.TempDir())
	ownGroup(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan event)
	go func() {
		lines <- event{Begin: "fsync of a file"}
		cancel()
	}()
	_, err := listen(ctx, cmd, "DIR", lines)
	if !errors.Is(err, ErrNoAnswer) || !strings.Contains(err.Error(), "fsync of a file") {
		t.Errorf("listen = %v", err)
	}
	cmd.Wait() // returns: it was killed
}

// TestMeasureNotThere: the error names the directory.
func TestMeasureNotThere(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "nowhere")
	if _, err := Measure(t.Context(), dir, self); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("Measure = %v", err)
	}
}

func TestJudge(t *testing.T) {
	all := func(create, link, sync string) Verdict {
		return Verdict{Checks: []Check{
			{Name: ExclusiveCreate, Result: create}, {Name: HardLink, Result: link}, {Name: "fsync of a file", Result: sync, Needed: true},
		}}
	}
	for _, test := range []struct {
		v       Verdict
		missing []string
	}{
		{all(yes, yes, yes), nil},
		{all(yes, no, yes), nil},
		{all(no, yes, yes), nil},
		{all(no, unknown, yes), []string{"exclusive create or hard link"}},
		{all(yes, yes, unknown), []string{"fsync of a file"}},
		{Verdict{}, []string{"exclusive create or hard link"}},
	} {
		test.v.judge()
		if diff := cmp.Diff(test.missing, test.v.Missing()); diff != "" || test.v.Supported != (test.missing == nil) {
			t.Errorf("supported %v, missing (-want +got):\n%s", test.v.Supported, diff)
		}
	}
}

// TestLocksTell: both the kind of file system and the measuring must say so.
func TestLocksTell(t *testing.T) {
	for _, test := range []struct {
		local  bool
		result string
		want   bool
	}{{true, yes, true}, {true, no, false}, {true, unknown, false}, {false, yes, false}} {
		v := Verdict{Local: test.local, Checks: []Check{{Name: FileLocks, Result: test.result}}}
		if got := v.LocksTell(); got != test.want {
			t.Errorf("local %v, locks %s: %v", test.local, test.result, got)
		}
	}
	if (Verdict{Local: true}).LocksTell() {
		t.Error("a verdict without that check")
	}
}

func TestReadRefuses(t *testing.T) {
	root := cohort.Root(t.TempDir())
	if _, err := Read(durable.OS, root); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
	good := string(encode(Verdict{Version: 1}))
	for _, text := range []string{"", "{", "[]", `{"version":0}`, `{"version":1,"nonsense":2}`, good + "x", good[:len(good)-3], strings.Repeat(" ", maxVerdict+1)} {
		if err := os.WriteFile(root.Verdict(), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(durable.OS, root); err == nil || errors.Is(err, cohort.ErrNewer) {
			t.Errorf("%.40q: %v", text, err)
		}
	}
	if err := os.WriteFile(root.Verdict(), []byte(`{"version":2,"new":[]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(durable.OS, root); !errors.Is(err, cohort.ErrNewer) {
		t.Errorf("a newer one: %v", err)
	}
}

// TestCompactLock says what a fold would meet: of a lock that was passed over, too.
func TestCompactLock(t *testing.T) {
	root := cohort.Root(t.TempDir())
	says := func(want string) {
		t.Helper()
		p := &probe{dir: filepath.Join(string(root), ".doctor-x")}
		if got, detail := p.compactLock(); got != want || (got == no) != (detail != "") {
			t.Errorf("compactLock = %q, %q, want %q", got, detail, want)
		}
	}
	says("not made yet")
	l, err := durable.TryLock(root.CompactLock(), "", 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Unlock()
	says(held)
	if err := os.WriteFile(root.CompactLock()+".2", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	says(free)
	if err := os.Mkdir(root.CompactLock()+".3", 0o755); err != nil {
		t.Fatal(err)
	}
	says(no)
}
