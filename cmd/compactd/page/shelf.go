package page

import (
	"context"
	"sync"
	"time"

	"github.com/runfold/runfold/cmd/compactd/found"
	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/query"
)

// unusedFor is how long a generation stays open that nobody reads. It is short, as an open file holds the space of one that was swept, and
// the bytes of one that was erased.
const unusedFor = 30 * time.Second

// shelf has the generations that are being read. To open one takes the reading of its footer, so many readers share it.
type shelf struct {
	of compactor.Config

	mu     sync.Mutex // guards books, closed, and the users of books
	books  map[cohort.Token]*book
	closed bool
}

// book is an open generation.
type book struct {
	*compactor.Moment
	Source query.Source
	users  int
	left   *time.Timer // closes it
}

// reading is a book in the hands of one reader, who puts it back.
type reading struct {
	*book
	latest cohort.Generation // the newest one when it was asked for
	shelf  *shelf
	done   func() // what else is to be done when it is put back; nil: nothing
}

// open waits for a turn, and opens what a view is about. The caller calls done.
func (p *Page) open(ctx context.Context, v view) (b *reading, done func(), err error) {
	free, err := p.turn(ctx)
	if err != nil {
		return nil, nil, err
	}
	if b, err = p.look(ctx, v); err != nil {
		free()
		return nil, nil, err
	}
	return b, func() { b.back(); free() }, nil
}

// look opens what a view is about.
func (p *Page) look(ctx context.Context, v view) (*reading, error) {
	if !v.Unfolded {
		return p.shelf.take(ctx, v.At)
	}
	done, err := p.alone(ctx) // it holds in memory what is not folded
	if err != nil {
		return nil, err
	}
	m, err := compactor.Look(ctx, p.Root, true)
	if err != nil {
		done()
		return nil, err
	}
	return &reading{&book{Moment: m, Source: found.SourceOf(m), users: 1}, m.Newest.Generation, &p.shelf, done}, nil
}

// take opens a generation, or the newest one for 0.
func (s *shelf) take(ctx context.Context, g cohort.Generation) (*reading, error) {
	store, err := s.of.Store()
	if err != nil {
		return nil, err
	}
	newest, err := store.Newest()
	if err != nil {
		return nil, store.Doubt(err, 0)
	}
	of := newest
	if g != 0 && g != newest.Generation {
		if of, err = store.Kept(g); err != nil {
			return nil, store.Doubt(err, 0)
		}
	}
	if b := s.find(of); b != nil {
		return &reading{b, newest.Generation, s, nil}, nil
	}
	var m *compactor.Moment
	if g == 0 {
		m, err = compactor.Look(ctx, s.of, false)
	} else {
		m, err = compactor.LookAt(s.of, g)
	}
	if err != nil {
		return nil, err
	}
	b := &book{Moment: m, Source: found.SourceOf(m), users: 1}
	s.put(b)
	return &reading{b, max(newest.Generation, m.Newest.Generation), s, nil}, nil
}

// find is a book that is there already.
func (s *shelf) find(m generation.Manifest) *book {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.books[m.Token]
	if b == nil || m.Generation == 0 || b.Newest.Generation != m.Generation {
		return nil
	}
	b.users++
	if b.left != nil {
		b.left.Stop()
		b.left = nil
	}
	return b
}

// put lets others find a book, unless something is missing of it, or another reader was faster.
func (s *shelf) put(b *book) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.books == nil {
		s.books = map[cohort.Token]*book{}
	}
	if s.books[b.Newest.Token] == nil && b.Newest.Generation != 0 && b.Damage == nil && !s.closed {
		s.books[b.Newest.Token] = b
	}
}

// back puts the book back.
func (r *reading) back() {
	if r.done != nil {
		defer r.done()
	}
	s, b := r.shelf, r.book
	s.mu.Lock()
	defer s.mu.Unlock()
	if b.users--; b.users > 0 {
		return
	}
	if s.books[b.Newest.Token] != b {
		b.Close()
		return
	}
	if s.closed {
		s.drop(b)
		return
	}
	var t *time.Timer
	t = time.AfterFunc(unusedFor, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if b.left == t && b.users == 0 && s.books[b.Newest.Token] == b {
			s.drop(b)
		}
	})
	b.left = t
}

// drop closes a book that nobody reads. It is called under mu.
func (s *shelf) drop(b *book) {
	delete(s.books, b.Newest.Token)
	b.Close()
}

// close closes all that nobody reads; the rest goes when it is put back.
func (s *shelf) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, b := range s.books {
		if b.left != nil {
			b.left.Stop()
		}
		if b.users == 0 {
			s.drop(b)
		}
	}
}
