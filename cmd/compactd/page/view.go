package page

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/query"
	"github.com/runfold/runfold/internal/terminal"
)

// view is the state of a page, all of which stands in its address.
type view struct {
	At                                 cohort.Generation // 0: the newest
	Instead                            cohort.Generation // was asked for together with Unfolded, which goes before it; it stands in no address
	Where, Cohort, Stage, Since, Until string
	Sort, Columns                      string
	From, Limit                        int64
	Every                              int64    // in seconds, how often the page is loaded again; 0: not
	Keys                               []string // of runs
	Unfolded                           bool     // also what no fold has read yet
	X, Y                               string
}

const (
	fewRows  = 100
	mostRows = 500
	// longest bounds what may stand in a field of a form, and longestColumns the names of columns: all that can be ticked have room.
	longest        = 8000
	longestColumns = 40_000
	// mostOrders is how many columns a sort has at most: it holds them of many rows.
	mostOrders = 10
)

// viewOf reads the address of a page.
func viewOf(r *http.Request) (v view, err error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return v, usage(fmt.Errorf("the address cannot be read: %w", err))
	}
	for name, all := range q {
		most := longest
		if name == "columns" {
			most = longestColumns
		}
		for _, text := range all {
			if len(text) > most {
				return v, usage(fmt.Errorf("a field has more than %d bytes", most))
			}
		}
	}
	text := func(name string) string { return strings.TrimSpace(q.Get(name)) }
	v = view{Where: text("where"), Cohort: text("cohort"), Stage: q.Get("stage"), Since: text("since"), Until: text("until"), Sort: text("sort"), Columns: text("columns"), X: text("x"), Y: text("y")}
	for _, name := range q["run"] {
		v.Keys = append(v.Keys, terminal.Unfield(name)) // forms would change line breaks
	}
	v.Unfolded = q.Get("unfolded") != ""
	at, err := number(q, "at", 0, 1, 1<<62)
	v.At = cohort.Generation(at)
	if err == nil {
		v.From, err = number(q, "from", 0, 0, 1<<40)
	}
	if err == nil {
		v.Limit, err = number(q, "limit", fewRows, 1, mostRows)
	}
	if err == nil {
		v.Every, err = number(q, "every", 0, 1, 86400)
	}
	if v.Unfolded { // what is not folded is of no generation; a form may ask for both
		v.Instead, v.At = v.At, 0
	}
	return v, err
}

// isPlain tells whether a text comes through a form as it is.
func isPlain(text string) bool { return terminal.Field(text) == text }

// ticked is the address that a form with ticked columns means; empty if none are ticked.
func ticked(q url.Values, v view) string {
	names := q["c"]
	if len(names) == 0 {
		return ""
	}
	v.Columns = strings.Join(names, ",")
	return v.list()
}

// hasEmpty tells whether an address has fields of a form in which nothing was written. Without them it is short enough to be handed on.
func hasEmpty(q url.Values) bool {
	for _, all := range q {
		if slices.Contains(all, "") {
			return true
		}
	}
	return false
}

func number(q url.Values, name string, without, least, most int64) (int64, error) {
	text := strings.TrimSpace(q.Get(name))
	if text == "" {
		return without, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < least || n > most {
		return 0, usage(fmt.Errorf("%s %q is no number from %d to %d", name, text, least, most))
	}
	return n, nil
}

// values are v as the query of an address.
func (v view) values() url.Values {
	q := url.Values{}
	set := func(name, text string) {
		if text != "" {
			q.Set(name, text)
		}
	}
	if v.At != 0 {
		set("at", generationText(v.At))
	}
	set("where", v.Where)
	set("cohort", v.Cohort)
	set("stage", v.Stage)
	set("since", v.Since)
	set("until", v.Until)
	set("sort", v.Sort)
	set("columns", v.Columns)
	set("x", v.X)
	set("y", v.Y)
	if v.Unfolded {
		set("unfolded", "1")
	}
	if v.From > 0 {
		set("from", strconv.FormatInt(v.From, 10))
	}
	if v.Limit != fewRows && v.Limit != 0 {
		set("limit", strconv.FormatInt(v.Limit, 10))
	}
	if v.Every > 0 {
		set("every", strconv.FormatInt(v.Every, 10))
	}
	for _, k := range v.Keys {
		q.Add("run", terminal.Field(k))
	}
	return q
}

// at is the address of a page with this state.
func (v view) at(path string) string {
	if q := v.values().Encode(); q != "" {
		return path + "?" + q
	}
	return path
}

// here is the address of the page of a request, with this state.
func (v view) here(r *http.Request) string { return v.at(r.URL.Path) }

// list is the address of the list of runs.
func (v view) list() string {
	v.Keys, v.X, v.Y = nil, "", ""
	return v.at("/")
}

// run is the address of one run.
func (v view) run(key string) string {
	return view{At: v.At, Unfolded: v.Unfolded, Keys: []string{key}}.at("/run")
}

// query is what v asks for. Its Columns are not set.
func (v view) query(now time.Time) (q query.Query, err error) {
	if v.Cohort != "" {
		if q.Cohort, err = cohort.ParseID(v.Cohort); err != nil {
			return q, usage(fmt.Errorf("cohort: %w", err))
		}
	}
	q.Stage, q.Offset, q.Limit = v.Stage, v.From, v.Limit
	for _, of := range []struct {
		name, text string
		to         *time.Time
	}{{"since", v.Since, &q.Since}, {"until", v.Until, &q.Until}} {
		if of.text == "" {
			continue
		}
		if *of.to, err = query.ParseTime(of.text, now); err != nil {
			return q, usage(fmt.Errorf("%s %w", of.name, err))
		}
	}
	if v.Where != "" {
		if q.Where, err = query.Parse(v.Where); err != nil {
			return q, err
		}
	}
	if v.Sort != "" {
		if q.Sort, err = query.ParseOrder(v.Sort); err != nil {
			return q, err
		}
		if len(q.Sort) > mostOrders {
			return q, usage(fmt.Errorf("a list is sorted by %d columns at most", mostOrders))
		}
	}
	return q, nil
}

// orders spells a sort.
func orders(sort []query.Order) string {
	var names []string
	for _, o := range sort {
		name := query.SpellName(o.Column)
		if o.Descending {
			name = "-" + name
		}
		names = append(names, name)
	}
	return strings.Join(names, ",")
}

// sorted is v after a click on the name of a column: descending, then ascending, then not by it.
func (v view) sorted(sort []query.Order, column string) view {
	v.From = 0
	rest := slices.DeleteFunc(slices.Clone(sort), func(o query.Order) bool { return o.Column == column })
	i := slices.IndexFunc(sort, func(o query.Order) bool { return o.Column == column })
	switch {
	case i != 0:
		v.Sort = orders(append([]query.Order{{Column: column, Descending: true}}, rest...))
	case sort[0].Descending:
		v.Sort = orders(append([]query.Order{{Column: column}}, rest...))
	default:
		v.Sort = orders(rest)
	}
	return v
}

// generationText is a generation as people write it.
func generationText(g cohort.Generation) string { return strconv.FormatUint(uint64(g), 10) }
