package peer

import (
	"os"
	"path/filepath"
	"sync"
)

// grouped is the least that a durable append of one of many goroutines can cost. All waiting records are written to one file
// at once and synced, one group after the other. It does not check or frame records, and is for one process.
type grouped struct {
	f      *os.File
	commit sync.Mutex // held by the leader of a group

	mu      sync.Mutex // guards waiting
	waiting *groupOf
}

// groupOf is what one write and one fsync make durable together.
type groupOf struct {
	text []byte
	done chan struct{} // closed when err stands
	err  error
}

func openGrouped(o Options) (Peer, error) {
	f, err := os.OpenFile(filepath.Join(o.Dir, "group"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	return &grouped{f: f}, err
}

func (g *grouped) Writer() (Append, error) { return g.append, nil }

func (g *grouped) append(record []byte) error {
	g.mu.Lock()
	leads := g.waiting == nil
	if leads {
		g.waiting = &groupOf{done: make(chan struct{})}
	}
	mine := g.waiting
	mine.text = append(mine.text, record...)
	g.mu.Unlock()
	if !leads {
		<-mine.done
		return mine.err
	}
	g.commit.Lock()
	defer g.commit.Unlock()
	g.mu.Lock()
	g.waiting = nil
	g.mu.Unlock()
	if _, mine.err = g.f.Write(mine.text); mine.err == nil {
		mine.err = g.f.Sync()
	}
	close(mine.done)
	return mine.err
}

func (g *grouped) Close() error { return g.f.Close() }
