package etcd_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/runfold/runfold/compactor/lock"
)

// TestOneOfMany lets 16 clients at one lock, again and again.
func TestOneOfMany(t *testing.T) {
	t.Parallel()
	url := "etcd://" + address(t) + "/"
	before := int64(0)
	for range 3 {
		var all sync.WaitGroup
		var mu sync.Mutex // guards won and told
		won := map[string]int64{}
		var told []string
		claims := map[string]lock.Claim{}
		for i := range 16 {
			name := fmt.Sprint("client ", i)
			c := claim(t, open(t, url), name)
			claims[name] = c
			all.Go(func() {
				fence, holder, err := c.Take(t.Context())
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err != nil:
					t.Errorf("Take: %v", err)
				case fence > 0:
					won[name] = fence
				default:
					told = append(told, holder)
				}
			})
		}
		all.Wait()
		if len(won) != 1 || len(told) != 15 {
			t.Fatalf("%d have won, %d have lost", len(won), len(told))
		}
		for name, fence := range won {
			for _, words := range told {
				if words != "program "+name+"\n" {
					t.Errorf("a loser was told of %q, and %s has won", words, name)
				}
			}
			if fence <= before {
				t.Errorf("fence %d comes after %d", fence, before)
			}
			before = fence
		}
		for name, c := range claims { // those who have lost have nothing to give back
			if won[name] == 0 {
				release(t, c)
			}
		}
		for name := range won {
			renew(t, claims[name], true)
			release(t, claims[name])
		}
	}
}

