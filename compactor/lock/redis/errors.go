package redis

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/runfold/runfold/compactor/lock"
)

// conn remembers what the server said first. A server that refuses a client says why and closes the connection. go-redis has then forgotten that answer, and reports the
// closed connection.
type conn struct {
	net.Conn
	first []byte
}

// Read reads.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.first == nil && n > 0 {
		c.first = bytes.Clone(b[:n])
	}
	return n, err
}

// Write writes. Where the server has closed the connection, the error is what it said before that. Nothing is waited for then.
func (c *conn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, net.ErrClosed) {
		if _, why := c.Read(make([]byte, 512)); why != nil {
			err = why // an alert of TLS
		}
	}
	return n, err
}

// cause is why a request has failed.
func (c *conn) cause(err error) error {
	if errors.As(err, new(redis.Error)) {
		return err
	}
	if words, is := bytes.CutPrefix(c.first, []byte("-")); is {
		line, _, _ := bytes.Cut(words, []byte("\r\n"))
		return said(line)
	}
	if _, is := c.Conn.(*tls.Conn); !is && (len(c.first) == 0 || c.first[0] == alertRecord) && !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("%w (a server closes the connection without a word where its port is for TLS: give rediss://)", err)
	}
	return err
}

// alertRecord is how an alert of TLS begins.
const alertRecord = 21

// said is an answer of a server that go-redis has forgotten.
type said string

func (s said) Error() string { return string(s) }

// refusals stand in answers that will be the same later. Before Redis 7, other words come first in the answer of a script.
var refusals = []string{
	"NOAUTH", "WRONGPASS", "NOPERM", "DENIED", "CROSSSLOT", "WRONGTYPE",
	"invalid password", "AUTH called without any password", "AUTH, but no password is set", "The user executing the script can't run", "ACL failure",
	"unknown command", "Unknown Redis command", "DB index", "SELECT is not allowed",
	"not an integer", "would overflow", "is below 1",
}

// explain adds lock.ErrRefused to what a later try will meet as well. A server that is read-only, loads its data, is full or has no majority may be another one soon, or in
// another state.
func explain(err error) error {
	var alert *net.OpError // TLS has these words for what one end refuses
	refused := errors.As(err, new(*tls.CertificateVerificationError)) || errors.As(err, new(tls.RecordHeaderError)) ||
		errors.As(err, &alert) && (alert.Op == "remote error" || alert.Op == "local error")
	if errors.As(err, new(redis.Error)) || errors.As(err, new(said)) {
		words, _, more := strings.Cut(err.Error(), ", with args beginning with")
		if more { // after AUTH that is the password
			err = said(words)
		}
		refused = slices.ContainsFunc(refusals, func(r string) bool { return strings.Contains(words, r) })
		if strings.Contains(words, "NOPERM") || strings.Contains(words, "The user executing") || strings.Contains(words, "ACL failure") {
			err = fmt.Errorf("%w (the user needs %s)", err, rights)
		}
	}
	if refused {
		return fmt.Errorf("%w: %w", lock.ErrRefused, err)
	}
	return err
}
