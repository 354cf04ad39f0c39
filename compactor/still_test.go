package compactor_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/lock"
	"github.com/runfold/runfold/compactor/lock/file"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
)

// still is a lock whose holder has died with its machine: the lock stays, and nobody counts.
type still struct {
	t    *testing.T
	path string
	said *notices

	boot string // of the machine that looks
	at   time.Duration
	fs   durable.FS
}

const deadWords = "host dead\npid 7\nuser ml (1000)\nsince 2025-01-01T00:00:00Z\nprogram runfold 0.1\n"

func newStill(t *testing.T, path string) *still {
	t.Helper()
	dieWith(t, path)
	return &still{t: t, path: path, said: &notices{}, boot: "boot 1", at: time.Hour, fs: durable.OS}
}

// dieWith takes a lock and dies with its machine.
func dieWith(t *testing.T, path string) (h *durable.Holder) {
	t.Helper()
	held, err := durable.TryLock(path, deadWords, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { held.Unlock() })
	if h, err = durable.SayHolder(path, deadWords, 0o644); err != nil {
		t.Fatal(err)
	}
	return h
}

func (s *still) lock() file.Lock {
	return file.Lock{Path: s.path, Notify: s.said.add, Clock: file.Clock{ID: s.boot, Now: func() time.Duration { return s.at }}, FS: s.fs}
}

// held tries the lock, and wants it held by the one whose words begin so.
func (s *still) held(path, by string) {
	s.t.Helper()
	held, err := s.lock().Lock(context.Background())
	if want := path + " is held by " + by; !errors.Is(err, compactor.ErrLocked) || !strings.Contains(err.Error(), want) {
		s.t.Errorf("Lock = %v, want %q", err, want)
	}
	if err == nil {
		held.Unlock()
	}
}

// taken takes the lock.
func (s *still) taken() lock.Held {
	s.t.Helper()
	held, err := s.lock().Lock(context.Background())
	if err != nil {
		s.t.Fatalf("Lock: %v", err)
	}
	return held
}

func (s *still) release(held lock.Held) {
	s.t.Helper()
	if err := held.Unlock(); err != nil {
		s.t.Error(err)
	}
}

const deadLine = "host dead, pid 7, user ml (1000), since 2025-01-01T00:00:00Z, program runfold 0.1"

// TestPassOver is the whole life of a lock whose holder is gone. Each Lock is as one of a process of its own: it remembers nothing.
func TestPassOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "compact.lock")
	s := newStill(t, path)
	s.held(path, deadLine)
	s.at += 10*time.Minute - 1
	s.held(path, deadLine)
	if got := s.said.text(); got != "" {
		t.Errorf("before ten minutes are over it says %q", got)
	}
	s.at++
	held := s.taken()
	want := path + " is held by " + deadLine + ", which has shown no sign of life for 10m0s: it is passed over, and " +
		path + ".2 is the lock from now on; if it comes back, the commit decides"
	if diff := cmp.Diff(want, s.said.text()); diff != "" {
		t.Errorf("notices (-want +got):\n%s", diff)
	}
	// Later folds exclude each other again, and say no more.
	s.held(path+".2", "host ")
	if got := s.lock().Holder(); !strings.HasPrefix(got, "host ") || !s.lock().IsHeld() {
		t.Errorf("Holder = %q, IsHeld = %t", got, s.lock().IsHeld())
	}
	s.release(held)
	if s.lock().IsHeld() {
		t.Error("IsHeld after the end = true: is it the first lock that is looked at?")
	}
	s.at += time.Hour
	s.release(s.taken())
	if diff := cmp.Diff(want, s.said.text()); diff != "" {
		t.Errorf("notices (-want +got):\n%s", diff)
	}
	// The next one that dies is passed over in the same way.
	dieWith(t, path+".2")
	s.held(path+".2", deadLine)
	s.at += 10 * time.Minute
	s.release(s.taken())
	if !strings.HasSuffix(s.said.text(), path+".3 is the lock from now on; if it comes back, the commit decides") {
		t.Errorf("notices: %s", s.said.text())
	}
}

