package peer

import (
	"path/filepath"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/journal"
)

// runfold is one Writer a process, shared by its goroutines.
type runfold struct{ w *journal.Writer }

func runfoldRoot(o Options) error {
	_, _, err := journal.InitRoot(root(o), cohort.Settings{}, journal.RootOptions{})
	return err
}

func root(o Options) cohort.Root { return cohort.Root(filepath.Join(o.Dir, "runs")) }

func openRunfold(o Options) (Peer, error) {
	w, err := journal.Create(root(o), "bench", journal.Options{})
	return runfold{w}, err
}

func (r runfold) Writer() (Append, error) {
	return func(record []byte) error {
		rec, err := cohort.ParseRecord(record, 0)
		if err != nil {
			return err
		}
		return r.w.Append([]cohort.Record{rec})
	}, nil
}

func (r runfold) Close() error { return r.w.Close() }
