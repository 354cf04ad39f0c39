package peer

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

// ErrNoDSN says that PostgreSQL is measured only where somebody runs one.
var ErrNoDSN = errors.New("no -dsn is given")

// postgresDB is PostgreSQL, a connection for each goroutine, one insert a transaction, synchronous_commit=on.
type postgresDB struct {
	o     Options
	conns []*pgx.Conn
}

func connect(o Options) (*pgx.Conn, error) {
	if o.DSN == "" {
		return nil, ErrNoDSN
	}
	c, err := pgx.Connect(context.Background(), o.DSN)
	if err != nil {
		return nil, err
	}
	_, err = c.Exec(context.Background(), "set synchronous_commit = on")
	return c, err
}

func postgresTable(o Options) error {
	c, err := connect(o)
	if err != nil {
		return err
	}
	defer c.Close(context.Background())
	_, err = c.Exec(context.Background(), "drop table if exists runfold_bench")
	if err == nil {
		_, err = c.Exec(context.Background(), "create table runfold_bench (id bigint generated always as identity primary key, record text not null)")
	}
	return err
}

func openPostgres(o Options) (Peer, error) {
	if o.DSN == "" {
		return nil, ErrNoDSN
	}
	return &postgresDB{o: o}, nil
}

func (p *postgresDB) Writer() (Append, error) {
	c, err := connect(p.o)
	if err != nil {
		return nil, err
	}
	p.conns = append(p.conns, c)
	return func(record []byte) error {
		_, err := c.Exec(context.Background(), "insert into runfold_bench (record) values ($1)", string(record))
		return err
	}, nil
}

func (p *postgresDB) Close() error {
	var err error
	for _, c := range p.conns {
		err = errors.Join(err, c.Close(context.Background()))
	}
	return err
}
