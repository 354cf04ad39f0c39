package redis_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/runfold/runfold/compactor/lock"
	"github.com/runfold/runfold/compactor/lock/redis"
	"github.com/runfold/runfold/internal/servertest"
)

const (
	root = "01J00000000000000000000000"
	key  = "runfold:{" + root + "}:lock"
	ttl  = 30 * time.Second
)

// said is what go-redis writes to standard error, where a daemon has its log.
type said struct {
	mu    sync.Mutex // guards lines
	lines []string
}

func (s *said) Printf(_ context.Context, format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, fmt.Sprintf(format, args...))
}

func TestMain(m *testing.M) {
	s := &said{}
	goredis.SetLogger(s)
	code := m.Run()
	for _, line := range s.lines {
		fmt.Printf("go-redis says: %s\n", line)
		code = 1
	}
	os.Exit(code)
}

// server is a Redis that runs, and a client that may do anything.
type server struct {
	*servertest.Process
	admin *goredis.Client
}

func start(t *testing.T, network *servertest.Net, args ...string) server {
	t.Helper()
	p, err := servertest.NewRedis(network, args...)
	if err != nil {
		servertest.Skip(t, err)
	}
	admin := goredis.NewClient(&goredis.Options{Addr: p.Address, Protocol: 2, DisableIdentity: true})
	t.Cleanup(func() {
		admin.Close()
		p.Close()
	})
	return server{p, admin}
}

// do does something as the admin.
func (s server) do(t *testing.T, args ...any) any {
	t.Helper()
	v, err := s.admin.Do(t.Context(), args...).Result()
	if err != nil && !errors.Is(err, goredis.Nil) {
		t.Fatalf("%v: %v", args, err)
	}
	return v
}

// left is how long the lock still lasts, by the server.
func (s server) left(t *testing.T) time.Duration {
	t.Helper()
	return time.Duration(s.do(t, "pttl", key).(int64)) * time.Millisecond
}

