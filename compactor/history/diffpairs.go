package history

import (
	"context"
	"fmt"
	"hash/maphash"
	"iter"
	"maps"
	"math"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
)

// maxPairs bounds the keys that are held at once, at about 300 bytes each. Twice as many are held at most, if neither generation has
// the keys of the other.
const maxPairs = 400_000

// comparison finds the keys that two generations do not have one write of.
//
// Rows stand in the order of their seqs, and a row that stays keeps its seq. So two files are walked side by side by seq, and what
// both have takes no memory. What is left is paired by key.
type comparison struct {
	was, now *side
	most     int   // keys that are held at once
	where    Where // if nil, all keys are meant
}

// Where yields the rows of some files that are meant, such as those that package query selects. A file may be nil: it has no rows.
type Where = func(ctx context.Context, files ...*index.File) iter.Seq2[index.Identity, error]

// pair is what the two generations have under one key. At least one of both is there.
type pair struct {
	was, now *row
	same     bool // both say the same
}

// row is a row of one generation, and what it says as checksums.
type row struct {
	seq     cohort.Seq
	cohort  cohort.ID
	content index.Sum
	line    index.Sum
}

// parts yields the pairs, all of them if they are few, else in parts that are disjoint.
func (c *comparison) parts(ctx context.Context) iter.Seq2[map[cohort.Key]*pair, error] {
	return func(yield func(map[cohort.Key]*pair, error) bool) {
		if c.was.manifest.Index.Name == c.now.manifest.Index.Name {
			return
		}
		pairs, rows, err := c.collect(ctx, c.most, func(cohort.Key) bool { return true })
		if err == nil && pairs != nil {
			err = c.finish(ctx, pairs)
		}
		if err != nil || pairs != nil {
			yield(pairs, err)
			return
		}
		seed, n := maphash.MakeSeed(), uint64(max(rows[0], rows[1])/c.most+1)
		for part := range n {
			pairs, _, err := c.collect(ctx, math.MaxInt, func(key cohort.Key) bool { return maphash.String(seed, string(key))%n == part })
			if err == nil {
				err = c.finish(ctx, pairs)
			}
			if !yield(pairs, err) || err != nil {
				return
			}
		}
	}
}

// collect pairs the keys that are wanted. If they are more than most, pairs is nil. rows is how many rows only the older generation has, and only
// the newer one.
func (c *comparison) collect(ctx context.Context, most int, wanted func(cohort.Key) bool) (pairs map[cohort.Key]*pair, rows [2]int, err error) {
	pairs = map[cohort.Key]*pair{}
	cohorts := map[cohort.ID]cohort.ID{} // each text once
	err = c.walk(ctx, func(old bool, h index.Identity) {
		if old {
			rows[0]++
		} else {
			rows[1]++
		}
		if pairs == nil || !wanted(h.Key) {
			return
		}
		p := pairs[h.Key]
		if p == nil {
			p = new(pair)
			pairs[h.Key] = p
		}
		id, ok := cohorts[h.Cohort]
		if !ok {
			id = h.Cohort
			cohorts[id] = id
		}
		if r := (&row{seq: h.Seq, cohort: id}); old {
			p.was = r
		} else {
			p.now = r
		}
		if len(pairs) > most {
			pairs = nil
		}
	})
	return pairs, rows, err
}

// walk calls each with the rows that only one of both generations has. Of a row that an append of the same record has only given a later
// stamp, both have the same.
func (c *comparison) walk(ctx context.Context, each func(old bool, h index.Identity)) error {
	was, stopWas := identities(ctx, c.was)
	defer stopWas()
	now, stopNow := identities(ctx, c.now)
	defer stopNow()
	a, err := was()
	if err != nil {
		return err
	}
	b, err := now()
	for err == nil && (a.Seq > 0 || b.Seq > 0) {
		one := a.Seq == b.Seq && a.Key == b.Key && a.Version.RecordID == b.Version.RecordID && a.Version.Digest == b.Version.Digest
		takeA, takeB := b.Seq == 0 || a.Seq > 0 && a.Seq <= b.Seq, a.Seq == 0 || b.Seq > 0 && b.Seq <= a.Seq
		if takeA {
			if !one {
				each(true, a)
			}
			a, err = was()
		}
		if takeB && err == nil {
			if !one {
				each(false, b)
			}
			b, err = now()
		}
	}
	return err
}

// identities gives the rows of a generation one by one, and a zero Identity at the end.
func identities(ctx context.Context, s *side) (next func() (index.Identity, error), stop func()) {
	if s.data.Index == nil {
		return func() (index.Identity, error) { return index.Identity{}, nil }, func() {}
	}
	pull, stop := iter.Pull2(s.data.Index.Identities())
	n := 0
	return func() (index.Identity, error) {
		if n++; n%1000 == 0 && ctx.Err() != nil {
			return index.Identity{}, ctx.Err()
		}
		h, err, ok := pull()
		switch {
		case !ok:
			return index.Identity{}, nil
		case err != nil:
			return index.Identity{}, fmt.Errorf("read generation %d: %w", s.manifest.Generation, err)
		case h.Seq == 0:
			return index.Identity{}, fmt.Errorf("generation %d: %w: a row has snapshot_seq 0", s.manifest.Generation, generation.ErrCorrupt)
		}
		return h, nil
	}, stop
}

// finish leaves the pairs that are meant, and finds those whose rows say the same.
func (c *comparison) finish(ctx context.Context, pairs map[cohort.Key]*pair) error {
	if err := c.choose(ctx, pairs); err != nil {
		return err
	}
	return c.settle(ctx, pairs)
}

// choose leaves the pairs of which one row is meant.
func (c *comparison) choose(ctx context.Context, pairs map[cohort.Key]*pair) error {
	if c.where == nil {
		return nil
	}
	meant := make(map[cohort.Key]bool)
	for h, err := range c.where(ctx, c.was.data.Index, c.now.data.Index) {
		if err != nil {
			return err
		}
		if pairs[h.Key] != nil {
			meant[h.Key] = true
		}
	}
	maps.DeleteFunc(pairs, func(key cohort.Key, _ *pair) bool { return !meant[key] })
	return nil
}

// settle finds the pairs whose rows say the same.
func (c *comparison) settle(ctx context.Context, pairs map[cohort.Key]*pair) error {
	was, now := rowsOf{}, rowsOf{}
	for _, p := range pairs {
		if p.was != nil && p.now != nil {
			was.add(p.was)
			now.add(p.now)
		}
	}
	if err := c.was.sum(ctx, was); err != nil {
		return err
	}
	if err := c.now.sum(ctx, now); err != nil {
		return err
	}
	for _, p := range pairs {
		p.same = p.was != nil && p.now != nil && p.was.content == p.now.content && p.was.line == p.now.line
	}
	return nil
}
