package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/journal"
)

// TestAwait looks each second, and tells of it at once and then every ten minutes.
func TestAwait(t *testing.T) {
	vacant := &journal.NoRootError{Root: "runs", Found: "it does not exist", Vacant: true}
	tests := []struct {
		name         string
		then         error // what is there after 25 minutes
		looks, tells int
	}{
		{"a root", nil, 25*60 + 1, 3},
		{"somebody's files", &journal.NoRootError{Root: "runs", Found: "other files"}, 25*60 + 1, 3},
		{"an error of the disk", syscall.EIO, 25*60 + 1, 3},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start, looks, tells := time.Now(), 0, 0
				err := await(t.Context(), func() error {
					looks++
					if time.Since(start) < 25*time.Minute {
						return vacant
					}
					return test.then
				}, func(*journal.NoRootError) { tells++ })
				if err != test.then || looks != test.looks || tells != test.tells {
					t.Errorf("await = %v after %d looks, told %d times; want %v, %d, %d", err, looks, tells, test.then, test.looks, test.tells)
				}
			})
		})
	}
	t.Run("told to stop", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			looks := 0
			err := await(ctx, func() error { looks++; return vacant }, func(*journal.NoRootError) {})
			if err != nil || looks < 3600 || looks > 3601 {
				t.Errorf("await = %v after %d looks, want nil after an hour of them", err, looks)
			}
		})
	})
}

// TestDaemonWaitsForItsRoot starts a daemon before its root is there: it says so, and folds once the root is made, or
// its share is mounted.
func TestDaemonWaitsForItsRoot(t *testing.T) {
	for name, setup := range map[string]func(root cohort.Root) (comes func() error, err error){
		"it does not exist": func(root cohort.Root) (func() error, error) {
			return func() error {
				_, _, err := journal.InitRoot(root, cohort.Settings{}, journal.RootOptions{})
				return err
			}, nil
		},
		"it is empty": func(root cohort.Root) (func() error, error) {
			share := root + "-share"
			_, _, err := journal.InitRoot(share, cohort.Settings{}, journal.RootOptions{})
			return func() error { return errors.Join(os.Remove(string(root)), os.Rename(string(share), string(root))) },
				errors.Join(err, os.Mkdir(string(root), 0o755))
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := cohort.Root(filepath.Join(t.TempDir(), "runs"))
			comes, err := setup(root)
			if err != nil {
				t.Fatal(err)
			}
			d := startDaemon(t, root, "--schedule", "@every 24h")
			e := d.until(t, "waiting for the root")
			if e.Level != "warn" || !strings.HasSuffix(e.Error, string(root)+": not a runfold root: "+name) {
				t.Errorf("event is %+v, want a warning with %q", e, name)
			}
			if _, err := os.Lstat(root.Settings()); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a root is there already: %v", err)
			}
			if err := comes(); err != nil {
				t.Fatal(err)
			}
			appendRun(t, root, "r-1")
			d.until(t, "folding on schedule")
			d.until(t, "folded")
			d.stop(t, syscall.SIGTERM)
		})
	}
}

// TestDaemonStopsWaiting ends a daemon whose root never comes.
func TestDaemonStopsWaiting(t *testing.T) {
	for _, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		d := startDaemon(t, cohort.Root(filepath.Join(t.TempDir(), "runs")))
		d.until(t, "waiting for the root")
		d.stop(t, sig)
	}
}

// TestDaemonWaitsForItsRootOnly ends when another root comes than the one that was meant.
func TestDaemonWaitsForItsRootOnly(t *testing.T) {
	root := cohort.Root(filepath.Join(t.TempDir(), "runs"))
	d := startDaemon(t, root, "--root-id", "01JQ4Z0000000000000000000R")
	d.until(t, "waiting for the root")
	if _, _, err := journal.InitRoot(root, cohort.Settings{}, journal.RootOptions{}); err != nil {
		t.Fatal(err)
	}
	said := false
	for d.log.Scan() {
		said = said || strings.Contains(d.log.Text(), "this is another root")
	}
	var code int
	if err := d.cmd.Wait(); err != nil {
		code = d.cmd.ProcessState.ExitCode()
	}
	if code != exitFailed || !said {
		t.Errorf("compactd run with another root: exit code %d, said so: %t; want %d and true", code, said, exitFailed)
	}
}
