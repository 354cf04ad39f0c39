package main

import (
	"sync"

	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/lock"
)

// oncePerDaemon passes notices to tell. What each fold of a daemon would repeat, because it is about the place and not about the
// fold, is passed once.
func oncePerDaemon(tell func(compactor.Notice)) func(compactor.Notice) {
	var told sync.Map
	return func(n compactor.Notice) {
		var what string
		switch n := n.(type) {
		case lock.Unsupported:
			what = n.String()
		case generation.Without:
			what = n.What
		}
		if what != "" {
			if _, before := told.LoadOrStore(what, true); before {
				return
			}
		}
		tell(n)
	}
}
