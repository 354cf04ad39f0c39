package peer

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/gofrs/flock"
	"github.com/tidwall/wal"
)

// perWriter opens a file of its own for each goroutine of each process.
type perWriter struct {
	o    Options
	open func(name string) (Append, func() error, error)

	mu    sync.Mutex // guards close
	close []func() error
}

func (p *perWriter) Writer() (Append, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a, end, err := p.open(filepath.Join(p.o.Dir, fmt.Sprintf("writer-%d-%d", p.o.Writer, len(p.close))))
	p.close = append(p.close, end)
	return a, err
}

func (p *perWriter) Close() error {
	var err error
	for _, end := range p.close {
		err = errors.Join(err, end())
	}
	return err
}

// openRaw is the least that a durable append can cost: a write to a file of one's own, and fsync.
func openRaw(o Options) (Peer, error) {
	return &perWriter{o: o, open: func(name string) (Append, func() error, error) {
		f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
		if err != nil {
			return nil, nil, err
		}
		return func(record []byte) error {
			if _, err := f.Write(record); err != nil {
				return err
			}
			return f.Sync()
		}, f.Close, nil
	}}, nil
}

// openWAL is a bare tidwall/wal for each goroutine, which syncs each write.
func openWAL(o Options) (Peer, error) {
	return &perWriter{o: o, open: func(name string) (Append, func() error, error) {
		l, err := wal.Open(name, nil)
		if err != nil {
			return nil, nil, err
		}
		n := uint64(0)
		return func(record []byte) error {
			n++
			return l.Write(n, record)
		}, l.Close, nil
	}}, nil
}

// naive is what runfold replaces: lock, read the whole file, add the record, replace the file. It gets slower
// with every record.
type naive struct{ o Options }

func openNaive(o Options) (Peer, error) { return naive{o}, nil }

func (naive) Close() error { return nil }

func (n naive) Writer() (Append, error) {
	name := filepath.Join(n.o.Dir, "snapshot_index.json")
	return func(record []byte) (err error) {
		lock := flock.New(name + ".lock")
		if err := lock.Lock(); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, lock.Close()) }()
		old, err := os.ReadFile(name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return replace(name, bytes.Join([][]byte{old, record}, []byte("\n")))
	}, nil
}

func replace(name string, data []byte) error {
	f, err := os.Create(name + ".tmp")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(name+".tmp", name); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
