// Package redis keeps the lock of a root in a Redis server, or in one that speaks its protocol, such as Valkey.
//
//	p, err := redis.Open("rediss://runfold@redis.example:6380/?lease=30s")
//	defer p.Close()
//	report, err := compactor.Fold(ctx, compactor.Config{Root: root, Locks: p, Wait: time.Minute})
//
// Each request is a script, which the server runs as one step: it compares whose the lock is, and changes it. So EVAL is a right that
// its user needs. What stands in the server is in docs/format/leases.md.
//
// A lease ends by the wall clock of the server. If that is set forward, the lock ends early, and another takes it. If it is set back, the lock of
// somebody who was killed lasts longer, until the next who wants it looks: it finds that more is left than the whole lease, and shortens it to that.
package redis

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/runfold/runfold/compactor/lock"
)

// passwordVariable is the variable that redis-cli reads, too.
const passwordVariable = "REDISCLI_AUTH"

var errURL = errors.New("it is no URL of a lock in Redis: give redis://USER@HOST:6379/DATABASE, or rediss://USER@HOST:6379/DATABASE for TLS, with one host, and an @ behind it as %40")

// Open makes a provider of a URL, such as redis://user@host:6379/0?lease=30s. It does not connect. With rediss:// it speaks TLS. The password is in
// the environment, in REDISCLI_AUTH, which redis-cli reads as well; in a URL it is lock.ErrPassword. Options are
//
//	lease=30s             how long the lock stays when its holder was killed
//	password-file=NAME    a file with the password; it wins over the environment
//	cacert=NAME           a file with the certificates to trust, instead of those of the machine
//	cert=NAME, key=NAME   files with our certificate and its key
//
// A node of a Redis Cluster is enough: where it names another node for the lock, that one is asked. No error has a part of the URL that could be a password.
func Open(address string) (*lock.Leases, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "redis" && u.Scheme != "rediss" || u.Opaque != "" || u.Fragment != "" || u.Hostname() == "" || strings.Contains(u.Host, ",") {
		return nil, errURL
	}
	if strings.Contains(u.Path+u.RawQuery, "@") { // where a password has a / or a ?, it looks as if the host ended there
		return nil, errURL
	}
	if n, err := strconv.ParseUint(cmp.Or(u.Port(), "6379"), 10, 16); err != nil || n == 0 {
		return nil, errURL
	}
	q, err := url.ParseQuery(u.RawQuery)
	if _, has := u.User.Password(); has || q.Has("password") {
		return nil, fmt.Errorf("%w: set %s, or give password-file=NAME", lock.ErrPassword, passwordVariable)
	}
	if err != nil {
		return nil, errURL
	}
	for _, name := range slices.Sorted(maps.Keys(q)) {
		if !slices.Contains([]string{"lease", "password-file", "cacert", "cert", "key"}, name) || len(q[name]) != 1 {
			return nil, fmt.Errorf("option %q of the URL is unknown, or stands there twice: options are lease, password-file, cacert, cert and key", name)
		}
	}
	p := &lock.Leases{Kind: "redis", Where: net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "6379"))}
	s := &service{opts: redis.Options{Addr: p.Where, Username: u.User.Username()}}
	if q.Has("lease") {
		if p.TTL, err = lock.ParseLease(q.Get("lease")); err != nil {
			return nil, err
		}
	}
	if s.opts.Password, err = password(q, s.opts.Username); err != nil {
		return nil, err
	}
	if s.tls, err = tlsConfig(u.Scheme, q); err != nil {
		return nil, err
	}
	if db := strings.TrimPrefix(u.Path, "/"); db != "" {
		if s.opts.DB, err = strconv.Atoi(db); err != nil || s.opts.DB < 0 || strconv.Itoa(s.opts.DB) != db {
			return nil, fmt.Errorf("database %q: give a number, as in redis://HOST/0", db)
		}
		p.Where += "/" + db
	}
	p.Service = s
	return p, nil
}

// password is that of the file, or of the environment. go-redis would take a user without one for the user that everybody is.
func password(q url.Values, user string) (string, error) {
	text := os.Getenv(passwordVariable)
	if q.Has("password-file") {
		var err error
		if text, err = lock.ReadPassword(q.Get("password-file")); err != nil {
			return "", err
		}
	}
	if user != "" && text == "" {
		return "", fmt.Errorf("the URL names a user, and there is no password: set %s, or give password-file=NAME", passwordVariable)
	}
	return text, nil
}

// tlsConfig is nil for a URL without TLS.
func tlsConfig(scheme string, q url.Values) (*tls.Config, error) {
	if scheme == "redis" {
		for _, name := range []string{"cacert", "cert", "key"} {
			if q.Has(name) {
				return nil, fmt.Errorf("%s is for TLS: give rediss:// and not redis://", name)
			}
		}
		return nil, nil
	}
	return lock.ClientTLS(q.Get("cacert"), q.Get("cert"), q.Get("key"))
}