// TestLeases takes a lock as compactors do, many at once, with a lease that is renewed.
func TestLeases(t *testing.T) {
	t.Parallel()
	p := open(t, "etcd://"+address(t)+"?lease=2s")
	opts := lock.Options{RootID: t.Name(), Wait: time.Minute, Program: "a program"}
	var all sync.WaitGroup
	var mu sync.Mutex // guards held and fences
	held, fences := 0, []int64{}
	for range 8 {
		all.Go(func() {
			h, err := p.Locker(opts).Lock(t.Context())
			if err != nil {
				t.Errorf("Lock: %v", err)
				return
			}
			mu.Lock()
			if held++; held > 1 {
				t.Errorf("%d hold the lock", held)
			}
			fences = append(fences, h.Fence())
			mu.Unlock()
			if words, err := p.Holder(t.Context(), opts); !strings.Contains(words, "program a program") || err != nil {
				t.Errorf("Holder = %q, %v", words, err)
			}
			mu.Lock()
			held--
			mu.Unlock()
			if err := errors.Join(lock.Check(h), h.Unlock(), h.Unlock()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for i := 1; i < len(fences); i++ {
		if fences[i] <= fences[i-1] {
			t.Errorf("fences do not rise: %v", fences)
		}
	}
	h, err := p.Locker(opts).Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	control(t, address(t), nil).wait(t, 4) // two leases
	if _, err := p.Locker(lock.Options{RootID: t.Name()}).Lock(t.Context()); !errors.Is(err, lock.ErrLocked) || !strings.Contains(err.Error(), "program a program") {
		t.Errorf("Lock of a held lock = %v", err)
	}
	if err := errors.Join(lock.Check(h), h.Unlock()); err != nil {
		t.Error(err)
	}
	if words, err := p.Holder(t.Context(), opts); words != "" || err != nil {
		t.Errorf("Holder of a free lock = %q, %v", words, err)
	}
	if got := p.String(); got != "etcd at "+address(t) {
		t.Errorf("String = %q", got)
	}
}

// TestAgain takes a lock again with the token that has it, as one does whose answer was lost, and renews it. The lease begins anew, and nothing else changes.
func TestAgain(t *testing.T) {
	url, ctl := "etcd://"+address(t), control(t, address(t), nil)
	for name, again := range map[string]func(t *testing.T, c lock.Claim, fence int64){
		"take": func(t *testing.T, c lock.Claim, fence int64) {
			if got := take(t, c); got != fence {
				t.Errorf("fence %d became %d", fence, got)
			}
		},
		"take by another connection": func(t *testing.T, _ lock.Claim, fence int64) {
			if got := take(t, claim(t, open(t, url), "a")); got != fence {
				t.Errorf("fence %d became %d", fence, got)
			}
		},
		"renew": func(t *testing.T, c lock.Claim, _ int64) { renew(t, c, true) },
		"another's token": func(t *testing.T, _ lock.Claim, _ int64) {
			c := claim(t, open(t, url), "b")
			if fence, holder, err := c.Take(t.Context()); fence != 0 || holder != "program a\n" || err != nil {
				t.Errorf("Take = %d, %q, %v", fence, holder, err)
			}
			renew(t, c, false)
			release(t, c)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := claim(t, open(t, url), "a")
			fence := take(t, c)
			words, lease, revision := ctl.get(t)
			ctl.wait(t, 2)
			before, of := ctl.left(t, lease)
			if words != "program a\n" || revision != fence || of != 30 || before > 30 {
				t.Errorf("the key has %q of revision %d on a lease of %d s", words, revision, of)
			}
			again(t, c, fence)
			after, _ := ctl.left(t, lease)
			if other := strings.Contains(name, "another's"); (after > before) == other {
				t.Errorf("%d s were left, then %d", before, after)
			}
			if got, on, at := ctl.get(t); got != words || on != lease || at != revision {
				t.Errorf("the key was changed: %q on %d of %d", got, on, at)
			}
			release(t, c)
			release(t, c)
			if _, _, at := ctl.get(t); at != 0 {
				t.Error("the key is there after Release")
			}
		})
	}
}

// TestHalfTaken takes a lock after a request that has made the lease, and before that which makes the key.
func TestHalfTaken(t *testing.T) {
	t.Parallel()
	ctl := control(t, address(t), nil)
	c := claim(t, open(t, "etcd://"+address(t)), "a")
	take(t, c)
	_, lease, _ := ctl.get(t)
	release(t, c)
	if _, err := ctl.LeaseGrant(t.Context(), &pb.LeaseGrantRequest{ID: lease, TTL: 30}); err != nil {
		t.Fatal(err)
	}
	renew(t, c, false)
	take(t, c)
	renew(t, c, true)
	release(t, c)
}

// TestLost loses a lock in each way in which a server that runs can lose one. Neither Renew nor Release touch what the next one has.
func TestLost(t *testing.T) {
	ctl := control(t, address(t), nil)
	for name, lose := range map[string]func(t *testing.T, lease int64){
		"the key is deleted": func(t *testing.T, _ int64) {
			if _, err := ctl.DeleteRange(t.Context(), &pb.DeleteRangeRequest{Key: key(t)}); err != nil {
				t.Error(err)
			}
		},
		"the key is written without a lease": func(t *testing.T, _ int64) {
			if _, err := ctl.Put(t.Context(), &pb.PutRequest{Key: key(t), Value: []byte("by hand")}); err != nil {
				t.Error(err)
			}
		},
		"the lease is revoked": func(t *testing.T, lease int64) {
			if _, err := ctl.LeaseRevoke(t.Context(), &pb.LeaseRevokeRequest{ID: lease}); err != nil {
				t.Error(err)
			}
		},
		"the lease ends": func(t *testing.T, lease int64) { // as that of a holder that was killed
			if _, of := ctl.left(t, lease); of != 2 {
				t.Errorf("a lease of 1.5 s has %d s", of)
			}
			until(t, "the lease does not end", func() bool { _, _, at := ctl.get(t); return at == 0 })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := open(t, "etcd://"+address(t))
			old, next := p.Service.Claim(t.Name(), "old", "", 1500*time.Millisecond), claim(t, p, "next")
			fence := take(t, old)
			_, lease, _ := ctl.get(t)
			lose(t, lease)
			byHand, _, before := ctl.get(t)
			if before == 0 {
				if later := take(t, next); later <= fence {
					t.Errorf("fence %d comes after %d", later, fence)
				}
				_, _, before = ctl.get(t)
			} else if got, holder, err := next.Take(t.Context()); got != 0 || holder != byHand || err != nil {
				t.Errorf("Take of what is written by hand = %d, %q, %v", got, holder, err)
			}
			renew(t, old, false)
			if got, holder, err := old.Take(t.Context()); got != 0 || holder == "" || err != nil {
				t.Errorf("Take of what another has = %d, %q, %v", got, holder, err)
			}
			release(t, old)
			if _, _, at := ctl.get(t); at != before {
				t.Errorf("the key of the next one was changed")
			}
			if byHand == "" {
				renew(t, next, true)
				release(t, next)
			} else if _, err := ctl.DeleteRange(t.Context(), &pb.DeleteRangeRequest{Key: key(t)}); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestWords reads what anybody may have written.
func TestWords(t *testing.T) {
	t.Parallel()
	ctl := control(t, address(t), nil)
	if _, err := ctl.Put(t.Context(), &pb.PutRequest{Key: key(t), Value: []byte(strings.Repeat("x", 1<<20))}); err != nil {
		t.Fatal(err)
	}
	p := open(t, "etcd://"+address(t))
	fence, holder, err := claim(t, p, "a").Take(t.Context())
	if fence != 0 || len(holder) != 4096 || err != nil {
		t.Errorf("Take = %d, %d bytes, %v", fence, len(holder), err)
	}
	if words, err := p.Service.Holder(t.Context(), t.Name()); len(words) != 4096 || err != nil {
		t.Errorf("Holder = %d bytes, %v", len(words), err)
	}
}
