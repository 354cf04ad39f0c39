package page

import (
	"context"
	"strings"

	"github.com/runfold/runfold/cmd/compactd/found"
	"github.com/runfold/runfold/compactor/query"
)

// begins leads to the runs whose id begins with what somebody has written where an expression belongs; empty if that is no name.
func begins(v view) string {
	if v.Where == "" || strings.ContainsAny(v.Where, " =<>!'\"()") {
		return ""
	}
	v.Where, v.From = "run_id like "+query.Text(found.Like(v.Where)+"%")+` escape '\'`, 0
	return v.list()
}

// explain says why a list is empty.
func (p *Page) explain(ctx context.Context, l *list, b *reading) error {
	q, err := l.View.query(p.Now())
	if err != nil {
		return err
	}
	if b.Source.Index != nil || len(b.Source.Fresh) > 0 {
		why, err := found.Missed(ctx, b.Source, q)
		if why != "" {
			l.Why = strings.ToUpper(why[:1]) + why[1:]
		}
		if err != nil || q.Where.String() == "" || b.Source.Index == nil {
			return err
		}
		l.Hints, err = query.Hints(ctx, q.Where, b.Source.Index)
		return err
	}
	if l.Never = true; l.View.Unfolded {
		return nil
	}
	fresh := l.View
	fresh.Unfolded, fresh.At = true, 0
	l.Fresh = fresh.list()
	done, err := p.alone(ctx) // it reads all that waits
	if err != nil {
		return err
	}
	defer done()
	l.Waits, err = found.Waiting(ctx, p.Root)
	return err
}