// TestNotPassedOver has all in which ten minutes by the clock are no standstill of ten minutes.
func TestNotPassedOver(t *testing.T) {
	for name, between := range map[string]func(s *still, h *durable.Holder){
		"it counted": func(s *still, h *durable.Holder) {
			if err := h.Advance(); err != nil {
				s.t.Error(err)
			}
		},
		"another one held the lock": func(s *still, _ *durable.Holder) {
			if _, err := durable.SayHolder(s.path, deadWords, 0o644); err != nil {
				s.t.Error(err)
			}
		},
		"another boot, or another machine": func(s *still, _ *durable.Holder) { s.boot = "boot 2" },
		"the clock is that of a snapshot":  func(s *still, _ *durable.Holder) { s.at -= time.Hour },
		"what was seen is gone": func(s *still, _ *durable.Holder) {
			if err := os.Remove(s.path + ".seen"); err != nil {
				s.t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &still{t: t, path: filepath.Join(t.TempDir(), "compact.lock"), said: &notices{}, boot: "boot 1", at: 2 * time.Hour, fs: durable.OS}
			h := dieWith(t, s.path)
			s.held(s.path, "host dead")
			s.at += 30 * time.Minute
			between(s, h)
			s.held(s.path, "host dead")
			s.at += 9 * time.Minute
			s.held(s.path, "host dead")
			if got := s.said.text(); got != "" {
				t.Errorf("it says %q", got)
			}
			s.at += time.Minute // ten since the second look
			s.release(s.taken())
		})
	}
}

// TestTwoObservers look in turn from two machines, whose clocks have nothing in common. Each counts by its own, and neither keeps the
// other from it.
func TestTwoObservers(t *testing.T) {
	s := newStill(t, filepath.Join(t.TempDir(), "compact.lock"))
	at := map[string]time.Duration{"boot 1": time.Hour, "boot 2": 1000 * time.Hour}
	for range 9 {
		for _, boot := range []string{"boot 1", "boot 2"} {
			s.boot, s.at = boot, at[boot]
			s.held(s.path, "host dead")
			at[boot] += time.Minute
		}
	}
	s.boot, s.at = "boot 2", at["boot 2"]+time.Minute
	s.release(s.taken())
}

// TestSeenFile meets each beginning of a file of observers, other bytes, a file of a later version and a link. Nobody is passed over
// because of it, and what is not ours stays.
func TestSeenFile(t *testing.T) {
	s := newStill(t, filepath.Join(t.TempDir(), "compact.lock"))
	s.held(s.path, "host dead")
	whole, err := os.ReadFile(s.path + ".seen")
	if err != nil {
		t.Fatal(err)
	}
	later := strings.Replace(string(whole), `"version":1`, `"version":2`, 1)
	texts := []string{later, "null", "{}", `{"version":1}`, `{"version":1,"sign":"","since_ns":{"boot 1":0}}`, `{"version":-1,"since_ns":{"boot 1":0}}`}
	for n := range len(whole) - 2 {
		texts = append(texts, string(whole[:n]))
	}
	s.at += 11 * time.Minute
	for _, text := range texts {
		if err := os.WriteFile(s.path+".seen", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		s.held(s.path, "host dead")
		data, err := os.ReadFile(s.path + ".seen")
		if err != nil || text == later && string(data) != later {
			t.Errorf("%q became %q, %v", text, data, err)
		}
	}
	if err := os.Remove(s.path + ".seen"); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "thesis.tex")
	put(t, other, whole)
	if err := os.Symlink(other, s.path+".seen"); err != nil {
		t.Skip("no links here:", err)
	}
	s.held(s.path, "host dead")
	if data, err := os.ReadFile(other); err != nil || string(data) != string(whole) {
		t.Errorf("what a link leads to became %q, %v", data, err)
	}
}