func open(t *testing.T, url string) *lock.Leases {
	t.Helper()
	p, err := redis.Open(url)
	if err != nil {
		t.Fatalf("Open(%s): %v", url, err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func (s server) open(t *testing.T) *lock.Leases {
	t.Helper()
	return open(t, "redis://"+s.Address)
}

// claim is a claim to the lock of the root, by somebody of that name.
func claim(p *lock.Leases, name string) lock.Claim {
	return p.Service.Claim(root, name, "host "+name+"\n", ttl)
}

func take(t *testing.T, c lock.Claim) int64 {
	t.Helper()
	fence, holder, err := c.Take(t.Context())
	if err != nil || fence == 0 {
		t.Fatalf("Take = %d, %q, %v", fence, holder, err)
	}
	return fence
}

// TestTake lets 16 want the lock at once, each by a client of its own. One has it, and the others read who that is.
func TestTake(t *testing.T) {
	s := start(t, nil)
	var all sync.WaitGroup
	var mu sync.Mutex // guards those below
	var won []string
	read := map[string]int{}
	for i := range 16 {
		p := s.open(t)
		all.Go(func() {
			name := fmt.Sprint("client", i)
			fence, holder, err := claim(p, name).Take(t.Context())
			mu.Lock()
			defer mu.Unlock()
			if fence == 1 {
				won = append(won, name)
			} else {
				read[holder]++
			}
			if err != nil {
				t.Errorf("Take of %s: %v", name, err)
			}
		})
	}
	all.Wait()
	if len(won) != 1 || read["host "+won[0]+"\n"] != 15 {
		t.Fatalf("%v won, and the others read %v", won, read)
	}
	if left := s.left(t); left <= 0 || left > ttl {
		t.Errorf("a killed holder leaves the lock for %v", left)
	}
	p := s.open(t)
	if words, err := p.Service.Holder(t.Context(), root); words != "host "+won[0]+"\n" || err != nil {
		t.Errorf("Holder = %q, %v", words, err)
	}
	winner := claim(p, won[0])
	s.do(t, "pexpire", key, 1000)
	if fence := take(t, winner); fence != 1 || s.left(t) <= time.Second {
		t.Errorf("Take of its own lock has fence %d, and leaves %v", fence, s.left(t))
	}
	for fence := int64(2); fence < 5; fence++ {
		if err := winner.Release(t.Context()); err != nil {
			t.Errorf("Release: %v", err)
		}
		if words, err := p.Service.Holder(t.Context(), root); words != "" || err != nil {
			t.Errorf("Holder of a free lock = %q, %v", words, err)
		}
		s.do(t, "script", "flush")
		winner = claim(p, "next")
		if got := take(t, winner); got != fence {
			t.Errorf("fence %d, want %d", got, fence)
		}
	}
}

// TestNotOurs renews and releases a lock that is not ours any more.
func TestNotOurs(t *testing.T) {
	s := start(t, nil)
	p := s.open(t)
	for name, lose := range map[string]func(t *testing.T){
		"it ended":                           func(t *testing.T) { s.do(t, "pexpire", key, 0) },
		"it was deleted":                     func(t *testing.T) { s.do(t, "del", key) },
		"data are lost":                      func(t *testing.T) { s.do(t, "flushall") },
		"another took it":                    func(t *testing.T) { s.do(t, "del", key); take(t, claim(p, "other")) },
		"another with a longer name took it": func(t *testing.T) { s.do(t, "del", key); take(t, claim(p, "me2")) },
	} {
		t.Run(name, func(t *testing.T) {
			s.do(t, "del", key)
			c := claim(p, "me")
			take(t, c)
			s.do(t, "pexpire", key, 1000)
			if ours, err := c.Renew(t.Context()); !ours || err != nil || s.left(t) <= time.Second || s.left(t) > ttl {
				t.Fatalf("Renew of our lock = %v, %v, and leaves %v", ours, err, s.left(t))
			}
			lose(t)
			s.do(t, "pexpire", key, 20000)
			before := s.do(t, "get", key)
			if ours, err := c.Renew(t.Context()); ours || err != nil {
				t.Errorf("Renew = %v, %v", ours, err)
			}
			if err := c.Release(t.Context()); err != nil {
				t.Errorf("Release: %v", err)
			}
			if after := s.do(t, "get", key); after != before || s.left(t) > 20*time.Second {
				t.Errorf("the lock was %q, and is %q for %v", before, after, s.left(t))
			}
		})
	}
}

// TestStrangers reads what others have written at our names.
func TestStrangers(t *testing.T) {
	s := start(t, nil)
	p := s.open(t)
	for name, test := range map[string]struct {
		value   string
		holder  string // the begin of it
		refused bool
	}{
		"empty":             {"", "", false},
		"text":              {"away till monday", "away till monday", false},
		"long":              {strings.Repeat("x", 1<<20), strings.Repeat("x", 4096), false},
		"our first line":    {"token me\n", "", true},
		"no number":         {"token me\nfence x\nlease 5\nhost h\n", "", true},
		"a lease for years": {"token a\nfence 1\nlease 99999999999\nhost h\n", "host h\n", false},
		"long words":        {"token a\nfence 1\nlease 30000\n" + strings.Repeat("x", 8192), strings.Repeat("x", 4096), false},
	} {
		t.Run(name, func(t *testing.T) {
			s.do(t, "set", key, test.value)
			fence, holder, err := claim(p, "me").Take(t.Context())
			if holder != test.holder || errors.Is(err, lock.ErrRefused) != test.refused || (fence > 0) != (test.value == "") {
				t.Errorf("Take = %d, %.50q, %v", fence, holder, err)
			}
			if words, err := p.Service.Holder(t.Context(), root); len(words) > 4096 || err != nil {
				t.Errorf("Holder = %d bytes, %v", len(words), err)
			}
		})
	}
	s.do(t, "del", key)
	for _, value := range []string{"-5", "x", "9223372036854775807"} {
		s.do(t, "set", "runfold:{"+root+"}:fence", value)
		if _, _, err := claim(p, "me").Take(t.Context()); !errors.Is(err, lock.ErrRefused) || s.do(t, "exists", key) != int64(0) {
			t.Errorf("Take where the counter is %s: %v", value, err)
		}
	}
	s.do(t, "del", key)
	s.do(t, "rpush", key, "a list")
	if _, _, err := claim(p, "me").Take(t.Context()); !errors.Is(err, lock.ErrRefused) || !strings.Contains(err.Error(), "WRONGTYPE") {
		t.Errorf("Take of a list: %v", err)
	}
}

// TestClock sets the wall clock of the server, by which it ends leases.
func TestClock(t *testing.T) {
	if err := servertest.HasClock(); err != nil {
		servertest.Skip(t, err)
	}
	s := start(t, nil)
	p := s.open(t)
	now := func() time.Time { return s.admin.Time(t.Context()).Val() }
	set := func(by string) {
		t.Helper()
		before := now()
		if err := s.SetClock(by); err != nil {
			t.Fatal(err)
		}
		for now().Sub(before).Abs() < time.Minute { // it looks at its clock now and then
		}
	}
	mine, other := claim(p, "mine"), claim(p, "other")
	take(t, mine)
	set("-1h")
	if left := s.left(t); left < time.Hour {
		t.Errorf("back an hour, the lock lasts %v", left)
	}
	if ours, err := mine.Renew(t.Context()); !ours || err != nil || s.left(t) > ttl {
		t.Errorf("Renew = %v, %v, and leaves %v", ours, err, s.left(t))
	}
	set("-2h")
	if fence, holder, err := other.Take(t.Context()); fence != 0 || holder != "host mine\n" || err != nil || s.left(t) > ttl || s.left(t) <= 0 {
		t.Errorf("Take by the next = %d, %q, %v, and leaves %v", fence, holder, err, s.left(t))
	}
	s.do(t, "persist", key)
	if fence, _, err := other.Take(t.Context()); fence != 0 || err != nil || s.left(t) > ttl || s.left(t) <= 0 {
		t.Errorf("Take of a lock without an end = %d, %v, and leaves %v", fence, err, s.left(t))
	}
	set("-1h")
	if fence := take(t, other); fence != 2 {
		t.Errorf("forward an hour, the next has fence %d", fence)
	}
	if ours, err := mine.Renew(t.Context()); ours || err != nil {
		t.Errorf("Renew by the one before = %v, %v", ours, err)
	}
}

// TestKilled kills the server while the lock is held.
func TestKilled(t *testing.T) {
	for name, keeps := range map[string]bool{"empty": false, "with its data": true} {
		t.Run(name, func(t *testing.T) {
			args := []string{}
			if keeps {
				args = []string{"--appendonly", "yes", "--appendfsync", "always"}
			}
			s := start(t, nil, args...)
			p := s.open(t)
			c := claim(p, "me")
			take(t, c)
			s.Kill()
			if ours, err := c.Renew(t.Context()); ours || errors.Is(err, lock.ErrRefused) || !strings.Contains(fmt.Sprint(err), "connection refused") {
				t.Errorf("Renew without a server = %v, %v", ours, err)
			}
			if err := s.Start(); err != nil {
				t.Fatal(err)
			}
			if ours, err := c.Renew(t.Context()); ours != keeps || err != nil {
				t.Errorf("Renew = %v, %v", ours, err)
			}
			c.Release(t.Context())
			want := int64(1)
			if keeps {
				want = 2
			}
			if fence := take(t, claim(p, "next")); fence != want {
				t.Errorf("the next has fence %d, want %d", fence, want)
			}
		})
	}
}

// TestAway asks servers that do not take a lock now, and may later.
func TestAway(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		do   func(t *testing.T, s server)
		says string
	}{
		"a replica": {nil, func(t *testing.T, s server) { s.do(t, "replicaof", "127.0.0.1", "1") }, "READONLY"},
		"a replica, strict": {nil, func(t *testing.T, s server) {
			s.do(t, "config", "set", "replica-serve-stale-data", "no")
			s.do(t, "replicaof", "127.0.0.1", "1")
		}, "MASTERDOWN"},
		"no replica":       {nil, func(t *testing.T, s server) { s.do(t, "config", "set", "min-replicas-to-write", "1") }, "NOREPLICAS"},
		"too many clients": {nil, func(t *testing.T, s server) { s.do(t, "config", "set", "maxclients", "1") }, "max number of clients"},
		"the snapshot failed": {[]string{"--save", "3600 100000"}, func(t *testing.T, s server) {
			if err := os.MkdirAll(filepath.Join(s.Dir, "dump.rdb", "x"), 0o755); err != nil {
				t.Fatal(err)
			}
			s.do(t, "bgsave")
			for !strings.Contains(s.do(t, "info", "persistence").(string), "rdb_last_bgsave_status:err") {
			}
		}, "MISCONF"},
		"a cluster without slots": {[]string{"--cluster-enabled", "yes"}, func(*testing.T, server) {}, "CLUSTERDOWN"},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, nil, test.args...)
			test.do(t, s)
			_, _, err := claim(s.open(t), "me").Take(t.Context())
			if err == nil || errors.Is(err, lock.ErrRefused) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("Take: %v, want %s", err, test.says)
			}
		})
	}
}

