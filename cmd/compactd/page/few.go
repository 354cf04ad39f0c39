package page

import (
	"net"
	"sync"
)

// few is a Listener with so many connections at once. Others wait until one of them ends.
type few struct {
	net.Listener
	slots  chan struct{}
	closed chan struct{}
	once   sync.Once
}

// Accept waits for a connection, and before it for a slot.
func (f *few) Accept() (net.Conn, error) {
	select {
	case f.slots <- struct{}{}:
	case <-f.closed:
		return nil, net.ErrClosed
	}
	c, err := f.Listener.Accept()
	if err != nil {
		<-f.slots
		return nil, err
	}
	return &counted{Conn: c, free: func() { <-f.slots }}, nil
}

// Close ends Accept, also while it waits for a slot.
func (f *few) Close() error {
	f.once.Do(func() { close(f.closed) })
	return f.Listener.Close()
}

// counted is a connection that frees its slot when it is closed.
type counted struct {
	net.Conn
	once sync.Once
	free func()
}

func (c *counted) Close() error {
	defer c.once.Do(c.free)
	return c.Conn.Close()
}
