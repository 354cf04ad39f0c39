package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/runfold/runfold/compactor/lock"
)

// maxWords is how much is read of the words of a holder. Anybody may have written them. 4352 bytes have room for the lines before them, too.
const maxWords = 4096

// Each script begins with this. KEYS are the lock and the counter of fences, ARGV[1] is the first line of our lock. Scripts are sent whole each time (EVAL): a
// server that was started again knows none by its digest, and EVALSHA would be one more right.
const whose = `
local held = redis.call('GETRANGE', KEYS[1], 0, 4351)
local ours = string.sub(held, 1, #ARGV[1]) == ARGV[1]
`

// takeScript also calls, where it changes nothing, what the other scripts call: a user who may not give a lock back may not take it. SET gives the lock and its end in one: whatever
// fails, no lock is left without an end. The lock of another that lasts longer than its own lease is shortened to that: the clock was set back, or its end was taken away.
const takeScript = whose + `
local left = redis.call('PTTL', KEYS[1])
if held ~= '' and not ours then
	local lease = string.match(held, '^token [^\n]*\nfence %d+\nlease (%d+)\n')
	if lease and #lease < 8 and (left < 0 or left > tonumber(lease)) then redis.call('PEXPIRE', KEYS[1], lease) end
	return held
end
if redis.call('PEXPIRE', KEYS[1], ARGV[2]) == 1 and ours then return held end
redis.call('DEL', KEYS[1])
local fence = redis.call('INCR', KEYS[2])
if fence < 1 then return redis.error_reply('ERR the number in ' .. KEYS[2] .. ' is below 1') end
held = ARGV[1] .. string.format('fence %.0f\n', fence) .. ARGV[3]
redis.call('SET', KEYS[1], held, 'PX', ARGV[2])
return held
`

const renewScript = whose + `
if ours then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0
`

const releaseScript = whose + `
if ours then return redis.call('DEL', KEYS[1]) end
return 0
`

// rights are what the user of a server needs, as ACL SETUSER takes them.
const rights = "~runfold:* +eval +getrange +pttl +pexpire +del +incr +set"

// service asks one server, or the nodes of one cluster. It holds no connection open: a lock asks every few seconds, and a new connection cannot be one that a firewall has
// forgotten, or that leads to a server that is only a replica since.
type service struct {
	opts redis.Options
	tls  *tls.Config // nil: without TLS
}

// lockKey and fenceKey are the names in the server. The braces keep both on one node of a cluster.
func lockKey(root string) string  { return "runfold:{" + root + "}:lock" }
func fenceKey(root string) string { return "runfold:{" + root + "}:fence" }

// Claim begins a claim.
func (s *service) Claim(root, token, words string, ttl time.Duration) lock.Claim {
	return &claim{in: s, root: root, token: "token " + token + "\n", words: words, ttl: strconv.FormatInt(ttl.Milliseconds(), 10)}
}

// Holder reads who holds the lock.
func (s *service) Holder(ctx context.Context, root string) (string, error) {
	held, err := s.do(ctx, "getrange", lockKey(root), 0, 4351)
	_, words := parse(held)
	return words, err
}

// Now is the time of the server, by which leases end. It needs the right +time.
func (s *service) Now(ctx context.Context) (time.Time, error) {
	text, err := s.do(ctx, "eval", "local t = redis.call('TIME') return t[1] .. ' ' .. t[2]", 0)
	if err != nil {
		return time.Time{}, err
	}
	var seconds, micros int64
	_, err = fmt.Sscan(text, &seconds, &micros)
	return time.Unix(seconds, micros*1000), err
}

// Close does nothing: no connection is open.
func (*service) Close() error { return nil }

type claim struct {
	in                      *service
	root, token, words, ttl string
}

