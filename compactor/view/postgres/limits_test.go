package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/compactor/view"
	"github.com/runfold/runfold/compactor/view/viewtest"
	"github.com/runfold/runfold/internal/pgclient"
)

func config(root cohort.Root) compactor.Config {
	return compactor.Config{Root: root, KeepGenerations: 1000}
}

// synced syncs a view and checks it.
func synced(t *testing.T, store *generation.Store, v view.View) view.Report {
	t.Helper()
	r, err := view.Sync(t.Context(), store, v, view.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if done, err := view.Check(t.Context(), store, v); err != nil || !done.Same {
		t.Errorf("Check = %+v, %v", done, err)
	}
	return r
}

func openPlace(t *testing.T, p place) view.View {
	t.Helper()
	v := p.Open(t, func(string) error { return nil })
	t.Cleanup(func() { v.Close() })
	return v
}

// TestWhatItDoesNotTake has values and names that PostgreSQL refuses, or would change.
func TestWhatItDoesNotTake(t *testing.T) {
	root, store := viewtest.NewRoot(t)
	long := strings.Repeat("é", 40)
	viewtest.Fold(t, root,
		fmt.Sprintf(`{"run_id":"a","stage":"T","%sx":1,"%sy":2,"xmin":5,"Case":1,"case":2}`, long, long),
		`{"run_id":"nul\u0000 \udbff\udffd","stage":"T","note":"nul\u0000","n":-0,"list":["\u0000",1e3,-0,1.50]}`,
		`{"run_id":"c","stage":"T","note":"\udbff\udffd","half":["\ud800"],"big":[1e400000],"small":[1e-5000],"more":{"b":1,"a":2,"b":3}}`,
		`{"run_id":"d","stage":"T","note":1e3,"snapshot":{"w":[1.0,1e300,-1.5e-7,12345678901234567890]}}`,
		`{"run_id":"e","stage":"T","note":"text","n":7,"lr":-0.0}`,
		`{"run_id":"twice","stage":"T","tags":{"seed":"7"},"tags.seed":7,"snapshot":{"w":[{"a":1,"a":2}]}}`)
	p := newPlace(t).(place)
	v := openPlace(t, p)
	r := synced(t, store, v)
	if len(r.Named) != 2 || len(r.Named[0].As) > pgclient.MaxName || r.Named[0].As == r.Named[1].As {
		t.Errorf("named: %v", r.Named)
	}
	if len(r.LeftOut) != 1 || r.LeftOut[0].Column != "xmin" {
		t.Errorf("left out: %v", r.LeftOut)
	}
	if told := strings.Join(r.Told(), "\n"); !strings.Contains(told, "its name is too long") || !strings.Contains(told, "every table of PostgreSQL has a column of this name") {
		t.Errorf("told: %s", told)
	}
	var comment, extra string
	conn := p.connect(t, p.schema)
	err := conn.QueryRow(t.Context(), `SELECT col_description(attrelid, attnum) FROM pg_attribute WHERE attrelid = 'runs'::regclass AND attname = $1`, r.Named[0].As).Scan(&comment)
	if err != nil || !strings.Contains(comment, r.Named[0].Column) {
		t.Errorf("comment %q, %v", comment, err)
	}
	err = conn.QueryRow(t.Context(), `SELECT _extra #>> '{}' FROM runs WHERE run_id LIKE 'nul%'`).Scan(&extra)
	if err != nil || !strings.Contains(extra, `"note":"nul\u0000"`) {
		t.Errorf("_extra %q, %v", extra, err)
	}
	var snapshot string
	err = conn.QueryRow(t.Context(), `SELECT _extra #>> '{}', snapshot #>> '{}' FROM runs WHERE run_id = 'twice'`).Scan(&extra, &snapshot)
	if err != nil || extra != `{"tags.seed":7,"tags.seed":"7"}` || !strings.Contains(snapshot, `{"a":1,"a":2}`) {
		t.Errorf("_extra %q, snapshot %q, %v", extra, snapshot, err)
	}
	viewtest.Fold(t, root, `{"run_id":"f","stage":"T","`+long+`z":1}`)
	if r = synced(t, store, v); len(r.Named) != 3 || r.How != view.Since {
		t.Errorf("%+v", r)
	}
	if _, err := compactor.ChangeColumns(t.Context(), config(root), compactor.ColumnChange{Drop: []string{long + "z", "note"}}); err != nil {
		t.Fatal(err)
	}
	if r = synced(t, store, v); len(r.Named) != 2 {
		t.Errorf("%+v", r)
	}
}

// TestManyColumns has roots with more columns, in one table, than it may have, and a row that is too long for it.
func TestManyColumns(t *testing.T) {
	const each, roots = 500, 4 // a root has no more
	v := openPlace(t, newPlace(t).(place))
	for i := range roots {
		root, store := viewtest.NewRoot(t)
		var declare []index.Column
		var values strings.Builder
		for n := range each {
			c := index.Column{Name: fmt.Sprintf("r%d_%d", i, n), Kind: index.Int}
			value := fmt.Sprint(n)
			if i == 0 {
				c.Kind, value = index.String, fmt.Sprintf("%0100d", n)
				value = `"` + value + `"`
			}
			declare = append(declare, c)
			fmt.Fprintf(&values, `,%q:%s`, c.Name, value)
		}
		if _, err := compactor.ChangeColumns(t.Context(), config(root), compactor.ColumnChange{Declare: declare}); err != nil {
			t.Fatal(err)
		}
		viewtest.Fold(t, root, `{"run_id":"full","stage":"T"`+values.String()+`}`)
		want := 0
		if i == roots-1 {
			want = 14 + roots*each - maxColumns
		}
		for range 2 {
			if r := synced(t, store, v); len(r.LeftOut) != want || r.How != "" && r.Written == 0 {
				t.Errorf("root %d: %d columns are left out, want %d", i, len(r.LeftOut), want)
			}
			viewtest.Fold(t, root, `{"run_id":"more","stage":"T"}`)
		}
	}
}

// begun begins a change of a view to the newest generation, and does all but commit.
func begun(t *testing.T, store *generation.Store, v view.View) (commit func() error) {
	t.Helper()
	tx, err := v.Begin(t.Context(), store.Settings.RootID)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tx.Rollback() })
	m, err := store.Newest()
	if err != nil {
		t.Fatal(err)
	}
	data, err := store.Data(m)
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	next := view.State{RootID: store.Settings.RootID, Generation: m.Generation, Token: m.Token, NextSeq: m.NextSeq, Rows: m.Index.Rows, Schema: data.Index.Schema(),
		Form: view.Form{View: 1, Index: data.Index.Version()}}
	if _, err := tx.Apply(t.Context(), view.Change{How: view.Whole, Manifest: m, Data: data, Next: next}); err != nil {
		t.Fatal(err)
	}
	return func() error { return tx.Commit(context.Background(), next) }
}

