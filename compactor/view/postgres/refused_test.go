package postgres

import (
	"errors"
	"strings"
	"testing"

	"github.com/runfold/runfold/compactor/view"
	"github.com/runfold/runfold/compactor/view/viewtest"
)

// TestRefused has databases that cannot hold a view, and servers that are not there: each error says which of them it is.
func TestRefused(t *testing.T) {
	s := need(t)
	conn := s.connect(t, "public")
	for _, stmt := range []string{`CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0`, `CREATE ROLE lost LOGIN`, `ALTER ROLE lost SET search_path = 'none'`} {
		if _, err := conn.Exec(t.Context(), stmt); err != nil {
			t.Fatalf("%s: %v", stmt, err)
		}
	}
	root, store := viewtest.NewRoot(t)
	viewtest.Fold(t, root, `{"run_id":"a","stage":"T","name":"größe"}`)
	host := strings.Split(s.url("x"), "?")[1]
	for url, want := range map[string]struct {
		text string
		is   error
	}{
		"postgres://tester@/latin?" + host:                    {"must be in UTF8", nil},
		"postgres://lost@/postgres?table=t&host=" + s.Dir:     {"no schema of the search path", nil},
		"postgres://tester@/none?" + host:                     {`database "none" does not exist`, nil},
		"postgres://tester@/postgres?host=/no/such/directory": {"no such file", view.ErrAway},
		"postgres://tester@127.0.0.1:1/postgres":              {"refused", view.ErrAway},
		"postgres://tester@name.invalid/postgres":             {"name.invalid", view.ErrAway},
	} {
		v, err := Open(url, Options{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = view.Sync(t.Context(), store, v, view.Options{})
		v.Close()
		if err == nil || !strings.Contains(err.Error(), want.text) || errors.Is(err, view.ErrBusy) || errors.Is(err, view.ErrAway) != (want.is != nil) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v; want %q, %v", url, err, want.text, want.is)
		}
	}
}
