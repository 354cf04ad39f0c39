package redis_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/runfold/runfold/compactor/lock"
	"github.com/runfold/runfold/compactor/lock/redis"
)

// The lock of a root is held while something is done. REDISCLI_AUTH has the password.
func ExampleOpen() {
	p, err := redis.Open("rediss://runfold@redis.example:6380/?lease=30s")
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	held, err := p.Locker(lock.Options{RootID: "01J00000000000000000000000", Wait: time.Minute}).Lock(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	defer held.Unlock()
	fmt.Println("fence", held.Fence())
}
