// Package sqlite is a view in a SQLite file: see package sqlview for its tables. It needs neither a server nor cgo.
//
//	v, err := sqlite.Open("runs.db", sqlite.Options{})
//	defer v.Close()
//	report, err := view.Sync(ctx, store, v, view.Options{})
//
// The file is in SQLite's rollback-journal mode unless its owner chose another one: that mode needs no shared memory between
// machines. What is removed is overwritten with zeros in the file (secure_delete), because an erasure shall reach it.
package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"modernc.org/sqlite"

	"github.com/runfold/runfold/compactor/view"
	"github.com/runfold/runfold/compactor/view/sqlview"
)

// DefaultTable is the table of the rows.
const DefaultTable = "runs"

// Options are those of Open.
type Options struct {
	// Table is the name of the table of the rows. If empty, DefaultTable.
	Table string
	// Wait is how long a change, or a look at the view, waits for another change. If zero, 30 seconds.
	Wait time.Duration

	wrap func(driver.Connector) driver.Connector // for tests: it sees every call
}

func (o Options) withDefaults() Options {
	if o.Table == "" {
		o.Table = DefaultTable
	}
	if o.Wait == 0 {
		o.Wait = 30 * time.Second
	}
	return o
}

// DB is a view in a file.
type DB struct {
	*sqlview.DB
	file string
}

// Open makes a view of a file. Only a change makes the file, if it does not exist.
func Open(file string, o Options) (*DB, error) {
	switch {
	case file == "":
		return nil, errors.New("a SQLite view needs the name of a file")
	case file == ":memory:":
		return nil, errors.New("a SQLite view is a file: one in memory would be gone at once")
	}
	o = o.withDefaults()
	connector, err := sqlite.NewConnector(dsn(file, o.Wait, false))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", file, err)
	}
	if o.wrap != nil {
		connector = o.wrap(connector)
	}
	name := "sqlite:" + file
	if o.Table != DefaultTable {
		name += "?table=" + o.Table
	}
	return &DB{sqlview.Open(sql.OpenDB(connector), dialect{file}, name, o.Table), file}, nil
}

// dsn names a file and its settings to the client.
func dsn(file string, wait time.Duration, readOnly bool) string {
	path, before := filepath.ToSlash(file), "file:"
	switch {
	case strings.HasPrefix(path, "/"): // also //server/share: what follows two slashes alone would be a host
		before = "file://"
	case filepath.VolumeName(file) != "":
		before = "file:///"
	}
	parts := strings.Split(path, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	q := url.Values{"_pragma": {fmt.Sprintf("busy_timeout(%d)", wait.Milliseconds()), "secure_delete(1)"}}
	if readOnly {
		q.Set("mode", "ro")
		q.Set("_dqs", "0")
	}
	return before + strings.Join(parts, "/") + "?" + q.Encode()
}

// isThere tells whether there is a file. To open one that is not there would make it.
func (v *DB) isThere() (bool, error) {
	_, err := os.Stat(v.file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("%s: %w", v.Name(), err)
	}
	return true, nil
}

// State is that of sqlview.DB.
func (v *DB) State(ctx context.Context, rootID string) (view.State, error) {
	if there, err := v.isThere(); err != nil || !there {
		return view.State{}, err
	}
	return v.DB.State(ctx, rootID)
}

// Rows is that of sqlview.DB.
func (v *DB) Rows(ctx context.Context, rootID string, each func(view.State, view.Held) error) (view.State, error) {
	if there, err := v.isThere(); err != nil || !there {
		return view.State{}, err
	}
	return v.DB.Rows(ctx, rootID, each)
}

// Drop is that of sqlview.DB. The file stays.
func (v *DB) Drop(ctx context.Context, rootID string) error {
	if there, err := v.isThere(); err != nil || !there {
		return err
	}
	return v.DB.Drop(ctx, rootID)
}
