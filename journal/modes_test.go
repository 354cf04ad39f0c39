package journal

import (
	"testing"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
)

// TestGivenIsExact: what cohort says of a mode is what durable understands. Neither may import the other.
func TestGivenIsExact(t *testing.T) {
	if cohort.Given != durable.Exact {
		t.Errorf("cohort.Given is %v, durable.Exact is %v", cohort.Given, durable.Exact)
	}
}
