package main

import (
	"fmt"
	"io/fs"
	"testing"

	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
)

// TestWithoutOnce: a daemon tells once in its life what its file system lacks, and all else each time.
func TestWithoutOnce(t *testing.T) {
	var told []string
	tell := oncePerDaemon(func(n compactor.Notice) { told = append(told, n.String()) })
	links, space := generation.Without{What: "hard links", Err: fs.ErrPermission}, generation.Without{What: generation.FreeSpace, Err: fs.ErrInvalid}
	for range 3 {
		for _, n := range []compactor.Notice{links, space, generation.Conflicted{Generation: 2}} {
			tell(n)
		}
	}
	if len(told) != 5 || told[0] != links.String() || told[1] != space.String() {
		t.Errorf("told %q", told)
	}
}

// TestExitOfNotPublished: the commit stands, and only a reader is in the way, whatever errno says so.
func TestExitOfNotPublished(t *testing.T) {
	err := fmt.Errorf("publish generation 3: %w: %w", generation.ErrNotPublished, fs.ErrPermission)
	if code := exitCode(err); code != exitAgain || hint(err) == "" || hint(err) == hint(fs.ErrPermission) {
		t.Errorf("exit code %d, hint %q", code, hint(err))
	}
}
