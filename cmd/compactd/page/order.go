package page

import (
	"context"
	"iter"
	"slices"

	"github.com/runfold/runfold/compactor/query"
)

// seqOrder tells whether a sort asks for the order of snapshot_seq, in which rows stand anyway, or for its reverse. Without a sort the newest come first: they are
// what somebody who follows a sweep looks for.
func seqOrder(sort []query.Order) (is, descending bool) {
	if len(sort) == 0 {
		return true, true
	}
	return len(sort) == 1 && sort[0].Column == "snapshot_seq", sort[0].Descending
}

// rowsOf yields the rows of a query. In the order of snapshot_seq, or its reverse, no place is too far: there are total rows, and those that are asked for are counted
// from the beginning or from the end.
func rowsOf(ctx context.Context, q query.Query, total int64, src query.Source) iter.Seq2[query.Row, error] {
	bySeq, descending := seqOrder(q.Sort)
	filtered := q.Where.String() != "" || q.Cohort != "" || q.Stage != "" || !q.Since.IsZero() || !q.Until.IsZero()
	switch {
	case !bySeq:
		return q.Rows(ctx, src)
	case !descending:
		q.Sort = nil
		return q.Rows(ctx, src)
	case filtered && q.Offset+q.Limit <= deepRows: // most row groups need not be read
		q.Sort = []query.Order{{Column: "snapshot_seq", Descending: true}}
		return q.Rows(ctx, src)
	}
	n := min(q.Limit, total-q.Offset)
	if n <= 0 {
		return func(func(query.Row, error) bool) {}
	}
	q.Sort, q.Offset, q.Limit = nil, total-q.Offset-n, n
	return func(yield func(query.Row, error) bool) {
		var rows []query.Row
		for row, err := range q.Rows(ctx, src) {
			if err != nil {
				yield(row, err)
				return
			}
			rows = append(rows, row)
		}
		for _, row := range slices.Backward(rows) {
			if !yield(row, nil) {
				return
			}
		}
	}
}

// turnable links the other pages of a list, and all of it. They are of the same generation, so that no run is met twice, or never.
func (l *list) turnable(b *reading) {
	v := l.View
	if !v.Unfolded {
		v.At = b.Newest.Generation
		all := v
		all.From, all.Limit, all.Every = 0, 0, 0
		if l.Sorted = !l.BySeq && l.Total <= exportSort; !l.Sorted {
			all.Sort = ""
		}
		l.CSV = all.at("/runs.csv")
	}
	at := func(text, rel string, from int64) {
		v.From = max(0, from)
		l.Pages = append(l.Pages, pageLink{text, v.list(), rel})
	}
	if l.View.From > 0 {
		at("First", "", 0)
		at("Previous", "prev", l.View.From-l.View.Limit)
	}
	if l.Last >= l.Total || len(l.Rows) == 0 {
		return
	}
	next, last := l.View.From+l.View.Limit, (l.Total-1)/l.View.Limit*l.View.Limit
	if l.BySeq || next < mostSorted {
		at("Next", "next", next)
	}
	if l.BySeq || last < mostSorted {
		at("Last", "", last)
	} else {
		l.Ends = count(mostSorted)
	}
}
