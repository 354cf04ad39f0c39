package tracker

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"

	"github.com/runfold/runfold/cohort"
)

// maxOfName is how much of a long name is kept: with the digest a cohort has at most 200 bytes.
const maxOfName = 150

var notInCohorts = regexp.MustCompile(`[^A-Za-z0-9._=-]+`)

// CohortOf is the cohort of an experiment. A name that may be one stays. In any other name each run of characters that no cohort has becomes one '-',
// dots and dashes at its ends go, it is cut to 150 bytes, and what was lost is told apart by the first eight digits of its SHA-256: "My model (v2)"
// is My-model-v2-82c6a1b7 or the like. So a name has the same cohort in every import, and two names never have one.
func CohortOf(name string) (id cohort.ID, changed bool) {
	if id, err := cohort.ParseID(name); err == nil {
		return id, false
	}
	sum := sha256.Sum256([]byte(name))
	kept := strings.Trim(notInCohorts.ReplaceAllString(name, "-"), ".-")
	if len(kept) > maxOfName {
		kept = strings.TrimRight(kept[:maxOfName], ".-")
	}
	if kept == "" {
		kept = "experiment"
	}
	return cohort.ID(kept + "-" + hex.EncodeToString(sum[:4])), true
}