// TestOtherRoots has a root that drops a column, or itself, while another one has rows in the same table that it has not committed.
func TestOtherRoots(t *testing.T) {
	rootA, a := viewtest.NewRoot(t)
	rootB, b := viewtest.NewRoot(t)
	viewtest.Fold(t, rootA, `{"run_id":"a","stage":"T","v":1}`)
	viewtest.Fold(t, rootB, `{"run_id":"b","stage":"T","v":2}`)
	p := newPlace(t).(place)
	v := openPlace(t, p)
	synced(t, a, v)
	if _, err := compactor.ChangeColumns(t.Context(), config(rootA), compactor.ColumnChange{Drop: []string{"v"}}); err != nil {
		t.Fatal(err)
	}
	commit := begun(t, b, v)
	if _, err := view.Sync(t.Context(), a, v, view.Options{}); !errors.Is(err, view.ErrBusy) {
		t.Errorf("a root that drops a column: %v, want ErrBusy", err)
	}
	if err := v.Drop(t.Context(), a.Settings.RootID); !errors.Is(err, view.ErrBusy) {
		t.Errorf("a root that is dropped: %v, want ErrBusy", err)
	}
	if err := commit(); err != nil {
		t.Fatal(err)
	}
	synced(t, a, v)
	synced(t, b, v)
	if err := v.Drop(t.Context(), a.Settings.RootID); err != nil {
		t.Fatal(err)
	}
	if r := synced(t, b, v); r.How != "" || len(r.LeftOut) > 0 {
		t.Errorf("the other root: %+v", r)
	}
}

