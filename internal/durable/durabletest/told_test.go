package durabletest

import (
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/runfold/runfold/internal/durable"
)

// toldOthers is a file system that cannot write back the k-th change of a directory. Before the verb syncs, it has reported
// the error to another process. It reports it again to those who had the directory open before that change, as Linux does, and
// to nobody else.
type toldOthers struct {
	durable.FS
	k      int
	done   int            // changes of directories
	errors map[string]int // of each directory
}

func (o *toldOthers) change(err error, dirs ...string) error {
	for _, dir := range dirs {
		if err == nil && o.done == o.k {
			o.errors[dir]++
		}
		if err == nil {
			o.done++
		}
	}
	return err
}

func (o *toldOthers) Link(old, new string) error {
	return o.change(o.FS.Link(old, new), filepath.Dir(new))
}

func (o *toldOthers) Rename(old, new string) error {
	return o.change(o.FS.Rename(old, new), filepath.Dir(new), filepath.Dir(old))
}

func (o *toldOthers) Exchange(a, b string) error {
	return o.change(o.FS.Exchange(a, b), filepath.Dir(a), filepath.Dir(b))
}

func (o *toldOthers) Mkdir(name string, perm fs.FileMode) error {
	return o.change(o.FS.Mkdir(name, perm), filepath.Dir(name))
}

func (o *toldOthers) Remove(name string) error {
	return o.change(o.FS.Remove(name), filepath.Dir(name))
}

func (o *toldOthers) OpenDir(name string) (durable.Dir, error) {
	d, err := o.FS.OpenDir(name)
	return toldDir{d, o, name, o.errors[name]}, err
}

type toldDir struct {
	durable.Dir
	fs     *toldOthers
	name   string
	before int
}

func (d toldDir) Sync() error {
	if d.fs.errors[d.name] > d.before {
		return syscall.EIO
	}
	return d.Dir.Sync()
}

// TestErrorThatOthersWereTold shows that each verb opens a directory before it changes it. So the verb fails, whichever of its
// changes could not be written back.
func TestErrorThatOthersWereTold(t *testing.T) {
	for _, n := range slices.Sorted(maps.Keys(verbs)) {
		v := verbs[n]
		for k := 0; ; k++ {
			o := &toldOthers{FS: v.disk(t, false), k: k, errors: map[string]int{}}
			err := v.do(o)
			if o.done <= k {
				if k == 0 || err != nil {
					t.Errorf("%s makes %d changes: %v", n, k, err)
				}
				break
			}
			if !errors.Is(err, syscall.EIO) {
				t.Errorf("%s whose change %d is not written back = %v, want EIO", n, k, err)
			}
		}
	}
}
