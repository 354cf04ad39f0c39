package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"

	"github.com/runfold/runfold/compactor/lock"
)

const (
	// dialFor bounds one try to connect, so that its error comes before that of a request, which says less.
	dialFor = 3 * time.Second
	// silence is how long nothing is heard of a member, while a request is under way, until it is asked whether it is there, and how long it has for its answer. Members
	// close the connection of one who asks more often than every 5 s.
	silence = 10 * time.Second
)

// conn is connections to the members of an etcd. They are made when the first request is sent, and again when they are gone.
type conn struct {
	*grpc.ClientConn
	login *pb.AuthenticateRequest // nil: no user

	mu    sync.Mutex // guards token
	token string
}

func dial(hosts []string, config *tls.Config, login *pb.AuthenticateRequest) (*service, error) {
	creds := insecure.NewCredentials()
	if config != nil {
		creds = security{credentials.NewTLS(config)}
	}
	members := manual.NewBuilderWithScheme("etcd")
	var state resolver.State
	for _, host := range hosts {
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: host, ServerName: host}}})
	}
	members.InitialState(state)
	c, err := grpc.NewClient("etcd:///", grpc.WithResolvers(members), grpc.WithTransportCredentials(creds), grpc.WithNoProxy(), grpc.WithDisableRetry(),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"round_robin": {}}]}`),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: dialFor, Backoff: backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second}}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: silence, Timeout: silence / 2}))
	if err != nil {
		return nil, err
	}
	return &service{conn: &conn{ClientConn: c, login: login}, kv: pb.NewKVClient(c), leases: pb.NewLeaseClient(c)}, nil
}

// tries is how often a request is sent whose token is refused. A token ends after five minutes, with the member that gave it, and when rights are changed; and a
// member that is behind does not know a new one yet.
const tries = 3

// call sends a request with a token. A member that has lost the others refuses it ("hasleader"), instead of keeping us waiting.
func call[Q, A any](ctx context.Context, c *conn, request func(context.Context, Q, ...grpc.CallOption) (A, error), q Q) (a A, err error) {
	ctx = metadata.AppendToOutgoingContext(ctx, rpctypes.MetadataRequireLeaderKey, rpctypes.MetadataHasLeader)
	for range tries {
		var token string
		if token, err = c.authenticate(ctx); err != nil {
			return a, err
		}
		with := ctx
		if token != "" {
			with = metadata.AppendToOutgoingContext(ctx, rpctypes.TokenFieldNameGRPC, token)
		}
		a, err = request(with, q)
		switch rpctypes.Error(err) {
		case rpctypes.ErrInvalidAuthToken, rpctypes.ErrAuthOldRevision, rpctypes.ErrUserEmpty:
			c.forget(token)
		default:
			return a, err
		}
	}
	return a, err
}

// authenticate gets a token, if there is none. It is empty without a user, and where etcd asks for none.
func (c *conn) authenticate(ctx context.Context) (string, error) {
	c.mu.Lock()
	token := c.token
	c.mu.Unlock()
	if token != "" || c.login == nil {
		return token, nil
	}
	a, err := pb.NewAuthClient(c.ClientConn).Authenticate(ctx, c.login)
	if rpctypes.Error(err) == rpctypes.ErrAuthNotEnabled {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.token = a.Token
	return a.Token, nil
}

func (c *conn) forget(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token == token {
		c.token = ""
	}
}

// reason is the error without the words of gRPC around it, as package lock wants it.
func reason(err error) error {
	if err == nil {
		return nil
	}
	said := status.Convert(err)
	text := said.Message()
	if _, quoted, ok := strings.Cut(text, "desc = "); ok { // of a connection
		if inner, err := strconv.Unquote(quoted); err == nil {
			text = strings.TrimPrefix(inner, "transport: ")
		}
	}
	if strings.HasSuffix(text, "EOF") || strings.HasSuffix(text, "connection reset by peer") {
		switch {
		case strings.HasPrefix(text, "error reading server preface"):
			text += " (so does a server that wants TLS: see tls=on)"
		case strings.HasPrefix(text, "authentication handshake failed"):
			text += " (so does a server without TLS)"
		}
	}
	switch {
	case refused(err, text):
		return fmt.Errorf("%w: %s", lock.ErrRefused, text)
	case said.Code() == codes.DeadlineExceeded:
		return fmt.Errorf("no answer: %w%s", context.DeadlineExceeded, strings.TrimPrefix(text, context.DeadlineExceeded.Error()))
	}
	return errors.New(text)
}

// refused tells whether a later try will fail as well.
func refused(err error, text string) bool {
	switch rpctypes.Error(err) {
	case rpctypes.ErrAuthFailed, rpctypes.ErrUserEmpty, rpctypes.ErrPermissionDenied:
		return true
	}
	return status.Code(err) == codes.Unimplemented || status.Code(err) == codes.Unavailable && (strings.Contains(text, "tls: ") || strings.Contains(text, "x509: "))
}
