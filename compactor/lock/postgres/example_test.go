package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/runfold/runfold/compactor/lock"
	"github.com/runfold/runfold/compactor/lock/postgres"
)

// One of all compactors of a root is at work at a time. PGPASSFILE names the file with the password.
func Example() {
	p, err := postgres.Open("postgres://runfold@db.example/lab?schema=runfold&lease=30s")
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	held, err := p.Locker(lock.Options{RootID: "01JDXM4E9V3K2Q8T7N6B5C4A3Z", Wait: time.Minute}).Lock(context.Background())
	if errors.Is(err, lock.ErrLocked) {
		fmt.Println(err) // it names the other one
		return
	}
	if err != nil {
		log.Fatal(err)
	}
	defer held.Unlock()
	// a fold, with lock.Already(held)
}
