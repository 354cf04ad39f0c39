package generation

import (
	"slices"
	"time"

	"github.com/runfold/runfold/cohort"
)

// lineage tells which manifests are of the history of the newest one. It is asked from the newest down: every link leads to a
// lower number, so one pass is enough.
type lineage struct {
	newest  *Manifest
	links   map[cohort.Generation]string // the digest that a later manifest names; empty where it names the number only
	due     map[cohort.Generation]bool   // of the links, those of firsts that retention keeps, and that were not met yet
	repairs []Manifest
	blind   bool // a manifest was not there to be asked, or is of a version that names its parent only
}

// Ancestors splits manifests, oldest first, into those of the history of the newest one and others: a compactor that slept created
// them too late (R2), or what linked them to the newest was swept. What a repair went back before is still among the first; IsVoid tells.
func Ancestors(all []Manifest) (line, others []Manifest) {
	var l lineage
	for i := range slices.Backward(all) {
		if l.isVoid(&all[i]) && !IsVoid(all, all[i].Generation) {
			others = append(others, all[i])
		} else {
			line = append(line, all[i])
		}
	}
	slices.Reverse(line)
	slices.Reverse(others)
	return line, others
}

// unread notes that a manifest cannot be read, or was swept since it was listed: what it stands on is not known.
func (l *lineage) unread() { l.blind = true }

// isVoid takes the next manifest. It is true if m is not of the history of the newest one, as far as the manifests above it tell: a
// repair has gone back to an earlier one, a compactor that slept created it too late (R2), or what linked it to the newest was swept.
func (l *lineage) isVoid(m *Manifest) bool {
	if l.newest == nil {
		*l = lineage{newest: m, links: map[cohort.Generation]string{m.Generation: ""}, due: map[cohort.Generation]bool{}, blind: l.blind}
	}
	for g := range l.due {
		l.blind = l.blind || g > m.Generation // it should be here: somebody has put it aside
	}
	digest, linked := l.links[m.Generation]
	if linked && digest != "" && digest != m.digest || !linked && !l.blind || IsVoid(l.repairs, m.Generation) {
		return true
	}
	delete(l.due, m.Generation)
	l.follow(m)
	return false
}

func (l *lineage) follow(m *Manifest) {
	if m.RepairedFrom != nil { // its parent is the number that it took, and not what it stands on
		l.repairs = append(l.repairs, *m)
		l.link(*m.RepairedFrom, "")
	} else {
		l.link(m.Generation-1, m.Parent)
	}
	keeps := l.newest.Keeps()
	l.first(m.Firsts.Hour, hour, keeps.Hourly)
	l.first(m.Firsts.Day, day, keeps.Daily)
	l.blind = l.blind || m.Firsts == Firsts{} && m.Generation > 1
}

func (l *lineage) link(g cohort.Generation, digest string) {
	if l.links[g] == "" {
		l.links[g] = digest
	}
}

func (l *lineage) first(f *First, period, stays time.Duration) {
	if f == nil {
		return
	}
	l.link(f.Generation, f.SHA256)
	if l.newest.At.Time().Sub(f.At.Time().Truncate(period)) < stays {
		l.due[f.Generation] = true
	}
}
