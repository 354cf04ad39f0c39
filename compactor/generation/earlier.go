package generation

import (
	"slices"

	"github.com/runfold/runfold/cohort"
)

// earlier is the data file before the one that a draft takes sections over from. The new file shares blocks with this one. So the newest two
// files never have a block in common.
type earlier struct {
	*summed
	places map[place]int // of sections, by what they are
}

// place tells sections apart by their bytes.
type place struct {
	size int64
	crc  CRC
	rows int64
}

// earlier opens the file before now, which is one of a generation of; pick finds it in another manifest. The result is nil where there is none, or where
// files do not share blocks: then all is copied.
func (d *Draft) earlier(of Manifest, now DataFile, pick func(Manifest) DataFile) *earlier {
	made, _, ok := cohort.ParseDataName(now.Name)
	if !ok || d.copies || d.store.noClones.Load() || now.Sections == nil {
		return nil
	}
	was := pick(d.lastBefore(made, of))
	if was.Name == now.Name || was.Sections == nil {
		return nil
	}
	file, err := d.store.openFile(was)
	if err != nil { // whatever it is: the bytes are copied
		return nil
	}
	s := &earlier{newSummed(file, d.store.Root.Data(was.Name), was), map[place]int{}}
	for i := range s.parts {
		p := &s.parts[i]
		p.Fresh = false // only what is touched is compared
		s.places[place{p.Size, p.CRC32C, p.Rows}] = i
	}
	return s
}

// lastBefore is the manifest of the last generation before g, which known may be. It is that of generation 0, which has no file, if g came from a
// repair: what stands before it may be damaged, and is void.
func (d *Draft) lastBefore(g cohort.Generation, known Manifest) (m Manifest) {
	if m, ok := d.before[g]; ok {
		return m
	}
	gens, err := d.store.List()
	if at, found := slices.BinarySearch(gens, g); err == nil && found && at > 0 {
		if known.Generation != g {
			known, err = d.store.Read(g)
		}
		if err == nil && known.RepairedFrom == nil {
			m, _ = d.store.Read(gens[at-1]) // one that cannot be read has no file that we know
		}
	}
	if d.before == nil {
		d.before = map[cohort.Generation]Manifest{}
	}
	d.before[g] = m
	return m
}

// find is where sections stand that follow each other, if they are not fresh.
func (s *earlier) find(sections []sum) (from int64, ok bool) {
	if s == nil {
		return 0, false
	}
	for i, p := range sections {
		at, ok := s.places[place{p.Size, p.CRC32C, p.Rows}]
		if !ok || p.Fresh || i > 0 && s.parts[at].from != from+p.from-sections[0].from {
			return 0, false
		}
		if i == 0 {
			from = s.parts[at].from
		}
	}
	return from, true
}

// touch makes check compare the section that begins at an offset.
func (s *earlier) touch(from int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parts[s.at(from)].touched = true
}

// check compares what was touched.
func (s *earlier) check() error {
	if s == nil {
		return nil
	}
	return s.summed.check()
}

// Close closes the file.
func (s *earlier) Close() {
	if s != nil {
		s.summed.Close() // it was only read
	}
}
