package page

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strings"

	"github.com/runfold/runfold/cmd/compactd/found"
	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/compactor/query"
	"github.com/runfold/runfold/internal/jsonscan"
	"github.com/runfold/runfold/internal/terminal"
)

// longestValue is how much of a value the page of a run shows, in bytes.
const longestValue = 20_000

// one is the page of a run.
type one struct {
	chrome
	View     view
	Compared []string // its key
	Key      string
	Name     string
	Groups   []fieldGroup
	Tree     *node
	Left     bool // the tree is not whole
	JSON     string
	Near     []keyLink
	NearAll  string
	Cut      bool // some value is not whole
}

type fieldGroup struct {
	Name   string
	Fields []fieldShown
}

type fieldShown struct {
	Name, Text string
	Null, Cut  bool
	Number     bool
	Chart      string
}

// run shows one run.
func (p *Page) run(w http.ResponseWriter, r *http.Request) error {
	v, b, f, done, err := p.asked(r)
	if err != nil {
		return err
	}
	defer done()
	if f == nil {
		return p.withdrawn(w, r, v, b)
	}
	o := &one{chrome: p.chrome(v, b, "/run"), View: v, Compared: []string{string(f.Key)}, Key: string(f.Key), Name: f.RunID, JSON: v.at("/run.json")}
	o.Title = "Run " + terminal.Field(f.RunID)
	if b.Newest.Generation == b.latest && !f.Fresh {
		if err := p.standing(r.Context(), &o.chrome, f.Key); err != nil {
			return err
		}
	}
	o.add(v, "Run", f.Who())
	for _, prefix := range []string{"metrics.", "params.", "tags.", ""} {
		var of []found.Field
		for _, field := range f.Fields {
			if groupOf(field.Name) == prefix {
				of = append(of, field)
			}
		}
		o.add(v, groupTitles[prefix], of)
	}
	o.add(v, "Where it came from", f.From(b.Newest))
	if len(f.Snapshot) > 0 {
		t := &tree{left: mostNodes}
		o.Tree = t.of("", f.Snapshot, 0)
		o.Left = t.left <= 0
	}
	others := v
	others.Keys = nil
	others.Where = "run_id = " + query.Text(f.RunID)
	others.Columns = ""
	o.NearAll = others.list()
	return render(w, r, http.StatusOK, "run.html", o)
}

var groupTitles = map[string]string{"metrics.": "Metrics", "params.": "Params", "tags.": "Tags", "": "Other fields"}

func groupOf(name string) string {
	for _, prefix := range []string{"metrics.", "params.", "tags."} {
		if strings.HasPrefix(name, prefix) {
			return prefix
		}
	}
	return ""
}

// asked finds the run of an address. It is nil if it is no row of the index. The caller calls done.
func (p *Page) asked(r *http.Request) (v view, b *reading, f *found.Run, done func(), err error) {
	if v, err = viewOf(r); err != nil {
		return v, nil, nil, nil, err
	}
	if len(v.Keys) != 1 {
		return v, nil, nil, nil, usage(errors.New("the address names no run, or several: it ends with ?run=NAME"))
	}
	if b, done, err = p.open(r.Context(), v); err != nil {
		return v, nil, nil, nil, err
	}
	f, err = find(r.Context(), b, v, v.Keys[0])
	if err != nil && !errors.As(err, new(*found.NoneError)) || err != nil && v.At != 0 {
		done()
		return v, nil, nil, nil, err
	}
	return v, b, f, done, nil
}

// find finds a run by its key, or by what people call it.
func find(ctx context.Context, b *reading, v view, name string) (*found.Run, error) {
	root := found.Root{Moment: b.Moment, Source: b.Source}
	if v.Cohort != "" {
		var err error
		if root.Query.Cohort, err = cohort.ParseID(v.Cohort); err != nil {
			return nil, usage(err)
		}
	}
	root.Query.Stage = v.Stage
	f, err := root.FindKey(ctx, name)
	if errors.As(err, new(*found.NoneError)) {
		f, err = root.Find(ctx, name)
	}
	return f, err
}

// ofKey chooses the row of a key.
func ofKey(ctx context.Context, name string) compactor.Choice {
	column := func(column string) iterOf {
		return func(f *index.File) iter.Seq2[index.Identity, error] {
			return f.Choose(ctx, index.Choice{
				Columns: []string{column},
				Group:   func(g index.Group) (bool, error) { return g.MayHold(column, []string{name}) },
				Row:     func(v []index.Value) (bool, error) { return string(v[0].Text()) == name, nil },
			})
		}
	}
	return func(f, _ *index.File) iter.Seq2[index.Identity, error] {
		return func(yield func(index.Identity, error) bool) {
			met := false
			for _, of := range []string{"_key", "run_id"} {
				for h, err := range column(of)(f) {
					met = true
					if !yield(h, err) {
						return
					}
				}
				if met {
					return
				}
			}
		}
	}
}

type iterOf func(*index.File) iter.Seq2[index.Identity, error]

// standing says whether a run of the newest generation is protected.
func (p *Page) standing(ctx context.Context, c *chrome, key cohort.Key) error {
	rows, err := compactor.Standings(ctx, p.Root, ofKey(ctx, string(key)), nil)
	if err != nil && len(rows) == 0 {
		return err
	}
	for _, s := range rows {
		if s.Protected {
			c.Notes = append(c.Notes, note{Text: "This run is protected: folds refuse to withdraw it."})
		}
	}
	return nil
}