// TestOpen has URLs: no message shows a password.
func TestOpen(t *testing.T) {
	for url, want := range map[string]error{
		"postgres://u:secret@h/d":                         ErrPassword,
		"postgresql://u:@h/d?table=t":                     ErrPassword,
		"postgres://h/d?password=secret":                  ErrPassword,
		"postgres://h/d?sslpassword=secret":               ErrPassword,
		"postgres://u:sec%ret@h/d":                        nil,
		"postgres:secret":                                 nil,
		"mysql://u:secret@h/d":                            nil,
		"postgres://h/d?table=" + strings.Repeat("t", 60): nil,
		"postgres://h/d?sslmode=secret":                   nil,
	} {
		_, err := Open(url, Options{})
		if err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%s: %v, want an error (%v)", url, err, want)
		} else if strings.Contains(err.Error(), "secret") && !strings.Contains(url, "sslmode") || strings.Contains(err.Error(), "sec%") {
			t.Errorf("%s: %v shows the password", url, err)
		}
	}
	t.Setenv("PGPASSWORD", "secret")
	v, err := Open("postgres://u@h:1/d?schema=s&table=t&sslmode=disable", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if v.Name() != "postgres://u@h:1/d?schema=s&table=t" {
		t.Errorf("the name is %s", v.Name())
	}
}

// TestCanonical compares what jsonb makes of texts with what canonical expects.
func TestCanonical(t *testing.T) {
	p := newPlace(t).(place)
	conn := p.connect(t, "public")
	for _, text := range []string{
		`{}`, `{"b":1,"a":2,"aa":3,"b":4}`, `{"n":[0,-0,1.0,1e3,1E+3,1.50e1,1e-7,-1.5e-300,1e300,12345678901234567890.10]}`, `{"s":"é\u00e9\n\/\ud83d\ude00"}`,
		`{"nul":"\u0000"}`, `{"nul":"\\u0000"}`, `{"half":"\udc00"}`, `{"long":1e1001,"x":0.` + strings.Repeat("1", 1001) + `}`, `{"huge":1e999999999999}`, `{"a":{"b":[{"c":null},true,false]}}`,
		`{"t":7,"t":"7"}`, `{"t":7,"\u0074":7}`, `{"a":[{"x":1},{"x":1,"y":{"z":1, "z" :2}}]}`, `{"x":"x","y":{"x":"x"},"z":["x","x"]}`,
		`{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6,"g":7,"h":8,"i":9,"a":10}`, `{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6,"g":7,"h":8,"i":9,"j":"a"}`,
		`{"e":0e5,"z":-0.0e7,"p":100e-2}`, "{\"l\":\"\u2028<&>\"}",
	} {
		var got string
		if err := conn.QueryRow(t.Context(), `SELECT ($1::text)::jsonb::text`, toJSONB([]byte(text))).Scan(&got); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if has, want := canonical(fromJSONB([]byte(got))), canonical([]byte(text)); !bytes.Equal(has, want) {
			t.Errorf("%s: jsonb holds %s: %s, want %s", text, got, has, want)
		}
	}
	for text, want := range map[string]bool{`{"a":1,"b":{"a":1}}`: true, `{"a":1,"a":1}`: false, `{"b":[{"a":1,"\u0061":2}]}`: false} {
		if fits([]byte(text)) != want {
			t.Errorf("fits(%s) = %v", text, !want)
		}
	}
	for _, text := range []string{"", "text", "01", "1 2", `{"a":1} x`} {
		if got := canonical([]byte(text)); string(got) != text {
			t.Errorf("%s became %s", text, got)
		}
	}
}

// TestTwoFirst has two publishers that make the tables at once: one of them is told that somebody else does.
func TestTwoFirst(t *testing.T) {
	rootA, a := viewtest.NewRoot(t)
	rootB, b := viewtest.NewRoot(t)
	viewtest.Fold(t, rootA, `{"run_id":"a","stage":"T","v":1}`)
	viewtest.Fold(t, rootB, `{"run_id":"b","stage":"T","v":2}`)
	p := newPlace(t).(place)
	v := openPlace(t, p)
	commit := begun(t, a, v)
	waiting := make(chan error)
	second, err := Open(p.url(p.schema), Options{Wait: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	go func() {
		_, err := view.Sync(context.Background(), b, second, view.Options{})
		waiting <- err
	}()
	conn := p.connect(t, "public")
	for waits := false; !waits; {
		if err := conn.QueryRow(t.Context(), `SELECT count(*) > 0 FROM pg_locks WHERE NOT granted`).Scan(&waits); err != nil {
			t.Fatal(err)
		}
	}
	if err := commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-waiting; err != nil && !errors.Is(err, view.ErrBusy) {
		t.Errorf("the second one: %v, want ErrBusy or nothing", err)
	}
	synced(t, b, v)
}
