package cohort_test

import (
	"fmt"
	"path/filepath"

	"github.com/runfold/runfold/cohort"
)

func ExampleParseRecord() {
	r, err := cohort.ParseRecord([]byte(`{"run_id":"r-17","stage":"TRAINING","metrics":{"auc":0.71,"loss":NaN}}`), 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.RunID, r.Stage, r.NonFinite, string(r.JSON))

	_, err = cohort.ParseRecord([]byte(`{"run_id":17,"stage":"TRAINING"}`), 0)
	fmt.Println(err)
	// Output:
	// r-17 TRAINING 1 {"run_id":"r-17","stage":"TRAINING","metrics":{"auc":0.71,"loss":null}}
	// run_id must be a string, is an int64
}

func ExampleRecord_Validate() {
	r, err := cohort.ParseRecord([]byte(`{"run_id":"r-17"}`), 0)
	fmt.Println(err, r.Validate())
	// Output: <nil> stage is missing
}

func ExampleRecord_Members() {
	r, err := cohort.ParseRecord([]byte(`{"run_id":"r-17","stage":"TRAINING","seed":7}`), 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	for name, value := range r.Members {
		fmt.Printf("%s=%s\n", name, value)
	}
	// Output:
	// run_id="r-17"
	// stage="TRAINING"
	// seed=7
}

func ExampleParseID() {
	id, err := cohort.ParseID("churn_eu")
	fmt.Println(id, err)
	_, err = cohort.ParseID("../churn_eu")
	fmt.Println(err)
	// Output:
	// churn_eu <nil>
	// cohort name "../churn_eu" starts with a dot
}

func ExampleKeyForm_Of() {
	r, err := cohort.ParseRecord([]byte(`{"run_id":"r-17","stage":"TRAINING","symbol":"ES"}`), 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	wide, err := cohort.ParseKeyForm([]string{"run_id", "phase", "symbol"})
	fmt.Println(cohort.KeyForm{}.Of(r), wide.Of(r), err)
	// Output: r-17:TRAINING r-17:TRAINING:ES <nil>
}

func ExampleRoot() {
	root := cohort.Root("runs")
	for _, path := range []string{root.Index(), root.Cohort("churn_eu"), root.Manifest(2)} {
		fmt.Println(filepath.ToSlash(path))
	}
	// Output:
	// runs/index.parquet
	// runs/cohorts/churn_eu
	// runs/manifests/00000000000000000002.json
}

func ExampleParser() {
	var p cohort.Parser
	var kept cohort.Memory
	var all []cohort.Record
	line := make([]byte, 0, 100) // used again for each line, as bufio.Scanner does
	for n := range 3 {
		line = fmt.Appendf(line[:0], `{"run_id":"r-%d","stage":"TRAINING"}`, n)
		r, err := p.Parse(line, 0)
		if err != nil {
			fmt.Println(err)
			return
		}
		if n != 1 {
			all = append(all, kept.Keep(r))
		}
	}
	for _, r := range all {
		fmt.Println(string(r.JSON))
	}
	// Output:
	// {"run_id":"r-0","stage":"TRAINING"}
	// {"run_id":"r-2","stage":"TRAINING"}
}
