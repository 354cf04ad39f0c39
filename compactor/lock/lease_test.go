package lock

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// table is a service of one process, whose clock is that of a bubble. The servers that people run are in package locktest: this one says no, is away, or
// loses an answer, at the moment that a test wants.
type table struct {
	mu     sync.Mutex // guards all below
	holder *entry
	fences int64
	away   error // of each request
	lose   bool  // the next request is carried out, and its answer is lost
	asked  int
}

type entry struct {
	root, token, words string
	ttl                time.Duration
	until              time.Time
	fence              int64
	in                 *table
}

func (s *table) Claim(root, token, words string, ttl time.Duration) Claim {
	return &entry{root: root, token: token, words: words, ttl: ttl, in: s}
}

func (s *table) Holder(context.Context, string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.now(); h != nil {
		return h.words, s.away
	}
	return "", s.away
}

func (*table) Close() error { return nil }

// now is who holds the lock. The caller has s.mu.
func (s *table) now() *entry {
	if s.holder != nil && time.Now().After(s.holder.until) {
		s.holder = nil
	}
	return s.holder
}

// request counts one, and tells whether it is answered.
func (s *table) request(do func()) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.away != nil {
		return s.away
	}
	do()
	if s.lose {
		s.lose = false
		return errors.New("connection reset by peer")
	}
	return nil
}

func (e *entry) Take(context.Context) (fence int64, holder string, err error) {
	err = e.in.request(func() {
		h := e.in.now()
		if h != nil && h != e {
			holder = h.words
			return
		}
		if h == nil {
			e.in.fences++
			e.fence = e.in.fences
		}
		e.until, e.in.holder = time.Now().Add(e.ttl), e
		fence = e.fence
	})
	return fence, holder, err
}

func (e *entry) Renew(context.Context) (ours bool, err error) {
	err = e.in.request(func() {
		if ours = e.in.now() == e; ours {
			e.until = time.Now().Add(e.ttl)
		}
	})
	return ours, err
}

func (e *entry) Release(context.Context) error {
	return e.in.request(func() {
		if e.in.holder == e {
			e.in.holder = nil
		}
	})
}

func (s *table) set(away error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = away
}

func (s *table) leases() *Leases {
	return &Leases{Kind: "table", Where: "memory", Service: s, TTL: 30 * time.Second}
}

func take(t *testing.T, p Provider, wait time.Duration) Held {
	t.Helper()
	h, err := p.Locker(Options{RootID: "r", Wait: wait, Program: "a program"}).Lock(t.Context())
	if err != nil {
		t.Fatalf("Lock: %v", err)
	}
	return h
}

func isLost(h Held) bool { return Check(h) != nil }

// TestLeaseIsRenewed holds a lock for an hour. Nobody else gets it meanwhile, and everybody can read who has it.
func TestLeaseIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := (&table{}).leases()
		h := take(t, p, 0)
		<-time.After(time.Hour)
		_, err := p.Locker(Options{RootID: "r", Wait: time.Minute}).Lock(t.Context())
		if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "table at memory") || !strings.Contains(err.Error(), "program a program") {
			t.Errorf("Lock of a held lock = %v", err)
		}
		if isLost(h) || h.Provider() != "table" || h.Fence() != 1 {
			t.Errorf("after an hour: %v, provider %s, fence %d", Check(h), h.Provider(), h.Fence())
		}
		if words, err := p.Holder(t.Context(), Options{RootID: "r"}); !strings.HasPrefix(words, "host ") || err != nil {
			t.Errorf("Holder = %q, %v", words, err)
		}
		if err := errors.Join(h.Unlock(), h.Unlock()); err != nil {
			t.Errorf("Unlock: %v", err)
		}
		if again := take(t, p, 0); again.Fence() != 2 || again.Unlock() != nil {
			t.Errorf("the next holder has fence %d", again.Fence())
		}
	})
}

// TestLeaseIsWaitedFor waits for a holder that ends, and for one that was killed.
func TestLeaseIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &table{}
		p := s.leases()
		dead := p.Service.Claim("r", "dead", "host dead\n", 30*time.Second)
		if _, _, err := dead.Take(t.Context()); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		h := take(t, p, time.Hour)
		if got := time.Since(start); got < 30*time.Second || got > 32*time.Second {
			t.Errorf("the next one has waited %v for a lease of 30s", got)
		}
		if err := h.Unlock(); err != nil {
			t.Error(err)
		}
	})
}

// TestLeaseIsLost loses the lock in each way in which that is noticed.
func TestLeaseIsLost(t *testing.T) {
	for name, test := range map[string]struct {
		do   func(s *table)
		wait time.Duration
		says string
	}{
		"the service lost its data": {func(s *table) { s.holder = nil }, 11 * time.Second, "does not know it any more"},
		"the service is away":       {func(s *table) { s.away = errors.New("connection refused") }, 31 * time.Second, "could not be renewed for 30s: table at memory: connection refused"},
		"it is away for a while":    {func(s *table) { s.away = errors.New("connection refused") }, 25 * time.Second, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &table{}
				h := take(t, s.leases(), 0)
				s.mu.Lock()
				test.do(s)
				s.mu.Unlock()
				<-time.After(test.wait)
				synctest.Wait()
				err := Check(h)
				if test.says == "" {
					s.set(nil)
					<-time.After(time.Minute)
					err = Check(h)
				}
				if (err == nil) != (test.says == "") || err != nil && (!errors.Is(err, ErrLost) || !strings.Contains(err.Error(), test.says)) {
					t.Errorf("Check = %v, want %q", err, test.says)
				}
				s.set(nil)
				if err := h.Unlock(); err != nil {
					t.Errorf("Unlock: %v", err)
				}
			})
		})
	}
}