// withdrawn shows a run that was taken out.
func (p *Page) withdrawn(w http.ResponseWriter, r *http.Request, v view, b *reading) error {
	rows, err := compactor.Standings(r.Context(), p.Root, nil, ofKey(r.Context(), v.Keys[0]))
	if err != nil && len(rows) == 0 {
		return err
	}
	if len(rows) == 0 {
		_, err := find(r.Context(), b, v, v.Keys[0]) // it says what is near
		return err
	}
	o := &one{chrome: p.chrome(v, b, "/run"), Key: string(rows[0].Key), Name: rows[0].RunID}
	o.Title = "Run " + terminal.Field(rows[0].RunID)
	for _, s := range rows {
		text := "This row was withdrawn, and stands no longer in the index."
		o.Notes = append(o.Notes, note{Text: text, Bad: true})
		quoted := func(name, text string) found.Field {
			if text == "" {
				return found.Field{Name: name}
			}
			return found.Field{Name: name, Value: jsonscan.Quote(text)}
		}
		o.add(v, "Withdrawn", []found.Field{
			quoted("key", string(s.Key)), quoted("run_id", s.RunID), quoted("stage", s.Stage), quoted("cohort_id", string(s.Cohort)),
			quoted("withdrawn_at", s.WithdrawnText()), quoted("withdrawn_by", s.WithdrawnBy()), quoted("reason", s.Reason()),
		})
	}
	return render(w, r, http.StatusOK, "run.html", o)
}

// add adds fields, if there are any.
func (o *one) add(v view, name string, fields []found.Field) {
	if len(fields) == 0 {
		return
	}
	g := fieldGroup{Name: name}
	for _, f := range fields {
		text, was := cut(f.Text(), longestValue)
		s := fieldShown{Name: f.Name, Text: text, Null: f.Value == nil, Cut: was}
		if f.Value != nil {
			k := jsonscan.KindOf(f.Value)
			s.Number = k == jsonscan.Int || k == jsonscan.Double
		}
		if s.Number && strings.HasPrefix(f.Name, "metrics.") {
			s.Chart = view{At: v.At, Unfolded: v.Unfolded, Y: query.SpellName(f.Name), Keys: []string{o.Key}}.at("/chart")
		}
		o.Cut = o.Cut || was
		g.Fields = append(g.Fields, s)
	}
	o.Groups = append(o.Groups, g)
}

// runJSON is a run as "compactd show --json" prints it, with every byte.
func (p *Page) runJSON(w http.ResponseWriter, r *http.Request) error {
	_, b, f, done, err := p.asked(r)
	if err != nil {
		return err
	}
	defer done()
	if f == nil {
		return &statusError{http.StatusNotFound, "there is no such run in the index"}
	}
	snapshot := f.Snapshot
	if len(snapshot) == 0 {
		snapshot = []byte("null")
	}
	body := append(bytes.TrimSuffix(found.Object(f.Who()), []byte("}")), `,"fields":`...)
	body = append(append(body, found.Object(f.Fields)...), `,"snapshot":`...)
	body = append(append(body, snapshot...), `,"from":`...)
	body = append(append(body, found.Object(f.From(b.Newest))...), "}"...)
	var out bytes.Buffer
	if err := json.Indent(&out, body, "", "  "); err != nil {
		return fmt.Errorf("run %q: %w", f.Key, err)
	}
	out.WriteByte('\n')
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Disposition", `attachment; filename="run.json"`)
	http.ServeContent(w, r, "", b.when(), bytes.NewReader(out.Bytes()))
	return nil
}

// node is a value of a snapshot.
type node struct {
	Name     string
	Text     string // of what has no members
	Kind     string // text, number, word, list or object
	Members  []*node
	Count    int
	Open     bool
	Cut, End bool // the rest is not shown
}

const (
	mostNodes = 5000
	deepest   = 60
	shortList = 160 // bytes of a list that stands on one line
)

// tree makes nodes, as long as there is room.
type tree struct{ left int }

func (t *tree) of(name string, value []byte, depth int) *node {
	value = bytes.TrimSpace(value)
	n := &node{Name: name}
	t.left--
	text := func(kind, s string) *node {
		short, was := cut(s, longestValue)
		n.Kind, n.Text, n.Cut = kind, terminal.Line(short), was
		return n
	}
	switch k := jsonscan.KindOf(value); {
	case k == jsonscan.Object && depth < deepest && t.left > 0:
		n.Kind = "object"
		for m := range jsonscan.EachMember(value) {
			if n.Count++; t.left > 0 {
				n.Members = append(n.Members, t.of(string(m.Name), m.Value, depth+1))
			}
		}
		n.End = len(n.Members) < n.Count
		n.Open = depth == 0 || n.Count <= 30 && depth < 3
	case k == jsonscan.Array && len(value) > shortList && depth < deepest && t.left > 0:
		n.Kind = "list"
		for e := range jsonscan.EachElement(value) {
			if n.Count++; t.left > 0 {
				n.Members = append(n.Members, t.of(fmt.Sprint(n.Count-1), e, depth+1))
			}
		}
		n.End = len(n.Members) < n.Count
	case k == jsonscan.String && !jsonscan.LoneSurrogate(value) && len(value) > 2:
		return text("text", jsonscan.Text(value))
	case k == jsonscan.Int || k == jsonscan.Double:
		return text("number", string(value))
	default:
		return text("word", string(value))
	}
	return n
}
