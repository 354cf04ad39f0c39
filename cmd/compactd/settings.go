package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/internal/terminal"
)

// restoreSettings is repair --settings-from-manifest.
func (a *app) restoreSettings(cfg compactor.Config, apply, asJSON bool) error {
	r, err := audit.RestoreSettings(cfg, apply)
	switch {
	case err != nil:
		return err
	case asJSON:
		err = a.printJSON(restoredReport{r, r.Settings.Encode()})
	default:
		err = a.printRestored(cfg.Root, r)
	}
	if err == nil && !r.Whole() && !r.Applied {
		err = errDamaged
	}
	return err
}

// restoredReport is what --json prints.
type restoredReport struct {
	audit.RestoredSettings
	File json.RawMessage `json:"settings"` // what runfold.json is to say
}

func (a *app) printRestored(root cohort.Root, r audit.RestoredSettings) error {
	var b strings.Builder
	for _, p := range r.Damaged {
		fmt.Fprintf(&b, "damaged   %s\n", terminal.Line(p.String()))
	}
	if r.Whole() {
		fmt.Fprintf(&b, "nothing to do: runfold.json says what manifest %v repeats\n", r.Generation)
	} else {
		b.WriteString(string(r.Settings.Encode()))
		fmt.Fprintf(&b, "runfold.json %s; %d manifests and %d streams name this root, and none names another one\n",
			terminal.Line(r.Fault), r.Manifests, r.Streams)
	}
	switch {
	case r.Whole():
	case r.Applied && r.Kept != "":
		fmt.Fprintf(&b, "repaired: runfold.json is made anew as manifest %v repeats it; the one of before is in %s\n", r.Generation, r.Kept)
	case r.Applied:
		fmt.Fprintf(&b, "repaired: runfold.json is made anew as manifest %v repeats it\n", r.Generation)
	default:
		fmt.Fprintf(&b, "would make runfold.json anew as manifest %v repeats it (--apply does it)\n", r.Generation)
	}
	if r.Applied {
		fmt.Fprintf(&b, "next: compactd repair --root %s says whether anything else is to be repaired\n", terminal.Line(root.String()))
	}
	_, err := a.stdout.Write([]byte(b.String()))
	return err
}
