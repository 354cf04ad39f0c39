package intake

import (
	"fmt"
	"strings"
)

// LeftOut tells why rows or snapshots were not taken.
type LeftOut struct {
	Reason string   `json:"reason"`
	Count  int      `json:"count"`
	Where  []string `json:"where"` // the first of them: the file, and the number or the key
}

func (n LeftOut) String() string {
	where := strings.Join(n.Where, ", ")
	if more := n.Count - len(n.Where); more > 0 {
		where += fmt.Sprintf(" and %d more", more)
	}
	return fmt.Sprintf("%s left out: %s", where, n.Reason)
}

// otherReasons counts what was left out for more reasons than are told apart.
const otherReasons = "other reasons"

// reasons are told apart by their text, up to a bound.
type reasons struct {
	places map[string]int
	list   []LeftOut
}

const (
	mostReasons = 50
	mostWhere   = 3
)

func (r *reasons) add(reason, where string) {
	if r.places == nil {
		r.places = map[string]int{}
	}
	i, ok := r.places[reason]
	if !ok && len(r.list) >= mostReasons && reason != otherReasons {
		r.add(otherReasons, where)
		return
	}
	if !ok {
		i = len(r.list)
		r.places[reason] = i
		r.list = append(r.list, LeftOut{Reason: reason})
	}
	n := &r.list[i]
	n.Count++
	if len(n.Where) < mostWhere {
		n.Where = append(n.Where, where)
	}
}

// SeqFallback tells that snapshots without snapshot_seq were ordered by their timestamp.
type SeqFallback struct{ Count int }

func (n SeqFallback) String() string {
	return fmt.Sprintf("%d snapshots have no snapshot_seq: ordered by timestamp", n.Count)
}

// SeqConflict tells that files have one snapshot_seq for different runs: each counts on its own. Their numbers say nothing of the order
// then, and all of them are dropped.
type SeqConflict struct {
	Seq   int64
	Where [2]string
}

func (n SeqConflict) String() string {
	return fmt.Sprintf("%s and %s both have the snapshot_seq %d: each file counts on its own, so all runs are ordered by timestamp and numbered anew",
		n.Where[0], n.Where[1], n.Seq)
}

// NonFinite tells of values that are no numbers: they are absent in rows and null in snapshots.
type NonFinite struct{ Count int }

func (n NonFinite) String() string {
	return fmt.Sprintf("%d values are NaN or infinite: they were read as missing", n.Count)
}

// Zoned tells of timestamps that have no zone.
type Zoned struct {
	Count   int
	Zone    string
	Assumed bool // nobody named the zone
}

func (n Zoned) String() string {
	s := fmt.Sprintf("%d timestamps have no zone: read as %s", n.Count, n.Zone)
	if n.Assumed {
		s += "; name another with --assume-zone"
	}
	return s
}

// OddTimes tells of timestamps that are no time. Such a run has none.
type OddTimes struct{ Count int }

func (n OddTimes) String() string {
	return fmt.Sprintf("%d timestamps are no time: kept in the column imported_timestamp", n.Count)
}

// Rekeyed tells that rows come from a root with another key. What gave way there to a later write of its key is not in its
// files.
type Rekeyed struct{ Count int }

func (n Rekeyed) String() string {
	return fmt.Sprintf("%d rows had another key in the root that they come from: results that gave way there to others of that key are not in its "+
		"newest files and stay gone, unless an older file of its data/ has them: compactd status of that root says how many there were", n.Count)
}
