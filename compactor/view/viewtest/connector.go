package viewtest

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
)

// Step is called before and after each call of a database or a file. If it returns an error, the call is not made, or its result is lost.
type Step func(call string) error

// Connector makes step see every call that database/sql makes with the connections of a client. The client must know contexts.
func Connector(inner driver.Connector, step Step) driver.Connector { return &connector{inner, step} }

type connector struct {
	driver.Connector
	step Step
}

func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	var inner driver.Conn
	err := around(c.step, "connect", func() (err error) {
		inner, err = c.Connector.Connect(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &conn{inner, c.step}, nil
}

// around makes a call between two steps.
func around(step Step, what string, call func() error) error {
	if err := step("before " + what); err != nil {
		return err
	}
	if err := call(); err != nil {
		return err
	}
	return step("after " + what)
}

// conn passes all to a connection. That is closed without a step: a process that is killed closes its files, too.
type conn struct {
	driver.Conn
	step Step
}

// Unwrap is the connection of the client, for what database/sql has no calls for.
func (c *conn) Unwrap() driver.Conn { return c.Conn }

func (c *conn) PrepareContext(ctx context.Context, query string) (s driver.Stmt, err error) {
	p, ok := c.Conn.(driver.ConnPrepareContext)
	if !ok {
		return nil, errors.New("viewtest: the client knows no contexts")
	}
	err = around(c.step, "prepare "+query, func() error {
		s, err = p.PrepareContext(ctx, query)
		return err
	})
	if err != nil {
		if s != nil { // what nobody gets, nobody closes; the end of a process does
			s.Close()
		}
		return nil, err
	}
	return &stmt{s, query, c.step}, nil
}

func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (r driver.Result, err error) {
	e, ok := c.Conn.(driver.ExecerContext)
	if !ok {
		return nil, driver.ErrSkip
	}
	err = around(c.step, query, func() error {
		r, err = e.ExecContext(ctx, query, args)
		return err
	})
	return r, err
}

func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (r driver.Rows, err error) {
	q, ok := c.Conn.(driver.QueryerContext)
	if !ok {
		return nil, driver.ErrSkip
	}
	err = around(c.step, query, func() error {
		r, err = q.QueryContext(ctx, query, args)
		return err
	})
	return given(r, err)
}

// given are rows that a caller gets and closes, or nobody.
func given(r driver.Rows, err error) (driver.Rows, error) {
	if err == nil {
		return r, nil
	}
	if r != nil {
		r.Close()
	}
	return nil, err
}

func (*conn) BeginTx(context.Context, driver.TxOptions) (driver.Tx, error) {
	return nil, errors.New("viewtest: a view begins by a statement")
}

func (c *conn) ResetSession(ctx context.Context) error {
	if r, ok := c.Conn.(driver.SessionResetter); ok {
		return r.ResetSession(ctx)
	}
	return nil
}

func (c *conn) IsValid() bool {
	v, ok := c.Conn.(driver.Validator)
	return !ok || v.IsValid()
}

func (c *conn) CheckNamedValue(v *driver.NamedValue) error {
	if n, ok := c.Conn.(driver.NamedValueChecker); ok {
		return n.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

type stmt struct {
	driver.Stmt
	query string
	step  Step
}

func (s *stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (r driver.Result, err error) {
	e, ok := s.Stmt.(driver.StmtExecContext)
	if !ok {
		return nil, fmt.Errorf("viewtest: %T knows no contexts", s.Stmt)
	}
	err = around(s.step, s.query, func() error {
		r, err = e.ExecContext(ctx, args)
		return err
	})
	return r, err
}

func (s *stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (r driver.Rows, err error) {
	q, ok := s.Stmt.(driver.StmtQueryContext)
	if !ok {
		return nil, fmt.Errorf("viewtest: %T knows no contexts", s.Stmt)
	}
	err = around(s.step, s.query, func() error {
		r, err = q.QueryContext(ctx, args)
		return err
	})
	return given(r, err)
}
