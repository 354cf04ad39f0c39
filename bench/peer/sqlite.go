package peer

import (
	"database/sql"
	"path/filepath"

	_ "github.com/mattn/go-sqlite3" // the driver
)

// sqlite is SQLite in WAL mode with synchronous=FULL, which syncs each commit, and a busy timeout of a minute.
// One transaction a record; the connections of a process are as many as its goroutines, as they may wait.
type sqlite struct{ db *sql.DB }

func openDB(o Options) (*sql.DB, error) {
	return sql.Open("sqlite3", "file:"+filepath.Join(o.Dir, "runs.db")+"?_journal_mode=WAL&_synchronous=FULL&_busy_timeout=60000&_txlock=immediate")
}

func sqliteTable(o Options) error {
	db, err := openDB(o)
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.Exec("create table runs (id integer primary key, record text not null)")
	return err
}

func openSQLite(o Options) (Peer, error) {
	db, err := openDB(o)
	return sqlite{db}, err
}

func (s sqlite) Writer() (Append, error) {
	insert, err := s.db.Prepare("insert into runs (record) values (?)")
	if err != nil {
		return nil, err
	}
	return func(record []byte) error {
		_, err := insert.Exec(string(record))
		return err
	}, nil
}

func (s sqlite) Close() error { return s.db.Close() }
