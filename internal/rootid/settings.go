package rootid

import (
	"errors"
	"fmt"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/journal"
)

// anew is the command that makes runfold.json anew.
func anew(root cohort.Root) string {
	return fmt.Sprintf("compactd repair --root %s --settings-from-manifest shows what runfold.json was, and with --apply makes it anew", root)
}

// SettingsWayOut says what to do about a root whose runfold.json is damaged, or does not fit the other files. It is empty if err is about
// something else.
func SettingsWayOut(err error) string {
	var damaged *journal.SettingsError
	var mixed *journal.MixedError
	switch {
	case errors.As(err, &damaged) && damaged.Manifests:
		return anew(damaged.Root)
	case errors.As(err, &damaged):
		return "restore runfold.json from a copy: no manifest repeats it yet"
	case errors.As(err, &mixed):
		return mixedWayOut(mixed)
	case errors.Is(err, journal.ErrMixed):
		return "nothing was changed; the next call says which file names which root"
	}
	return ""
}

func mixedWayOut(mixed *journal.MixedError) string {
	id, manifests := mixed.Agreed()
	hasSettings := len(mixed.Said) > 0 && mixed.Said[0].What == "runfold.json"
	strangers := mixed.Strangers()
	switch {
	case id != "" && manifests && hasSettings:
		return "nothing was changed; if all files are of one root, only runfold.json is wrong: " + anew(mixed.Root)
	case id != "" && hasSettings:
		return "nothing was changed; restore the runfold.json whose root_id is " + id
	case len(strangers) > 0:
		return fmt.Sprintf("nothing was changed; files of another root were copied in: move %s, and all others that name %s, out of this root",
			strangers[0].Such, strangers[0].RootID)
	}
	return "nothing was changed; files of several roots lie in one directory: take them apart, or restore a backup"
}
