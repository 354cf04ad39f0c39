package compactor_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/compactor"
)

// TestDamagedWithdrawnIndex: where only the file of the withdrawn rows is damaged, Check names it and nothing else, and Explain still finds what
// stands in the index.
func TestDamagedWithdrawnIndex(t *testing.T) {
	for name, plant := range map[string]func(t *testing.T, path string){
		"cut":     func(t *testing.T, path string) { change(t, path, cut) },
		"flipped": func(t *testing.T, path string) { change(t, path, flip(-5)) },
		"page": func(t *testing.T, path string) {
			change(t, path, func(b []byte) []byte { return slices.Concat(b[:4096], bytes.Repeat([]byte{0xff}, 100), b[4196:]) })
		},
		"gone": remove,
	} {
		t.Run(name, func(t *testing.T) {
			root := newDamagedRoot(t)
			appendTo(t, root, "c", `{"run_id":"a","stage":"S","v":1}`, `{"run_id":"a","stage":"T","v":1}`, `{"action":"withdraw","run_id":"a","stage":"T"}`, `{"action":"protect","run_id":"a","stage":"S"}`)
			foldNow(t, compactor.Config{Root: root})
			m := newestOn(t, root)
			plant(t, root.Data(m.Withdrawn.Index.Name))

			if got := damage(t, root); strings.Contains(got, "\n") || !strings.HasPrefix(got, "data/"+m.Withdrawn.Index.Name+": ") {
				t.Errorf("check says\n%s\nwant one line on the withdrawn rows", got)
			}
			e := explain(t, root, "a")
			if w := e.Keys[0].Writes[0]; !w.Current || w.First != 1 {
				t.Errorf("a row of the index: %+v, not read %q", w, e.Unread)
			}
			for _, a := range e.Keys[0].Actions {
				if !a.InForce {
					t.Errorf("an action that was folded: %+v", a)
				}
			}
			want := []string{fmt.Sprintf("generation %d, the withdrawn rows: ", m.Generation)}
			for i := range e.Unread {
				e.Unread[i] = e.Unread[i][:min(len(e.Unread[i]), len(want[0]))]
			}
			if diff := cmp.Diff(want, e.Unread); diff != "" {
				t.Errorf("not read (-want +got):\n%s", diff)
			}
		})
	}
}

// TestExplainDamagedActions: damage of the actions does not hide in which generations the rows are.
func TestExplainDamagedActions(t *testing.T) {
	root := newDamagedRoot(t)
	appendTo(t, root, "c", `{"run_id":"a","stage":"S","v":1}`, `{"run_id":"a","stage":"T","v":1}`, `{"action":"withdraw","run_id":"a","stage":"T"}`)
	foldNow(t, compactor.Config{Root: root})
	change(t, root.Data(newestOn(t, root).Withdrawn.Actions.Name), flip(20))
	e := explain(t, root, "a")
	if len(e.Keys) != 2 || !e.Keys[0].Writes[0].Current || !e.Keys[1].Writes[0].Withdrawn {
		t.Errorf("explain finds %+v", e.Keys)
	}
	if len(e.Unread) != 1 || !strings.HasPrefix(e.Unread[0], "generation 1, the actions: ") {
		t.Errorf("not read %q", e.Unread)
	}
}
