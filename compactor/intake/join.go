package intake

import (
	"cmp"
	"slices"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/jsonscan"
)

// identity says of which run an item is, whatever fields the root's key has. Empty parts are not named.
type identity struct{ runID, stage, cohort, target, view, symbol string }

// mayBe tells whether two items can be of one run: what both name is equal.
func (id identity) mayBe(other identity) bool {
	same := func(a, b string) bool { return a == b || a == "" || b == "" }
	return id.runID == other.runID && id.stage == other.stage && same(id.cohort, other.cohort) && same(id.target, other.target) &&
		same(id.view, other.view) && same(id.symbol, other.symbol)
}

// run is what rows and snapshots are looked up by.
type run struct{ runID, stage string }

func (it *item) run() run { return run{it.runID, it.stage} }

// widest bounds the rows of one run_id and stage among which a snapshot that names less than they do is looked for.
const widest = 100

// joined are the rows, each with its snapshot, and the snapshots that have no row.
func (f *files) joined() []item {
	rows := map[run][]int{}
	for i := range f.rows {
		r := f.rows[i].run()
		rows[r] = append(rows[r], i)
	}
	left := f.joinEqual(f.joinKeys(f.snaps))
	left = f.joinOnly(rows, left)
	return slices.Concat(f.rows, f.uncovered(left))
}

// joinKeys joins each snapshot with the row that has its key in a column, as an index of ours has, and returns the others.
func (f *files) joinKeys(snaps []item) (left []item) {
	rows := map[string]int{}
	for i := range f.rows {
		if key := f.rows[i].key; key != "" {
			rows[key] = i
		}
	}
	for _, s := range snaps {
		i, ok := rows[s.key]
		if !ok || f.rows[i].snapshot != nil || !f.rows[i].sameSeq(s) || !f.join(i, s) {
			left = append(left, s)
		}
	}
	return left
}

// joinEqual joins each snapshot with the row that names the same, and returns the others. Of several such rows it is the one
// with its seq, and else the last one.
func (f *files) joinEqual(snaps []item) (left []item) {
	equal := map[identity][]int{}
	for i := range f.rows {
		id := f.rows[i].id
		equal[id] = append(equal[id], i)
		if id.cohort != "" { // which most snapshots do not name
			id.cohort = ""
			equal[id] = append(equal[id], i)
		}
	}
	for _, s := range snaps {
		best := -1
		for _, i := range equal[s.id] {
			r := &f.rows[i]
			if r.snapshot == nil && r.sameSeq(s) && (best < 0 || r.seq == s.seq || f.rows[best].seq != s.seq) {
				best = i
			}
		}
		if best < 0 || !f.join(best, s) {
			left = append(left, s)
		}
	}
	return left
}

// joinOnly joins a snapshot with the row that names less, or more, than it does, if neither can be of another one.
func (f *files) joinOnly(rows map[run][]int, snaps []item) (left []item) {
	wanted := make([]int, len(snaps)) // the only row of a snapshot, or -1
	wanting := map[int]int{}          // how many snapshots can be of a row
	for n, s := range snaps {
		wanted[n] = -1
		id, found := s.id, 0
		some := rows[s.run()]
		for _, i := range some[:min(len(some), widest)] {
			if r := &f.rows[i]; r.snapshot == nil && r.sameSeq(s) && r.id.mayBe(id) {
				wanted[n] = i
				wanting[i]++
				found++
			}
		}
		if found != 1 || len(some) > widest {
			wanted[n] = -1
		}
	}
	for n, s := range snaps {
		if i := wanted[n]; i < 0 || wanting[i] != 1 || !f.join(i, s) {
			left = append(left, s)
		}
	}
	return left
}

// join makes a snapshot that of a row, unless no record can be that large.
func (f *files) join(i int, s item) bool {
	both := f.rows[i]
	both.join(s)
	if both.check(f.settings) != nil {
		return false
	}
	f.rows[i] = both
	f.report.Joined++
	return true
}

