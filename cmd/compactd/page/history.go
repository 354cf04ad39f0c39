package page

import (
	"cmp"
	"fmt"
	"net/http"
	"strconv"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/internal/terminal"
)

// generationsShown is how many generations a page lists.
const generationsShown = 100

// history is the page of generations.
type history struct {
	chrome
	Commits []commitShown
	More    string
}

type commitShown struct {
	Number, At, Verb, By, Program, Changed string
	Rows                                   string
	Bad                                    string
	Void                                   bool
	Runs, Files                            string
}

// generations lists the generations that are kept.
func (p *Page) generations(w http.ResponseWriter, r *http.Request) error {
	v, err := viewOf(r)
	if err != nil {
		return err
	}
	before, err := number(r.URL.Query(), "before", 0, 1, 1<<62)
	if err != nil {
		return err
	}
	done, err := p.turn(r.Context())
	if err != nil {
		return err
	}
	defer done()
	store, err := p.Root.Store()
	if err != nil {
		return err
	}
	h := &history{chrome: chrome{Title: "Generations", Section: "/generations", Root: string(p.Root.Root), Every: v.Every}}
	for c, err := range store.History() {
		if err != nil {
			return store.Doubt(err, 0)
		}
		if err := r.Context().Err(); err != nil {
			return err
		}
		if before != 0 && c.Generation >= cohort.Generation(before) {
			continue
		}
		if len(h.Commits) == generationsShown {
			h.More = "/generations?before=" + h.Commits[generationsShown-1].Number
			break
		}
		h.Commits = append(h.Commits, commitOf(c))
	}
	return render(w, r, http.StatusOK, "generations.html", h)
}

func commitOf(c generation.Commit) commitShown {
	s := commitShown{Number: generationText(c.Generation)}
	if c.Err != nil {
		s.Bad = terminal.Line(c.Unreadable)
		return s
	}
	s.At, s.Verb, s.Program, s.Rows, s.Void = shortTime(c.CreatedAt), string(cmp.Or(c.Verb, "not known")), c.Program, count(c.Rows), c.Void
	s.By = cmp.Or(c.User, "?") + "@" + c.Host + " pid " + strconv.Itoa(c.PID)
	if c.Lock != nil {
		s.By += ", lock " + c.Lock.String()
	}
	s.Changed = c.WhatChanged()
	if !c.Void {
		s.Runs, s.Files = view{At: c.Generation}.at("/"), view{At: c.Generation}.at("/files/")
	}
	return s
}

// state is the page of the status.
type state struct {
	chrome
	Status   audit.Status
	Facts    []fact
	Wrong    []string
	Waits    int64
	Unsealed []string
	More     int
}

type fact struct{ Name, Text string }

// status shows what waits, and what is wrong.
func (p *Page) status(w http.ResponseWriter, r *http.Request) error {
	v, err := viewOf(r)
	if err != nil {
		return err
	}
	done, err := p.alone(r.Context()) // it reads all that is not folded yet
	if err != nil {
		return err
	}
	defer done()
	s, err := audit.ReadStatus(r.Context(), p.Root)
	if err != nil {
		return err
	}
	st := &state{chrome: chrome{Title: "Status", Section: "/status", Root: string(p.Root.Root), Every: v.Every, Again: again(v).at("/status")}, Status: s}
	st.tell()
	return render(w, r, http.StatusOK, "status.html", st)
}

// tell puts the status into words.
func (st *state) tell() {
	s := st.Status
	add := func(name, format string, args ...any) {
		st.Facts = append(st.Facts, fact{name, terminal.Line(fmt.Sprintf(format, args...))})
	}
	add("Root", "%s", string(s.Root))
	add("Root id", "%s", s.RootID)
	if s.Generation == 0 {
		add("Generation", "none: never folded")
	} else {
		by := s.FoldedBy
		if s.Lock != nil {
			by += ", lock " + s.Lock.String()
		}
		add("Generation", "%d, folded at %s by %s", s.Generation, s.FoldedAt, by)
		add("Rows", "%s", count(s.Rows))
		if !s.Published && len(s.Damaged) == 0 && len(s.Unseen) == 0 {
			add("Public files", "of an earlier generation, or not all there: the next fold publishes this one")
		}
		add("History", "generations that are kept: %d; only for those before the newest: %s", s.Generations, size(s.HistoryBytes))
		if s.Actions > 0 {
			add("Withdrawn", "%s rows; %s actions were folded so far", count(s.Withdrawn), count(s.Actions))
		}
		add("Columns", "%d; values in _extra that no column holds: %s", s.Columns, count(s.InExtra.Values()))
		for _, line := range s.InExtra.Lines() {
			add("In _extra", "%s", line)
		}
	}
	if s.Narrow > 0 {
		add("Narrow key", "%s records gave way to others of their key with another cohort, target, view, symbol or model_family", count(s.Narrow))
	}
	if s.Holder != "" {
		add("Lock", "%s", s.Holder)
	}
	if s.Delta != nil {
		add("Delta table", "%s", s.Delta.String())
	}
	st.wrong()
	for _, c := range s.Cohorts {
		st.Waits += c.UnfoldedRecords
	}
	const most = 20
	for i, u := range s.Unsealed {
		if i == most {
			st.More = len(s.Unsealed) - most
			break
		}
		st.Unsealed = append(st.Unsealed, terminal.Line(u.Stream+": "+u.Text()))
	}
}

// wrong lists what somebody should look at.
func (st *state) wrong() {
	s := st.Status
	add := func(format string, args ...any) {
		st.Wrong = append(st.Wrong, terminal.Line(fmt.Sprintf(format, args...)))
	}
	for _, d := range s.Damaged {
		add("damage: %s", d.String())
	}
	for _, d := range s.Unseen {
		add("not seen: %s", d.String())
	}
	for _, c := range s.Cohorts {
		if c.Damaged > 0 {
			add("cohort %s: %d streams are damaged", c.Cohort, c.Damaged)
		}
		if n := c.Unreadable - c.Damaged; n > 0 {
			add("cohort %s: %d streams cannot be read", c.Cohort, n)
		}
		if c.Unseen > 0 {
			add("cohort %s: %d streams are not seen: the storage does not answer, or shows an old state", c.Cohort, c.Unseen)
		}
	}
	if s.Ahead != nil {
		add("a record of host %s has the time %s, which was ahead of the storage: stream %s", s.Ahead.Host, cohort.FormatTime(s.Ahead.Stamp.Time()), s.Ahead.Stream)
	}
	if s.Quarantine > 0 {
		add("%d damaged places and streams are in quarantine/", s.Quarantine)
	}
	if s.Stuck > 0 {
		add("%d streams are folded, and a fold had no right to move them away", s.Stuck)
	}
}
