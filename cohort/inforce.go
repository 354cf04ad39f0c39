package cohort

import "slices"

// InForce is a set of actions that decides where rows stand. Adding an action again changes nothing. One goroutine uses it.
type InForce struct {
	form   KeyForm
	by     map[string][]inForce // by run_id; sorted by version once something was asked
	sorted bool
}

// inForce is one action, with what is made of its bytes.
type inForce struct {
	Record
	at  Version
	aim Aim
}

// NewInForce makes an empty set for a root with this form of keys.
func NewInForce(form KeyForm) *InForce {
	return &InForce{form: form, by: map[string][]inForce{}}
}

// Add adds an action that was appended. It must not change afterwards.
func (a *InForce) Add(r Record) {
	at := r.Version()
	if slices.ContainsFunc(a.by[r.RunID], func(x inForce) bool { return x.at == at && x.Cohort == r.Cohort }) {
		return // its stream was read again
	}
	a.by[r.RunID] = append(a.by[r.RunID], inForce{r, at, a.form.AimOf(r)})
	a.sorted = false
}

// Verdict is what a set of actions says about the highest record of a key.
type Verdict struct {
	Withdrawn bool
	By        *Record  // the withdrawal in force, if it is withdrawn: the first of them
	Protected bool     // a withdrawal that came now would be refused
	Refused   []Record // withdrawals later than the row that its protection does not let through
}

// Decide tells where the row of a key stands. row and id are the version and the cohort of the key's highest record. The verdict depends
// on these and on the set, never on the order in which anything was read: so every split of folds and streams ends in the same rows.
//
// A withdrawal holds against what was written before it. It is void if the run was protected at its stamp, also if the protection is
// read later than the withdrawal. An undo ends the withdrawals before it.
func (a *InForce) Decide(key Key, row Version, id ID) (v Verdict) {
	a.sort()
	runID, _, _, ok := a.form.Split(key)
	if !ok {
		return v
	}
	of := a.by[runID]
	for i := range of {
		x := &of[i]
		if x.Cohort != id || !x.aim.Meets(a.form, key) {
			continue
		}
		later := x.at.Compare(row) > 0
		switch x.Action {
		case Protect, Unprotect:
			v.Protected = x.Action == Protect
		case Undo:
			if later {
				v.Withdrawn, v.By = false, nil
			}
		case Withdraw:
			switch {
			case !later:
			case v.Protected:
				v.Refused = append(v.Refused, x.Record)
			case !v.Withdrawn:
				v.Withdrawn, v.By = true, &x.Record
			}
		}
	}
	return v
}

func (a *InForce) sort() {
	if a.sorted {
		return
	}
	for _, of := range a.by {
		slices.SortFunc(of, func(x, y inForce) int { return x.at.Compare(y.at) })
	}
	a.sorted = true
}
