package page

import (
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/runfold/runfold/cmd/compactd/found"
	"github.com/runfold/runfold/internal/jsonscan"
	"github.com/runfold/runfold/internal/terminal"
)

// mostCompared is how many runs are compared at most.
const mostCompared = 20

// differences is the page that compares runs.
type differences struct {
	chrome
	View     view
	Compared []string // keys
	More     bool     // runs may be added
	Runs     []comparedRun
	Differ   []comparedLine
	Equal    []comparedLine
}

type comparedRun struct{ Key, Link, Without string }

type comparedLine struct {
	Name  string
	Cells []cell
}

// compare shows in what runs differ.
func (p *Page) compare(w http.ResponseWriter, r *http.Request) error {
	v, err := viewOf(r)
	if err != nil {
		return err
	}
	var keys []string
	for _, k := range v.Keys {
		if k != "" && !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	switch {
	case len(keys) < 2:
		return usage(errors.New("two runs or more are compared: tick them in the list"))
	case len(keys) > mostCompared:
		return usage(fmt.Errorf("%d runs are too many to compare: %d at most", len(keys), mostCompared))
	}
	b, done, err := p.open(r.Context(), v)
	if err != nil {
		return err
	}
	defer done()
	var runs []*found.Run
	for _, k := range keys {
		f, err := find(r.Context(), b, v, k)
		if err != nil {
			return err
		}
		runs = append(runs, f)
	}
	c, err := found.CompareRuns(runs)
	if err != nil {
		return err
	}
	d := &differences{chrome: p.chrome(v, b, "/compare"), View: v, Compared: c.Keys, More: len(c.Keys) < mostCompared}
	d.Title = fmt.Sprintf("Compare %d runs", len(runs))
	for i, k := range c.Keys {
		without := v
		without.Keys = slices.Delete(slices.Clone(c.Keys), i, i+1)
		run := comparedRun{Key: k, Link: v.run(k)}
		if len(c.Keys) > 2 {
			run.Without = without.at("/compare")
		}
		d.Runs = append(d.Runs, run)
	}
	for _, row := range c.Rows {
		line := comparedLine{Name: terminal.Field(row.Name)}
		for _, value := range row.Values {
			line.Cells = append(line.Cells, comparedCell(found.Field{Name: row.Name, Value: value}))
		}
		if row.Differ {
			d.Differ = append(d.Differ, line)
		} else {
			d.Equal = append(d.Equal, line)
		}
	}
	return render(w, r, http.StatusOK, "compare.html", d)
}

func comparedCell(f found.Field) cell {
	if f.Value == nil {
		return cell{Null: true}
	}
	text := f.Text()
	short, was := cut(text, 10*longestCell)
	k := jsonscan.KindOf(f.Value)
	c := cell{Text: short, Number: k == jsonscan.Int || k == jsonscan.Double}
	if was {
		c.Full = "The whole value is on the page of the run."
	}
	return c
}
