// Package etcd takes locks in etcd: see package lock.
//
//	p, err := etcd.Open("etcd://a.example:2379,b.example:2379,c.example:2379/?cacert=/etc/etcd/ca.pem")
//	defer p.Close()
//
// The lock of a root is the key /runfold/ROOTID/lock, with the words of the holder. It hangs on a lease of etcd that the holder renews, and goes with it. The number of the lease,
// which comes of the token, says whose it is. The fence is the revision of etcd in which the key was made.
//
// It needs etcd 3.4 or later, whose gRPC interface we speak without its client: see docs/decisions/0054-etcd.md.
package etcd

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"

	"github.com/runfold/runfold/compactor/lock"
)

// maxWords bounds what is told of a holder: anybody may have written the key.
const maxWords = 4096

// service is an etcd.
type service struct {
	*conn
	kv     pb.KVClient
	leases pb.LeaseClient
}

// keyOf is part of a format: see docs/format/leases.md.
func keyOf(root string) []byte { return []byte("/runfold/" + root + "/lock") }

// Claim begins a claim.
func (s *service) Claim(root, token, words string, ttl time.Duration) lock.Claim {
	sum := sha256.Sum256([]byte(root + " " + token))
	id := int64(binary.BigEndian.Uint64(sum[:])>>1 | 1) // above zero
	return &claim{s: s, key: keyOf(root), words: []byte(words), id: id, ttl: int64((ttl + time.Second - 1) / time.Second)}
}

// Holder reads the key.
func (s *service) Holder(ctx context.Context, root string) (string, error) {
	kv, err := s.read(ctx, keyOf(root))
	return wordsOf(kv), reason(err)
}

// read is nil if there is no such key.
func (s *service) read(ctx context.Context, key []byte) (*mvccpb.KeyValue, error) {
	a, err := call(ctx, s.conn, s.kv.Range, &pb.RangeRequest{Key: key})
	return first(a), err
}

func first(a *pb.RangeResponse) *mvccpb.KeyValue {
	if len(a.GetKvs()) == 0 {
		return nil
	}
	return a.Kvs[0]
}

func wordsOf(kv *mvccpb.KeyValue) string {
	text := kv.GetValue()
	return string(text[:min(len(text), maxWords)])
}

// claim is a claim. We choose the number of its lease, so that nothing need be known of it: a request whose answer was lost is sent again.
type claim struct {
	s     *service
	key   []byte
	words []byte
	id    int64 // of the lease
	ttl   int64 // in seconds
}

// Take makes the key if there is none. One who waits only reads.
func (c *claim) Take(ctx context.Context) (fence int64, holder string, err error) {
	kv, err := c.s.read(ctx, c.key)
	if err == nil && (kv == nil || kv.Lease == c.id) {
		if err = c.begin(ctx); err == nil {
			kv, err = c.put(ctx)
		}
	}
	switch {
	case err != nil:
		return 0, "", reason(err)
	case kv.Lease == c.id:
		return kv.CreateRevision, "", nil
	}
	return 0, wordsOf(kv), nil
}

// begin makes the lease, or makes it last from now on. If nobody else uses it, it ends by itself.
func (c *claim) begin(ctx context.Context) error {
	_, err := call(ctx, c.s.conn, c.s.leases.LeaseGrant, &pb.LeaseGrantRequest{ID: c.id, TTL: c.ttl})
	if rpctypes.Error(err) == rpctypes.ErrLeaseExist {
		_, err = c.keepAlive(ctx) // if it has just ended, no key can be put on it
	}
	return err
}

// put makes the key if there is none, and returns the key that there is.
func (c *claim) put(ctx context.Context) (*mvccpb.KeyValue, error) {
	a, err := call(ctx, c.s.conn, c.s.kv.Txn, &pb.TxnRequest{
		Compare: []*pb.Compare{{Key: c.key, Target: pb.Compare_CREATE, Result: pb.Compare_EQUAL, TargetUnion: &pb.Compare_CreateRevision{CreateRevision: 0}}},
		Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: c.key, Value: c.words, Lease: c.id}}}},
		Failure: []*pb.RequestOp{{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: c.key}}}},
	})
	if err != nil {
		return nil, err
	}
	if a.Succeeded {
		return &mvccpb.KeyValue{Lease: c.id, CreateRevision: a.Header.Revision}, nil
	}
	return first(a.Responses[0].GetResponseRange()), nil
}

// Renew renews the lease, and looks whether the key still hangs on it: somebody may have deleted it.
func (c *claim) Renew(ctx context.Context) (ours bool, err error) {
	lasts, err := c.keepAlive(ctx)
	if err != nil || !lasts {
		return false, reason(err)
	}
	kv, err := c.s.read(ctx, c.key)
	return kv.GetLease() == c.id, reason(err)
}

// keepAlive makes the lease last for its time from now on, and tells whether there was one.
func (c *claim) keepAlive(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithCancel(ctx) // ends the stream
	defer cancel()
	a, err := call(ctx, c.s.conn, c.s.keepAlive, &pb.LeaseKeepAliveRequest{ID: c.id})
	return a.GetTTL() > 0, err
}

// keepAlive sends one request on a stream of its own, and reads to the end of it: a stream that we break off is a fault in what etcd counts.
func (s *service) keepAlive(ctx context.Context, q *pb.LeaseKeepAliveRequest, _ ...grpc.CallOption) (*pb.LeaseKeepAliveResponse, error) {
	stream, err := s.leases.LeaseKeepAlive(ctx)
	if err != nil {
		return nil, err
	}
	if err = stream.Send(q); err == nil {
		err = stream.CloseSend()
	}
	if err != nil && err != io.EOF { // at io.EOF Recv says why
		return nil, err
	}
	a, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	if _, err = stream.Recv(); err != io.EOF {
		return nil, err
	}
	return a, nil
}

// Release ends the lease. If the key hangs on it, it goes with it; if not, it is another's, and stays.
func (c *claim) Release(ctx context.Context) error {
	_, err := call(ctx, c.s.conn, c.s.leases.LeaseRevoke, &pb.LeaseRevokeRequest{ID: c.id})
	if rpctypes.Error(err) == rpctypes.ErrLeaseNotFound {
		return nil
	}
	return reason(err)
}
