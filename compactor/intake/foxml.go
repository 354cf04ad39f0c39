package intake

import (
	"slices"
	"strconv"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/jsonscan"
)

// isFoxml tells whether the root has the profile foxml. Then the files are often its own, which another program has read, changed and saved.
func (f *files) isFoxml() bool { return f.settings.Profile == cohort.Foxml }

// wholeNumbers are the columns of the profile that hold integers.
var wholeNumbers = func() map[string]bool {
	names := map[string]bool{}
	for _, c := range index.ColumnsOf(cohort.Foxml).Declared {
		names[c.Name] = c.Kind == index.Int
	}
	return names
}()

// asFoxml makes an item what the root has: its segment stands apart, mode is not named a second time, and a whole number is one again. pandas makes doubles
// of a column of integers as soon as one value is missing.
func (it *item) asFoxml() {
	if it.field("mode") != "" {
		it.added = slices.DeleteFunc(it.added, func(m member) bool { return m.name == "view" })
	}
	for i := range it.rest {
		if m := &it.rest[i]; wholeNumbers[m.name] {
			m.value = asWhole(m.value)
		}
	}
	// Of an index of ours the first one is the column, and another one comes from _extra: a record's own, which stays what it was.
	i := slices.IndexFunc(it.rest, func(m member) bool { return m.name == "segment_id" })
	if i < 0 {
		return
	}
	n, err := strconv.ParseInt(string(it.rest[i].value), 10, 64)
	if err == nil {
		it.segment = &n
	}
	if err == nil || jsonscan.KindOf(it.rest[i].value) == jsonscan.Null {
		it.rest = slices.Delete(it.rest, i, i+1)
	}
}

// asWhole is a number without a fraction as an integer, and any other value as it is.
func asWhole(value []byte) []byte {
	if jsonscan.KindOf(value) != jsonscan.Double {
		return value
	}
	f, err := strconv.ParseFloat(string(value), 64)
	if n := int64(f); err == nil && f > -1<<53 && f < 1<<53 && float64(n) == f {
		return strconv.AppendInt(nil, n, 10)
	}
	return value
}

// lineOf is what the snapshots say of the item, if it is one or has found one.
func (it *item) lineOf() []byte {
	switch {
	case it.snapshot != nil:
		return it.snapshot
	case !it.ofSnapshots:
		return nil
	}
	var b []byte
	for _, m := range it.rest {
		b = jsonscan.AppendMember(b, m.name, m.value)
	}
	if b == nil {
		b = []byte("{")
	}
	return append(b, '}')
}

// findCohorts gives the cohort of its row to each snapshot that names none, as far as the root has a row with its key.
func (f *files) findCohorts(cfg compactor.Config) error {
	var keys []cohort.Key
	for i := range f.snaps {
		if it := &f.snaps[i]; it.cohort == "" && it.key != "" {
			keys = append(keys, cohort.Key(it.key))
		}
	}
	if len(keys) == 0 {
		return nil
	}
	found, err := compactor.CohortsOf(cfg, keys)
	if err != nil {
		return err
	}
	for i := range f.snaps {
		it := &f.snaps[i]
		if id, ok := found[cohort.Key(it.key)]; ok && it.cohort == "" {
			it.cohort = string(id)
			it.id.cohort = it.cohort
		}
	}
	return nil
}
