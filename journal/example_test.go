package journal_test

import (
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"sync"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/journal"
)

// tempRoot makes a root for an example, and returns what removes it.
func tempRoot() (root journal.Root, remove func()) {
	dir, err := os.MkdirTemp("", "runfold")
	if err != nil {
		log.Fatal(err)
	}
	root, _, err = journal.InitRoot(cohort.Root(filepath.Join(dir, "runs")), cohort.Settings{}, journal.RootOptions{})
	if err != nil {
		log.Fatal(err)
	}
	return root, func() { os.RemoveAll(dir) }
}

// training is the record of a run.
func training(run string) cohort.Record {
	r, err := cohort.ParseRecord(fmt.Appendf(nil, `{"run_id":%q,"stage":"TRAINING","metrics":{"auc":0.71}}`, run), 0)
	if err != nil {
		log.Fatal(err)
	}
	return r
}

// appendRuns appends records with a Writer of their own.
func appendRuns(root journal.Root, runs ...string) {
	w, err := root.Create("churn_eu", journal.Options{})
	if err != nil {
		log.Fatal(err)
	}
	for _, run := range runs {
		if err := w.Append([]cohort.Record{training(run)}); err != nil {
			log.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}
}

func ExampleInitRoot() {
	dir, err := os.MkdirTemp("", "runfold")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for range 2 {
		root, created, err := journal.InitRoot(cohort.Root(filepath.Join(dir, "runs")), cohort.Settings{}, journal.RootOptions{})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(created, root.Settings.MaxRecord, root.Settings.Key.Fields())
	}
	// Output:
	// true 16777216 [run_id phase]
	// false 16777216 [run_id phase]
}

func ExampleOpenRoot() {
	root, remove := tempRoot()
	defer remove()

	_, err := journal.OpenRoot(root.Dir, journal.RootOptions{ID: root.Settings.RootID})
	fmt.Println(err)

	_, err = journal.OpenRoot(root.Dir, journal.RootOptions{ID: "01JQ4Z0000000000000000000R"})
	fmt.Println(errors.Is(err, journal.ErrOtherRoot))

	_, err = journal.OpenRoot("/no/such/directory", journal.RootOptions{})
	var none *journal.NoRootError
	if errors.As(err, &none) {
		fmt.Println(none.Found, none.Vacant)
	}
	// Output:
	// <nil>
	// true
	// it does not exist true
}

func ExampleCreate() {
	root, remove := tempRoot()
	defer remove()

	w, err := journal.Create(root.Dir, "churn_eu", journal.Options{})
	if err != nil {
		log.Fatal(err)
	}
	r, err := cohort.ParseRecord([]byte(`{"run_id":"r-17","stage":"TRAINING","metrics":{"auc":0.71}}`), 0)
	if err != nil {
		log.Fatal(err)
	}
	if err := w.Append([]cohort.Record{r}); err != nil { // durable on nil
		log.Fatal(err)
	}
	fmt.Println(w.Close())
	// Output: <nil>
}

// Any number of goroutines share a Writer. Those that append at the same time share one fsync.
func ExampleWriter_Append() {
	root, remove := tempRoot()
	defer remove()
	w, err := root.Create("churn_eu", journal.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer w.Close()

	var all sync.WaitGroup
	for n := range 10 {
		all.Go(func() {
			if err := w.Append([]cohort.Record{training(fmt.Sprint("r-", n))}); err != nil {
				log.Print(err)
			}
		})
	}
	all.Wait()

	err = w.Append([]cohort.Record{training("r-10"), {RunID: "by hand"}})
	var refused *journal.RecordError
	if errors.As(err, &refused) {
		fmt.Println(refused.Index, refused) // none of the two was written
	}
	// Output: 1 record 2: has no JSON: use cohort.ParseRecord
}

func ExampleRoot_Streams() {
	root, remove := tempRoot()
	defer remove()
	appendRuns(root, "r-1", "r-2")
	appendRuns(root, "r-3")

	places, unknown, err := root.Streams()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(places), "streams of", places[0].Cohort, unknown)
	// Output: 2 streams of churn_eu []
}

func ExampleRoot_Open() {
	root, remove := tempRoot()
	defer remove()
	appendRuns(root, "r-1", "r-2")

	places, _, err := root.Streams()
	if err != nil {
		log.Fatal(err)
	}
	r, err := root.Open(places[0], journal.Position{})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(err, journal.ErrCorrupt) { // after damage it goes on
			log.Fatal(err)
		}
		fmt.Println(rec.RunID, rec.Stage)
	}
	fmt.Println("sealed:", r.Position().Sealed)
	// Output:
	// r-1 TRAINING
	// r-2 TRAINING
	// sealed: true
}

// A program that needs more records than fit into memory keeps their places, and reads again what it needs.
func ExampleReader_Reread() {
	root, remove := tempRoot()
	defer remove()
	appendRuns(root, "r-1", "r-2", "r-3")
	places, _, err := root.Streams()
	if err != nil {
		log.Fatal(err)
	}
	r, err := root.Open(places[0], journal.Position{})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()

	r.ReuseMemory()
	var refs []journal.Ref
	for _, err = r.Next(); err == nil; _, err = r.Next() {
		refs = append(refs, r.Ref())
	}
	rec, err := r.Reread(refs[1])
	fmt.Println(rec.RunID, err)
	// Output: r-2 <nil>
}

func ExampleEntries() {
	root, remove := tempRoot()
	defer remove()
	appendRuns(root, "r-1")
	places, _, err := root.Streams()
	if err != nil {
		log.Fatal(err)
	}
	for e, err := range journal.Entries(cohort.SegmentIn(places[0].Dir), places[0].Stream) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(e.Seq, e.Kind)
	}
	// Output:
	// 1 header
	// 2 record
	// 3 seal
}
