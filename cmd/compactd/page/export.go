package page

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/runfold/runfold/cmd/compactd/found"
	"github.com/runfold/runfold/compactor/query"
)

// The limits of lists that are sent as files. A reader who does not read must not hold a generation for ever, nor keep others from asking.
const (
	exports    = 2 // at once
	exportTime = 10 * time.Minute
	exportSort = deepRows // rows of a sorted one, all of which are held in memory
)

// export sends all runs of a list as CSV, as "compactd runs --csv" prints them: all columns, if the list does not choose, and in snapshot_seq order, if it has no other.
func (p *Page) export(w http.ResponseWriter, r *http.Request) error {
	v, err := viewOf(r)
	if err != nil {
		return err
	}
	if v.Unfolded {
		return usage(fmt.Errorf("CSV has what is folded: leave unfolded out of the address, or use compactd runs --unfolded --csv"))
	}
	done, err := p.exporting(r.Context())
	if err != nil {
		return err
	}
	defer done()
	b, err := p.look(r.Context(), v)
	if err != nil {
		return err
	}
	defer b.back()
	q, err := p.exported(r.Context(), v, b)
	if err != nil {
		return b.Doubt(err)
	}
	h := w.Header()
	h.Set("Content-Type", "text/csv; charset=utf-8")
	h.Set("Content-Disposition", fmt.Sprintf(`attachment; filename="runs-%d.csv"`, b.Newest.Generation))
	if r.Method == http.MethodHead {
		return nil
	}
	out := bufio.NewWriterSize(&deadlined{w, http.NewResponseController(w)}, 64<<10)
	if err := writeCSV(r.Context(), out, q, b.Source); err != nil {
		if r.Context().Err() == nil {
			p.Failed(b.Doubt(err))
		}
		panic(http.ErrAbortHandler) // a file that is not whole must not look whole
	}
	return nil
}

// exporting waits until one more list may be sent.
func (p *Page) exporting(ctx context.Context) (done func(), err error) {
	ctx, stop := context.WithTimeout(ctx, p.QueryTime)
	defer stop()
	return take(ctx, p.exports)
}

// exported is what an export asks for. Its mistakes are told before anything is sent.
func (p *Page) exported(ctx context.Context, v view, b *reading) (q query.Query, err error) {
	if q, err = v.query(p.Now()); err != nil {
		return q, err
	}
	q.Offset, q.Limit = 0, 0
	names := []string{"*"}
	if v.Columns != "" {
		if names, err = query.ParseColumns(v.Columns); err != nil {
			return q, err
		}
	}
	if q.Columns, err = b.Source.Expand(ctx, names); err != nil {
		return q, err
	}
	if bySeq, descending := seqOrder(q.Sort); bySeq && !descending {
		q.Sort = nil
	}
	n, err := q.Count(ctx, b.Source) // it refuses wrong names of the filter; those of columns and of the sort are refused below
	if err == nil && len(q.Sort) > 0 && n > exportSort {
		return q, usage(fmt.Errorf("a sorted list of more than %s runs is not sent as CSV: leave sort out of the address, or narrow it down", count(exportSort)))
	}
	for _, err := range (query.Query{Columns: q.Columns, Sort: q.Sort, Limit: 1}).Rows(ctx, b.Source) {
		if err != nil {
			return q, err
		}
	}
	return q, err
}

func writeCSV(ctx context.Context, out *bufio.Writer, q query.Query, src query.Source) error {
	line := []byte{}
	for i, name := range q.Columns {
		if i > 0 {
			line = append(line, ',')
		}
		line = found.AppendField(line, name)
	}
	out.Write(append(line, '\n')) // a bufio.Writer keeps its first error
	for row, err := range q.Rows(ctx, src) {
		if err != nil {
			return err
		}
		if _, err := out.Write(found.AppendCSV(out.AvailableBuffer(), row.Cells)); err != nil {
			return err
		}
	}
	return out.Flush()
}

// deadlined gives the connection more time with each part that is written.
type deadlined struct {
	http.ResponseWriter
	on *http.ResponseController
}

func (d *deadlined) Write(b []byte) (int, error) {
	d.on.SetWriteDeadline(time.Now().Add(idleTime)) // an error is dropped: a test has no connection
	return d.ResponseWriter.Write(b)
}
