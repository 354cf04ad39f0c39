package wandb

import (
	"encoding/json"
	"slices"

	"github.com/runfold/runfold/compactor/intake/tracker"
	"github.com/runfold/runfold/internal/jsonscan"
)

// tree is an object whose members are set one by one, in the order in which they came.
type tree struct {
	names []string
	under map[string]*tree
	value json.RawMessage // of a leaf
	odd   int             // how many NaN and infinities a leaf had
}

// maxPath bounds how many names lead to a value.
const maxPath = 100

func (t *tree) isLeaf() bool { return t.value != nil }

// child is the member of a name, which is made if it is not there. A leaf that is an object becomes its members; any other is dropped.
func (t *tree) child(name string) *tree {
	if value := t.value; t.isLeaf() {
		t.value = nil
		if jsonscan.KindOf(value) == jsonscan.Object {
			for name, value := range jsonscan.Members(value) {
				t.child(name).value = value
			}
		}
	}
	if c, ok := t.under[name]; ok {
		return c
	}
	if t.under == nil {
		t.under = map[string]*tree{}
	}
	c := &tree{}
	t.under[name] = c
	t.names = append(t.names, name)
	return c
}

func (t *tree) set(it item) {
	if len(it.path) > maxPath || len(it.value) == 0 {
		return
	}
	for _, name := range it.path {
		t = t.child(name)
	}
	*t = tree{value: it.value, odd: it.odd}
}

func (t *tree) remove(it item) {
	for _, name := range it.path[:len(it.path)-1] {
		t = t.child(name)
	}
	name := it.path[len(it.path)-1]
	delete(t.under, name)
	t.names = slices.DeleteFunc(t.names, func(n string) bool { return n == name })
}

// oddities are how many NaN and infinities there were in what stands.
func (t *tree) oddities() int {
	n := t.odd
	for _, c := range t.under {
		n += c.oddities()
	}
	return n
}

// json is the tree as JSON.
func (t *tree) json() []byte {
	if t.isLeaf() {
		return t.value
	}
	var f tracker.Fields
	for _, name := range t.names {
		f.JSON(name, t.under[name].json())
	}
	return f.Bytes()
}
