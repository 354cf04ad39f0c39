package intake

import "fmt"

// LeftOut tells why an imported row or snapshot was not taken.
type LeftOut struct{ Where, Reason string }

func (n LeftOut) String() string { return n.Where + " left out: " + n.Reason }

// SeqFallback tells that snapshots without snapshot_seq were ordered by their timestamp.
type SeqFallback struct{ Count int }

func (n SeqFallback) String() string {
	return fmt.Sprintf("%d snapshots have no snapshot_seq: ordered by timestamp", n.Count)
}
