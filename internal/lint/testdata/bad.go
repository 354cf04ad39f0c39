package p

import "bytes"

type state struct {
	report int
	inner  struct{ n int }
	buf    bytes.Buffer
}

type holder struct {
	*state
	own int
}

func fill(s *state) error     { s.report = 1; return nil }
func number(n *int) int       { *n = 1; return 0 }
func sum(...int) int          { return 0 }
func each(func() error) error { return nil }
func (s *state) run() error   { return s.deeper(1) }
func (s *state) deeper(int) error {
	if s.report < 10 {
		s.run()
	}
	s.inner.n++
	s.report++
	s.buf.WriteByte(1)
	return nil
}
func (s *state) next() int     { s.report++; return s.report }
func (s state) copied(int) int { return s.report }

func address() (state, error) {
	var s state
	return s, fill(&s) // want s
}

func addressFirst() (error, state) {
	var s state
	return fill(&s), s // want s
}

func addressOfField() (state, int) {
	var s state
	return s, number(&s.report) // want s
}

func field(s *state) (int, error) {
	return s.report, s.run() // want s.report
}

func fieldOfField(s *state) (int, error) {
	return s.inner.n + 1, s.run() // want s.inner.n
}

func fieldOfOthers(s *state) (bytes.Buffer, error) {
	return s.buf, s.run() // want s.buf
}

func pointerGiven(s *state) (int, error) {
	return s.report, fill(s) // want s.report
}

func star(s *state) (state, error) {
	return *s, fill(s) // want *s
}

func embedded(h *holder) (int, error) {
	return h.report, h.run() // want h.state.report
}

func addressable() (state, error) {
	var s state
	return s, s.run() // want s
}

func foreign() (bytes.Buffer, error) {
	var b bytes.Buffer
	return b, b.WriteByte(1) // want b
}

func closure() (int, error) {
	n := 0
	grow := func() error { n++; return nil }
	return n, grow() // want n
}

func closureAtOnce() (int, int) {
	n := 0
	return n, func() int { n++; return n }() // want n
}

func closureGiven() (int, error) {
	n := 0
	return n, each(func() error { n = 2; return nil }) // want n
}

func closureOfMethod() (int, error) {
	var s state
	return s.report, each(func() error { return s.run() }) // want s.report
}

func methodGiven(s *state) (int, error) {
	return s.report, each(s.run) // want s.report
}

func arguments() int {
	n := 1
	return sum(n, number(&n)) // want n
}

func nested() int {
	n := 1
	return sum(n, sum(1, number(&n))) // want n
}

func operator() int {
	n := 1
	return n + number(&n) // want n
}

func added(s *state) {
	s.report += s.next() // want s.report
}

func appended(list []int) []int {
	drop := func() []int { list = nil; return nil }
	list = append(list, drop()...) // want list
	return list
}

func literal(s *state) []int {
	return []int{s.report, s.next()} // want s.report
}

func assigned(s *state) {
	a, b := s.report, s.next() // want s.report
	_, _ = a, b
}

func declared(s *state) {
	var a, b = s.report, s.next() // want s.report
	_, _ = a, b
}

func indexed(list []int, s *state) {
	list[s.report] = s.next() // want s.report
}

func receiver() int {
	var s state
	return s.copied(s.next()) // want s
}
