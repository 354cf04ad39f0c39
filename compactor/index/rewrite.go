package index

import (
	"bytes"
	"cmp"
	"math"
	"runtime"
	"slices"
	"sync"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/runfold/runfold/cohort"
)

// A row group from which rows go, and each one when the columns change, is decoded and encoded again: 8 us of a core for each row of
// 30 columns, or 4 where the columns stay (bench/README.md). All cores do that, one group each. What comes out is an index of its own, in memory, until its turn comes. So the file
// is the same with any number of cores. All goroutines end before mergeOld returns.

// rewriteBytes bounds the memory of the row groups that are encoded at one time. A single one may take more.
const rewriteBytes = 512 << 20

// rewritesAtOnce is how many row groups are encoded at one time.
func (w *writer) rewritesAtOnce() int {
	each := 2 * (int64(w.layout.width())*2*pageBytes + w.full.bytes) // a page of each column on either side, and the rows; half of a heap is garbage
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
				r.all.Go(func() { g.encode(m, old, i, p.size) })
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

// encode makes the row group with this number, which took about as many bytes before. It only reads m and old.
func (g *rewritten) encode(m *merger, old *File, number int, size int64) {
	defer close(g.done)
	defer guardWriting(&g.err)      // a panic in a goroutine of ours would end the whole process
	g.file.Grow(int(size + size/8)) // else it grows to twice as much, and leaves as much behind
	out, err := newWriter(&g.file, m.out.layout, groupSize{math.MaxInt64, math.MaxInt64}, m.meta)
	if err != nil {
		g.err = err
		return
	}
	own, group := merger{out: out, drop: m.drop, raised: m.raised}, old.file.RowGroups()[number]
	if old.hasLayout(out.layout) {
		err = own.mergeColumns(group)
	} else {
		places, _ := old.places(old.layout.names())
		err = own.mergeGroup(newConverter(old.layout, out.layout), group, places)
	}
	if err == nil {
		g.first = out.first
		g.meta, err = out.close()
	}
	g.last, g.raises, g.err = out.seq, own.raises, err
}

// mergeColumns is mergeGroup for a row group whose columns stay what they are: it writes one after the other. So no row is put together, which is
// half of the work. The writer must have been given no row, as the library cannot have both in one row group.
func (m *merger) mergeColumns(g parquet.RowGroup) error {
	t, err := m.touched(g)
	if err != nil || g.NumRows() == int64(len(t.gone)) {
		return err
	}
	m.raises += len(t.stamps)
	m.out.rows = g.NumRows() - int64(len(t.gone))
	m.out.stats.RowsWritten += m.out.rows
	for place, to := range m.out.w.ColumnWriters() {
		err := eachBatch(g, place, func(row int64, values []parquet.Value) error {
			values = t.merge(row, values, place == m.out.layout.place[columnStamp])
			if place == m.out.layout.place[columnSeq] {
				for _, v := range values {
					if err := m.out.follow(v.Int64(), true); err != nil {
						return err
					}
					m.out.first = cmp.Or(m.out.first, m.out.seq)
				}
			}
			_, err := to.WriteRowValues(values)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// touched are the rows of a row group that do not stay as they are, by their numbers.
type touched struct {
	gone   []int64 // ascending
	stamps map[int64]cohort.Stamp
}

func (m *merger) touched(g parquet.RowGroup) (touched, error) {
	t := touched{stamps: map[int64]cohort.Stamp{}}
	err := eachBatch(g, m.out.layout.place[columnKey], func(row int64, values []parquet.Value) error {
		for i, v := range values {
			if _, ok := m.drop[string(v.ByteArray())]; ok {
				t.gone = append(t.gone, row+int64(i))
			} else if stamp, ok := m.raised[string(v.ByteArray())]; ok {
				t.stamps[row+int64(i)] = stamp
			}
		}
		return nil
	})
	return t, err
}

// merge makes the new values of a column of old ones, in their memory. row is the number of the first one's row.
func (t touched) merge(row int64, values []parquet.Value, stamps bool) []parquet.Value {
	if stamps {
		for i, v := range values {
			if stamp, ok := t.stamps[row+int64(i)]; ok {
				values[i] = at(parquet.Int64Value(int64(stamp)), v.Column(), false)
			}
		}
	}
	first, _ := slices.BinarySearch(t.gone, row)
	gone := t.gone[first:]
	if len(gone) == 0 || gone[0] >= row+int64(len(values)) {
		return values
	}
	n := 0
	for i, v := range values {
		if len(gone) > 0 && gone[0] == row+int64(i) {
			gone = gone[1:]
			continue
		}
		values[n] = v
		n++
	}
	return values[:n]
}

// eachBatch calls do with the values of one column of a row group, some at a time, and the number of the first one's row.
func eachBatch(g parquet.RowGroup, place int, do func(row int64, values []parquet.Value) error) error {
	c, err := openChunk(g.ColumnChunks()[place])
	if err != nil {
		return err
	}
	defer c.close()
	for row := int64(0); row < g.NumRows(); {
		values, err := c.batch()
		if err == nil && row+int64(len(values)) > g.NumRows() {
			return errManyValues
		}
		if err == nil {
			n := int64(len(values)) // do may shorten them
			err = do(row, values)
			row += n
		}
		if err != nil {
			return err
		}
	}
	return c.end()
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
