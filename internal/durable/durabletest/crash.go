package durabletest

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
)

// Keep says how much of what was not synced survives a crash.
type Keep int

const (
	None Keep = iota // nothing
	All              // everything, as if the crash were that of a process
	Some             // each name and each sector by chance
)

func (k Keep) String() string { return [...]string{"none", "all", "some"}[k] }

// Mode says what survives a crash besides what was synced. Names and data are apart: a kernel that
// writes a name before the data leaves a file that is empty or full of zeros.
type Mode struct{ Names, Data Keep }

func (m Mode) String() string { return fmt.Sprintf("names=%v,data=%v", m.Names, m.Data) }

// Random tells whether two crashes of this mode may differ.
func (m Mode) Random() bool { return m.Names == Some || m.Data == Some }

// Modes are all of them.
func Modes() []Mode {
	var out []Mode
	for names := None; names <= Some; names++ {
		for data := None; data <= Some; data++ {
			out = append(out, Mode{names, data})
		}
	}
	return out
}

// change is one change of one name that is not durable yet. A rename is two of them, and so is an exchange.
type change struct {
	dir  *inode
	name string
	is   *inode  // what the name is now; nil: nothing
	of   *inode  // the file or directory that got or lost the name
	set  *change // if this is the half of a rename that removes the old name: the half that makes the new name; of an exchange, the other half
}

// change makes a change visible.
func (c *CrashFS) change(ch *change) {
	ch.apply(ch.dir.names)
	ch.dir.modTime = ch.of.modTime
	c.log = append(c.log, ch)
}

func (ch *change) apply(names map[string]*inode) {
	if ch.is == nil {
		delete(names, ch.name)
		return
	}
	names[ch.name] = ch.is
}

// needs tells whether log[j] cannot be on stable storage without log[i], in any file system that we
// know:
//
//   - A renamed file is never lost: the old name goes only after the new one has come. A crash between
//     the two leaves both.
//   - A directory never has two names: the halves of its renames go together, and all that happens to
//     it happens in order.
//   - A directory is gone only after all that was moved out of it.
//
// Everything else is written in any order, or not at all.
func (c *CrashFS) needs(j, i int) bool {
	ch, other := c.log[j], c.log[i]
	isDir := ch.of.mode.IsDir()
	switch {
	case ch.set == other, isDir && other.set == ch:
		return true
	case i > j || !isDir:
		return false
	}
	removes := ch.is == nil && ch.set == nil
	return ch.of == other.of || removes && other.dir == ch.of
}

// include adds what the kept changes need.
func (*CrashFS) include(kept []bool, needs func(j, i int) bool) {
	for again := true; again; {
		again = false
		for j := range kept {
			for i := range kept {
				if !kept[j] {
					break
				}
				if !kept[i] && needs(j, i) {
					kept[i], again = true, true
				}
			}
		}
	}
}

// commitAll makes all names durable.
func (c *CrashFS) commitAll() {
	for _, ch := range c.log {
		ch.apply(ch.dir.durable)
	}
	c.log = nil
}

// commit makes the names of one directory durable, with what they need. An older change of a name goes
// with a newer one: it must not come back on top of it.
func (c *CrashFS) commit(dir *inode) {
	kept := make([]bool, len(c.log))
	for i, ch := range c.log {
		kept[i] = ch.dir == dir
	}
	c.include(kept, func(j, i int) bool {
		a, b := c.log[j], c.log[i]
		return c.needs(j, i) || i < j && a.dir == b.dir && a.name == b.name
	})
	var rest []*change
	for i, ch := range c.log {
		if kept[i] {
			ch.apply(ch.dir.durable)
		} else {
			rest = append(rest, ch)
		}
	}
	c.log = rest
}

// Crash returns what a reboot finds. The file system itself goes on as before, so that a test can look at many
// crashes of one moment. rnd may be nil for a mode that is not Random. What it draws depends only on the calls
// made until now.
func (c *CrashFS) Crash(mode Mode, rnd *rand.Rand) *CrashFS {
	c.mu.Lock()
	defer c.mu.Unlock()
	kept := make([]bool, len(c.log))
	for i := range kept {
		kept[i] = mode.Names == All || mode.Names == Some && rnd.IntN(2) == 0
	}
	c.include(kept, c.needs)
	r := &reboot{mode, rnd, &CrashFS{Clock: c.Clock, Share: c.Share, Clones: c.Clones}, map[*inode]*inode{}, map[*inode][]*change{}}
	for i, ch := range c.log {
		if kept[i] {
			r.changes[ch.dir] = append(r.changes[ch.dir], ch)
		}
	}
	r.fsys.root = r.inode(c.root)
	return r.fsys
}

// reboot copies what survives.
type reboot struct {
	mode    Mode
	rnd     *rand.Rand
	fsys    *CrashFS
	copies  map[*inode]*inode
	changes map[*inode][]*change // those that survive, by directory
}

func (r *reboot) inode(old *inode) *inode {
	if i, ok := r.copies[old]; ok {
		return i
	}
	i := &inode{fsys: r.fsys, mode: old.mode, modTime: old.modTime}
	r.copies[old] = i
	if !old.mode.IsDir() {
		i.data = r.survive(old)
		i.synced = bytes.Clone(i.data)
		return i
	}
	names := maps.Clone(old.durable)
	for _, ch := range r.changes[old] {
		ch.apply(names)
	}
	i.names = map[string]*inode{}
	for _, n := range slices.Sorted(maps.Keys(names)) {
		i.names[n] = r.inode(names[n])
	}
	i.durable = maps.Clone(i.names)
	return i
}

const sector = 512

// survive is the content of a file: what was synced, then a part of the rest, in which each sector is there or full of zeros. A sector that
// was written over is there as it was synced, or as it is now. A cut that was not synced may be lost.
func (r *reboot) survive(i *inode) []byte {
	from, size := len(i.synced), len(i.data)
	switch {
	case r.mode.Data == None:
		return bytes.Clone(i.synced)
	case r.mode.Data == Some && size < from:
		size += r.rnd.IntN(2) * (from - size)
	case r.mode.Data == Some && r.rnd.IntN(3) > 0:
		size = from + r.rnd.IntN(size-from+1)
	}
	out := make([]byte, size)
	copy(out, i.synced)
	copy(out, i.data)
	for off := 0; r.mode.Data == Some && off < size; {
		end := min(size, (off/sector+1)*sector)
		old := make([]byte, end-off)
		copy(old, i.synced[min(off, from):])
		if !bytes.Equal(old, out[off:end]) && r.rnd.IntN(2) == 0 {
			copy(out[off:], old)
		}
		off = end
	}
	return out
}
