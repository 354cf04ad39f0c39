package acceptance

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/journal"
)

var powerCuts = flag.Int("power", 2, "how often the power of each file system is cut; 0: until the time is over")

// TestPowerOfRealDisks appends and folds on file systems of this machine, and stops them as a power loss does: nothing that is in memory reaches
// the disk, neither data nor the journal of the file system (FS_IOC_SHUTDOWN of XFS and ext4). After the next mount every acknowledged record is
// there, and nothing is damaged. On XFS the folds share blocks.
func TestPowerOfRealDisks(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may mount")
	}
	for kind, size := range map[string]int64{"xfs": 1 << 30, "ext4": 1 << 30} {
		t.Run(kind, func(t *testing.T) { cutPower(t, kind, size) })
	}
}

func cutPower(t *testing.T, kind string, size int64) {
	rnd := rand.New(rand.NewPCG(*seed, 9))
	t.Logf("-seed %d", *seed)
	skip := t.Skipf
	if os.Getenv("RUNFOLD_MUST_RUN") != "" {
		skip = t.Fatalf
	}
	image, dir := filepath.Join(t.TempDir(), "image"), t.TempDir()
	if err := os.WriteFile(image, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, size); err != nil {
		t.Fatal(err)
	}
	force := map[string]string{"xfs": "-f", "ext4": "-F"}[kind]
	if out, err := exec.Command("mkfs."+kind, "-q", force, image).CombinedOutput(); err != nil {
		skip("mkfs.%s: %v: %s", kind, err, out)
	}
	mount := func() {
		t.Helper()
		if out, err := exec.Command("mount", "-o", "loop", image, dir).CombinedOutput(); err != nil {
			t.Skipf("this machine does not let us mount: %v: %s", err, out)
		}
	}
	unmount := func() {
		runtime.GC() // the library leaves a segment open whose last sync failed; the runtime closes it
		runtime.GC()
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	}
	mount()
	defer unmount()
	root := cohort.Root(filepath.Join(dir, "runs"))
	if _, stderr, code := compactd(t, "init", "--root", string(root)); code != 0 {
		t.Fatal(stderr)
	}
	acked := map[string]bool{}
	old := &loading{root: root, acked: acked}
	old.append(t, "old", 60_000) // some row groups and sections
	for n := range 2 {           // what the first one writes, the second one copies: then it may be shared
		if _, stderr, code := compactd(t, "once", "--root", string(root)); code != 0 {
			t.Fatal(stderr)
		}
		old.append(t, fmt.Sprint("more", n), 10)
	}
	var shared int64
	for cut := 0; cut < *powerCuts || *powerCuts == 0; cut++ {
		deadline, ok := t.Deadline()
		if ok && time.Until(deadline) < time.Minute {
			break
		}
		l := &loading{root: root, acked: acked}
		l.run(t, fmt.Sprint("cut", cut), time.Duration(rnd.IntN(1500))*time.Millisecond, dir)
		unmount()
		mount()
		shared += l.verify(t, fmt.Sprint("cut ", cut))
		if t.Failed() {
			return
		}
	}
	t.Logf("figure: %d records were acknowledged and are there; folds shared %d MB of blocks (%s)", len(acked), shared/1e6, kind)
	if (kind == "xfs") != (shared > 0) {
		t.Errorf("folds shared %d bytes of blocks on %s", shared, kind)
	}
}

// loading is a root that is in use.
type loading struct {
	root  cohort.Root
	mu    sync.Mutex
	acked map[string]bool // run ids
	over  bool            // the power is about to go
}

func (l *loading) append(t *testing.T, stem string, n int) {
	t.Helper()
	w, err := journal.Create(l.root, "c", journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var recs []cohort.Record
	for i := range n {
		recs = append(recs, l.record(t, fmt.Sprint(stem, "-", i)))
	}
	if err := w.Append(recs); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, r := range recs {
		l.acked[r.RunID] = true
	}
}

func (*loading) record(t *testing.T, run string) cohort.Record {
	r, err := cohort.ParseRecord(fmt.Appendf(nil, `{"run_id":"%s","stage":"S","note":"%s"}`, run, strings.Repeat("n", 60)), 0)
	if err != nil {
		t.Error(err)
	}
	return r
}

// run appends from several writers and folds, until the power goes.
func (l *loading) run(t *testing.T, stem string, after time.Duration, dir string) {
	t.Helper()
	var all sync.WaitGroup
	gone := make(chan struct{})
	for n := range 3 {
		all.Go(func() {
			w, err := journal.Create(l.root, cohort.ID(fmt.Sprint("c", n)), journal.Options{SealBytes: 100_000})
			if err != nil {
				return // the power is gone already
			}
			defer w.Close()
			for i := 0; ; i++ {
				select {
				case <-gone:
					return
				default:
				}
				r := l.record(t, fmt.Sprintf("%s-%d-%d", stem, n, i))
				if err := w.Append([]cohort.Record{r}); err != nil {
					return
				}
				l.mu.Lock()
				if !l.over {
					l.acked[r.RunID] = true
				}
				l.mu.Unlock()
			}
		})
	}
	all.Go(func() {
		for {
			select {
			case <-gone:
				return
			default:
				exec.Command("compactd", "once", "--root", string(l.root)).Run()
			}
		}
	})
	top, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer top.Close()
	<-time.After(after) // at any time is what this is about
	// After a power loss nobody hears an answer. Here an fsync that meets the shutdown may succeed: on ext4 it finds the transaction that it waits for gone,
	// because the journal was given up.
	l.mu.Lock()
	l.over = true
	l.mu.Unlock()
	// Neither the data nor the log is written: EXT4_GOING_FLAGS_NOLOGFLUSH, XFS_FSOP_GOING_FLAGS_NOLOGFLUSH.
	const shutdown, withoutLog = 0x8004587d, 2
	if err := unix.IoctlSetPointerInt(int(top.Fd()), shutdown, withoutLog); err != nil {
		t.Errorf("shut the file system down: %v", err)
	}
	close(gone)
	all.Wait()
}

// verify folds what is left, and looks for all that was acknowledged. It returns how many bytes the fold shared.
func (l *loading) verify(t *testing.T, when string) (shared int64) {
	t.Helper()
	if _, stderr, code := compactd(t, "once", "--root", string(l.root)); code != 0 {
		t.Errorf("%s: once: exit code %d: %s", when, code, stderr)
	}
	if stdout, stderr, code := compactd(t, "check", "--root", string(l.root)); code != 0 {
		t.Errorf("%s: check: exit code %d: %s%s", when, code, stdout, stderr)
	}
	m, data := newestOf(t, l.root)
	defer data.Close()
	missing := maps.Clone(l.acked)
	for id, err := range data.Index.Identities() {
		if err != nil {
			t.Fatal(err)
		}
		delete(missing, id.RunID)
	}
	for run := range missing {
		t.Errorf("%s: %s was acknowledged and is gone", when, run)
		if len(missing) > 10 {
			t.Fatalf("and %d others", len(missing)-1)
		}
	}
	if m.Merged != nil {
		shared = m.Merged.Cloned
	}
	return shared
}
