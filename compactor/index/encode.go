package index

import (
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/parquet-go/parquet-go"

	"github.com/runfold/runfold/cohort"
)

// The encoding of records is most of the work of a large fold. So the puts above all old rows, which are all puts in nearly
// every fold, are encoded by all cores. One goroutine loads records in seq order, others encode
// a few at a time, and the caller writes them in their order. All goroutines end before putRest returns.

const (
	// chunkRows are encoded at once. Fewer puts than a few chunks are not worth the goroutines.
	chunkRows = 128
	parallel  = 4 * chunkRows
	// chunkJSON is enough memory for most chunks.
	chunkJSON = chunkRows << 10
)

// rowChunk is a part of the puts, from loading to writing. It is used again for another part.
type rowChunk struct {
	puts   []Put
	recs   []cohort.Record // their bytes lie in memory
	memory cohort.Memory
	cells  []parquet.Value
	rows   []parquet.Row // of cells
	extras extras
	err    error         // of loading
	failed error         // of encoding
	done   chan struct{} // closed when it is encoded
}

// putRest writes all puts that are left.
func (m *merger) putRest() error {
	if len(m.puts) < parallel {
		return m.putBelow(-1)
	}
	puts := m.puts
	m.puts = nil
	stop := make(chan struct{})
	var all sync.WaitGroup
	defer all.Wait()
	defer close(stop)
	workers := runtime.GOMAXPROCS(0)
	ordered, todo := make(chan *rowChunk, 2*workers), make(chan *rowChunk, 2*workers)
	written := make(chan *rowChunk, 2*workers)
	all.Go(func() {
		defer close(ordered)
		defer close(todo)
		m.feed(puts, ordered, todo, written, stop)
	})
	for range workers {
		all.Go(func() {
			e := newEncoder(m.encoder.layout)
			for c := range todo {
				c.encode(e)
			}
		})
	}
	for c := range ordered {
		if err := m.writeChunk(c); err != nil {
			return err
		}
		select {
		case written <- c:
		default:
		}
	}
	return nil
}

// feed loads records until all are loaded, one fails, or the caller has stopped.
func (m *merger) feed(puts []Put, ordered, todo chan<- *rowChunk, written <-chan *rowChunk, stop <-chan struct{}) {
	for len(puts) > 0 {
		var c *rowChunk
		select {
		case c = <-written:
		default:
			c = &rowChunk{memory: cohort.NewMemory(chunkJSON)}
		}
		n := min(chunkRows, len(puts))
		c.begin(puts[:n])
		puts = puts[n:]
		for _, p := range c.puts {
			r, err := p.record(m.load)
			if err != nil {
				c.err = fmt.Errorf("put %q: %w", p.Key, err)
				break
			}
			c.recs = append(c.recs, c.memory.Keep(r))
		}
		select {
		case ordered <- c:
		case <-stop:
			return
		}
		select {
		case todo <- c:
		case <-stop:
			return
		}
		if c.err != nil {
			return
		}
	}
}

// begin empties the chunk for other puts.
func (c *rowChunk) begin(puts []Put) {
	c.puts, c.recs, c.cells, c.rows = puts, c.recs[:0], c.cells[:0], c.rows[:0]
	c.memory.Reset()
	c.extras, c.err, c.failed, c.done = nil, nil, nil, make(chan struct{})
}

func (c *rowChunk) encode(e *encoder) {
	defer close(c.done)
	defer guardWriting(&c.failed) // a panic in a goroutine of ours would end the whole process
	e.extras = extras{}
	c.cells = slices.Grow(c.cells, len(c.recs)*e.layout.width())
	for i, r := range c.recs {
		from := len(c.cells)
		c.cells = e.encode(c.cells, c.puts[i], r)
		c.rows = append(c.rows, c.cells[from:len(c.cells):len(c.cells)])
	}
	c.extras = e.extras
}

func (m *merger) writeChunk(c *rowChunk) error {
	<-c.done
	if c.failed != nil {
		return c.failed
	}
	m.encoder.extras.addAll(c.extras)
	for i, r := range c.rows {
		if err := m.out.add(true, func(dst parquet.Row) (parquet.Row, error) { return append(dst, r...), nil }); err != nil {
			return fmt.Errorf("put %q: %w", c.puts[i].Key, err)
		}
	}
	return c.err
}
