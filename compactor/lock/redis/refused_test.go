package redis_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/runfold/runfold/compactor/lock"
	"github.com/runfold/runfold/compactor/lock/redis"
	"github.com/runfold/runfold/internal/servertest"
)

// rights are what docs/locks.md says that the user needs.
var rights = []string{"+eval", "+getrange", "+pttl", "+pexpire", "+del", "+incr", "+set"}

// TestRights has a user with the rights that are needed, and with all but one.
func TestRights(t *testing.T) {
	s := start(t, nil)
	t.Setenv("REDISCLI_AUTH", "secret")
	user := func(t *testing.T, keys string, rights ...string) *lock.Leases {
		t.Helper()
		args := []any{"acl", "setuser", "runfold", "reset", "on", ">secret", keys}
		for _, right := range rights {
			args = append(args, right)
		}
		s.do(t, args...)
		return open(t, "redis://runfold@"+s.Address)
	}
	t.Run("all", func(t *testing.T) {
		p := user(t, "~runfold:*", rights...)
		c := claim(p, "me")
		take(t, c)
		if ours, err := c.Renew(t.Context()); !ours || err != nil {
			t.Errorf("Renew = %v, %v", ours, err)
		}
		if fence, holder, err := claim(p, "other").Take(t.Context()); fence != 0 || holder != "host me\n" || err != nil {
			t.Errorf("Take by another = %d, %q, %v", fence, holder, err)
		}
		if words, err := p.Service.Holder(t.Context(), root); words != "host me\n" || err != nil {
			t.Errorf("Holder = %q, %v", words, err)
		}
		if err := c.Release(t.Context()); err != nil {
			t.Errorf("Release: %v", err)
		}
	})
	refused := func(t *testing.T, p *lock.Leases) {
		t.Helper()
		_, _, err := claim(p, "me").Take(t.Context())
		if !errors.Is(err, lock.ErrRefused) || s.do(t, "exists", key) != int64(0) {
			t.Errorf("Take: %v", err)
		}
	}
	for i, right := range rights {
		t.Run("without "+right, func(t *testing.T) {
			refused(t, user(t, "~runfold:*", append(rights[:i:i], rights[i+1:]...)...))
		})
	}
	for _, keys := range []string{"~other:*", "~runfold:{*}:lock", "~runfold:{*}:fence"} {
		t.Run("keys "+keys, func(t *testing.T) { refused(t, user(t, keys, rights...)) })
	}
}

// TestRefused asks servers that will refuse a lock as well later.
func TestRefused(t *testing.T) {
	for name, test := range map[string]struct {
		args            []string
		password, after string
		says            string
	}{
		"no password":        {[]string{"--requirepass", "secret"}, "", "", "NOAUTH"},
		"a wrong password":   {[]string{"--requirepass", "secret"}, "guess", "", "WRONGPASS"},
		"database":           {nil, "", "/99", "DB index is out of range"},
		"AUTH has no name":   {[]string{"--requirepass", "secret", "--rename-command", "AUTH", "", "--rename-command", "HELLO", ""}, "guess", "", ""},
		"EVAL has no name":   {[]string{"--rename-command", "EVAL", ""}, "", "", "unknown command"},
		"database of a node": {[]string{"--cluster-enabled", "yes"}, "", "/1", "ERR "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("REDISCLI_AUTH", test.password)
			s := start(t, nil, test.args...)
			_, _, err := claim(open(t, "redis://"+s.Address+test.after), "me").Take(t.Context())
			if !errors.Is(err, lock.ErrRefused) || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "guess") {
				t.Errorf("Take: %v, want %s", err, test.says)
			}
		})
	}
}

