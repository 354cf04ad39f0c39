package compactor_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
)

// TestRaceWithoutLock lets several compactors fold at once, with a lock that stops nobody, while
// writers append. The commit alone keeps every record, once.
func TestRaceWithoutLock(t *testing.T) {
	const compactors, writers, runs = 4, 6, 40
	root := newRoot(t)
	var appending, folding sync.WaitGroup
	done := make(chan struct{})
	for n := range compactors {
		folding.Go(func() {
			cfg := compactor.Config{Root: root, Lock: yes{}, BatchBytes: 4000}
			if n%2 == 0 {
				cfg.Cache = new(generation.Cache) // as a daemon has one
			}
			for {
				select {
				case <-done:
					return
				default:
				}
				if _, err := compactor.Fold(context.Background(), cfg); err != nil {
					t.Errorf("Fold: %v", err)
				}
			}
		})
	}
	want := map[string]string{}
	for w := range writers {
		var lines []string
		for n := range runs {
			lines = append(lines, fmt.Sprintf(`{"run_id":"w%d-%d","stage":"S","v":1}`, w, n/2), fmt.Sprintf(`{"run_id":"w%d-%d","stage":"S","v":2}`, w, n/2))
			want[fmt.Sprintf("w%d-%d:S", w, n/2)] = "2"
		}
		for n := range runs / 2 { // a third stays out, a third comes back, a third is protected
			key := fmt.Sprintf("w%d-%d:S", w, n)
			for _, action := range [][]string{{"withdraw"}, {"withdraw", "undo"}, {"protect", "withdraw"}}[n%3] {
				lines = append(lines, fmt.Sprintf(`{"action":%q,"run_id":"w%d-%d"}`, action, w, n))
			}
			if n%3 == 0 {
				want[key] = "out 2"
			}
		}
		appending.Go(func() { appendTo(t, root, "c", lines...) })
	}
	appending.Wait()
	close(done)
	folding.Wait()
	foldNow(t, compactor.Config{Root: root})
	if diff := cmp.Diff(want, values(t, root)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if n := streamsLeft(t, root); n != 0 {
		t.Errorf("%d streams are left", n)
	}
}

// sleeper is a file system whose user falls asleep before the first change that is wanted, until wake.
type sleeper struct {
	asleep chan struct{} // closed when it sleeps
	wake   chan struct{} // close it to go on
	once   sync.Once
}

func newSleeper() *sleeper {
	return &sleeper{asleep: make(chan struct{}), wake: make(chan struct{})}
}

// fs sleeps before the first change whose "op path" begins with prefix.
func (s *sleeper) fs(prefix, root string) durable.FS {
	return &durabletest.Fault{FS: durable.OS, Hook: func(_ int, op, name string) error {
		if strings.HasPrefix(op+" "+strings.TrimPrefix(name, root+"/"), prefix) {
			s.once.Do(func() {
				close(s.asleep)
				<-s.wake
			})
		}
		return nil
	}}
}

// TestSleepBeforeCommit is R2: a compactor sleeps before its create of manifest 2 while others commit 2
// to 5 and sweep 2. When it wakes, its create succeeds, and must be void; or its temporary file was
// swept too.
func TestSleepBeforeCommit(t *testing.T) {
	for _, at := range []string{"create manifests/", "link manifests/"} {
		t.Run(at, func(t *testing.T) { sleepBeforeCommit(t, at) })
	}
}

func sleepBeforeCommit(t *testing.T, at string) {
	root := newRoot(t)
	appendTo(t, root, "c", `{"run_id":"a","stage":"S","v":1}`)
	foldNow(t, compactor.Config{Root: root, Lock: yes{}})
	appendTo(t, root, "c", `{"run_id":"b","stage":"S","v":1}`)
	s := newSleeper()
	said := &notices{}
	result := make(chan compactor.Report)
	go func() {
		report, err := compactor.Fold(context.Background(), compactor.Config{Root: root, Lock: yes{}, FS: s.fs(at, string(root)), Notify: said.add})
		if err != nil {
			t.Errorf("the sleeper's Fold: %v", err)
		}
		result <- report
	}()
	<-s.asleep
	for _, run := range []string{"b", "c", "d", "e"} {
		appendTo(t, root, "c", fmt.Sprintf(`{"run_id":"%s","stage":"S","v":2}`, run))
		foldNow(t, compactor.Config{Root: root, Lock: yes{}, KeepAge: -1, KeepGenerations: 1})
	}
	close(s.wake)
	report := <-result
	if report.Conflicts != 1 || report.Commits != 0 {
		t.Errorf("the sleeper: %d conflicts, %d commits; want 1 and 0", report.Conflicts, report.Commits)
	}
	if !strings.Contains(said.text(), "another compactor committed generation 5 first") {
		t.Errorf("the sleeper says %q", said.text())
	}
	want := map[string]string{"a:S": "1", "b:S": "2", "c:S": "2", "d:S": "2", "e:S": "2"}
	if diff := cmp.Diff(want, values(t, root)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// TestSleepBeforePublish is R4: a compactor sleeps between its commit and its publish while another
// publishes a later generation. When it wakes, the later one must stay public.
func TestSleepBeforePublish(t *testing.T) {
	for _, at := range []string{"link .index.parquet", "rename index.parquet", "link .snapshot_index", "rename snapshot_index.json"} {
		t.Run(at, func(t *testing.T) {
			root := newRoot(t)
			appendTo(t, root, "c", `{"run_id":"a","stage":"S","v":1}`)
			s := newSleeper()
			done := make(chan error)
			go func() {
				_, err := compactor.Fold(context.Background(), compactor.Config{Root: root, Lock: yes{}, FS: s.fs(at, string(root))})
				done <- err
			}()
			<-s.asleep
			appendTo(t, root, "c", `{"run_id":"a","stage":"S","v":2}`)
			foldNow(t, compactor.Config{Root: root, Lock: yes{}})
			close(s.wake)
			if err := <-done; err != nil {
				t.Errorf("the sleeper's Fold: %v", err)
			}
			if diff := cmp.Diff(map[string]string{"a:S": "2"}, values(t, root)); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
		})
	}
}

// late is a file system on which compactors wake up one after the other, and put an earlier generation under a public name, whenever somebody else
// has put a file there.
type late struct {
	durable.FS
	name    string // the public name
	earlier string // the data file that they link
	left    *int   // how many of them there are
}

func (l late) Rename(old, new string) error {
	if err := l.FS.Rename(old, new); err != nil || new != l.name || *l.left == 0 {
		return err
	}
	*l.left--
	temp := l.name + ".late"
	if err := l.Link(l.earlier, temp); err != nil {
		return err
	}
	return l.FS.Rename(temp, l.name)
}

// TestManySleepBeforePublish is R4 with many compactors that sleep: each puts an earlier generation under a public name after this one has published.
// That is no fault of the disk, and stops no fold. A name that shows it for ever is an error.
func TestManySleepBeforePublish(t *testing.T) {
	root := newRoot(t)
	appendTo(t, root, "c", `{"run_id":"a","stage":"S","v":0}`)
	foldNow(t, compactor.Config{Root: root})
	first := newestOn(t, root)
	commits := &durabletest.Fault{FS: durable.OS, Hook: func(_ int, op, name string) error { // and publishes nothing
		if op == "rename" && (name == root.Index() || name == root.Snapshots()) {
			return syscall.EIO
		}
		return nil
	}}
	for i, public := range []generation.Public{{Name: root.Index(), Data: first.Index}, {Name: root.Snapshots(), Data: first.Snapshots[0].DataFile}} {
		for j, sleepers := range []int{1, 3, 10, 1000} {
			appendTo(t, root, "c", fmt.Sprintf(`{"run_id":"a","stage":"S","v":%d}`, 4*i+j+1))
			if _, err := compactor.Fold(context.Background(), compactor.Config{Root: root, FS: commits}); !errors.Is(err, syscall.EIO) {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				left := sleepers
				store := generation.New(generation.Store{FS: late{durable.OS, public.Name, root.Data(public.Data.Name), &left}, Root: root})
				m, err := store.Newest()
				if err != nil {
					t.Fatal(err)
				}
				if err := store.Heal(m); (err == nil) != (sleepers < 1000) || generation.IsDamage(err) {
					t.Errorf("%s, %d sleepers: Heal = %v", root.Rel(public.Name), sleepers, err)
				}
				if ok, err := store.IsPublished(m); err != nil || ok != (sleepers < 1000) {
					t.Errorf("%s, %d sleepers: generation %d is published: %v, %v", root.Rel(public.Name), sleepers, m.Generation, ok, err)
				}
			})
		}
	}
	foldNow(t, compactor.Config{Root: root})
	if diff := cmp.Diff(map[string]string{"a:S": "8"}, values(t, root)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// TestSleepAnywhere stops one compactor before each change of the disk in turn, lets another one fold
// everything, and wakes the first.
func TestSleepAnywhere(t *testing.T) {
	t.Parallel()
	for k := 0; ; k++ {
		if k%sparse != 0 || testing.Short() && k%5 != 0 {
			continue
		}
		root := prepared(t)
		asleep, wake := make(chan struct{}), make(chan struct{})
		at := ""
		fsys := &durabletest.Fault{FS: durable.OS, Hook: func(n int, op, name string) error {
			if n == k {
				at = op + " " + root.Rel(name)
				close(asleep)
				<-wake
			}
			return nil
		}}
		done := make(chan error, 1)
		go func() {
			_, err := compactor.Fold(context.Background(), compactor.Config{Root: root, Lock: yes{}, FS: fsys, KeepAge: -1, KeepGenerations: 1})
			done <- err
		}()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			t.Logf("figure: %d interleavings of two folds", k)
			return
		case <-asleep:
		}
		appendTo(t, root, "c", `{"run_id":"d","stage":"S","v":4}`)
		foldNow(t, compactor.Config{Root: root, Lock: yes{}, KeepAge: -1, KeepGenerations: 1})
		close(wake)
		if err := <-done; err != nil {
			t.Errorf("asleep before change %d, %s: the sleeper ends with %v", k, at, err)
		}
		foldNow(t, compactor.Config{Root: root, Lock: yes{}, KeepAge: -1, KeepGenerations: 1})
		want := map[string]string{"a:S": "1", "b:S": "2", "c:S": "2", "d:S": "4"}
		if diff := cmp.Diff(want, values(t, root)); diff != "" {
			t.Errorf("asleep before change %d, %s: rows (-want +got):\n%s", k, at, diff)
		}
		if got := damage(t, root); got != "" {
			t.Errorf("asleep before change %d, %s: check finds\n%s", k, at, got)
		}
	}
}
