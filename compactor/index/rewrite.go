package index

import (
	"bytes"
	"math"
	"runtime"
	"sync"

	"github.com/parquet-go/parquet-go/format"

	"github.com/runfold/runfold/cohort"
)

// A row group from which rows go, and each one when the columns change, is decoded and encoded again, a second for some 200,000 rows. All
// cores do that, one group each. What comes out is an index of its own, in memory, until its turn comes. So the file
// is the same with any number of cores. All goroutines end before mergeOld returns.

// rewriteBytes bounds the memory of the row groups that are encoded at one time. A single one may take more.
const rewriteBytes = 256 << 20

// rewritesAtOnce is how many row groups are encoded at one time.
func (w *writer) rewritesAtOnce() int {
	each := int64(w.layout.width())*2*pageBytes + w.full.bytes // a page of each column on either side, and the rows
	return int(max(1, min(rewriteBytes/each, int64(runtime.GOMAXPROCS(0)))))
}

// rewritten is an old row group that was encoded again, with the rows that stay.
type rewritten struct {
	file        bytes.Buffer // an index of these rows alone, in one row group; of none, if no row stays
	meta        *format.FileMetaData
	first, last int64 // the seqs of its rows
	raises      int   // how many stamps were raised
	err         error
	done        chan struct{} // closed when all this is there
}

// rewriter encodes row groups again, ahead of the turn of each.
type rewriter struct {
	next chan *rewritten // in the order of the old file; closed after the last
	stop chan struct{}
	all  sync.WaitGroup
}

// rewriteAhead begins to encode the row groups that plans tell. end must be called.
func (m *merger) rewriteAhead(old *File, plans []groupPlan) *rewriter {
	r := &rewriter{next: make(chan *rewritten, m.out.rewritesAtOnce()-1), stop: make(chan struct{})} // and one whose turn it is
	r.all.Go(func() {
		defer close(r.next)
		for i, p := range plans {
			if !p.rewrite {
				continue
			}
			g := &rewritten{done: make(chan struct{})}
			select {
			case r.next <- g:
				r.all.Go(func() { g.encode(m, old, i) })
			case <-r.stop:
				return
			}
		}
	})
	return r
}

// end waits for all that was begun.
func (r *rewriter) end() {
	close(r.stop)
	r.all.Wait()
}

// encode makes the row group with this number. It only reads m and old.
func (g *rewritten) encode(m *merger, old *File, number int) {
	defer close(g.done)
	defer guardWriting(&g.err) // a panic in a goroutine of ours would end the whole process
	out, err := newWriter(&g.file, m.out.layout, groupSize{math.MaxInt64, math.MaxInt64}, m.meta)
	if err != nil {
		g.err = err
		return
	}
	places, _ := old.places(old.layout.names())
	own := merger{out: out, drop: m.drop, raised: m.raised}
	err = own.mergeGroup(newConverter(old.layout, out.layout), old.file.RowGroups()[number], places)
	if err == nil {
		g.first = out.first
		g.meta, err = out.close()
	}
	g.last, g.raises, g.err = out.seq, own.raises, err
}

// rewriteGroup writes the puts that come before an old row group, and those of its rows that stay.
func (m *merger) rewriteGroup(p groupPlan, g *rewritten) error {
	<-g.done
	if g.err != nil {
		return g.err
	}
	m.raises += g.raises
	if err := m.putBelow(p.first); err != nil {
		return err
	}
	return m.out.adopt(g)
}

// adopt appends the row group of an index in memory, in the same sections as if it were encoded here.
func (w *writer) adopt(g *rewritten) error {
	if len(g.meta.RowGroups) == 0 {
		return nil
	}
	if err := w.endGroup(); err != nil {
		return err
	}
	if err := w.follow(g.first, true); err != nil {
		return err
	}
	w.seq = g.last
	group, data := &g.meta.RowGroups[0], g.file.Bytes()
	from, to, ok := groupSpan(group)
	_, filters := chunkSpan(&group.Columns[len(group.Columns)-1].MetaData)
	if len(g.meta.RowGroups) > 1 || !ok || filters == to {
		return internal("a row group that was encoded again became %d, or has no bloom filter", len(g.meta.RowGroups))
	}
	shift := w.out.pos - from
	if err := w.out.put(data[from:filters]); err != nil {
		return err
	}
	w.out.to.Cut(group.NumRows, cohort.Seq(g.first))
	if err := w.out.put(data[filters:aligned(to)]); err != nil {
		return err
	}
	w.out.to.Cut(0, 0)
	kept := sink{footer: bytes.NewBuffer(bytes.Clone(data[aligned(to):])), began: aligned(to)} // the page index; the rows need not stay in memory
	w.groups = append(w.groups, placed{group: group, shift: shift, index: kept.kept})
	w.stats.RowsWritten += group.NumRows
	return nil
}
