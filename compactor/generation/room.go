package generation

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"syscall"

	"github.com/runfold/runfold/cohort"
)

// roomError reports that a generation may not fit on the disk. It is ENOSPC.
type roomError struct {
	dir        string
	generation cohort.Generation
	need, free int64
}

func (e *roomError) Error() string {
	return fmt.Sprintf("%s: generation %d may need %d bytes and %d are free: %v", e.dir, e.generation, e.need, e.free, syscall.ENOSPC)
}
func (*roomError) Unwrap() error { return syscall.ENOSPC }

// RoomFor is how many bytes would have been enough for what failed on a full disk, for Keep.Room. Where the error does not say it, that is more than any
// disk has.
func RoomFor(full error) int64 {
	if e := (*roomError)(nil); errors.As(full, &e) {
		return e.need
	}
	return math.MaxInt64
}

// Thinned tells that generations went before their time, because the disk is nearly full.
type Thinned struct {
	Generations int
	Free, Want  int64 // bytes; Want is more than any disk has where a write found no room
}

func (n Thinned) String() string {
	want := fmt.Sprintf("%d bytes", n.Want)
	if n.Want == math.MaxInt64 {
		want = "more"
	}
	return fmt.Sprintf("%d older generations go before their time: the disk has %d bytes free, and %s should be: "+
		"compactd retention set --reserve changes how much", n.Generations, n.Free, want)
}

// beyond are those of old, oldest first, that retention does not keep, or for which the disk has no room. old are the generations that
// nothing else keeps. A damaged one is of no use; one that cannot be read for another reason may be one that is to stay.
func (e *expiry) beyond(read []Manifest, unreadable map[cohort.Generation]error, old []cohort.Generation) []cohort.Generation {
	if e.keep.Age < 0 {
		return old
	}
	keeps := e.newest.Keeps()
	stays := map[cohort.Generation]bool{}
	for g, err := range unreadable {
		stays[g] = !IsDamage(err)
	}
	var line lineage
	for i := range slices.Backward(read) {
		m := &read[i]
		if m.Generation > e.newest.Generation {
			continue
		}
		for g := range unreadable {
			if g > m.Generation && g < e.newest.Generation {
				line.unread()
			}
		}
		stays[m.Generation] = !line.isVoid(m) && keeps.keeps(m, e.now)
	}
	gone := slices.DeleteFunc(slices.Clone(old), func(g cohort.Generation) bool { return stays[g] })
	thinned := slices.DeleteFunc(slices.Clone(old), func(g cohort.Generation) bool { return !stays[g] || unreadable[g] != nil })
	return append(gone, e.crowdedOut(read, gone, thinned)...)
}

// crowdedOut are the oldest of thinned, as many as must go to leave enough of the disk free when gone have gone.
func (e *expiry) crowdedOut(read []Manifest, gone, thinned []cohort.Generation) []cohort.Generation {
	if len(thinned) == 0 {
		return nil
	}
	free, known := e.free(e.Root.DataDir())
	if !known && e.keep.Room == 0 {
		return nil
	}
	want := max(e.keep.Room, e.reserve())
	if !known { // a write has found the disk full
		want = math.MaxInt64
	}
	of := bytesOnlyOf(read)
	room := free
	for _, g := range gone {
		room += of(g)
	}
	n := 0
	for ; n < len(thinned) && room < want; n++ {
		room += of(thinned[n])
	}
	if n > 0 {
		e.notify(Thinned{n, free, want})
	}
	return thinned[:n]
}

// reserve is how much of the disk is to be free.
func (e *expiry) reserve() int64 {
	if set := e.newest.Keeps().Reserve; set > 0 {
		return set
	}
	const most = 4 << 30
	share := int64(0)
	if about, err := e.FS.Statfs(string(e.Root)); err == nil {
		share = int64(min(about.Blocks/20, most/max(about.BlockSize, 1)) * about.BlockSize)
	}
	next := int64(0) // as Draft.headroom reckons
	for _, d := range e.newest.Files() {
		next += d.Size
	}
	return share + 2*next
}

// bytesOnlyOf returns a function that takes generations away, one after the other: how many bytes of data files no
// other one names any more.
func bytesOnlyOf(all []Manifest) func(cohort.Generation) int64 {
	names := map[string]int{}
	files := map[cohort.Generation][]DataFile{}
	for _, m := range all {
		files[m.Generation] = m.Files()
		for _, d := range m.Files() {
			names[d.Name]++
		}
	}
	return func(g cohort.Generation) (n int64) {
		for _, d := range files[g] {
			if names[d.Name]--; names[d.Name] == 0 {
				n += d.Size
			}
		}
		return n
	}
}

// mayForget tells whether a manifest may be removed now. A repair's manifest says which generations are void. If it went and one of these
// came back, it would be taken for a whole one: so it goes only after they have gone for good.
func (e *expiry) mayForget(read []Manifest, unreadable map[cohort.Generation]error, g cohort.Generation) bool {
	i := slices.IndexFunc(read, func(m Manifest) bool { return m.Generation == g })
	if i < 0 || read[i].RepairedFrom == nil {
		return true
	}
	left := slices.Collect(maps.Keys(unreadable))
	for _, m := range read {
		left = append(left, m.Generation)
	}
	if slices.ContainsFunc(left, func(other cohort.Generation) bool { return IsVoid(read[i:i+1], other) }) {
		return false
	}
	return e.syncRemovals() == nil
}
