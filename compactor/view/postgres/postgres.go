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
	"cmp"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/runfold/runfold/compactor/view/sqlview"
	"github.com/runfold/runfold/internal/pgclient"
)

// DefaultTable is the table of the rows.
const DefaultTable = "runs"

// maxTable leaves room for what the names of its indexes have behind it.
const maxTable = pgclient.MaxName - len("_cohort_phase_seq")

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
	u, err := pgclient.Parse(address)
	switch {
	case errors.Is(err, pgclient.ErrPassword):
		return nil, ErrPassword
	case err != nil:
		return nil, errors.New("it is no URL of a PostgreSQL view: give postgres://USER@HOST/DATABASE?schema=NAME&table=NAME")
	}
	d := dialect{schema: u.Take("schema"), table: cmp.Or(u.Take("table"), DefaultTable), wait: o.Wait}
	if len(d.table) > maxTable || len(d.schema) > pgclient.MaxName || d.Refuses(d.table) != "" || d.schema != "" && d.Refuses(d.schema) != "" {
		return nil, fmt.Errorf("the name of a table has at most %d bytes, that of a schema %d", maxTable, pgclient.MaxName)
	}
	var cfg *pgx.ConnConfig
	if cfg, d.silence, err = u.Config(); err != nil {
		return nil, err
	}
	// Statements are described anew each time: one that is kept would not fit where another publisher has changed the columns.
	cfg.DefaultQueryExecMode = pgx.QueryExecModeDescribeExec
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 10 * time.Second
	}
	connector := stdlib.GetConnector(*cfg)
	if o.wrap != nil {
		connector = o.wrap(connector)
	}
	return sqlview.Open(sql.OpenDB(connector), d, nameOf(u, d), d.table), nil
}

// nameOf is the URL without its other options.
func nameOf(u pgclient.URL, d dialect) string {
	short := url.URL{Scheme: "postgres", User: u.User, Host: u.Host, Path: u.Path}
	q := url.Values{}
	if host := u.Options.Get("host"); host != "" {
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
