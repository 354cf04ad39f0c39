package locktest

import (
	"flag"
	"fmt"
	"strings"
	"testing"

	"github.com/runfold/runfold/compactor/lock"
	"github.com/runfold/runfold/internal/servertest"
)

var seed = flag.Uint64("seed", 1, "seed of the random tests")

// place is a service that runs.
type place struct {
	url    string // with the lease of these tests
	server interface {
		Kill() error
		StartEmpty() error
	}
}

// kinds are the services of locks.
var kinds = []struct {
	name  string
	start func(t testing.TB, net *servertest.Net) place
	open  func(url string) (*lock.Leases, error)
}{}

// openURL opens the lock of a URL.
func openURL(url string) (lock.Provider, error) {
	for _, k := range kinds {
		if strings.HasPrefix(url, k.name) {
			return k.open(url)
		}
	}
	return nil, fmt.Errorf("no lock is at %s", url)
}

func newNet(t testing.TB) *servertest.Net {
	t.Helper()
	n, err := servertest.NewNet()
	if err != nil {
		servertest.Skip(t, err)
	}
	return n
}