// TestPassword has the password in a file, which wins over the environment.
func TestPassword(t *testing.T) {
	s := start(t, nil)
	s.do(t, "acl", "setuser", "runfold", "on", ">from file", "~runfold:*", "+@all")
	s.do(t, "acl", "setuser", "default", "resetpass", ">from environment")
	t.Setenv("REDISCLI_AUTH", "from environment")
	name := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(name, []byte("from file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	take(t, claim(open(t, "redis://runfold@"+s.Address+"/?password-file="+url.QueryEscape(name)), "me"))
	take(t, claim(open(t, "redis://"+s.Address), "me"))
	if _, _, err := claim(open(t, "redis://runfold@"+s.Address), "me").Take(t.Context()); !errors.Is(err, lock.ErrRefused) || strings.Contains(err.Error(), "environment") {
		t.Errorf("Take with the password of another user: %v", err)
	}
}

// TestProtected asks a server without a password from another machine.
func TestProtected(t *testing.T) {
	s := start(t, network(t), "--protected-mode", "yes")
	_, _, err := claim(s.open(t), "me").Take(t.Context())
	if !errors.Is(err, lock.ErrRefused) || !strings.Contains(err.Error(), "DENIED ") {
		t.Errorf("Take: %v", err)
	}
}

func network(t *testing.T) *servertest.Net {
	t.Helper()
	n, err := servertest.NewNet()
	if err != nil {
		servertest.Skip(t, err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// authority signs certificates. Its own is in dir/ca.pem.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.cert = &x509.Certificate{Subject: pkix.Name{CommonName: a.dir}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a.issue(t, "ca", a.cert)
	return a
}

// issue writes dir/NAME.pem and dir/NAME.key.
func (a *authority) issue(t *testing.T, name string, c *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if a.key == nil {
		a.key = key
	}
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for end, block := range map[string]pem.Block{".pem": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(a.path(name+end), pem.EncodeToMemory(&block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

// TestTLS has a server that wants the certificate of its clients.
func TestTLS(t *testing.T) {
	a, stranger := newAuthority(t), newAuthority(t)
	a.issue(t, "server", &x509.Certificate{Subject: pkix.Name{CommonName: "server"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	a.issue(t, "client", &x509.Certificate{Subject: pkix.Name{CommonName: "client"}})
	stranger.issue(t, "client", &x509.Certificate{Subject: pkix.Name{CommonName: "client"}})
	plain := start(t, nil)
	_, port, _ := net.SplitHostPort(plain.Address)
	s := startTLS(t, a)
	mine := "&cert=" + a.path("client.pem") + "&key=" + a.path("client.key")
	for name, test := range map[string]struct {
		url     string
		refused bool
		says    string
	}{
		"right":                  {"rediss://" + s + "/?cacert=" + a.path("ca.pem") + mine, false, ""},
		"another authority":      {"rediss://" + s + "/?cacert=" + stranger.path("ca.pem") + mine, true, "certificate signed by unknown authority"},
		"those of the machine":   {"rediss://" + s + "/?" + mine[1:], true, "certificate signed by unknown authority"},
		"another name":           {"rediss://" + strings.Replace(s, "127.0.0.1", "localhost", 1) + "/?cacert=" + a.path("ca.pem") + mine, true, "localhost"},
		"no certificate of us":   {"rediss://" + s + "/?cacert=" + a.path("ca.pem"), true, "certificate required"},
		"one of a stranger":      {"rediss://" + s + "/?cacert=" + a.path("ca.pem") + "&cert=" + stranger.path("client.pem") + "&key=" + stranger.path("client.key"), true, "unknown certificate authority"},
		"plain to a port of TLS": {"redis://" + s, false, "rediss://"},
		"TLS to a plain port":    {"rediss://127.0.0.1:" + port, false, "begin TLS with 127.0.0.1:" + port},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, _, err := claim(open(t, test.url), "me").Take(ctx)
			if (err != nil) != (test.says != "") || errors.Is(err, lock.ErrRefused) != test.refused || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("Take: %v, want %s", err, test.says)
			}
		})
	}
}

func startTLS(t *testing.T, a *authority) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	l.Close()
	start(t, nil, "--tls-port", port, "--tls-cert-file", a.path("server.pem"), "--tls-key-file", a.path("server.key"), "--tls-ca-cert-file", a.path("ca.pem"))
	return address
}

// TestSilent asks servers that do not answer. Each request ends with its context, whether that has a deadline or is cancelled, and says what it was waiting for.
func TestSilent(t *testing.T) {
	n := network(t)
	s := start(t, n)
	p := s.open(t)
	c := claim(p, "me")
	calls := map[string]func(context.Context) error{
		"Take":    func(ctx context.Context) error { _, _, err := c.Take(ctx); return err },
		"Renew":   func(ctx context.Context) error { _, err := c.Renew(ctx); return err },
		"Release": c.Release,
		"Holder":  func(ctx context.Context) error { _, err := p.Service.Holder(ctx, root); return err },
	}
	ask := func(how, says string) {
		for name, call := range calls {
			for end, with := range map[string]func() (context.Context, context.CancelFunc){
				"a deadline": func() (context.Context, context.CancelFunc) {
					return context.WithTimeout(t.Context(), 50*time.Millisecond)
				},
				"a cancel": func() (context.Context, context.CancelFunc) {
					ctx, cancel := context.WithCancel(t.Context())
					time.AfterFunc(50*time.Millisecond, cancel)
					return ctx, cancel
				},
			} {
				ctx, cancel := with()
				err := call(ctx)
				cancel()
				if err == nil || errors.Is(err, lock.ErrRefused) || !strings.Contains(err.Error(), says+s.Address) {
					t.Errorf("%s of a server that is %s, with %s: %v", name, how, end, err)
				}
			}
		}
	}
	if err := n.Cut(true, true); err != nil {
		t.Fatal(err)
	}
	ask("cut off", "dial tcp ")
	if err := n.Mend(); err != nil {
		t.Fatal(err)
	}
	s.do(t, "client", "pause", 3600000)
	ask("paused", "wait for the answer of ")
}

// TestCluster has a lock in a cluster, also where the node that we know is not the one that has it.
func TestCluster(t *testing.T) {
	args := []string{"--cluster-enabled", "yes", "--cluster-node-timeout", "500"}
	one, other := start(t, nil, args...), start(t, nil, args...)
	ready := func(s server) {
		for !strings.Contains(s.do(t, "cluster", "info").(string), "cluster_state:ok") {
		}
	}
	one.do(t, "cluster", "addslotsrange", 0, 16383)
	host, port, err := net.SplitHostPort(one.Address)
	if err != nil {
		t.Fatal(err)
	}
	other.do(t, "cluster", "meet", host, port)
	ready(one)
	ready(other)
	for i, s := range []server{one, other, other} {
		if i == 2 { // it names only the port of the other node
			s.do(t, "config", "set", "cluster-preferred-endpoint-type", "unknown-endpoint")
		}
		p := s.open(t)
		c := claim(p, "me")
		if fence := take(t, c); fence != int64(i+1) {
			t.Errorf("fence %d, want %d", fence, i+1)
		}
		if ours, err := c.Renew(t.Context()); !ours || err != nil {
			t.Errorf("Renew = %v, %v", ours, err)
		}
		if words, err := p.Service.Holder(t.Context(), root); words != "host me\n" || err != nil {
			t.Errorf("Holder = %q, %v", words, err)
		}
		if err := c.Release(t.Context()); err != nil {
			t.Errorf("Release: %v", err)
		}
	}
	one.Kill()
	if _, _, err := claim(other.open(t), "me").Take(t.Context()); err == nil || errors.Is(err, lock.ErrRefused) {
		t.Errorf("Take from a node that is gone: %v", err)
	}
}

// TestOpenRefuses has URLs that name no lock. Nothing is sent.
func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for address, says := range map[string]string{
		"redis://:secret@h":                 "REDISCLI_AUTH",
		"redis://u:secret@h/0":              "REDISCLI_AUTH",
		"redis://h/?password=secret":        "REDISCLI_AUTH",
		"redis://u:12/secret@h":             "redis://USER@HOST",
		"redis://u:12?secret@h":             "redis://USER@HOST",
		"redis://secret@h":                  "no password",
		"redis://u@h":                       "no password",
		"redis://h:x":                       "redis://USER@HOST",
		"redis://":                          "redis://USER@HOST",
		"redis:///0":                        "redis://USER@HOST",
		"redis://h1,h2":                     "with one host",
		"redis:h":                           "redis://USER@HOST",
		"redis+sentinel://h":                "redis://USER@HOST",
		"http://h":                          "redis://USER@HOST",
		"redis://h/#x":                      "redis://USER@HOST",
		"redis://h/?a;b":                    "redis://USER@HOST",
		"redis://h/x":                       `database "x"`,
		"redis://h/-1":                      `database "-1"`,
		"redis://h/01":                      `database "01"`,
		"redis://h/1/2":                     `database "1/2"`,
		"redis://h/?lease=1s":               "lease=1s",
		"redis://h/?lease=30":               "lease=30",
		"redis://h/?lease=2h":               "lease=2h",
		"redis://h/?lease=":                 "lease=",
		"redis://h/?lease=3s&lease=4s":      `"lease"`,
		"redis://h/?wait=3s":                `"wait"`,
		"redis://h/?cacert=x":               "rediss://",
		"rediss://h/?cacert=/none":          "/none",
		"rediss://h/?cacert=" + empty:       empty,
		"rediss://h/?cert=/none":            "give both files",
		"rediss://h/?cert=/none&key=/none":  "/none",
		"redis://h/?password-file=/none":    "/none",
		"redis://h/?password-file=" + empty: empty,
		"redis://u@h/?password-file=":       "password-file: stat",
	} {
		p, err := redis.Open(address)
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "secret") {
			t.Errorf("Open(%s): %v, want %s", address, err, says)
		}
		if err == nil {
			p.Close()
		}
		if errors.Is(err, lock.ErrPassword) != (says == "REDISCLI_AUTH") {
			t.Errorf("Open(%s): %v", address, err)
		}
	}
}
