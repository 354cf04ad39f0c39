package audit

import (
	"slices"

	"github.com/runfold/runfold/cohort"
)

// action is the action that a record is, a new one if it is not known yet, and nil if there is no room for it: of many, the newest stay.
func (e *explainer) action(rec cohort.Record) *Action {
	i, found := slices.BinarySearchFunc(e.acts, rec.Version(), func(a Action, v cohort.Version) int { return a.record.Version().Compare(v) })
	if found {
		return &e.acts[i]
	}
	if len(e.acts) >= mostWrites {
		if i == 0 {
			return nil
		}
		e.acts = slices.Delete(e.acts, 0, 1)
		i--
	}
	a := Action{
		Stamp: rec.Stamp, Time: cohort.FormatTime(rec.Stamp.Time()), RecordID: rec.ID, Action: rec.Action.String(), Reason: rec.Reason(),
		Cohort: rec.Cohort, Stream: rec.Stream, record: rec.Clone(),
	}
	if !rec.Written.IsZero() {
		a.Written = cohort.FormatTime(rec.Written)
	}
	e.acts = slices.Insert(e.acts, i, a)
	return &e.acts[i]
}

// actionsOf are the actions that name a key and belong to a cohort that wrote it.
func (e *explainer) actionsOf(h *KeyHistory) (all []Action) {
	form := e.Settings.Key
	for _, a := range e.acts {
		wrote := slices.ContainsFunc(h.Writes, func(w Write) bool { return w.Cohort == a.Cohort })
		if wrote && form.AimOf(a.record).Meets(form, h.Key) {
			all = append(all, a)
		}
	}
	return all
}
