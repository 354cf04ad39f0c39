package p

import "bytes"

type state struct {
	report int
	a, b   int
	fixed  int
}

type holder struct {
	state *state
	own   int
}

func fill(s *state) error         { s.report = 1; return nil }
func number(n *int) int           { *n = 1; return 0 }
func look(n *int) int             { return *n }
func sum(...int) int              { return 0 }
func each(func() error) error     { return nil }
func (s *state) run() error       { s.report++; return nil }
func (s *state) next() int        { s.report++; s.a++; s.b++; return 1 }
func (s *state) path() int        { return s.report + s.a }
func (s state) peek() int         { return s.report }
func (h *holder) change(int) bool { h.own++; return true }

func twoStatements(s *state) (int, error) {
	err := s.run()
	return s.report, err
}

// The pointer is not changed, only what it points to.
func pointer(s *state) (*state, error) {
	return s, s.run()
}

func pointerGiven(s *state) (*state, error) {
	return s, fill(s)
}

func pointerOfOthers(b *bytes.Buffer) (*bytes.Buffer, error) {
	return b, b.WriteByte(1)
}

// Calls are in order among each other.
func twoCalls(s *state) (int, int) {
	return s.next(), s.next()
}

func callThenRead(s *state) (int, int) {
	return sum(s.report), s.next()
}

// The call writes to another field.
func neverWritten(s *state) (int, error) {
	return s.fixed, s.run()
}

// The call writes to nothing.
func looks(s *state) (int, int) {
	return s.report, s.path()
}

func looksAt() (int, int) {
	n := 1
	return n, look(&n)
}

func another(s, r *state) (int, error) {
	return s.report, r.run()
}

func byValue(s state) (int, int) {
	return s.report, s.peek()
}

func otherField() (int, int) {
	var s state
	return s.a, number(&s.b)
}

func behindOther(h *holder) (int, error) {
	return h.own, h.state.run()
}

func closureReads() (int, error) {
	n := 0
	return n, each(func() error { m := n; m++; return nil })
}

// The closure is made and not called.
func madeOnly() (int, func()) {
	n := 0
	return n, func() { n++ }
}

func madeInLiteral() []func() int {
	n := 0
	grow := func() int { return n }
	return []func() int{grow, func() int { return number(&n) }}
}

// && and || have an order.
func ordered(h *holder, n int) bool {
	return n > 0 && h.own > 0 && h.change(1)
}

func address() (*int, int) {
	n := 1
	return &n, number(&n)
}

func replaced(s *state) {
	s.report = s.next()
}
