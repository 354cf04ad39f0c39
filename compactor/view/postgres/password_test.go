package postgres

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/runfold/runfold/compactor/view"
	"github.com/runfold/runfold/compactor/view/viewtest"
)

// TestPassword has a user with a password and few rights, and one who only reads: the password comes from the environment or from a file, and
// no message shows it.
func TestPassword(t *testing.T) {
	s := need(t)
	schema := newSchema()
	conn := s.connect(t, "public")
	var rules string
	if err := conn.QueryRow(t.Context(), `SHOW hba_file`).Scan(&rules); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(rules, []byte("local all guarded scram-sha-256\nlocal all all trust\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, stmt := range []string{
		`CREATE ROLE guarded LOGIN PASSWORD 'right-one'`, `CREATE ROLE reader LOGIN`, `CREATE SCHEMA ` + schema, `GRANT CREATE, USAGE ON SCHEMA ` + schema + ` TO guarded`,
		`GRANT USAGE ON SCHEMA ` + schema + ` TO reader`, `SELECT pg_reload_conf()`,
	} {
		if _, err := conn.Exec(t.Context(), stmt); err != nil {
			t.Fatalf("%s: %v", stmt, err)
		}
	}
	root, store := viewtest.NewRoot(t)
	viewtest.Fold(t, root, `{"run_id":"a","stage":"T","n":1}`)
	sync := func() error {
		v, err := Open(strings.Replace(s.url(schema), "tester@", "guarded@", 1), Options{})
		if err != nil {
			return err
		}
		defer v.Close()
		_, err = view.Sync(t.Context(), store, v, view.Options{})
		return err
	}
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("*:*:*:guarded:right-one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PGPASSFILE", filepath.Join(t.TempDir(), "none"))
	for !strings.Contains(fmt.Sprint(sync()), "password") { // until the server has read its rules again
	}
	t.Setenv("PGPASSWORD", "wrong-one")
	if err := sync(); err == nil || strings.Contains(err.Error(), "wrong-one") || !strings.Contains(err.Error(), "password authentication failed") {
		t.Errorf("with a wrong password: %v", err)
	}
	t.Setenv("PGPASSWORD", "right-one")
	if err := sync(); err != nil {
		t.Errorf("with PGPASSWORD: %v", err)
	}
	viewtest.Fold(t, root, `{"run_id":"b","stage":"T","n":0.5,"fresh":true}`)
	t.Setenv("PGPASSWORD", "")
	t.Setenv("PGPASSFILE", file)
	if err := sync(); err != nil {
		t.Errorf("with PGPASSFILE: %v", err)
	}
	if _, err := conn.Exec(t.Context(), `GRANT SELECT ON ALL TABLES IN SCHEMA `+schema+` TO reader`); err != nil {
		t.Fatal(err)
	}
	v, err := Open(strings.Replace(s.url(schema), "tester@", "reader@", 1), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if done, err := view.Check(t.Context(), store, v); err != nil || !done.Same || done.Rows != 2 {
		t.Errorf("a check by who only reads: %+v, %v", done, err)
	}
	viewtest.Fold(t, root, `{"run_id":"c","stage":"T"}`)
	if _, err := view.Sync(t.Context(), store, v, view.Options{}); err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("a sync by who only reads: %v", err)
	}
}
