package etcd

import (
	"context"
	"errors"
	"net"
	"time"

	"google.golang.org/grpc/credentials"
)

// security is TLS whose errors say what the other end has said.
type security struct {
	credentials.TransportCredentials
}

// ClientHandshake is that of TLS.
func (s security) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	c, info, err := s.TransportCredentials.ClientHandshake(ctx, authority, raw)
	if err != nil {
		return nil, nil, err
	}
	return hearing{c}, info, nil
}

// Clone is one for another connection.
func (s security) Clone() credentials.TransportCredentials {
	return security{s.TransportCredentials.Clone()}
}

// hearing is a connection that reads why it was closed. With TLS 1.3 the other end refuses our certificate when our handshake has already succeeded: all that we see
// when we write is a broken pipe, and what it said is not read.
type hearing struct{ net.Conn }

func (c hearing) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if err == nil || c.SetReadDeadline(time.Now().Add(time.Second)) != nil {
		return n, err
	}
	_, why := c.Read(make([]byte, 1))
	if alert, ok := errors.AsType[*net.OpError](why); ok && alert.Op == "remote error" { // what package tls makes of an alert
		return n, why
	}
	return n, err
}
