package generation

import "github.com/runfold/runfold/cohort"

// lineage tells which manifests are of the history of the newest one. It is asked from the newest down: every link leads to a
// lower number, so one pass is enough.
type lineage struct {
	begun   bool
	links   map[cohort.Generation]string // the digest that a later manifest names; empty where it names the number only
	repairs []Manifest
	blind   bool // a manifest was not there to be asked, or is of a version that names its parent only
}

// unread notes that a manifest cannot be read, or was swept since it was listed: what it stands on is not known.
func (l *lineage) unread() { l.blind = true }

// isVoid takes the next manifest. It is true if m is not of the history of the newest one, as far as the manifests above it tell: a
// repair has gone back to an earlier one, a compactor that slept created it too late (R2), or what links it to the newest is gone.
func (l *lineage) isVoid(m *Manifest) bool {
	digest, linked := l.links[m.Generation]
	if l.begun && linked && digest != "" && digest != m.digest || l.begun && !linked && !l.blind || IsVoid(l.repairs, m.Generation) {
		return true
	}
	l.begun = true
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
	for _, first := range []*First{m.Firsts.Hour, m.Firsts.Day} {
		if first != nil {
			l.link(first.Generation, first.SHA256)
		}
	}
	l.blind = l.blind || m.Firsts == Firsts{} && m.Generation > 1
}

func (l *lineage) link(g cohort.Generation, digest string) {
	if l.links == nil {
		l.links = map[cohort.Generation]string{}
	}
	if l.links[g] == "" {
		l.links[g] = digest
	}
}
