package audit

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/internal/jsonscan"
)

// replayRow is what is kept of a row of the newest generation.
type replayRow struct {
	at        cohort.Version
	seq       cohort.Seq
	stream    cohort.StreamID
	out       bool // it is withdrawn
	row, line sum  // of its content in the index, and in the snapshots
	unsigned  bool // it does not say who wrote it, as the rows of older versions

	same              cohort.Generation // the older generation that is read now has the same write
	inStream, inOlder bool              // what it was derived from
	twice             bool              // its write stands more than once in its stream
	derived           bool              // its record, folded again, gives it
}

// sum stands for a content.
type sum [16]byte

func sumOf(text []byte) sum {
	all := sha256.Sum256(text)
	return sum(all[:16])
}

// fieldsOf are the fields of a row, those of its columns and of _extra, without what changes when a row moves. A field has one value, or
// more where the record had its name twice: "params.p", and p in params. Numbers that are equal have one spelling.
func fieldsOf(row []byte) map[string][]string {
	fields := map[string][]string{}
	add := func(name string, value []byte) {
		if text := string(oneSpelling(value)); !slices.Contains(fields[name], text) {
			fields[name] = append(fields[name], text)
			slices.Sort(fields[name])
		}
	}
	exact := map[string]bool{} // what text columns hold beside the exact token
	for name, value := range jsonscan.Members(row) {
		if name != "_extra" {
			continue
		}
		for name, value := range jsonscan.Members(value) {
			add(name, value)
			exact[name+":"+jsonscan.ScalarText(value)] = true
		}
	}
	for name, value := range jsonscan.Members(row) {
		switch name {
		case "_extra", "_stamp", "_digest", "snapshot_seq":
			continue
		}
		if jsonscan.KindOf(value) != jsonscan.String || !exact[name+":"+jsonscan.ScalarText(value)] {
			add(name, value)
		}
	}
	return fields
}

// oneSpelling is a number as all columns, and _extra, would spell it; other values stay as they are.
func oneSpelling(value []byte) []byte {
	text := string(value)
	if text == "" || !strings.ContainsRune("-0123456789", rune(text[0])) {
		return value
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return value
	}
	if i, ierr := strconv.ParseInt(text, 10, 64); ierr == nil && int64(f) != i {
		return value // no double holds it
	}
	return strconv.AppendFloat(nil, f, 'g', -1, 64)
}

func sumOfRow(row []byte) sum {
	fields := fieldsOf(row)
	var b bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		fmt.Fprintf(&b, "%q:%q\n", name, fields[name])
	}
	return sumOf(b.Bytes())
}

const seqMember = `"snapshot_seq":`

// withoutSeq is a line of the snapshots without its seq. No text in JSON has these bytes: its quotes are escaped.
func withoutSeq(s index.Snapshot) []byte {
	own := seqMember + s.Seq.String()
	i := bytes.Index(s.Value, []byte(own))
	if i < 0 {
		return s.Value
	}
	return slices.Concat(s.Value[:i], s.Value[i+len(own):])
}

// pairsOf are the pairs of files of a generation. The second one is not there if there was never an action.
func pairsOf(d *generation.Data, m generation.Manifest) []replayPair {
	all := []replayPair{{d, m.Snapshots, m.Index.Name, false}}
	if d.Withdrawn != nil {
		all = append(all, replayPair{d.Withdrawn, m.Withdrawn.Snapshots, m.Withdrawn.Index.Name, true})
	}
	return all
}

type replayPair struct {
	*generation.Data
	snapshots generation.Snapshots
	name      string
	out       bool
}

// readNewest reads what is to be compared.
func (r *replayer) readNewest() error {
	r.rows, r.actions, r.acts = map[cohort.Key]*replayRow{}, map[cohort.Version]bool{}, map[cohort.Version]cohort.Record{}
	for _, p := range pairsOf(r.data, r.newest) {
		var inOrder []*replayRow
		for h, err := range p.Index.Identities() {
			if err != nil {
				return err
			}
			row := &replayRow{at: h.Version, seq: h.Seq, stream: h.Stream, out: p.out}
			r.rows[h.Key], inOrder = row, append(inOrder, row)
		}
		err := p.eachRow(func(i int, text []byte) {
			inOrder[i].row, inOrder[i].unsigned = sumOfRow(text), cohort.FieldText(text, "_writer") == ""
		})
		if err != nil {
			return err
		}
		err = p.eachLine(func(s index.Snapshot) {
			if row := r.rows[s.Key]; row != nil {
				row.line = sumOf(withoutSeq(s))
			}
		})
		if err != nil {
			return err
		}
	}
	for a, err := range r.data.Actions() {
		if err != nil {
			return err
		}
		r.actions[a.Version()], r.acts[a.Version()] = false, a
	}
	return nil
}