// TestLeaseEndsByOurClock stops the goroutine that renews, as a process is stopped: the first look finds the lease lost.
func TestLeaseEndsByOurClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := (&table{}).leases()
		claim := p.Service.Claim("r", "a", "", p.TTL)
		if _, _, err := claim.Take(t.Context()); err != nil {
			t.Fatal(err)
		}
		l := &lease{of: p, claim: claim, until: time.Now().Add(p.TTL), lost: make(chan struct{})}
		<-time.After(p.TTL - time.Nanosecond)
		if err := Check(l); err != nil {
			t.Errorf("before the end: %v", err)
		}
		<-time.After(time.Nanosecond)
		if err := Check(l); err == nil || !strings.Contains(err.Error(), "stood still for longer than the lease of 30s") {
			t.Errorf("at the end: %v", err)
		}
	})
}

// TestAnswerIsLost: a request was carried out, and its answer did not come. The next one finds the lock ours, and one who gives up leaves none.
func TestAnswerIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &table{lose: true}
		h := take(t, s.leases(), time.Minute)
		if h.Fence() != 1 {
			t.Errorf("fence %d: it was taken twice", h.Fence())
		}
		if err := h.Unlock(); err != nil {
			t.Fatal(err)
		}
		s.lose = true
		if _, err := s.leases().Locker(Options{RootID: "r"}).Lock(t.Context()); !errors.Is(err, ErrAway) {
			t.Errorf("Lock without an answer = %v, want ErrAway", err)
		}
		if s.holder != nil {
			t.Error("one who gave up holds the lock")
		}
	})
}

// TestAway waits for a service that is away as for a holder, and names it.
func TestAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &table{away: errors.New("connection refused")}
		start := time.Now()
		_, err := s.leases().Locker(Options{Wait: time.Minute}).Lock(t.Context())
		if !errors.Is(err, ErrAway) || !strings.Contains(err.Error(), "table at memory: connection refused") || time.Since(start) < time.Minute {
			t.Errorf("Lock = %v after %v", err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.leases().Locker(Options{Wait: time.Hour}).Lock(ctx); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrAway) {
			t.Errorf("Lock with a context that ends = %v", err)
		}
		s.away, s.asked = ErrRefused, 0
		if _, err := s.leases().Locker(Options{Wait: time.Hour}).Lock(t.Context()); !errors.Is(err, ErrRefused) || s.asked != 1 {
			t.Errorf("Lock that is refused = %v after %d requests", err, s.asked)
		}
	})
}

// TestOptional goes on without a service from the third call on that finds it away, until it is back.
func TestOptional(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &table{away: errors.New("connection refused")}
		var told []string
		opt := NewOptional(s.leases(), 3)
		var notices []string
		lock := func() string {
			h, err := opt.Locker(Options{RootID: "r", Notify: func(n fmt.Stringer) {
				notices = append(notices, n.String())
			}}).Lock(t.Context())
			if err != nil {
				return "fails"
			}
			defer h.Unlock()
			return h.Provider()
		}
		l := opt.Locker(Options{RootID: "r", Notify: nil})
		if _, err := l.Lock(t.Context()); !errors.Is(err, ErrAway) {
			t.Errorf("the first call = %v", err)
		}
		for range 3 {
			told = append(told, lock())
		}
		s.set(nil)
		told = append(told, lock())
		s.set(errors.New("connection refused"))
		told = append(told, lock())
		if got := strings.Join(told, " "); got != "fails none none table fails" {
			t.Errorf("the calls after it: %s", got)
		}
		without := "folding without table at memory: the service of the lock does not answer: table at memory: connection refused: nothing is lost, the commit decides between two that fold at once"
		if want := []string{without, without, "table at memory answers again: the lock is taken from it"}; !slices.Equal(notices, want) {
			t.Errorf("it is told: %q", notices)
		}
	})
}

// TestAlready hands a lock on that is held.
func TestAlready(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &table{}
		h := take(t, s.leases(), 0)
		inner, err := Already(h).Lock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := inner.Unlock(); err != nil || inner.Provider() != "table" || inner.Fence() != 1 {
			t.Errorf("%s, %d, %v", inner.Provider(), inner.Fence(), err)
		}
		if s.holder == nil {
			t.Error("the lock of the holder was given back")
		}
		s.mu.Lock()
		s.holder = nil
		s.mu.Unlock()
		<-time.After(time.Minute)
		if err := Check(inner); err == nil || !strings.Contains(err.Error(), "does not know it any more") {
			t.Errorf("Check of what was handed on = %v", err)
		}
		if err := h.Unlock(); err != nil {
			t.Error(err)
		}
	})
}
