package doctor

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
)

// sharedBlocks makes a file of blocks of another one, in the way of a fold, and reads it.
func (p *probe) sharedBlocks() (string, string) {
	cost := costOfFold(cohort.Root(filepath.Dir(p.dir)))
	switch err := p.shareBlocks(); {
	case err == nil:
		return yes, "a fold writes what is new, and reads nothing of the rest" + cost.shared
	case errors.Is(err, durable.ErrNoClone):
		return no, err.Error() + ": " + cost.copied
	default:
		return unknown, err.Error()
	}
}

func (p *probe) shareBlocks() (err error) {
	block := bytes.Repeat([]byte("runfold "), 2*durable.CloneBlock/8)
	if err := os.WriteFile(p.path("blocks"), block, 0o666); err != nil {
		return err
	}
	from, err := p.fsys.Open(p.path("blocks"))
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := durable.Pending(p.fsys, p.path("shared"), 0o666)
	if err != nil {
		return err
	}
	defer to.Discard()
	if err := to.Clone(from, durable.CloneBlock, durable.CloneBlock); err != nil {
		return err
	}
	if err := to.Commit(); err != nil {
		return err
	}
	if got, err := os.ReadFile(p.path("shared")); err != nil || !bytes.Equal(got, block[:durable.CloneBlock]) {
		return fmt.Errorf("a file that shares blocks has other bytes: %w", errors.Join(err, durable.ErrNoClone))
	}
	return nil
}

// costs says what a fold of a root costs, beside what is new.
type costs struct{ shared, copied string }

// costOfFold looks at the files of a root. Those of cohorts are not counted: a fold copies only those that it changes.
func costOfFold(root cohort.Root) costs {
	var size int64
	for _, name := range []string{root.Index(), root.Snapshots()} {
		if info, err := os.Lstat(name); err == nil {
			size += info.Size()
		}
	}
	if size == 0 {
		return costs{"", "a fold copies both files"}
	}
	about := fmt.Sprintf("%.1f MB", float64(size)/1e6)
	return costs{": here about " + about + " stay where they are", "a fold copies both files, here " + about}
}
