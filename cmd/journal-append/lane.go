package main

import (
	"sync"
	"time"
)

// maxIdle is how long a stream stays open for a line that may come. The next line after that begins a new one.
const maxIdle = time.Minute

// lane appends the lines of one root and cohort, in their order. It opens the root with its first line. After an error it opens it
// anew with the next line: what was away may be back.
type lane struct {
	m *multiplex
	target
	a *appender // nil while no stream is open

	mu    sync.Mutex // guards queue and ended
	queue []line
	ended bool
	woken chan struct{} // has one when queue or ended has changed
}

func newLane(m *multiplex, t target) *lane {
	return &lane{m: m, target: t, woken: make(chan struct{}, 1)}
}

// put gives the lane a line. It never waits.
func (l *lane) put(in line) {
	l.mu.Lock()
	l.queue = append(l.queue, in)
	l.mu.Unlock()
	l.wake()
}

// end says that no line comes any more.
func (l *lane) end() {
	l.mu.Lock()
	l.ended = true
	l.mu.Unlock()
	l.wake()
}

func (l *lane) wake() {
	select {
	case l.woken <- struct{}{}:
	default: // it is awake already, and looks again
	}
}

// waiting is the first line that waits, if there is one.
func (l *lane) waiting() (in line, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		return line{}, false
	}
	in = l.queue[0]
	l.queue[0] = line{}
	if l.queue = l.queue[1:]; len(l.queue) == 0 {
		l.queue = nil
	}
	return in, true
}

func (l *lane) isEnded() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ended && len(l.queue) == 0
}

// run answers every line, until the lane has ended.
func (l *lane) run() {
	idle := time.NewTimer(maxIdle)
	defer idle.Stop()
	for {
		if in, ok := l.waiting(); ok {
			l.append(in)
			idle.Reset(maxIdle)
			continue
		}
		if l.isEnded() {
			l.close()
			return
		}
		crowded := l.m.crowded
		if l.a == nil {
			crowded = nil
		}
		select {
		case <-l.woken:
		case <-crowded: // the place is the sender's from here on: it must not wait for our storage
			l.seal()
		case <-idle.C:
			l.close()
		}
	}
}

// append appends a line and those that wait, up to a batch, and answers them.
func (l *lane) append(in line) {
	batch, err := l.batch(in)
	if err == nil {
		batch, err = l.a.write(batch)
	}
	for i := range batch {
		batch[i].mayRepeat = l.a != nil // the root was there: a new stream may succeed where this one has failed
	}
	l.m.answer(batch)
	l.m.room.Release(cost(batch))
	if err != nil {
		l.close()
	}
}

// batch parses lines for one append. If the root does not open, all of them are lost.
func (l *lane) batch(in line) ([]numbered, error) {
	if l.a == nil {
		if err := l.open(); err != nil {
			batch := []numbered{{line: in}}
			for more := true; more && len(batch) < maxBatch; {
				if in, more = l.waiting(); more {
					batch = append(batch, numbered{line: in})
				}
			}
			for i := range batch {
				batch[i].err, batch[i].lost = err, true
			}
			return batch, err
		}
	}
	return l.a.collect(in, l.waiting), nil
}

// open begins a stream. If too many are open, one idle lane gives its place, and ends its own stream.
func (l *lane) open() (err error) {
	select {
	case l.m.streams <- struct{}{}:
	default:
		select {
		case l.m.streams <- struct{}{}:
		case l.m.crowded <- struct{}{}:
		}
	}
	if l.a, err = l.m.open(l.target); err != nil {
		<-l.m.streams
	}
	return err
}

// close ends the stream, if one is open, and gives its place back.
func (l *lane) close() {
	if l.a != nil {
		l.seal()
		<-l.m.streams
	}
}

// seal ends the stream, which is open. What was acknowledged is durable whatever happens here.
func (l *lane) seal() {
	if err := l.a.w.Close(); err != nil {
		l.m.say("%s: %s: the stream has no seal, which loses nothing: %v", l.root, l.cohort, err)
	}
	l.a = nil
}
