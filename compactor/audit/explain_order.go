package audit

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/runfold/runfold/cohort"
)

// finish orders what was found, and says what replaced what.
func (e *explainer) finish() {
	for _, h := range e.keys {
		follow(h.Writes)
		for i := range h.Writes {
			h.Writes[i].complete()
		}
		h.Actions = e.actionsOf(h)
		e.out.Keys = append(e.out.Keys, *h)
	}
	slices.SortFunc(e.out.Keys, func(a, b KeyHistory) int { return cmp.Compare(a.Key, b.Key) })
}

// follow goes through the writes of one key in their order, as a fold does with records that come at once: the last write
// wins, and a repeat of the one that stands raises its stamp. Folds that met them in another order ended with the same.
func follow(writes []Write) {
	standing := -1
	for i := range writes {
		w := &writes[i]
		if standing < 0 {
			standing = i
			continue
		}
		before := &writes[standing]
		if before.Version().SameWrite(w.Version()) {
			w.Raises = standing + 1
			continue
		}
		w.Replaces, before.ReplacedBy = standing+1, i+1
		if before.fields == nil || w.fields == nil {
			w.Incomparable = "there were too many values to keep them all"
		} else {
			w.Differs, w.MoreDiffer = differences(before, w)
		}
		standing = i
	}
}

// complete fills in what follows from the rest, and says what is missing.
func (w *Write) complete() {
	if w.Stamp >= cohort.FirstClockStamp {
		w.Time = cohort.FormatTime(w.Stamp.Time())
	}
	w.User, w.Host, w.PID = partsOf(w.Writer)
	unknown := func(text string) { w.Unknown = append(w.Unknown, text) }
	switch {
	case w.Stream == "":
		unknown("it was imported: nobody appended it to this root")
	case w.isRow && w.Writer == "":
		unknown("who wrote it: its stream was folded and deleted, with its header, and the row does not say it")
	case w.isRow:
		unknown("when it was written, and with which program: its stream was folded and deleted, with its header")
	case w.Writer == "":
		unknown("who wrote it: the header of its stream cannot be read")
	}
	if w.First > 0 && !w.Since && w.First > 1 {
		unknown("whether it was visible before: the generation before is not kept, or cannot be read")
	}
}

// partsOf takes journal.Header.Writer apart. A user may have an '@', a host has none.
func partsOf(writer string) (user, host string, pid int) {
	i := strings.LastIndexByte(writer, ':')
	if i < 0 {
		return "", "", 0
	}
	pid, err := strconv.Atoi(writer[i+1:])
	if err != nil {
		return "", "", 0
	}
	at := strings.LastIndexByte(writer[:i], '@')
	return writer[:max(at, 0)], writer[at+1 : i], pid
}
