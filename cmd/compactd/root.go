package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/journal"
)

// rootIDVar is the environment variable that stands for --root-id.
const rootIDVar = "RUNFOLD_ROOT_ID"

// wantedRoot is the root that the flags and the environment mean: its path, and its id or empty. A flag --root-id that
// is given wins over the environment, and must not be empty: an unset variable must not make any root right.
func (a *app) wantedRoot() (root cohort.Root, id string, err error) {
	if a.root == "" {
		return "", "", usageError{errors.New("--root is missing")}
	}
	from, text := "--root-id", a.rootID
	if !a.hasFlag("root-id") {
		from, text = rootIDVar, os.Getenv(rootIDVar)
		if text == "" {
			return cohort.Root(a.root), "", nil
		}
	}
	id, err = cohort.ParseRootID(text)
	if err != nil {
		return "", "", usageError{fmt.Errorf("%s: %w", from, err)}
	}
	return cohort.Root(a.root), id, nil
}

// wayOut says what to do about a path that is no root.
func wayOut(none *journal.NoRootError) string {
	switch {
	case none.Lost:
		return "a copy of runfold.json in its place makes it a root again"
	case !none.Vacant:
		return "is the path right? A root is made in a directory that is new or empty"
	}
	return fmt.Sprintf("if the root is on a share, see whether it is mounted; a new root is made by compactd init --root %s, "+
		"or by journal-append --create", none.Root)
}

// How often a daemon looks for a root that is not there, and how often it says that it waits.
const (
	lookEvery = time.Second
	sayEvery  = 10 * time.Minute
)

// awaitRoot returns once the root is there, or ctx ends. It waits where a root may be made or a share be mounted, and
// for nothing else.
func (d *daemon) awaitRoot(ctx context.Context) error {
	open := func() error {
		_, err := journal.OpenRoot(d.base.Root, journal.RootOptions{ID: d.base.RootID})
		return err
	}
	return await(ctx, open, func(none *journal.NoRootError) {
		d.log.Warn("waiting for the root", zap.Error(none), zap.String("hint", wayOut(none)))
	})
}

// await calls open until it finds a root, or something else than a vacant place, or ctx ends. It tells of the first
// look and then of one every sayEvery.
func await(ctx context.Context, open func() error, tell func(*journal.NoRootError)) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var told time.Time
	for {
		err := open()
		var none *journal.NoRootError
		if !errors.As(err, &none) || !none.Vacant {
			return err
		}
		if told.IsZero() || time.Since(told) >= sayEvery {
			told = time.Now()
			tell(none)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
