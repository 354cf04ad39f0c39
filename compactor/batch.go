package compactor

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/journal"
)

// candidate is a record as a fold sees it: what decides which one stays, and a number that leads to the
// rest. A million of them lie in memory at once, their records do not.
type candidate struct {
	cohort.Version
	key    cohort.Key
	facets *cohort.Facets
	n      int32 // in its batch
}

// texts is how many bytes of text a candidate has.
func (c candidate) texts() int {
	return len(c.key) + len(c.RecordID) + len(c.facets.Target) + len(c.facets.View) + len(c.facets.Symbol) + len(c.facets.ModelFamily)
}

// candidateOf is what a fold sees of a record. like are the facets of another one: most records of a stream have the same, and
// share them.
func candidateOf(form cohort.KeyForm, r cohort.Record, n int32, like *cohort.Facets) candidate {
	facets := r.FacetsIn(form)
	if like == nil || *like != facets {
		like = new(facets)
	}
	return candidate{r.Version(), form.Of(r), like, n}
}

// ref leads to a record of a batch.
type ref struct {
	journal.Ref
	place int32 // of the stream, among those of the batch
	held  int32 // its number among the records that are held, from 1; 0 if it is read again
	shape index.Shape
}

// batch is what one scan found: as many new records as the budget allows, and how far each stream has
// been read with them.
type batch struct {
	records []candidate
	refs    []ref           // by candidate.n
	held    []cohort.Record // by ref.held - 1
	places  []journal.Place // by ref.place
	writers []string        // the same, who wrote them
	actions []cohort.Record
	shapes  *index.Shapes
	bytes   int64 // of all records as JSON

	marks   []generation.Watermark // of every stream on the disk, sorted by name
	dead    []dead                 // streams whose writer has ended without a seal
	moved   bool                   // a watermark moved
	full    bool                   // the budget ended the scan: there is more
	cut     bool                   // it ended the reading of a stream of which all that was read is here
	skipped int
	unseen  int

	damage, tornTails int // kept in quarantine/; they count if the batch is committed

	now  cohort.Stamp // the file system's time; 0: not known
	left budget
}

// cohort is that of a put's record: of the stream in which it stands.
func (b *batch) cohort(p index.Put) cohort.ID { return b.places[b.refs[p.N].place].Cohort }

// budget is the memory that a batch may still take.
type budget struct {
	all    int64
	held   int64 // part of all, for whole records
	shapes int64 // part of all, for what records look like
}

// A record that is not held takes entryBytes, of which usualTexts are for texts, one that is heldBytes more than its JSON.
const (
	entryBytes = 256
	usualTexts = 64
	heldBytes  = 250
)

func newBudget(bytes int64) budget { return budget{bytes, bytes / 8, bytes} }

// share is the budget for one of n streams that are read side by side. Something is left for each, or a small budget would end in
// none of them.
func (b budget) share(n int) budget {
	b.held /= int64(n)
	b.shapes = max(b.all/int64(n), 1)
	return b
}

// takeEntry takes what decides over a record with texts of so many bytes: its key, its id, and its facets.
func (b *budget) takeEntry(texts int) {
	b.all -= entryBytes + int64(max(texts-usualTexts, 0))
}

// takeAction takes what an action needs: itself, and the row that it may move.
func (b *budget) takeAction(r cohort.Record) { b.all -= int64(len(r.JSON)) + 4*entryBytes }

// takeShape takes what a new shape needs.
func (b *budget) takeShape(bytes int64) {
	b.all -= bytes
	b.shapes -= bytes
}

// take takes what a record needs and reports whether it may be held.
func (b *budget) take(r cohort.Record) (held bool) {
	b.takeEntry(len(r.RunID) + len(r.Stage) + len(r.ID) + len(r.Target) + len(r.View) + len(r.Symbol) + len(r.ModelFamily))
	size := int64(len(r.JSON)) + heldBytes
	if b.held < size {
		return false
	}
	b.held -= size
	b.all -= size
	return true
}

// loader gives the records of a batch's puts. It is used by one goroutine.
type loader struct {
	journal.Root
	b     *batch
	later map[int32]cohort.Stamp // see folded
	open  map[int32]*journal.Reader
	order []int32 // of open, oldest first
}

// maxOpen bounds the streams that a loader has open at once, each with a window of the file.
const maxOpen = 128

func newLoader(from journal.Root, b *batch, later map[int32]cohort.Stamp) *loader {
	return &loader{Root: from, b: b, later: later, open: map[int32]*journal.Reader{}}
}

// load is an index.Load.
func (l *loader) load(p index.Put) (cohort.Record, error) {
	at := l.b.refs[p.N]
	var r cohort.Record
	if at.held > 0 {
		r = l.b.held[at.held-1]
	} else {
		in, err := l.reader(at.place)
		if err == nil {
			r, err = in.Reread(at.Ref)
		}
		if err != nil && l.isGone(at.place) { // its deletion was under way, and it looked as if it were still empty
			err = fmt.Errorf("%w: %w", generation.ErrConflict, err)
		}
		if err != nil {
			return cohort.Record{}, fmt.Errorf("read a record again: %w", err)
		}
	}
	r.Writer = l.b.writers[at.place]
	return raised(r, l.later[p.N]), nil
}

func (l *loader) isGone(n int32) bool {
	_, err := l.FS.Stat(cohort.SegmentIn(l.b.places[n].Dir))
	return errors.Is(err, fs.ErrNotExist)
}

// raised is r after it was appended again with a later stamp; 0 if it was not. It keeps the time of the first write.
func raised(r cohort.Record, later cohort.Stamp) cohort.Record {
	if later > 0 {
		r.Stamp = later
	}
	return r
}

func (l *loader) reader(n int32) (*journal.Reader, error) {
	if r, ok := l.open[n]; ok {
		return r, nil
	}
	p := l.b.places[n]
	r, _, err := l.OpenAnywhere(p)
	if errors.Is(err, fs.ErrNotExist) { // deleted: others have folded it, and committed
		return nil, fmt.Errorf("stream %v is gone: %w", p.Stream, generation.ErrConflict)
	}
	if err != nil {
		return nil, err
	}
	if len(l.order) == maxOpen {
		l.open[l.order[0]].Close()
		delete(l.open, l.order[0])
		l.order = l.order[1:]
	}
	r.ReuseMemory()
	l.open[n], l.order = r, append(l.order, n)
	return r, nil
}

// close closes what is open. All of it was only read.
func (l *loader) close() {
	for _, r := range l.open {
		r.Close()
	}
}