// TestSeenFileFails lets each change of the disk fail with which an observer notes what it saw. The answer stays that the lock is held,
// and a caller that waits passes the holder over all the same: it remembers.
func TestSeenFileFails(t *testing.T) {
	for _, errno := range []error{syscall.EACCES, syscall.EROFS, syscall.ENOSPC, syscall.EIO, syscall.EPERM} {
		for k := 0; ; k += sparse {
			fault := &durabletest.Fault{FS: durable.OS, Hook: func(n int, _, _ string) error {
				if n >= k {
					return errno
				}
				return nil
			}}
			s := newStill(t, filepath.Join(t.TempDir(), "compact.lock"))
			s.fs = fault
			s.held(s.path, "host dead")
			if fault.Calls() <= k {
				break
			}
			l := s.lock()
			l.Wait = time.Hour
			looks := 0
			l.FS, l.Clock.Now = fault, func() time.Duration { // each look comes ten minutes after the one before
				looks++
				return s.at + time.Duration(looks)*10*time.Minute
			}
			held, err := l.Lock(context.Background())
			if err != nil {
				t.Fatalf("%v from change %d on: a caller that waits: %v", errno, k, err)
			}
			s.release(held)
		}
	}
}

// TestHolderCounts holds a lock for an hour, in the time of a bubble, as a fold does that copies a large file. Somebody who waits for it
// sees it count, and does not pass it over.
func TestHolderCounts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "compact.lock")
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		said := &notices{}
		l := file.Lock{Path: path, Wait: 2 * time.Hour, Notify: said.add, Clock: file.Clock{ID: "bubble", Now: func() time.Duration { return time.Since(start) }}}
		held, err := l.Lock(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan error)
		go func() {
			held, err := l.Lock(context.Background())
			got <- err
			if err == nil {
				held.Unlock()
			}
		}()
		<-time.After(time.Hour)
		if err := held.Unlock(); err != nil {
			t.Error(err)
		}
		if err := <-got; err != nil {
			t.Errorf("the waiting Lock: %v", err)
		}
		if err := held.Unlock(); err != nil { // a second time does nothing
			t.Error(err)
		}
		if want := "waiting for up to 2h0m0s: another compactor is at work: " + path + " is held by host "; !strings.HasPrefix(said.text(), want) || strings.Contains(said.text(), "passed over") {
			t.Errorf("it says %q, want only that it waits", said.text())
		}
	})
}

// TestLastSuccessor goes on without a lock when the numbers are used up.
func TestLastSuccessor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "compact.lock")
	s := &still{t: t, path: path, said: &notices{}, boot: "boot 1", at: time.Hour, fs: durable.OS}
	dieWith(t, path+".999")
	s.held(path+".999", "host dead")
	s.at += 10 * time.Minute
	s.release(s.taken())
	if want := "folding without " + path; !strings.HasPrefix(s.said.text(), want) {
		t.Errorf("it says %q, want %q", s.said.text(), want)
	}
}

// TestHolderComesBackAnywhere stops a compactor before each change of the disk in turn, while it holds the lock. Another one passes it
// over and folds. Then the first one comes back with its lock and goes on, while a third one, which has the successor's lock, folds as
// well. Nothing may rely on any of the locks.
func TestHolderComesBackAnywhere(t *testing.T) {
	t.Parallel()
	for k := 0; ; k++ {
		if k%sparse != 0 || testing.Short() && k%5 != 0 {
			continue
		}
		if !comesBack(t, k) {
			t.Logf("figure: %d places at which the holder of a lock was passed over, and came back", k)
			return
		}
	}
}

// comesBack reports whether the first compactor made k changes.
func comesBack(t *testing.T, k int) (reached bool) {
	t.Helper()
	root := prepared(t)
	s := &still{t: t, path: root.CompactLock(), said: &notices{}, boot: "boot 1", at: time.Hour, fs: durable.OS}
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
	cfg := compactor.Config{Root: root, KeepAge: -1, KeepGenerations: 1, DeadAfter: -1, ReapGrace: -1}
	done := make(chan error, 1)
	go func() {
		first := cfg
		first.FS = fsys
		_, err := compactor.Fold(context.Background(), first) // with the lock of every fold
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
		return false
	case <-asleep:
	}
	appendTo(t, root, "c", `{"run_id":"d","stage":"S","v":4}`)
	s.held(root.CompactLock(), "host ")
	s.at += 10 * time.Minute
	second := cfg
	second.Lock, second.Notify = s.lock(), s.said.add
	foldNow(t, second)
	if !strings.Contains(s.said.text(), "it is passed over") {
		t.Errorf("asleep before change %d, %s: the second says %q", k, at, s.said.text())
	}
	// The third one holds the successor when the first one comes back. Both fold at once.
	appendTo(t, root, "c", `{"run_id":"e","stage":"S","v":5}`)
	held := s.taken()
	s.held(root.CompactLock()+".2", "host ")
	close(wake)
	third := cfg
	third.Lock = yes{} // it has the lock
	if _, err := compactor.Fold(context.Background(), third); err != nil && !sweptUnder(err) {
		t.Errorf("asleep before change %d, %s: the third ends with %v", k, at, err)
	}
	if err := <-done; err != nil && !sweptUnder(err) {
		t.Errorf("asleep before change %d, %s: the first ends with %v", k, at, err)
	}
	s.release(held)
	foldNow(t, cfg)
	want := map[string]string{"a:S": "1", "b:S": "2", "c:S": "2", "d:S": "4", "e:S": "5"}
	if diff := cmp.Diff(want, values(t, root)); diff != "" {
		t.Errorf("asleep before change %d, %s: rows (-want +got):\n%s", k, at, diff)
	}
	if got := damage(t, root); got != "" {
		t.Errorf("asleep before change %d, %s: check finds\n%s", k, at, got)
	}
	return true
}

