package postgres

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/runfold/runfold/compactor/lock"
	"github.com/runfold/runfold/internal/pgclient"
)

// The table, and its columns: part of the format, do not change.
const (
	table   = "runfold_lock"
	columns = "(root_id text PRIMARY KEY, token text NOT NULL, words text NOT NULL, fence bigint NOT NULL, until timestamptz NOT NULL)"
)

// The statements. A row is never removed, for its fence goes on rising. clock_timestamp() is asked again once another statement has let the row go, which now() is not.
// An hour is lock.MaxLease. The words are cut when they are read: 1,024 characters have at most 4,096 bytes.
const (
	takeSQL = `INSERT INTO %[1]s AS held (root_id, token, words, fence, until) VALUES ($1, $2, $3, 1, clock_timestamp() + $4 * interval '1 millisecond')
		ON CONFLICT (root_id) DO UPDATE SET token = excluded.token, words = excluded.words, until = clock_timestamp() + $4 * interval '1 millisecond',
			fence = held.fence + CASE WHEN held.token = excluded.token THEN 0 ELSE 1 END
		WHERE held.token = excluded.token OR held.until <= clock_timestamp() OR held.until > clock_timestamp() + interval '1 hour'
		RETURNING fence`
	renewSQL   = `UPDATE %[1]s SET until = clock_timestamp() + $3 * interval '1 millisecond' WHERE root_id = $1 AND token = $2 AND until > clock_timestamp() RETURNING fence`
	releaseSQL = `UPDATE %[1]s SET until = '-infinity', token = '' WHERE root_id = $1 AND token = $2 RETURNING fence`
	holderSQL  = `SELECT left(words, 1024) FROM %[1]s WHERE root_id = $1 AND until > clock_timestamp()`
)

// maxOpen bounds the connections, of which one is kept while nothing is asked, for idle at most.
const (
	maxOpen = 4
	idle    = 5 * time.Minute
	// pingFor is how long a connection that was kept is given to show that it is not dead.
	pingFor = time.Second
	// tries is how often a statement is sent that met another one.
	tries = 10
)

// service is the table of a database.
type service struct {
	db           *sql.DB
	schema, user string
}

// open makes the pool. A connection that was kept is tried out before it is used, and one that is dead is made anew.
func (s *service) open(cfg *pgx.ConnConfig) {
	s.user = cfg.User
	s.db = sql.OpenDB(stdlib.GetConnector(*cfg,
		stdlib.OptionShouldPing(func(context.Context, stdlib.ShouldPingParams) bool { return false }),
		stdlib.OptionResetSession(func(ctx context.Context, c *pgx.Conn) error {
			ctx, cancel := context.WithTimeout(ctx, pingFor)
			defer cancel()
			if c.Ping(ctx) != nil {
				return driver.ErrBadConn
			}
			return nil
		})))
	s.db.SetMaxOpenConns(maxOpen)
	s.db.SetMaxIdleConns(1)
	s.db.SetConnMaxIdleTime(idle)
}

func (s *service) Close() error { return s.db.Close() }

func (s *service) Claim(root, token, words string, ttl time.Duration) lock.Claim {
	words = strings.ToValidUTF8(strings.ReplaceAll(words, "\x00", "?"), "?") // all else is no text of PostgreSQL
	return &claim{s, root, token, words, ttl.Milliseconds()}
}

func (s *service) Holder(ctx context.Context, root string) (words string, err error) {
	_, err = s.seek(ctx, &words, holderSQL, root)
	return words, err
}

// Now is the time of the database, by which leases end.
func (s *service) Now(ctx context.Context) (now time.Time, err error) {
	err = s.db.QueryRowContext(ctx, "SELECT clock_timestamp()").Scan(&now)
	return now, s.explain(ctx, err)
}

type claim struct {
	*service
	root, token, words string
	ttl                int64 // in milliseconds
}

// Take makes the table if it is not there.
func (c *claim) Take(ctx context.Context) (fence int64, holder string, err error) {
	has, err := c.one(ctx, &fence, takeSQL, c.root, c.token, c.words, c.ttl)
	if pgclient.IsCode(err, pgclient.CodeNoTable) {
		if err = c.create(ctx); err == nil {
			has, err = c.one(ctx, &fence, takeSQL, c.root, c.token, c.words, c.ttl)
		}
	}
	if err != nil || has {
		return fence, "", c.explain(ctx, err)
	}
	holder, err = c.Holder(ctx, c.root)
	return 0, holder, err
}

func (c *claim) Renew(ctx context.Context) (ours bool, err error) {
	return c.seek(ctx, new(int64), renewSQL, c.root, c.token, c.ttl)
}

func (c *claim) Release(ctx context.Context) error {
	_, err := c.seek(ctx, new(int64), releaseSQL, c.root, c.token)
	return err
}

// seek runs a statement that has a row or none. A table that is not there has none.
func (s *service) seek(ctx context.Context, dest any, stmt string, args ...any) (has bool, err error) {
	has, err = s.one(ctx, dest, stmt, args...)
	if pgclient.IsCode(err, pgclient.CodeNoTable) {
		return false, nil
	}
	return has, s.explain(ctx, err)
}

// one runs a statement that has a row or none.
func (s *service) one(ctx context.Context, dest any, stmt string, args ...any) (has bool, err error) {
	stmt = fmt.Sprintf(stmt, s.table())
	err = again(func() error { return s.db.QueryRowContext(ctx, stmt, args...).Scan(dest) })
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// create makes the table, and its schema if that is not there either.
func (s *service) create(ctx context.Context) error {
	return again(func() error {
		_, err := s.db.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS "+s.table()+" "+columns)
		if s.schema == "" || !pgclient.IsCode(err, pgclient.CodeNoSchema) {
			return err
		}
		if _, err = s.db.ExecContext(ctx, "CREATE SCHEMA IF NOT EXISTS "+pgclient.Quote(s.schema)); err == nil {
			_, err = s.db.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS "+s.table()+" "+columns)
		}
		return err
	})
}

// again calls do again if it met another one: where transactions are serializable by default, or where two make the table at once.
func again(do func() error) (err error) {
	for range tries {
		err = do()
		if !pgclient.IsCode(err, "40001", "40P01", "42P06", "42P07", "42710") && !pgclient.IsMade(err) {
			return err
		}
	}
	return err
}

func (s *service) table() string {
	if s.schema == "" {
		return table
	}
	return pgclient.Quote(s.schema) + "." + table
}
