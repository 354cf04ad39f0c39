package generation

import (
	"cmp"
	"fmt"
	"os"
)

// Verb says what kind of commit made a generation. A reader shows one that it does not know as it is: later versions have more.
type Verb string

const (
	// Part of the format, do not change.
	DidFold      Verb = "fold"
	DidImport    Verb = "import"
	DidColumns   Verb = "columns"
	DidRetention Verb = "retention"
	DidRepair    Verb = "repair"
	DidErase     Verb = "erase"
	DidDelta     Verb = "delta"
)

// Changed counts the rows that a commit changed, against the generation before. A repair, which goes back, does not count.
type Changed struct {
	Added    int64 `json:"added,omitempty"`    // rows of new keys
	Replaced int64 `json:"replaced,omitempty"` // rows that a later write of their key replaced
	Raised   int64 `json:"raised,omitempty"`   // rows whose record was appended again: only the stamp is another
	// Withdrawn left the index and stand among the withdrawn rows; Returned came back from there.
	Withdrawn int64 `json:"withdrawn,omitempty"`
	Returned  int64 `json:"returned,omitempty"`
	Imported  int64 `json:"imported,omitempty"` // of those that were added or replaced: came by an import
	Erased    int64 `json:"erased,omitempty"`   // rows that are gone for good, withdrawn ones too
}

// Account is the user of this process for people to read. The environment is asked and no directory service: if that does not
// answer, the commit would wait for something that is only courtesy.
func Account() string {
	name := cmp.Or(os.Getenv("USER"), os.Getenv("LOGNAME"), os.Getenv("USERNAME"))
	if uid := os.Getuid(); name == "" && uid >= 0 {
		return fmt.Sprintf("uid %d", uid)
	}
	return cmp.Or(name, "unknown")
}
