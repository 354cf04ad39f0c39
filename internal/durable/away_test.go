package durable_test

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
)

// awayCase says whether an error means that the storage does not answer, where it is local, and where it is a share.
type awayCase struct {
	err          error
	local, share bool
}

// TestAway: which errors say that a storage does not answer, on a share and on a local disk.
func TestAway(t *testing.T) {
	dir := t.TempDir()
	share := &durabletest.Late{FS: durable.OS}
	tests := append([]awayCase{
		{nil, false, false},
		{fs.ErrNotExist, false, false},
		{fs.ErrPermission, false, false},
		{&durable.AwayError{Err: errors.New("said before")}, true, true},
	}, awayHere...)
	for _, test := range tests {
		err := test.err
		if err != nil {
			err = fmt.Errorf("read: %w", &fs.PathError{Op: "read", Path: "x", Err: err})
		}
		for _, on := range []struct {
			fsys durable.FS
			want bool
		}{{durable.OS, test.local}, {share, test.share}} {
			got := durable.Away(err, func() bool { return durable.Remote(on.fsys, dir) })
			if durable.IsAway(got) != on.want || !errors.Is(got, test.err) {
				t.Errorf("Away(%T, %v) = %v, away %v; want %v", on.fsys, test.err, got, durable.IsAway(got), on.want)
			}
		}
	}
}

// TestRemoteNothing: where nothing is, nothing can be old.
func TestRemoteNothing(t *testing.T) {
	if durable.Remote(durable.OS, filepath.Join(t.TempDir(), "nowhere")) {
		t.Error("a path that does not exist is remote")
	}
}
