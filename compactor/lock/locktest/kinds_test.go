package locktest

import (
	"flag"
	"fmt"
	"strings"
	"testing"

	"github.com/runfold/runfold/compactor/lock"
	"github.com/runfold/runfold/compactor/lock/etcd"
	"github.com/runfold/runfold/compactor/lock/file"
	"github.com/runfold/runfold/compactor/lock/postgres"
	"github.com/runfold/runfold/compactor/lock/redis"
	"github.com/runfold/runfold/internal/servertest"
)

var seed = flag.Uint64("seed", 1, "seed of the random tests")

// lease is the shortest: these tests wait for leases to end.
const lease = lock.MinLease

// server is a service that runs.
type server interface {
	Kill() error
	StartEmpty() error
	Close() error
}

// kind is a kind of service.
type kind struct {
	name string
	// start starts a server of its own, behind net if that is not nil, and tells its URL.
	start func(net *servertest.Net) (server, string, error)
	open  func(url string) (*lock.Leases, error)
}

var kinds = []kind{
	{"redis", func(net *servertest.Net) (server, string, error) {
		p, err := servertest.NewRedis(net)
		if err != nil {
			return nil, "", err
		}
		return p, "redis://" + p.Address + "/", nil
	}, redis.Open},
	{"etcd", func(net *servertest.Net) (server, string, error) {
		p, err := servertest.NewEtcd(net, false)
		if err != nil {
			return nil, "", err
		}
		return p, "etcd://" + p.Address + "/", nil
	}, etcd.Open},
	{"postgres", func(net *servertest.Net) (server, string, error) {
		p, err := servertest.NewPostgres(net)
		if err != nil {
			return nil, "", err
		}
		host := p.Dir
		if net != nil {
			host = net.Address
		}
		return p, "postgres://" + servertest.User + "@/postgres?host=" + host, nil
	}, postgres.Open},
}

// begin starts a server for a test. The URL has the lease of these tests.
func (k kind) begin(t testing.TB, net *servertest.Net) (server, string) {
	t.Helper()
	s, url, err := k.start(net)
	if err != nil {
		servertest.Skip(t, err)
	}
	t.Cleanup(func() { s.Close() })
	if strings.Contains(url, "?") {
		return s, url + "&lease=" + lease.String()
	}
	return s, url + "?lease=" + lease.String()
}

// openURL opens the lock of a URL.
func openURL(url string) (*lock.Leases, error) {
	for _, k := range kinds {
		if strings.HasPrefix(url, k.name+"://") {
			return k.open(url)
		}
	}
	return nil, fmt.Errorf("no lock is at %s", url)
}

// opened is the lock of a URL for one test.
func opened(t testing.TB, url string) *lock.Leases {
	t.Helper()
	p, err := openURL(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func newNet(t testing.TB) *servertest.Net {
	t.Helper()
	n, err := servertest.NewNet()
	if err != nil {
		servertest.Skip(t, err)
	}
	return n
}

func TestFile(t *testing.T) {
	TestProvider(t, func(testing.TB) lock.Provider { return file.Provider{} })
}

func TestServices(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			_, url := k.begin(t, nil)
			TestProvider(t, func(t testing.TB) lock.Provider {
				p, err := openURL(url)
				if err != nil {
					t.Fatal(err)
				}
				return p
			})
		})
	}
}
