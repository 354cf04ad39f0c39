package intake

import "fmt"

// LeftOut tells why a row or a snapshot was not taken. Where says which one: its number in the file, and its key.
type LeftOut struct{ Where, Reason string }

func (n LeftOut) String() string { return n.Where + " left out: " + n.Reason }

// SeqFallback tells that snapshots without snapshot_seq were ordered by their timestamp.
type SeqFallback struct{ Count int }

func (n SeqFallback) String() string {
	return fmt.Sprintf("%d snapshots have no snapshot_seq: ordered by timestamp", n.Count)
}
