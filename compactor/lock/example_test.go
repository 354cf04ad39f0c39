package lock_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/runfold/runfold/compactor/lock"
	"github.com/runfold/runfold/compactor/lock/file"
)

// Every provider makes Lockers, of which one at a time gets the lock of a root.
func ExampleProvider() {
	dir, err := os.MkdirTemp("", "runfold")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	var p lock.Provider = file.Provider{}
	o := lock.Options{RootID: "01JE0000000000000000000000", Path: filepath.Join(dir, "compact.lock")}
	held, err := p.Locker(o).Lock(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	_, err = p.Locker(o).Lock(context.Background())
	fmt.Println(held.Provider(), errors.Is(err, lock.ErrLocked), lock.Check(held), held.Unlock())
	// Output: file true <nil> <nil>
}

// A compactor that wants no lock is as correct, and may do what another does as well.
func ExampleNone() {
	held, err := lock.None{}.Locker(lock.Options{}).Lock(context.Background())
	fmt.Println(held.Provider(), held.Fence(), err)
	// Output: none 0 <nil>
}
