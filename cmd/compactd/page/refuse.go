package page

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/runfold/runfold/cmd/compactd/found"
	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/query"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/terminal"
	"github.com/runfold/runfold/journal"
)

var (
	errNoPage = &statusError{http.StatusNotFound, "there is no such page"}
	errBusy   = &statusError{http.StatusServiceUnavailable, "too many others ask at this moment: try again"}
	errSlow   = &statusError{http.StatusServiceUnavailable, "this question takes too long, and was ended: narrow it down"}
)

// usage is an error of what was asked for.
func usage(err error) error { return &usageError{err} }

type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

// refusal is what a page says instead of an answer.
type refusal struct {
	chrome
	Code    int
	Title   string
	Lines   string // the error, of several lines perhaps
	Hint    string
	Link    string // where it goes on, if that is known
	Instead string // what Link leads to
	Several []keyLink
	Token   bool        // one is to be given
	Asked   [][2]string // what else the address has, names and values
}

// refuse shows why there is no answer.
func (p *Page) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		return // nobody listens
	}
	s := refusalOf(r, err)
	if s.Code >= http.StatusInternalServerError && !errors.Is(err, errBusy) && !errors.Is(err, context.DeadlineExceeded) {
		p.Failed(err)
	}
	if s.Code == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "5")
	}
	if strings.HasPrefix(s.Lines, "internal error: ") {
		s.Lines = "a mistake in this program, of which its log tells more"
	}
	s.chrome = chrome{Title: s.Title}
	if err := render(w, r, s.Code, "refusal.html", s); err != nil {
		p.Failed(err)
	}
}

func refusalOf(r *http.Request, err error) refusal {
	var status *statusError
	var bad *usageError
	var wrong *query.Error
	var unknown *query.NameError
	var none *found.NoneError
	var several *found.SeveralError
	var twice *found.TwiceError
	var notKept *generation.NotKeptError
	var noRoot *journal.NoRootError
	s := refusal{Code: http.StatusInternalServerError, Title: "This cannot be shown", Lines: err.Error()}
	switch {
	case err == errToken:
		s.Code, s.Title, s.Token = errToken.code, "A token is needed", true
		asked := r.URL.Query()
		if asked.Has("token") {
			s.Lines = "This token is not the right one: " + s.Lines
		}
		delete(asked, "token")
		for _, name := range slices.Sorted(maps.Keys(asked)) {
			for _, value := range asked[name] {
				s.Asked = append(s.Asked, [2]string{name, value})
			}
		}
	case errors.As(err, &status):
		s.Code, s.Title = status.code, http.StatusText(status.code)
	case errors.Is(err, context.DeadlineExceeded):
		s.Code, s.Title, s.Lines = errSlow.code, "Too slow", errSlow.text
	case errors.As(err, &bad), errors.As(err, &wrong), errors.As(err, &unknown), errors.As(err, &twice):
		s.Code, s.Title = http.StatusBadRequest, "The address has a mistake"
	case errors.As(err, &several):
		s.Code, s.Title, s.Lines = http.StatusMultipleChoices, "Several runs", "This name has several rows. Which one is meant?"
		v, _ := viewOf(r)
		for _, k := range several.Keys {
			meant := v
			meant.Keys = slices.Clone(v.Keys)
			if i := slices.Index(meant.Keys, several.Asked); i >= 0 {
				meant.Keys[i] = terminal.Unfield(k)
			}
			s.Several = append(s.Several, keyLink{k, meant.here(r)})
		}
		if several.More {
			s.Hint = "There are more: the list of runs has them all."
		}
	case errors.As(err, &none):
		s.Code, s.Title = http.StatusNotFound, "No such run"
		s.Link, s.Instead = "/", "All runs"
	case errors.As(err, &notKept):
		s.Code, s.Title = http.StatusGone, "This generation is not kept"
		if v, verr := viewOf(r); verr == nil {
			v.At = 0
			s.Link, s.Instead = v.here(r), "The same in the newest generation"
		}
	case errors.As(err, &noRoot):
		s.Code, s.Title = http.StatusServiceUnavailable, "There is no root yet"
		s.Hint = "Is the share mounted? compactd init, or journal-append --create, makes a root. This page shows it as soon as it is there."
	case generation.IsDamage(err):
		s.Title = "Something is damaged"
		s.Hint = "compactd check lists all that is damaged, and compactd repair says what can be done. Nothing was changed or deleted."
	case errors.Is(err, cohort.ErrNewer):
		s.Title = "A later version has written this"
		s.Hint = "Use the runfold version that wrote it, or a later one."
	case durable.IsAway(err), errors.Is(err, generation.ErrConflict):
		s.Code, s.Title = http.StatusServiceUnavailable, "The storage does not answer, or shows an old state"
		s.Hint = "Nothing is damaged as far as known. Try again in a moment."
	}
	return s
}