// TestFull has a server that is full. A script that has written something already may go on, and ours begin with what needs no memory: a lock is given, renewed
// and taken back. A server that evicts takes the lock away, and its holder hears of it.
func TestFull(t *testing.T) {
	s := start(t, nil)
	p := s.open(t)
	c := claim(p, "me")
	s.do(t, "config", "set", "maxmemory", "1")
	take(t, c)
	if ours, err := c.Renew(t.Context()); !ours || err != nil {
		t.Errorf("Renew = %v, %v", ours, err)
	}
	for policy, fences := range map[string]int64{"allkeys-lru": 0, "volatile-lru": 1} {
		s.do(t, "config", "set", "maxmemory", "0", "maxmemory-policy", policy)
		take(t, c)
		s.do(t, "config", "set", "maxmemory", "1")
		if err := s.admin.Set(t.Context(), "other", "x", 0).Err(); !goredis.HasErrorPrefix(err, "OOM") {
			t.Errorf("set something: %v", err)
		}
		if ours, err := c.Renew(t.Context()); ours || err != nil {
			t.Errorf("%s: Renew = %v, %v", policy, ours, err)
		}
		if n := s.do(t, "exists", "runfold:{"+root+"}:fence"); n != fences {
			t.Errorf("%s leaves %v counters", policy, n)
		}
	}
}

