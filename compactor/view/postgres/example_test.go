package postgres_test

import (
	"context"
	"fmt"
	"log"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/view"
	"github.com/runfold/runfold/compactor/view/postgres"
	"github.com/runfold/runfold/journal"
)

// The newest generation of a root is copied into a database. PGPASSFILE names the file with the password.
func Example() {
	store, err := generation.Open(cohort.Root("runs"), journal.RootOptions{})
	if err != nil {
		log.Fatal(err)
	}
	v, err := postgres.Open("postgres://runfold@db.example/lab?schema=lab", postgres.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer v.Close()
	report, err := view.Sync(context.Background(), store, v, view.Options{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("generation %d: %d rows written\n", report.To, report.Written)
}
