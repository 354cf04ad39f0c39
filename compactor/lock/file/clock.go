package file

import (
	"crypto/rand"
	"sync"
	"time"
)

// processClock measures from the first call of this process on, on the monotonic clock.
var processClock = sync.OnceValue(func() Clock {
	start := time.Now()
	return Clock{"process " + rand.Text(), func() time.Duration { return time.Since(start) }}
})
