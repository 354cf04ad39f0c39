// Package peer has the competitors of an append: places that keep records durably. Each acknowledges a record
// when it would survive a loss of power, each in the way that its own documents recommend.
package peer

import (
	"fmt"
	"slices"
)

// Options say where and for whom a peer keeps records.
type Options struct {
	Dir    string // all files of the peer, shared by its processes
	DSN    string // of PostgreSQL
	Writer int    // the number of this process among those that share Dir
}

// Append makes one record durable. Each goroutine has its own.
type Append func(record []byte) error

// Peer is an open competitor.
type Peer interface {
	// Writer returns the Append of one more goroutine of this process.
	Writer() (Append, error)
	Close() error
}

// Kind is a competitor that can be opened.
type Kind struct {
	Name string
	// Processes tells whether several processes may write at once.
	Processes bool
	// Prepare makes what the processes share. It may be nil.
	Prepare func(Options) error
	Open    func(Options) (Peer, error)
}

// Kinds are all competitors, in the order of tables.
var Kinds = []Kind{
	{"runfold", true, runfoldRoot, openRunfold},
	{"SQLite", true, sqliteTable, openSQLite},
	{"Pebble", false, nil, openPebble},
	{"bbolt", false, nil, openBolt},
	{"tidwall/wal", true, nil, openWAL},
	{"flock+rewrite", true, nil, openNaive},
	{"PostgreSQL", true, postgresTable, openPostgres},
	{"limit: group", false, nil, openGrouped},
	{"limit: write+fsync", true, nil, openRaw},
}

// Find returns the competitor of that name.
func Find(name string) (Kind, error) {
	i := slices.IndexFunc(Kinds, func(k Kind) bool { return k.Name == name })
	if i < 0 {
		return Kind{}, fmt.Errorf("no competitor is named %q", name)
	}
	return Kinds[i], nil
}
