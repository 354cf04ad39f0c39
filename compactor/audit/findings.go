package audit

import (
	"fmt"
	"slices"
	"strings"

	"github.com/runfold/runfold/internal/durable"
)

// damage tells of damage once for each path in data/: what else is wrong with such a file follows from it.
func (c *checker) damage(path, format string, args ...any) {
	if c.bad[path] || c.isUnseen(path, args) {
		return
	}
	c.yield(Problem{c.Root.Rel(path), strings.TrimPrefix(fmt.Sprintf(format, args...), path+": "), true})
}

// isUnseen tells whether one of these is an error that says nothing of the bytes at a path, and notes that.
func (c *checker) isUnseen(path string, args []any) bool {
	for _, arg := range args {
		if err, ok := arg.(error); ok {
			if err = c.Doubt(err, c.since); durable.IsAway(err) {
				c.unseen(path, "%v", err)
				c.bad[path] = true // what follows from it says nothing of the bytes, either
				return true
			}
		}
	}
	return false
}

func (c *checker) unseen(path, format string, args ...any) {
	c.done.Unseen++
	c.note(path, format+"; nothing is damaged as far as known: check again later", args...)
}

// cause is one thing that is wrong in many places.
type cause struct {
	kind        string // the format of its words
	path, first string
	n           int // how often it was met
	paths       map[string]bool
}

// among is damage that may come in thousands: tellCauses tells of each kind once, with the first of its places.
func (c *checker) among(path, format string, args ...any) {
	if c.bad[path] {
		return
	}
	i := slices.IndexFunc(c.causes, func(k *cause) bool { return k.kind == format })
	if i < 0 {
		i = len(c.causes)
		c.causes = append(c.causes, &cause{kind: format, path: path, first: fmt.Sprintf(format, args...), paths: map[string]bool{}})
	}
	c.causes[i].n++
	c.causes[i].paths[path] = true
}

func (c *checker) tellCauses() {
	for _, k := range c.causes {
		more := ""
		switch {
		case len(k.paths) > 1:
			more = fmt.Sprintf("; the same %d times more, in %d files in all", k.n-1, len(k.paths))
		case k.n > 1:
			more = fmt.Sprintf("; the same %d times more in this file", k.n-1)
		}
		c.damage(k.path, "%s%s", k.first, more)
	}
	c.causes = nil
}

func (c *checker) note(path, format string, args ...any) {
	c.yield(Problem{c.Root.Rel(path), fmt.Sprintf(format, args...), false})
}
