// Package pgclient connects to PostgreSQL servers, and says what their errors mean. The view and the lock connect in the same way.
package pgclient

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
)

// MaxName is how many bytes the name of a table or a schema has at most.
const MaxName = 63

// silenceOption is the option of a URL that says for how many milliseconds a server that acknowledges nothing is waited for, and for how many it waits for us.
// Other clients of PostgreSQL know it, too.
const silenceOption = "tcp_user_timeout"

const defaultSilence = time.Minute

var (
	// ErrURL reports a text that is no URL of a PostgreSQL server.
	ErrURL = errors.New("it is no URL of a PostgreSQL server")
	// ErrPassword reports a URL with a password in it, which other users of the machine see.
	ErrPassword = errors.New("a password in the URL is seen by others")
)

// URL is that of a server, with its options apart.
type URL struct {
	*url.URL
	Options url.Values
}

// Parse reads a URL. The error has no part of it: that could be a password.
func Parse(address string) (URL, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || u.Opaque != "" || u.Fragment != "" {
		return URL{}, ErrURL
	}
	q := u.Query()
	if _, has := u.User.Password(); has || q.Has("password") || q.Has("sslpassword") {
		return URL{}, ErrPassword
	}
	return URL{u, q}, nil
}

// Take removes an option that is not PostgreSQL's, and returns what it says.
func (u URL) Take(option string) string {
	defer u.Options.Del(option)
	return u.Options.Get(option)
}

// Config is a client of the server, with all options that are still there. What the URL does not say comes from the environment: PGHOST, PGUSER, PGPASSWORD,
// PGPASSFILE and others. An end of a connection that acknowledges nothing for as long as silence is given up.
func (u URL) Config() (cfg *pgx.ConnConfig, silence time.Duration, err error) {
	silence = defaultSilence
	if u.Options.Has(silenceOption) {
		text := u.Take(silenceOption)
		ms, err := strconv.ParseInt(text, 10, 32)
		if err != nil || ms < 1 {
			return nil, 0, fmt.Errorf("%s=%s: give a number of milliseconds", silenceOption, text)
		}
		silence = time.Duration(ms) * time.Millisecond
	}
	whole := *u.URL
	whole.RawQuery = strings.ReplaceAll(u.Options.Encode(), "+", "%20") // PostgreSQL takes + for itself
	cfg, err = pgx.ParseConfig(whole.String())
	if err != nil {
		return nil, 0, err // without a password: there is none in the URL
	}
	cfg.StatementCacheCapacity, cfg.DescriptionCacheCapacity = 0, 0
	dialer := net.Dialer{KeepAliveConfig: KeepAlive(silence), Control: bound(silence)}
	cfg.DialFunc = dialer.DialContext
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "runfold"
	}
	return cfg, silence, nil
}

// KeepAlive finds an end of a connection that is gone without a word, within a time, while nothing is under way to it.
func KeepAlive(silence time.Duration) net.KeepAliveConfig {
	seconds := func(d time.Duration) time.Duration { return max(d.Truncate(time.Second), time.Second) }
	return net.KeepAliveConfig{Enable: true, Idle: seconds(silence / 2), Interval: seconds(silence / 6), Count: 3}
}

// IsName tells whether PostgreSQL takes a text for a name as it is.
func IsName(name string) bool {
	return name != "" && len(name) <= MaxName && !strings.ContainsRune(name, 0) && utf8.ValidString(name)
}

// Quote is a name as it stands in a statement.
func Quote(name string) string { return pgx.Identifier{name}.Sanitize() }
