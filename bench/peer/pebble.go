package peer

import (
	"encoding/binary"
	"path/filepath"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// pebbleDB is Pebble with Sync: goroutines that commit at once share a sync.
type pebbleDB struct {
	db *pebble.DB
	n  *atomic.Uint64
}

// quiet drops what Pebble logs.
type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(string, ...any) {}

func openPebble(o Options) (Peer, error) {
	db, err := pebble.Open(filepath.Join(o.Dir, "pebble"), &pebble.Options{Logger: quiet{}})
	return pebbleDB{db, new(atomic.Uint64)}, err
}

func (p pebbleDB) Writer() (Append, error) {
	return func(record []byte) error {
		return p.db.Set(binary.BigEndian.AppendUint64(nil, p.n.Add(1)), record, pebble.Sync)
	}, nil
}

func (p pebbleDB) Close() error { return p.db.Close() }