func (p replayPair) eachRow(do func(i int, text []byte)) error {
	i := 0
	for text, err := range p.Index.Rows() {
		if err != nil {
			return err
		}
		do(i, text)
		i++
	}
	return nil
}

func (p replayPair) eachLine(do func(index.Snapshot)) error {
	for _, f := range p.snapshots {
		in, err := p.Snapshots(f)
		if err != nil {
			return err
		}
		for s, lerr := range index.Snapshots(in) {
			if err = lerr; err != nil {
				break
			}
			do(s)
		}
		in.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// generation compares an older generation with the newest one.
func (r *replayer) generation(m generation.Manifest) error {
	for _, f := range m.Files() {
		if err := r.CheckFile(f); err != nil {
			return r.ctx.Err() // it was swept, or is damaged, which Check has told
		}
	}
	d, err := r.Data(m)
	if errors.Is(err, generation.ErrConflict) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.Close()
	if r.out.Oldest == 0 {
		r.out.Oldest = m.Generation
	}
	for _, p := range pairsOf(d, m) {
		if err := r.pair(p, m); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, generation.ErrConflict) {
			return err
		}
	}
	for a, err := range d.Actions() {
		if err != nil {
			return nil // swept
		}
		if _, ok := r.actions[a.Version()]; ok {
			r.actions[a.Version()] = true
			continue
		}
		r.differ(difference{path: r.Root.Manifest(r.newest.Generation), text: fmt.Sprintf("action %s (%v %q) of generation %d is not in force any more", a.ID, a.Action, a.RunID, m.Generation)})
	}
	return nil
}

// pair compares one pair of files of an older generation.
func (r *replayer) pair(p replayPair, m generation.Manifest) error {
	var inOrder []*replayRow
	var keys []cohort.Key
	for h, err := range p.Index.Identities() {
		if err != nil {
			return err
		}
		row := r.rows[h.Key]
		r.follows(row, h, p.out, m)
		if row != nil {
			row.same = 0
			if isSame(row.at, h.Version) && (row.at.Stamp == h.Version.Stamp || row.stream == h.Stream) {
				row.same, row.inOlder = m.Generation, true
			} else {
				row = nil
			}
		}
		inOrder, keys = append(inOrder, row), append(keys, h.Key)
	}
	from := fmt.Sprintf("generation %d", m.Generation)
	err := p.eachRow(func(i int, text []byte) {
		if inOrder[i] != nil {
			r.compare(keys[i], inOrder[i], text, from)
		}
	})
	if err != nil {
		return err
	}
	return p.eachLine(func(s index.Snapshot) {
		if row := r.rows[s.Key]; row != nil && row.same == m.Generation {
			r.compareLine(s, row, from)
		}
	})
}

// isSame tells whether two rows are one write, so that they must have the same content, as long as one stream holds it: where another write
// was between, it was appended again elsewhere, and the row is that of the repeat. An older program kept no digest of it.
func isSame(a, b cohort.Version) bool {
	return a.RecordID == b.RecordID && a.Digest == b.Digest && (a.Digest != 0 || a.Stamp == b.Stamp)
}

// follows checks that a row of an older generation still stands, or gave way to a later write, and that its seq did not go back.
func (r *replayer) follows(row *replayRow, was index.Identity, wasOut bool, m generation.Manifest) {
	path := r.Root.Data(r.newest.Index.Name)
	say := func(d difference) {
		if !r.told[was.Key] {
			r.told[was.Key] = true // one of the older generations says it
			r.differ(d)
		}
	}
	switch {
	case row == nil:
		say(difference{path: path, text: fmt.Sprintf("row %q of generation %d is not there any more, and nothing stands in its place", was.Key, m.Generation)})
	case row.at.Compare(was.Version) < 0 && !row.at.SameWrite(was.Version):
		say(difference{path: r.pathOf(row), text: fmt.Sprintf("row %q is an older write than that of generation %d", was.Key, m.Generation)})
	case row.at.Stamp < cohort.FirstClockStamp: // an import gives seqs of its own
	case row.seq == was.Seq && row.out == wasOut && row.at.SameWrite(was.Version):
	case row.seq < m.NextSeq:
		say(difference{path: r.pathOf(row), text: fmt.Sprintf("row %q has changed since generation %d and has snapshot_seq %d: it must be %d or above", was.Key, m.Generation, row.seq, m.NextSeq)})
	}
}

// compare compares the row of the newest generation with what it should be.
func (r *replayer) compare(key cohort.Key, row *replayRow, should []byte, from string) {
	if sumOfRow(should) != row.row {
		r.differ(difference{key: key, should: bytes.Clone(should), from: from, path: r.pathOf(row), out: row.out})
	}
}

func (r *replayer) compareLine(should index.Snapshot, row *replayRow, from string) {
	if sumOf(withoutSeq(should)) != row.line {
		r.differ(difference{key: should.Key, should: bytes.Clone(should.Value), from: from, line: true, out: row.out})
	}
}