// uncovered are the snapshots that take the place of no row that says more.
func (f *files) uncovered(snaps []item) []item {
	if !slices.ContainsFunc(snaps, func(s item) bool { return !s.hasNumbers() }) {
		return snaps
	}
	numbers := map[string]bool{} // keys of rows that have numbers
	for i := range f.rows {
		if f.rows[i].hasNumbers() {
			numbers[f.rows[i].place(f.settings.Key)] = true
		}
	}
	kept := slices.DeleteFunc(snaps, func(s item) bool { return !s.hasNumbers() && numbers[s.place(f.settings.Key)] })
	f.report.Covered += len(snaps) - len(kept)
	return kept
}

// place is the key that the item has in the root.
func (it *item) place(key cohort.KeyForm) string { return string(key.Of(it.record())) }

// hasNumbers tells whether the item has a number at its top or within its metrics. The attempt does not count.
func (it *item) hasNumbers() bool {
	for _, m := range it.rest {
		switch kind := jsonscan.KindOf(m.value); {
		case m.name == "attempt":
		case kind == jsonscan.Int, kind == jsonscan.Double:
			return true
		case m.name == "metrics" && kind == jsonscan.Object:
			for _, value := range jsonscan.Members(m.value) {
				if k := jsonscan.KindOf(value); k == jsonscan.Int || k == jsonscan.Double {
					return true
				}
			}
		}
	}
	return false
}

// dropSeqs takes all seqs away if two files have one for different runs.
func (f *files) dropSeqs() {
	if f.conflict = cmp.Or(conflictOf(f.rows), conflictOf(f.snaps)); f.conflict == nil {
		return
	}
	for _, items := range [][]item{f.rows, f.snaps} {
		for i := range items {
			items[i].seq = 0
		}
	}
}

// conflictOf finds a seq that two files have for different runs.
func conflictOf(items []item) *SeqConflict {
	first := map[cohort.Seq]int{}
	for i := range items {
		seq := items[i].seq
		k, ok := first[seq]
		switch {
		case seq == 0:
		case !ok:
			first[seq] = i
		case items[k].file != items[i].file && items[k].run() != items[i].run():
			return &SeqConflict{int64(seq), [2]string{items[k].where, items[i].where}}
		}
	}
	return nil
}

// inOrder orders items: those with a seq by it, behind those without, which are ordered by timestamp. One that has neither is as late
// as what stands before it in its file.
func inOrder(items []item) {
	last := map[position]time.Time{}
	for i := range items {
		it := &items[i]
		file := position{file: it.file, ofSnapshots: it.ofSnapshots}
		if t, ok := cohort.ParseTime(it.timestamp); ok {
			last[file] = t
		}
		it.at = last[file]
	}
	slices.SortStableFunc(items, func(a, b item) int {
		return cmp.Or(cmp.Compare(a.seq, b.seq), a.at.Compare(b.at), cmp.Compare(a.file, b.file))
	})
}

// join makes a snapshot the snapshot of its row, which keeps what it says itself.
func (it *item) join(s item) {
	it.seq = max(it.seq, s.seq)
	it.timestamp = cmp.Or(it.timestamp, s.timestamp)
	it.cohort = cmp.Or(it.cohort, s.cohort)
	it.added = slices.Clip(it.added)
	for _, name := range [...]string{"target", "view", "symbol"} {
		if it.field(name) == "" && (name != "view" || it.field("mode") == "") {
			it.addMissing(name, s.field(name))
		}
	}
	snapshot := []byte(nil)
	for _, m := range s.rest {
		snapshot = jsonscan.AppendMember(snapshot, m.name, m.value)
	}
	if len(snapshot) == 0 {
		snapshot = []byte("{")
	}
	it.snapshot = append(snapshot, '}')
}

// sameSeq tells whether two items of one key are the same write of it.
func (it *item) sameSeq(other item) bool {
	return it.seq == 0 || other.seq == 0 || it.seq == other.seq
}
