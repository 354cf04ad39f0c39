// Package postgres is a view in a PostgreSQL database: see package sqlview for its tables.
//
//	v, err := postgres.Open("postgres://runs@db.example/lab?schema=runfold&table=runs", postgres.Options{})
//	defer v.Close()
//	report, err := view.Sync(ctx, store, v, view.Options{})
//
// # Values that PostgreSQL does not take
//
// A text with the character NUL stands in _extra, and there, and in snapshot, a JSON text that jsonb refuses or would change (\u0000, half a surrogate pair, a number
// of more than 1,000 digits, two members of one name) is a JSON string with that text. So is the value of a record that has more values than a row of PostgreSQL has room for: it stands in _extra. In
// the columns that every table has, such as run_id, U+10FFFD and 0 stand for NUL.
package postgres

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/runfold/runfold/compactor/view/sqlview"
)

// DefaultTable is the table of the rows.
const DefaultTable = "runs"

// maxTable leaves room for what the names of its indexes have behind it.
const maxTable = maxName - len("_cohort_phase_seq")

// silenceOption is the option of a URL that says for how many milliseconds a server that acknowledges nothing is waited for, and for how many it waits for us.
// Other clients of PostgreSQL know it, too.
const silenceOption = "tcp_user_timeout"

const defaultSilence = time.Minute

// keepAlive finds an end of a connection that is gone without a word, within a time, while nothing is under way to it.
func keepAlive(silence time.Duration) net.KeepAliveConfig {
	seconds := func(d time.Duration) time.Duration { return max(d.Truncate(time.Second), time.Second) }
	return net.KeepAliveConfig{Enable: true, Idle: seconds(silence / 2), Interval: seconds(silence / 6), Count: 3}
}

// ErrPassword reports a URL with a password in it, which other users of the machine see.
var ErrPassword = errors.New("a password in the URL of a view is seen by others: set PGPASSWORD, or PGPASSFILE to the name of a file with it (~/.pgpass if it is not set)")

// Options are those of Open.
type Options struct {
	// Wait is how long a change waits for another change. If zero, 30 seconds.
	Wait time.Duration

	wrap func(driver.Connector) driver.Connector // for tests: it sees every call
}

// Open makes a view of a URL, such as postgres://user@host:5432/database?schema=lab&table=runs. It does not connect. What the URL does not
// say comes from PGHOST, PGUSER and the other variables of PostgreSQL's clients, with the password in PGPASSWORD or in the file PGPASSFILE. Other options, such as
// sslmode and sslrootcert, are those of PostgreSQL. A server that acknowledges nothing for a minute, or for tcp_user_timeout milliseconds, is given up:
// view.ErrAway. A URL with a password is ErrPassword. No error has a part of the URL that could be one.
func Open(address string, o Options) (*sqlview.DB, error) {
	if o.Wait == 0 {
		o.Wait = 30 * time.Second
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || u.Opaque != "" || u.Fragment != "" {
		return nil, errors.New("it is no URL of a PostgreSQL view: give postgres://USER@HOST/DATABASE?schema=NAME&table=NAME")
	}
	q := u.Query()
	if _, has := u.User.Password(); has || q.Has("password") || q.Has("sslpassword") {
		return nil, ErrPassword
	}
	d := dialect{schema: q.Get("schema"), table: q.Get("table"), wait: o.Wait, silence: defaultSilence}
	if q.Has(silenceOption) {
		ms, err := strconv.ParseInt(q.Get(silenceOption), 10, 32)
		if err != nil || ms < 1 {
			return nil, fmt.Errorf("%s=%s: give a number of milliseconds", silenceOption, q.Get(silenceOption))
		}
		d.silence = time.Duration(ms) * time.Millisecond
	}
	if d.table == "" {
		d.table = DefaultTable
	}
	if len(d.table) > maxTable || len(d.schema) > maxName || d.Refuses(d.table) != "" || d.schema != "" && d.Refuses(d.schema) != "" {
		return nil, fmt.Errorf("the name of a table has at most %d bytes, that of a schema %d", maxTable, maxName)
	}
	q.Del("schema")
	q.Del("table")
	q.Del(silenceOption)
	u.RawQuery = q.Encode()
	cfg, err := pgx.ParseConfig(u.String())
	if err != nil {
		return nil, err // without a password: there is none in the URL
	}
	// Statements are described anew each time: one that is kept would not fit where another publisher has changed the columns.
	cfg.DefaultQueryExecMode = pgx.QueryExecModeDescribeExec
	cfg.StatementCacheCapacity, cfg.DescriptionCacheCapacity = 0, 0
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 10 * time.Second
	}
	dialer := net.Dialer{KeepAliveConfig: keepAlive(d.silence), Control: bound(d.silence)}
	cfg.DialFunc = dialer.DialContext
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "runfold"
	}
	connector := stdlib.GetConnector(*cfg)
	if o.wrap != nil {
		connector = o.wrap(connector)
	}
	return sqlview.Open(sql.OpenDB(connector), d, nameOf(u, d), d.table), nil
}

// nameOf is the URL without its other options.
func nameOf(u *url.URL, d dialect) string {
	short := url.URL{Scheme: "postgres", User: u.User, Host: u.Host, Path: u.Path}
	q := url.Values{}
	if host := u.Query().Get("host"); host != "" {
		q.Set("host", host)
	}
	if d.schema != "" {
		q.Set("schema", d.schema)
	}
	if d.table != DefaultTable {
		q.Set("table", d.table)
	}
	short.RawQuery = q.Encode()
	return short.String()
}