// TestMany lets many goroutines use one provider. One at a time has the lock, and each fence is given once.
func TestMany(t *testing.T) {
	const goroutines, times = 8, 10
	s := start(t, nil)
	p := s.open(t)
	var all sync.WaitGroup
	var holders atomic.Int32
	var fences sync.Map
	for i := range goroutines {
		all.Go(func() {
			for n := range times {
				c := claim(p, fmt.Sprint("client", i, " ", n))
				fence, _, err := c.Take(t.Context())
				for fence == 0 && err == nil {
					fence, _, err = c.Take(t.Context())
				}
				if _, again := fences.LoadOrStore(fence, true); again || err != nil || holders.Add(1) != 1 {
					t.Errorf("fence %d, %v, of %d holders", fence, err, holders.Load())
				}
				holders.Add(-1)
				if err := c.Release(t.Context()); err != nil {
					t.Errorf("Release: %v", err)
				}
			}
		})
	}
	all.Wait()
	if n := s.do(t, "get", "runfold:{"+root+"}:fence"); n != fmt.Sprint(goroutines*times) {
		t.Errorf("%v fences were given", n)
	}
	for !strings.Contains(s.do(t, "info", "clients").(string), "connected_clients:1\r\n") { // the admin: all others are closed
	}
}

// TestLeases takes a lock as a compactor does.
func TestLeases(t *testing.T) {
	s := start(t, nil)
	p := open(t, "redis://"+s.Address+"/2?lease=10s")
	if p.String() != "redis at "+s.Address+"/2" || p.Lease() != 10*time.Second {
		t.Errorf("%v, with a lease of %v", p, p.Lease())
	}
	o := lock.Options{RootID: root, Program: "a test"}
	h, err := p.Locker(o).Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Locker(o).Lock(t.Context()); !errors.Is(err, lock.ErrLocked) || !strings.Contains(err.Error(), "program a test") {
		t.Errorf("Lock of a held lock: %v", err)
	}
	if h.Provider() != "redis" || h.Fence() != 1 || lock.Check(h) != nil || h.Unlock() != nil {
		t.Errorf("provider %s, fence %d, %v, %v", h.Provider(), h.Fence(), lock.Check(h), h.Unlock())
	}
	s.Kill()
	if _, err := p.Locker(o).Lock(t.Context()); !errors.Is(err, lock.ErrAway) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("Lock without a server: %v", err)
	}
}