// TestTimeWithoutTheLockFile folds where the lock file is another user's, so that nobody can write it. The time of the file beside it
// tells how long a dead writer has been silent.
func TestTimeWithoutTheLockFile(t *testing.T) {
	root := newRoot(t)
	appendTo(t, root, "c", firstLines...)
	foldNow(t, compactor.Config{Root: root})
	old := time.Unix(1, 0)
	for _, path := range []string{root.CompactLock(), root.Manifest(cohort.Generation(1))} {
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	if got := stampOf(t, root); got < cohort.Stamp(time.Hour) {
		t.Errorf("the storage's time is %v, want that of compact.lock.holder", got)
	}
}

// TestTimeWithAnotherLock folds by a lock that is no lock file, in a root in which nothing else is written. The storage tells its time all the same, and the root says
// who folds; it says nothing any more when the fold has ended.
func TestTimeWithAnotherLock(t *testing.T) {
	root := newRoot(t)
	appendTo(t, root, "c", firstLines...)
	foldNow(t, compactor.Config{Root: root, Locks: lock.None{}})
	old := time.Unix(1, 0)
	for _, path := range []string{root.CompactLease() + ".holder", root.Manifest(cohort.Generation(1))} {
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	if got := stampOf(t, root); got > cohort.Stamp(time.Hour) {
		t.Fatalf("the storage's time is %v: is this test looking in the right place?", got)
	}
	foldNow(t, compactor.Config{Root: root, Locks: lock.None{}})
	if got := stampOf(t, root); got < cohort.Stamp(time.Hour) {
		t.Errorf("after a fold that changes nothing, the storage's time is %v", got)
	}
	cfg := compactor.Config{Root: root, Locks: lock.None{}, Program: "a program"}
	store, err := cfg.Store()
	if err != nil {
		t.Fatal(err)
	}
	held, err := cfg.Locker(store.Settings).Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// A reader does not know by which lock others fold.
	if who, err := (compactor.Config{Root: root}).Holder(t.Context(), store.Settings); !strings.HasSuffix(who, "program a program, lock none") || err != nil {
		t.Errorf("Holder = %q, %v", who, err)
	}
	if !compactor.IsBusy(root, time.Now()) || compactor.IsBusy(root, time.Now().Add(time.Hour)) {
		t.Error("IsBusy: want yes now, and no in an hour: a compactor that was killed says so for ever")
	}
	if err := held.Unlock(); err != nil {
		t.Fatal(err)
	}
	if who, err := (compactor.Config{Root: root}).Holder(t.Context(), store.Settings); who != "" || err != nil || compactor.IsBusy(root, time.Now()) {
		t.Errorf("Holder of a root that nobody folds = %q, %v", who, err)
	}
}

func stampOf(t *testing.T, root cohort.Root) cohort.Stamp {
	t.Helper()
	store, err := compactor.Config{Root: root}.Store()
	if err != nil {
		t.Fatal(err)
	}
	m, err := store.Newest()
	if err != nil {
		t.Fatal(fmt.Errorf("newest manifest: %w", err))
	}
	return store.Stamp(m)
}
