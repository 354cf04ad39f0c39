// Package page is what "compactd serve" shows in a browser: the runs of a root, one run, what differs between runs, charts, the generations,
// the status, and the two public files.
//
// It only reads. All that comes from records is text: package html/template escapes it, what does not show as itself is escaped as on a
// terminal, and the Content-Security-Policy of every answer lets no script but ours run, whatever stands in a page. A page works
// without JavaScript, and all of its state stands in its address, so that an address can be handed on.
//
// A Page is an http.Handler. Serve adds the limits that a server needs.
package page

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
)

// Config says what is shown, and to whom.
type Config struct {
	// Root says which root. Its Notify is called by several goroutines.
	Root compactor.Config
	// Token must come with each request. If empty, none is needed.
	Token string
	// Hosts are names by which the server may be called, besides localhost and every IP address. Others are refused, as a page of a stranger
	// can give itself the address of this machine under a name of its own.
	Hosts []string
	// QueryTime is how long an answer may take. If zero, 30 s.
	QueryTime time.Duration
	// Queries is how many questions are answered at once; others wait. If zero, two for each core.
	Queries int
	// Failed is called with each error that is not the reader's, by several goroutines. If nil, they are dropped.
	Failed func(error)
	// Now gives the time that "since" counts from. If nil, time.Now.
	Now func() time.Time
}

func (c Config) withDefaults() Config {
	c.QueryTime = cmp.Or(c.QueryTime, 30*time.Second)
	c.Queries = cmp.Or(c.Queries, 2*runtime.GOMAXPROCS(0))
	if c.Failed == nil {
		c.Failed = func(error) {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Page answers requests. Call Close when it is not needed any more.
type Page struct {
	Config
	shelf shelf
	slots chan struct{} // one for each question that is being answered
	deep  chan struct{} // one for a question that needs much memory
	// exports has one for each list that is being sent.
	exports chan struct{}
	mux     *http.ServeMux
}

// New makes the page of a root, which need not be there yet.
func New(cfg Config) *Page {
	p := &Page{Config: cfg.withDefaults()}
	p.shelf.of = p.Root
	p.slots, p.deep, p.exports = make(chan struct{}, p.Queries), make(chan struct{}, 1), make(chan struct{}, exports)
	p.mux = http.NewServeMux()
	for pattern, show := range map[string]shown{
		"/{$}":           p.runs,
		"/run":           p.run,
		"/run.json":      p.runJSON,
		"/compare":       p.compare,
		"/chart":         p.chart,
		"/generations":   p.generations,
		"/status":        p.status,
		"/files/{name}":  p.file,
		"/files/{$}":     p.files,
		"/static/{name}": static,
		"/":              func(http.ResponseWriter, *http.Request) error { return errNoPage },
	} {
		p.mux.HandleFunc(pattern, p.answer(p.QueryTime, show))
	}
	p.mux.HandleFunc("/runs.csv", p.answer(exportTime, p.export))
	return p
}

// Close closes what is open of the root.
func (p *Page) Close() { p.shelf.close() }

// ServeHTTP answers a request.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	protect(w.Header())
	switch err := p.admit(w, r); {
	case errors.Is(err, errAnswered):
	case err != nil:
		p.refuse(w, r, err)
	default:
		p.mux.ServeHTTP(w, r)
	}
}

// shown answers a request, or says why not.
type shown func(w http.ResponseWriter, r *http.Request) error

// answer bounds the time of an answer, and shows why there is none.
func (p *Page) answer(within time.Duration, show shown) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, stop := context.WithTimeout(r.Context(), within)
		defer stop()
		defer p.survive(w, r)
		err := show(w, r.WithContext(ctx))
		for try := 0; errors.Is(err, generation.ErrConflict) && try < mostSwept && ctx.Err() == nil; try++ { // what it read was swept: the newest, or why not
			err = show(w, r.WithContext(ctx))
		}
		if err != nil {
			p.refuse(w, r, err)
		}
	}
}

// survive keeps a mistake of ours from ending more than one answer. It tells of it, which the server would not.
func (p *Page) survive(w http.ResponseWriter, r *http.Request) {
	switch v := recover(); v {
	case nil:
	case http.ErrAbortHandler:
		panic(v)
	default:
		p.refuse(w, r, fmt.Errorf("internal error: %v\n%s", v, debug.Stack()))
	}
}

// mostSwept is how often an answer begins again because the generation that it reads was swept.
const mostSwept = 5

// turn waits until a question may be asked. The caller calls done.
func (p *Page) turn(ctx context.Context) (done func(), err error) { return take(ctx, p.slots) }

// alone waits until no other question that needs much memory is being answered.
func (p *Page) alone(ctx context.Context) (done func(), err error) { return take(ctx, p.deep) }

func take(ctx context.Context, slots chan struct{}) (done func(), err error) {
	select {
	case slots <- struct{}{}:
		return func() { <-slots }, nil
	case <-ctx.Done():
		return nil, errBusy
	}
}

// The limits of a connection. Downloads have more time as long as they go on.
const (
	headerTime  = 10 * time.Second
	writeBeyond = 30 * time.Second // beyond QueryTime
	idleTime    = 2 * time.Minute
	headerBytes = 64 << 10
	connections = 1000 // a flood of them must not take the files that a fold needs
	endWithin   = 5 * time.Second
)

// Serve answers at l until ctx ends. What is being answered then has a few seconds to end.
func (p *Page) Serve(ctx context.Context, l net.Listener) error {
	s := &http.Server{
		Handler: p, ReadHeaderTimeout: headerTime, ReadTimeout: headerTime, WriteTimeout: p.QueryTime + writeBeyond, IdleTimeout: idleTime,
		MaxHeaderBytes: headerBytes, ErrorLog: dropped,
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		<-ctx.Done()
		within, stop := context.WithTimeout(context.WithoutCancel(ctx), endWithin)
		defer stop()
		if s.Shutdown(within) != nil {
			s.Close() // a reader that does not read must not hold the process
		}
	}()
	err := s.Serve(&few{Listener: l, slots: make(chan struct{}, connections), closed: make(chan struct{})})
	if errors.Is(err, http.ErrServerClosed) {
		<-ended
		return nil
	}
	return err
}

// IsLoopback tells whether an address to listen at can only be reached from this machine.
func IsLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