// Take takes the lock, as lock.Claim says.
func (c *claim) Take(ctx context.Context) (fence int64, holder string, err error) {
	held, err := c.ask(ctx, takeScript, c.ttl, "lease "+c.ttl+"\n"+c.words)
	fence, words := parse(held)
	switch {
	case err != nil:
		return 0, "", err
	case !strings.HasPrefix(held, c.token):
		return 0, words, nil
	case fence < 1:
		return 0, "", fmt.Errorf("%w: what stands in %s is no lock of ours", lock.ErrRefused, lockKey(c.root))
	}
	return fence, "", nil
}

// Renew renews the lease, as lock.Claim says.
func (c *claim) Renew(ctx context.Context) (ours bool, err error) {
	n, err := c.ask(ctx, renewScript, c.ttl)
	return n == "1", err
}

// Release ends the lease, as lock.Claim says.
func (c *claim) Release(ctx context.Context) error {
	_, err := c.ask(ctx, releaseScript)
	return err
}

func (c *claim) ask(ctx context.Context, script string, args ...any) (string, error) {
	return c.in.do(ctx, append([]any{"eval", script, 2, lockKey(c.root), fenceKey(c.root), c.token}, args...)...)
}

// parse reads what stands in a lock. Where a stranger has written it, fence may be 0, and all of it is words.
func parse(held string) (fence int64, words string) {
	words = held
	for _, name := range []string{"token ", "fence ", "lease "} {
		line, rest, ok := strings.Cut(words, "\n")
		value, is := strings.CutPrefix(line, name)
		if !ok || !is {
			break
		}
		if name == "fence " {
			fence, _ = strconv.ParseInt(value, 10, 64) // what is no number is no fence
		}
		words = rest
	}
	return fence, words[:min(len(words), maxWords)]
}

// do sends a request, and if it is for another node of a cluster, to that one. The node is asked for each time: nothing is remembered that may be wrong later.
func (s *service) do(ctx context.Context, args ...any) (string, error) {
	text, err := s.send(ctx, s.opts.Addr, args)
	if node, moved := redis.IsMovedError(err); moved {
		node = s.address(node)
		if text, err = s.send(ctx, node, args); err != nil {
			err = fmt.Errorf("%s, which the cluster names for the lock: %w", node, err)
		}
	}
	return text, err
}

// address is that of a node. A cluster that does not know the name of its node names the port alone.
func (s *service) address(node string) string {
	host, port, err := net.SplitHostPort(node)
	if err == nil && host == "" {
		host, _, _ = net.SplitHostPort(s.opts.Addr) // Open made it
		return net.JoinHostPort(host, port)
	}
	return node
}

// send sends a request by a connection of its own, once. It ends with ctx, which closes that connection.
func (s *service) send(ctx context.Context, addr string, args []any) (string, error) {
	c, err := s.dial(ctx, addr)
	if err != nil {
		return "", explain(err)
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	opts := s.opts
	opts.Dialer = func(context.Context, string, string) (net.Conn, error) { return c, nil }
	opts.Protocol, opts.MaxRetries, opts.ContextTimeoutEnabled, opts.DisableIdentity = 2, -1, true, true // no command but ours, and that once
	client := redis.NewClient(&opts)
	defer client.Close()
	answer, err := client.Do(ctx, args...).Result()
	switch {
	case err == nil:
		return fmt.Sprint(answer), nil
	case errors.Is(err, os.ErrDeadlineExceeded): // the client has the deadline of ctx
		return "", fmt.Errorf("wait for the answer of %s: %w", addr, err)
	case ctx.Err() != nil:
		return "", fmt.Errorf("wait for the answer of %s: %w", addr, ctx.Err())
	}
	return "", explain(c.cause(err))
}

func (s *service) dial(ctx context.Context, addr string) (*conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil || s.tls == nil {
		return &conn{Conn: c}, err
	}
	cfg := s.tls.Clone()
	cfg.ServerName, _, _ = net.SplitHostPort(addr) // it was dialled
	t := tls.Client(c, cfg)
	if err := t.HandshakeContext(ctx); err != nil {
		c.Close() // its error says nothing new
		return nil, fmt.Errorf("begin TLS with %s: %w", addr, err)
	}
	return &conn{Conn: t}, nil
}
