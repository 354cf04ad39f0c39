package compactor_test

import (
	"fmt"
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
		"gone":    remove,
	} {
		t.Run(name, func(t *testing.T) {
			root := newDamagedRoot(t)
			appendTo(t, root, "c", `{"run_id":"a","stage":"S","v":1}`, `{"run_id":"w","stage":"S","v":1}`, `{"action":"withdraw","run_id":"w"}`, `{"action":"protect","run_id":"a"}`)
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
			for i, line := range e.Unread {
				e.Unread[i], _, _ = strings.Cut(line, "open generation")
			}
			if diff := cmp.Diff(want, e.Unread); diff != "" {
				t.Errorf("not read (-want +got):\n%s", diff)
			}
		})
	}
}
