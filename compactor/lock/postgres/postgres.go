// Package postgres keeps the lock of a root in a row of a PostgreSQL database.
//
//	p, err := postgres.Open("postgres://runfold@db.example/lab?schema=runfold&lease=30s")
//	defer p.Close()
//	report, err := compactor.Fold(ctx, compactor.Config{Root: root, Locks: p, Wait: time.Minute})
//
// Each request is one statement, outside of transactions, which needs nothing that a session keeps: it passes PgBouncer, whatever it pools. What
// stands in the table is in docs/format/leases.md.
//
// A lease ends by the clock of the database. If that is set forward, the lock ends early, and another takes it. If it is set back, the lock of somebody who was
// killed lasts longer, by as much, but not for more than an hour: what lasts longer than lock.MaxLease has ended.
package postgres

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/runfold/runfold/compactor/lock"
	"github.com/runfold/runfold/internal/pgclient"
)

// connectFor bounds the wait for one address of a server, so that there is time for the next one.
const connectFor = 2 * time.Second

// ours are the options that are not PostgreSQL's, and its are those that lead to a server.
var (
	ours = []string{"schema", "lease", "password-file", "cacert", "cert", "key"}
	its  = []string{
		"host", "port", "dbname", "user", "passfile", "service", "servicefile", "connect_timeout", "tcp_user_timeout", "target_session_attrs", "application_name", "options",
		"sslmode", "sslcert", "sslkey", "sslcertmode", "sslrootcert", "sslsni", "sslnegotiation", "channel_binding", "require_auth", "krbspn", "krbsrvname",
		"min_protocol_version", "max_protocol_version",
	}
)

// Open makes a provider of a URL, such as postgres://user@host:5432/database?schema=runfold&lease=30s. It does not connect. What the URL does not say comes from
// PGHOST, PGUSER and the other variables of PostgreSQL's clients, with the password in PGPASSWORD or in the file PGPASSFILE; in a URL it is lock.ErrPassword. Options are
//
//	schema=NAME           where the table is. Without it, the first of the search path of the user
//	lease=30s             how long the lock stays when its holder was killed
//	password-file=NAME    a file with the password; it wins over the environment
//	cacert=NAME           a file with the certificates to trust. The server must have one, for its name
//	cert=NAME, key=NAME   files with our certificate and its key
//
// and those of PostgreSQL that lead to a server, such as sslmode and connect_timeout, which is 2 s for each address. Of several hosts the first
// that can be written to is taken. No error has a part of the URL that could be a password.
func Open(address string) (*lock.Leases, error) {
	u, err := pgclient.Parse(address)
	switch {
	case errors.Is(err, pgclient.ErrPassword):
		return nil, fmt.Errorf("%w: set PGPASSWORD, or PGPASSFILE to the name of a file with it, or give password-file=NAME", lock.ErrPassword)
	case err != nil:
		return nil, errors.New("it is no URL of a lock in PostgreSQL: give postgres://USER@HOST/DATABASE?schema=NAME, and several hosts as ?host=A,B&port=5432,5433")
	}
	for _, name := range slices.Sorted(maps.Keys(u.Options)) {
		if !slices.Contains(ours, name) && !slices.Contains(its, name) || len(u.Options[name]) != 1 {
			return nil, fmt.Errorf("option %q of the URL is unknown, or stands there twice: ours are %s", name, strings.Join(ours, ", "))
		}
	}
	p := &lock.Leases{Kind: "postgres"}
	if text := u.Take("lease"); text != "" {
		if p.TTL, err = lock.ParseLease(text); err != nil {
			return nil, err
		}
	}
	s := &service{schema: u.Take("schema")}
	if s.schema != "" && !pgclient.IsName(s.schema) {
		return nil, fmt.Errorf("schema=%q: the name of a schema has at most %d bytes", s.schema, pgclient.MaxName)
	}
	cfg, err := config(u)
	if err != nil {
		return nil, err
	}
	s.open(cfg)
	p.Service, p.Where = s, where(cfg, s.schema)
	return p, nil
}

// config is a client as a lock needs it.
func config(u pgclient.URL) (*pgx.ConnConfig, error) {
	file := u.Take("password-file")
	if err := encrypt(u); err != nil {
		return nil, err
	}
	cfg, _, err := u.Config()
	if err != nil {
		return nil, pgclient.OneLine(err)
	}
	if file != "" {
		if cfg.Password, err = lock.ReadPassword(file); err != nil {
			return nil, err
		}
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = connectFor
	}
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec // one message, and nothing that another connection of a pool would not know
	if cfg.ValidateConnect == nil && len(hosts(cfg)) > 1 {
		cfg.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	// A server that only reads has lost its part to another one, which a new connection may find.
	goOn := cfg.OnPgError
	cfg.OnPgError = func(c *pgconn.PgConn, e *pgconn.PgError) bool { return e.Code != codeReadOnly && goOn(c, e) }
	return cfg, nil
}

// encrypt gives PostgreSQL its own names of the files for TLS, which the connection must then have.
func encrypt(u pgclient.URL) error {
	mode := ""
	for _, option := range [][3]string{{"cert", "sslcert", "require"}, {"key", "sslkey", "require"}, {"cacert", "sslrootcert", "verify-full"}} {
		if u.Options.Has(option[0]) {
			u.Options.Set(option[1], u.Take(option[0]))
			mode = option[2]
		}
	}
	switch given := u.Options.Get("sslmode"); {
	case mode != "" && given == "":
		u.Options.Set("sslmode", mode)
	case mode != "" && !slices.Contains([]string{"require", "verify-ca", "verify-full"}, given): // then the server may be anybody
		return fmt.Errorf("sslmode=%s does not go with cacert, cert and key: give sslmode=verify-full, or leave it out", given)
	}
	return nil
}

// hosts are the addresses of a server.
func hosts(cfg *pgx.ConnConfig) []string {
	_, first := pgconn.NetworkAddress(cfg.Host, cfg.Port)
	all := []string{first}
	for _, f := range cfg.Fallbacks {
		if _, next := pgconn.NetworkAddress(f.Host, f.Port); !slices.Contains(all, next) { // a host is there twice if TLS need not be
			all = append(all, next)
		}
	}
	return all
}

func where(cfg *pgx.ConnConfig, schema string) string {
	text := strings.Join(hosts(cfg), ",")
	if cfg.Database != "" {
		text += ", database " + cfg.Database
	}
	if schema != "" {
		text += ", schema " + schema
	}
	return text
}
