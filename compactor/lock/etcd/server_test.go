package etcd_test

import (
	"context"
	"errors"
	"flag"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/runfold/runfold/compactor/lock"
	"github.com/runfold/runfold/compactor/lock/etcd"
	"github.com/runfold/runfold/internal/servertest"
)

// shared is a server of all tests that do it no harm.
var shared = sync.OnceValues(func() (*servertest.Process, error) { return servertest.NewEtcd(nil, false) })

func TestMain(m *testing.M) {
	for _, name := range []string{"ETCDCTL_USER", "ETCDCTL_PASSWORD"} {
		os.Unsetenv(name)
	}
	flag.Parse()
	flag.Set("test.parallel", "16") // these tests wait for servers, most of the time
	code := m.Run()
	if p, err := shared(); err == nil {
		p.Close()
	}
	os.Exit(code)
}

func address(t *testing.T) string {
	t.Helper()
	p, err := shared()
	if err != nil {
		servertest.Skip(t, err)
	}
	return p.Address
}

// start starts a server of one test.
func start(t *testing.T, network *servertest.Net, tls bool, args ...string) *servertest.Process {
	t.Helper()
	p, err := servertest.NewEtcd(network, tls, args...)
	if err != nil {
		servertest.Skip(t, err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func open(t *testing.T, url string) *lock.Leases {
	t.Helper()
	p, err := etcd.Open(url)
	if err != nil {
		t.Fatalf("Open(%q): %v", url, err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// claim begins a claim of a lease of 30 seconds.
func claim(t *testing.T, p *lock.Leases, token string) lock.Claim {
	t.Helper()
	return p.Service.Claim(t.Name(), token, "program "+token+"\n", 30*time.Second)
}

// take takes a lock that must be free.
func take(t *testing.T, c lock.Claim) (fence int64) {
	t.Helper()
	fence, holder, err := c.Take(t.Context())
	if err != nil || fence < 1 || holder != "" {
		t.Fatalf("Take = %d, %q, %v", fence, holder, err)
	}
	return fence
}

func renew(t *testing.T, c lock.Claim, want bool) {
	t.Helper()
	if ours, err := c.Renew(t.Context()); ours != want || err != nil {
		t.Fatalf("Renew = %v, %v, want %v", ours, err, want)
	}
}

func release(t *testing.T, c lock.Claim) {
	t.Helper()
	if err := c.Release(t.Context()); err != nil {
		t.Errorf("Release: %v", err)
	}
}

// until asks until the answer is yes. It is the test's deadline that ends it.
func until(t *testing.T, what string, ask func() bool) {
	t.Helper()
	for tick := time.NewTicker(20 * time.Millisecond); !ask(); {
		select {
		case <-t.Context().Done():
			t.Fatal(what)
		case <-tick.C:
		}
	}
}

// etcdctl is another client of a server.
type etcdctl struct {
	pb.KVClient
	pb.LeaseClient
	pb.AuthClient
	pb.MaintenanceClient
}

func control(t *testing.T, address string, creds credentials.TransportCredentials) etcdctl {
	t.Helper()
	if creds == nil {
		creds = insecure.NewCredentials()
	}
	c, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return etcdctl{pb.NewKVClient(c), pb.NewLeaseClient(c), pb.NewAuthClient(c), pb.NewMaintenanceClient(c)}
}

// get reads the key of the test.
func (e etcdctl) get(t *testing.T) (value string, lease, revision int64) {
	t.Helper()
	a, err := e.Range(t.Context(), &pb.RangeRequest{Key: key(t)})
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Kvs) == 0 {
		return "", 0, 0
	}
	return string(a.Kvs[0].Value), a.Kvs[0].Lease, a.Kvs[0].ModRevision
}

func key(t *testing.T) []byte { return []byte("/runfold/" + t.Name() + "/lock") }

// left is how many seconds a lease lasts, and for how many it was made.
func (e etcdctl) left(t *testing.T, lease int64) (seconds, of int64) {
	t.Helper()
	a, err := e.LeaseTimeToLive(t.Context(), &pb.LeaseTimeToLiveRequest{ID: lease})
	if err != nil {
		t.Fatal(err)
	}
	return a.TTL, a.GrantedTTL
}

// wait lets some seconds of the server's clock pass.
func (e etcdctl) wait(t *testing.T, seconds int64) {
	t.Helper()
	a, err := e.LeaseGrant(t.Context(), &pb.LeaseGrantRequest{TTL: 60})
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the clock of etcd stands still", func() bool {
		left, of := e.left(t, a.ID)
		return left < of-seconds
	})
}

// enableAuth makes the users root and compactor, and one for each other role, all with the password "p@ss:w/rd", and turns authentication on.
func (e etcdctl) enableAuth(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, may := range map[string]*pb.AuthRoleGrantPermissionRequest{
		"root":      nil,
		"compactor": {Perm: permission(authpb.READWRITE, "/runfold/")},
		"reader":    {Perm: permission(authpb.READ, "/runfold/")},
		"other":     {Perm: permission(authpb.READWRITE, "/else/")},
	} {
		must(e.UserAdd(ctx, &pb.AuthUserAddRequest{Name: name, Password: password}))
		must(e.RoleAdd(ctx, &pb.AuthRoleAddRequest{Name: name}))
		if may != nil {
			may.Name = name
			must(e.RoleGrantPermission(ctx, may))
		}
		must(e.UserGrantRole(ctx, &pb.AuthUserGrantRoleRequest{User: name, Role: name}))
	}
	must(e.AuthEnable(ctx, &pb.AuthEnableRequest{}))
}

// root is a context with a new token of the user root.
func (e etcdctl) root(t *testing.T) context.Context {
	t.Helper()
	a, err := e.Authenticate(t.Context(), &pb.AuthenticateRequest{Name: "root", Password: password})
	if err != nil {
		t.Fatal(err)
	}
	return metadata.AppendToOutgoingContext(t.Context(), "token", a.Token)
}

// permission is of all keys with a prefix.
func permission(kind authpb.Permission_Type, prefix string) *authpb.Permission {
	end := []byte(prefix)
	end[len(end)-1]++
	return &authpb.Permission{PermType: kind, Key: []byte(prefix), RangeEnd: end}
}

const password = "p@ss:w/rd"

// isAway tells whether an error is one that a later try may mend, and says want.
func isAway(t *testing.T, what string, err error, want string) {
	t.Helper()
	if err == nil || errors.Is(err, lock.ErrRefused) || !strings.Contains(err.Error(), want) {
		t.Errorf("%s = %v, want one that says %q", what, err, want)
	}
}

func isRefused(t *testing.T, what string, err error, want string) {
	t.Helper()
	if !errors.Is(err, lock.ErrRefused) || !strings.Contains(err.Error(), want) {
		t.Errorf("%s = %v, want a refusal that says %q", what, err, want)
	}
	if err != nil && strings.Contains(err.Error(), password) {
		t.Errorf("%s has a secret: %v", what, err)
	}
}

// nobody is an address at which nobody listens.
func nobody(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
