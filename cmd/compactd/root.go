package main

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/rootid"
	"github.com/runfold/runfold/journal"
)

// byAppend is how an append makes a root.
const byAppend = "journal-append --create"

// wantedRoot is the root that the flags and the environment mean: its path, and its id or empty.
func (a *app) wantedRoot() (root cohort.Root, id string, err error) {
	if a.root == "" {
		return "", "", usageError{errors.New("--root is missing")}
	}
	if id, err = rootid.Wanted(a.rootID, a.hasFlag("root-id")); err != nil {
		return "", "", usageError{err}
	}
	return cohort.Root(a.root), id, nil
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
		d.log.Warn("waiting for the root", zap.Error(none), zap.String("hint", rootid.WayOut(none, byAppend)))
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
