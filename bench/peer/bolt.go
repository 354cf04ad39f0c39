package peer

import (
	"encoding/binary"
	"path/filepath"

	"go.etcd.io/bbolt"
)

// bolt is bbolt with Batch: goroutines that wait share a transaction.
type bolt struct{ db *bbolt.DB }

var bucket = []byte("runs")

func openBolt(o Options) (Peer, error) {
	db, err := bbolt.Open(filepath.Join(o.Dir, "runs.bolt"), 0o644, nil)
	if err != nil {
		return nil, err
	}
	return bolt{db}, db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucket)
		return err
	})
}

func (b bolt) Writer() (Append, error) {
	return func(record []byte) error {
		return b.db.Batch(func(tx *bbolt.Tx) error {
			runs := tx.Bucket(bucket)
			n, err := runs.NextSequence()
			if err != nil {
				return err
			}
			return runs.Put(binary.BigEndian.AppendUint64(nil, n), record)
		})
	}, nil
}

func (b bolt) Close() error { return b.db.Close() }
