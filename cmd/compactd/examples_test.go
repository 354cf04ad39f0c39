package main

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
)

// TestExamples runs the examples of the help of the commands that look at runs. An age and a generation that no root of a test has are others here.
func TestExamples(t *testing.T) {
	for _, program := range []string{"sh", "jq", "grep"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed", program)
		}
	}
	dir := t.TempDir()
	shell := func(line string) ([]byte, error) {
		cmd := exec.Command("sh", "-c", "set -e\n"+line)
		cmd.Dir = dir
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		err := cmd.Run()
		if bytes.Contains(errs.Bytes(), []byte("compactd: ")) && !bytes.Contains(errs.Bytes(), []byte("compactd: generation")) {
			t.Errorf("%s: %s", line, errs.Bytes())
		}
		return out.Bytes(), err
	}
	for _, line := range []string{
		`printf '%s\n' '{"run_id":"r-16","stage":"TRAINING","metrics":{"auc":0.8,"loss":2},"params":{"lr":0.01}}' '{"run_id":"r-17","stage":"TRAINING","metrics":{"auc":0.9,"loss":1},"params":{"lr":0.02}}' | journal-append --root runs --create --cohort churn_eu`,
		"compactd once --root runs 2> /dev/null",
		"journal-append --root runs --cohort churn_eu --run-id r-18 --stage TRAINING --set metrics.auc=0.7",
		"journal-append --root runs --cohort churn_eu --run-id r-19 --stage TRAINING && compactd withdraw --root runs --run-id r-19 --reason test 2> /dev/null && compactd once --root runs 2> /dev/null",
		"journal-append --root runs --cohort churn_eu --run-id r-20 --stage TRAINING --set metrics.auc=0.7",
	} {
		if out, err := shell(line); err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
	}
	here := strings.NewReplacer("--at 2h", "--at 0s", "--at 1234", "--at 1")
	a := &app{}
	for _, cmd := range a.command().Commands() {
		switch cmd.Name() {
		case "runs", "show", "compare", "best":
		default:
			continue
		}
		for line := range strings.SplitSeq(cmd.Example, "\n") {
			out, err := shell(here.Replace(strings.TrimSpace(line)))
			if err != nil {
				t.Errorf("%s: %v", line, err)
			}
			if len(out) == 0 && !strings.Contains(line, " > ") && !strings.Contains(line, "--withdrawn") {
				t.Errorf("%s prints nothing", line)
			}
		}
	}
}
