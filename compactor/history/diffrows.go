package history

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
)

// rowsOf are some rows of one generation, by cohort and seq.
type rowsOf map[cohort.ID]map[cohort.Seq]*row

func (rs rowsOf) add(r *row) {
	if rs[r.cohort] == nil {
		rs[r.cohort] = map[cohort.Seq]*row{}
	}
	rs[r.cohort][r.seq] = r
}

// in are those whose lines stand in one file, by seq.
func (rs rowsOf) in(f generation.SnapshotsFile) map[cohort.Seq]*row {
	if f.Cohort != "" {
		return rs[f.Cohort]
	}
	all := map[cohort.Seq]*row{}
	for _, some := range rs {
		maps.Copy(all, some)
	}
	return all
}

func sorted(rows map[cohort.Seq]*row) []cohort.Seq { return slices.Sorted(maps.Keys(rows)) }

// whole is a row with its line in the snapshots.
type whole struct {
	index.Content
	line index.Snapshot
}

// sum sets what rows say.
func (s *side) sum(ctx context.Context, of rowsOf) error {
	for w, err := range s.wholes(ctx, of) {
		if err != nil {
			return err
		}
		r := of[w.Cohort][w.Seq]
		r.content, r.line = w.Content.Sum(), w.line.Sum(w.Identity)
	}
	return nil
}

// wholes yields rows with their lines, one file of snapshots after the other, and in each by seq. A row that has no line, or another
// one, is damage. It ends after the first error.
func (s *side) wholes(ctx context.Context, of rowsOf) iter.Seq2[whole, error] {
	return func(yield func(whole, error) bool) {
		for _, f := range s.manifest.Snapshots {
			seqs := sorted(of.in(f))
			if len(seqs) == 0 {
				continue
			}
			for w, err := range s.wholesIn(f, seqs) {
				if err == nil {
					err = ctx.Err()
				}
				if err != nil {
					err = fmt.Errorf("read generation %d: %w", s.manifest.Generation, err)
				}
				if !yield(w, err) || err != nil {
					return
				}
			}
		}
	}
}

// wholesIn reads index and snapshots side by side: both are in the order of seqs.
func (s *side) wholesIn(f generation.SnapshotsFile, seqs []cohort.Seq) iter.Seq2[whole, error] {
	return func(yield func(whole, error) bool) {
		file, err := s.data.Snapshots(f)
		if err != nil {
			yield(whole{}, err)
			return
		}
		defer file.Close()
		nextLine, stop := iter.Pull2(index.LinesOf(file, seqs))
		defer stop()
		n := 0
		for c, err := range s.data.Index.Contents(seqs) {
			w := whole{Content: c}
			if err == nil {
				w.line, err = lineOf(c, nextLine)
			}
			if n++; !yield(w, err) || err != nil {
				return
			}
		}
		if n < len(seqs) {
			yield(whole{}, fmt.Errorf("%w: the index has %d of %d rows", generation.ErrCorrupt, n, len(seqs)))
		}
	}
}

// lineOf takes the next line, which must be that of the row.
func lineOf(c index.Content, next func() (index.Snapshot, error, bool)) (index.Snapshot, error) {
	line, err, ok := next()
	if err == nil && (!ok || line.Seq != c.Seq || line.Key != c.Key) {
		err = fmt.Errorf("%w: row %q has no line of seq %d in the snapshots", generation.ErrCorrupt, c.Key, c.Seq)
	}
	return line, err
}
