package etcd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/runfold/runfold/compactor/lock"
	"github.com/runfold/runfold/compactor/lock/etcd"
	"github.com/runfold/runfold/internal/servertest"
)

// isRenewed waits until a server is found again.
func isRenewed(t *testing.T, c lock.Claim, want bool) {
	t.Helper()
	until(t, "the server is not found again", func() bool {
		ours, err := c.Renew(t.Context())
		if err == nil && ours != want {
			t.Fatalf("Renew = %v, want %v", ours, want)
		}
		if errors.Is(err, lock.ErrRefused) {
			t.Fatalf("Renew = %v", err)
		}
		return err == nil
	})
}

// TestKilled kills the server while a lock is held. What it had is there when it starts again; without its data the lock is lost.
func TestKilled(t *testing.T) {
	t.Parallel()
	s := start(t, nil, false)
	p := open(t, "etcd://"+s.Address)
	c := claim(t, p, "a")
	fence := take(t, c)
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	_, err := c.Renew(t.Context())
	isAway(t, "Renew", err, "")
	_, _, err = claim(t, open(t, "etcd://"+s.Address), "b").Take(t.Context())
	isAway(t, "Take", err, "connect: connection refused")
	_, err = p.Locker(lock.Options{RootID: t.Name()}).Lock(t.Context())
	if !errors.Is(err, lock.ErrAway) || !strings.Contains(err.Error(), "etcd at "+s.Address) {
		t.Errorf("Lock = %v", err)
	}
	isAway(t, "Release", claim(t, p, "b").Release(t.Context()), "")
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	isRenewed(t, c, true)
	if got := take(t, c); got != fence {
		t.Errorf("fence %d became %d", fence, got)
	}
	if err := errors.Join(s.Kill(), s.StartEmpty()); err != nil {
		t.Fatal(err)
	}
	isRenewed(t, c, false)
	take(t, c)
	release(t, c)
}

// TestClosed uses a provider that is closed.
func TestClosed(t *testing.T) {
	t.Parallel()
	p, err := etcd.Open("etcd://" + address(t))
	if err != nil {
		t.Fatal(err)
	}
	c := claim(t, p, "a")
	take(t, c)
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	_, _, err = c.Take(t.Context())
	isAway(t, "Take", err, "closing")
	_, err = c.Renew(t.Context())
	isAway(t, "Renew", err, "closing")
	if words, err := open(t, "etcd://"+address(t)).Service.Holder(t.Context(), t.Name()); words != "program a\n" || err != nil {
		t.Errorf("Holder = %q, %v: Close gives no lock back", words, err)
	}
}

// TestNames has hosts that are not there, beside one that is, and none that is.
func TestNames(t *testing.T) {
	t.Parallel()
	for _, first := range []string{nobody(t), "no-such-host.invalid"} {
		c := claim(t, open(t, "etcd://"+first+","+address(t)), "a")
		take(t, c)
		renew(t, c, true)
		release(t, c)
	}
	_, _, err := claim(t, open(t, "etcd://no-such-host.invalid"), "a").Take(t.Context())
	isAway(t, "Take", err, "lookup no-such-host.invalid")

	// One that listens, and is no etcd.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
			go io.Copy(c, c) // until the other end closes it
		}
	}()
	_, _, err = claim(t, open(t, "etcd://"+l.Addr().String()), "a").Take(t.Context())
	isAway(t, "Take", err, "error reading server preface")
}

// TestBlackHole has a server whose packets vanish: before the first one, and while a lock is held. Each request ends with its context.
func TestBlackHole(t *testing.T) {
	t.Parallel()
	network, err := servertest.NewNet()
	if err != nil {
		servertest.Skip(t, err)
	}
	t.Cleanup(func() { network.Close() })
	s := start(t, network, false)
	url := "etcd://" + s.Address
	c := claim(t, open(t, url), "a")
	take(t, c)
	if err := network.Cut(true, true); err != nil {
		t.Fatal(err)
	}
	stranger := claim(t, open(t, url), "b")
	for name, ask := range map[string]func(context.Context) error{
		"Renew":   func(ctx context.Context) error { _, err := c.Renew(ctx); return err },
		"Take":    func(ctx context.Context) error { _, _, err := stranger.Take(ctx); return err },
		"Release": stranger.Release,
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		if err := ask(ctx); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, lock.ErrRefused) || !strings.HasPrefix(err.Error(), "no answer: ") {
			t.Errorf("%s = %v", name, err)
		}
		cancel()
	}
	_, _, err = stranger.Take(t.Context()) // a dial ends by itself, and says what it was
	isAway(t, "Take", err, "dial tcp "+s.Address+": i/o timeout")
	both := claim(t, open(t, url+","+address(t)), "a")
	take(t, both)
	release(t, both)
	if err := network.Mend(); err != nil {
		t.Fatal(err)
	}
	isRenewed(t, c, true)
	release(t, c)
}

// TestCluster has three members. The lock stays when the leader is killed; with one member nobody is asked in vain.
func TestCluster(t *testing.T) {
	t.Parallel()
	var names, peers [3]string
	for i := range peers {
		peers[i] = "http://" + nobody(t)
		names[i] = fmt.Sprintf("m%d=%s", i, peers[i])
	}
	started := make(chan error, 3)
	var members [3]*servertest.Process
	for i := range members {
		go func() {
			var err error
			members[i], err = servertest.NewEtcd(nil, false, "--name", fmt.Sprint("m", i), "--listen-peer-urls", peers[i], "--initial-advertise-peer-urls", peers[i], "--initial-cluster", strings.Join(names[:], ","))
			started <- err
		}()
	}
	var all error
	for range members {
		all = errors.Join(all, <-started)
	}
	t.Cleanup(func() {
		for _, m := range members {
			if m != nil {
				m.Close()
			}
		}
	})
	if all != nil {
		servertest.Skip(t, all)
	}
	var hosts []string
	leader := 0
	for i, m := range members {
		hosts = append(hosts, m.Address)
		a, err := control(t, m.Address, nil).Status(t.Context(), &pb.StatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if a.Header.MemberId == a.Leader {
			leader = i
		}
	}
	url := "etcd://" + strings.Join(hosts, ",")
	c := claim(t, open(t, url), "a")
	fence := take(t, c)
	if err := members[leader].Kill(); err != nil {
		t.Fatal(err)
	}
	isRenewed(t, c, true)
	if got := take(t, c); got != fence {
		t.Errorf("fence %d became %d", fence, got)
	}
	if got, holder, err := claim(t, open(t, url), "b").Take(t.Context()); got != 0 || holder != "program a\n" || err != nil {
		t.Errorf("Take = %d, %q, %v", got, holder, err)
	}
	second := (leader + 1) % 3
	if err := members[second].Kill(); err != nil {
		t.Fatal(err)
	}
	last := claim(t, open(t, "etcd://"+members[(leader+2)%3].Address), "b")
	until(t, "one of three members answers", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, _, err := last.Take(ctx)
		isAway(t, "Take", err, "")
		return strings.Contains(err.Error(), "etcdserver: no leader")
	})
	if err := members[second].Start(); err != nil {
		t.Fatal(err)
	}
	isRenewed(t, c, true)
	release(t, c)
	take(t, last)
}

// TestQuiet runs tests in which much goes wrong: a library that we use writes what it thinks of it to the standard error, if nobody keeps it from that.
func TestQuiet(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(os.Args[0], "-test.run=^(TestKilled|TestNames|TestTLS)$")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil || errs.Len() > 0 {
		t.Errorf("%v; the standard error has %q; %s", err, errs.String(), out.String())
	}
}
