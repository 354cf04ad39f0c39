package viewtest

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/compactor/view"
)

var (
	viewSeed  = flag.Uint64("view-seed", 0, "seed of the random history; 0 chooses one")
	viewFolds = flag.Int("view-folds", 60, "how many commits the random history has")
)

// testRandom has a history at random, and two views: one is synced often, the other one now and then. After each sync the view is the
// generation, cell by cell.
func testRandom(t *testing.T, place func(testing.TB) Place) {
	seed := *viewSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-view-seed %d", seed)
	h := chance{root: newRoot(t, cohort.Settings{}), rnd: rand.New(rand.NewPCG(seed, 14))}
	often, seldom := place(t), place(t)
	hows, commits := map[view.How]int{}, *viewFolds
	if testing.Short() || underRace {
		commits /= 4
	}
	for i := range commits {
		what := h.next()
		if h.rnd.IntN(3) > 0 {
			hows[h.sync(often).How]++
		}
		if h.rnd.IntN(12) == 0 {
			hows[h.sync(seldom).How]++
		}
		if t.Failed() {
			t.Fatalf("-view-seed %d: commit %d: %s", seed, i, what)
		}
	}
	h.sync(often)
	h.sync(seldom)
	t.Logf("figure: %d commits at random, synced %v", commits, hows)
}

// chance makes commits at random.
type chance struct {
	root
	rnd *rand.Rand
}

// next changes the root once.
func (h chance) next() (what string) {
	switch n := h.rnd.IntN(20); {
	case n < 12 || h.newest().Generation == 0:
		var lines []string
		for range 1 + h.rnd.IntN(8) {
			lines = append(lines, h.record())
		}
		h.fold(lines...)
		return fmt.Sprint("fold ", lines)
	case n < 15:
		a := [...]cohort.Action{cohort.Withdraw, cohort.Withdraw, cohort.Undo}[h.rnd.IntN(3)]
		run := h.run()
		h.act(a, run)
		return fmt.Sprintf("%v %s", a, run)
	case n < 17:
		kind := [...]index.Kind{index.Bool, index.Int, index.Double, index.String}[h.rnd.IntN(4)]
		c := index.Column{Name: h.field(), Kind: kind}
		columns(compactor.ColumnChange{Declare: []index.Column{c}})(h.root)
		return fmt.Sprintf("declare %s as %v", c.Name, kind)
	case n < 18:
		m := h.newest()
		if len(m.Schema) == 0 {
			return "nothing"
		}
		name := m.Schema[h.rnd.IntN(len(m.Schema))].Name
		columns(compactor.ColumnChange{Drop: []string{name}})(h.root)
		return "drop " + name
	case n < 19:
		run := h.run()
		if _, err := compactor.Erase(context.Background(), h.config(), compactor.Erasure{RunID: run, Apply: true}); err != nil {
			h.Logf("erase %s: %v", run, err) // there is no such run
		}
		return "erase " + run
	}
	h.fold()
	return "fold nothing"
}

// act acts on the rows of a run, if it has some.
func (h chance) act(a cohort.Action, run string) {
	all, err := compactor.Standings(context.Background(), h.config(), compactor.AllRows, compactor.AllRows)
	if err != nil {
		h.Fatal(err)
	}
	var rows []compactor.Standing
	for _, s := range all {
		if s.RunID == run {
			rows = append(rows, s)
		}
	}
	if len(rows) > 0 {
		if _, err := compactor.ActAndFold(context.Background(), h.config(), a, "why", rows); err != nil {
			h.Fatal(err)
		}
	}
}

func (h chance) run() string { return fmt.Sprint("run-", h.rnd.IntN(15)) }

func (h chance) field() string { return fmt.Sprint("f", h.rnd.IntN(6)) }

// record is one of few runs, with values of any type in few fields.
func (h chance) record() string {
	line := fmt.Sprintf(`{"run_id":%q,"stage":"%c"`, h.run(), 'S'+rune(h.rnd.IntN(2)))
	seen := map[string]bool{}
	for range h.rnd.IntN(5) {
		name := h.field()
		if seen[name] {
			continue
		}
		seen[name] = true
		values := [...]string{"true", "7", "-1", "0.5", "1e3", "2.0", "9007199254740993", "99999999999999999999", `"text"`, `"7"`, `""`, "[1, 2]", `{"a":1}`, "null"}
		line += fmt.Sprintf(`,%q:%s`, name, values[h.rnd.IntN(len(values))])
	}
	if h.rnd.IntN(3) == 0 {
		line += fmt.Sprintf(`,"metrics":{"m":%g},"tags":{"t":%d}`, h.rnd.Float64(), h.rnd.IntN(3))
	}
	if h.rnd.IntN(4) == 0 {
		line += `,"snapshot":{"w":[1.0, 2]}`
	}
	return line + "}"
}
