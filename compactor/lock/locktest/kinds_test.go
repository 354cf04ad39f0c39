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

// begin starts a server for a test.
func begin(t testing.TB, kind string, net *servertest.Net) (servertest.Service, string) {
	t.Helper()
	s, url, err := servertest.NewService(kind, net)
	if err != nil {
		servertest.Skip(t, err)
	}
	t.Cleanup(func() { s.Close() })
	return s, url
}

// openURL opens the lock of a URL.
func openURL(url string) (*lock.Leases, error) {
	switch kind, _, _ := strings.Cut(url, "://"); kind {
	case "redis":
		return redis.Open(url)
	case "etcd":
		return etcd.Open(url)
	case "postgres":
		return postgres.Open(url)
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
	for _, kind := range servertest.Services() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			_, url := begin(t, kind, nil)
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
