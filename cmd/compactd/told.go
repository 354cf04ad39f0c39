package main

import (
	"sync"

	"github.com/runfold/runfold/compactor"
)

// oncePerDaemon passes notices to tell. What each fold of a daemon would repeat, because it is about the place and not about the
// fold, is passed once.
func oncePerDaemon(tell func(compactor.Notice)) func(compactor.Notice) {
	var mu sync.Mutex // guards told: a schedule may tell from several goroutines
	told := map[string]bool{}
	return func(n compactor.Notice) {
		if _, ok := n.(compactor.LockUnsupported); ok {
			text := n.String()
			mu.Lock()
			again := told[text]
			told[text] = true
			mu.Unlock()
			if again {
				return
			}
		}
		tell(n)
	}
}
