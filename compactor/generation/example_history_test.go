package generation_test

import (
	"fmt"
	"log"
	"time"

	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/journal"
)

func ExampleStore_History() {
	dir, remove := folded()
	defer remove()
	store, err := generation.Open(dir, journal.RootOptions{})
	if err != nil {
		log.Fatal(err)
	}
	for c, err := range store.History() {
		if err != nil {
			log.Fatal(err)
		}
		if c.Err != nil || c.Changed == nil {
			continue // damaged, or of an older version that did not say it
		}
		fmt.Println(uint64(c.Generation), c.Verb, c.Changed.Added, "added,", c.Rows, "rows")
	}
	// Output:
	// 3 fold 1 added, 3 rows
	// 2 fold 1 added, 2 rows
	// 1 fold 1 added, 1 rows
}

func ExampleStore_At() {
	dir, remove := folded()
	defer remove()
	store, err := generation.Open(dir, journal.RootOptions{})
	if err != nil {
		log.Fatal(err)
	}
	m, _, err := store.At(time.Now())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(uint64(m.Generation))
	_, _, err = store.At(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC))
	notKept, ok := err.(*generation.NotKeptError)
	fmt.Println(ok, uint64(notKept.After.Generation))
	// Output:
	// 3
	// true 1
}
