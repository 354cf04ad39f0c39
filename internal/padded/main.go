// Command padded makes the files that readers of others are tried on: an index of several row groups with zeros between them, of which folds took some
// over with other offsets, and a snapshots file of several sections. It makes them in a directory: the root "runs", and "want.ndjson", which says
// what readers must find: a line of JSON for each row, in the order of both files.
//
// It is a program because tests that the race detector slows down need the files too.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/journal"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: padded DIR")
		os.Exit(2)
	}
	if err := makeFiles(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "padded:", err)
		os.Exit(1)
	}
}

// row is what readers must find of a key.
type row struct {
	Index    map[string]any  `json:"index"`    // columns of the index that have nothing to do with when and where it was made. Times are microseconds
	Snapshot json.RawMessage `json:"snapshot"` // the entry of snapshot_index.json
}

// makeFiles folds four times. The third fold replaces rows of the first row group only, so those after it are taken over with other offsets, and the last one
// some of the second group.
func makeFiles(dir string) error {
	m := model{root: cohort.Root(filepath.Join(dir, "runs")), newest: map[int]write{}}
	if _, _, err := journal.InitRoot(m.root, cohort.Settings{}, journal.RootOptions{}); err != nil {
		return err
	}
	for _, write := range []func(){
		func() { m.writes(0, 70_000, 1) },
		func() { m.writes(70_000, 130_000, 1) },
		func() { m.writes(1, 45_000, 15); m.writes(130_000, 130_040, 1) },
		func() { m.writes(50_007, 99_000, 5_000); m.writes(130_040, 130_050, 1) },
	} {
		write()
		if err := m.fold(); err != nil {
			return err
		}
	}
	if err := m.suits(); err != nil {
		return err
	}
	return m.want(filepath.Join(dir, "want.ndjson"))
}

// suits holds the files against what they are for.
func (m *model) suits() error {
	store, err := generation.Open(m.root, journal.RootOptions{})
	if err != nil {
		return err
	}
	newest, err := store.Newest()
	if err != nil {
		return err
	}
	for _, d := range []generation.DataFile{newest.Index, newest.Snapshots[0].DataFile} {
		withRows, old := 0, 0
		for _, s := range d.Sections {
			if s.Rows > 0 {
				withRows++
				if !s.Fresh {
					old++
				}
			}
		}
		if d.Rows != int64(len(m.newest)) || withRows < 4 || old < 2 {
			return fmt.Errorf("%s has %d rows in %d sections, of which %d were taken over: that is no file to try readers on", d.Name, d.Rows, withRows, old)
		}
	}
	return nil
}

// write is one append of a run.
type write struct {
	run     int
	attempt int // how often the run was written before
}

type model struct {
	root   cohort.Root
	order  []write       // the place of a write in it is its snapshot_seq - 1
	newest map[int]write // of each run
	next   int           // in order: what is to be folded
}

func (m *model) writes(from, to, step int) {
	for run := from; run < to; run += step {
		w := write{run, 0}
		if before, ok := m.newest[run]; ok {
			w.attempt = before.attempt + 1
		}
		m.order, m.newest[run] = append(m.order, w), w
	}
}

func (m *model) fold() error {
	recs := make([]cohort.Record, 0, len(m.order)-m.next)
	for ; m.next < len(m.order); m.next++ {
		r, err := cohort.ParseRecord([]byte(m.order[m.next].record()), 0)
		if err != nil {
			return err
		}
		recs = append(recs, r)
	}
	w, err := journal.Create(m.root, "c", journal.Options{})
	if err != nil {
		return err
	}
	if err := w.Append(recs); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	_, err = compactor.Fold(context.Background(), compactor.Config{Root: m.root})
	return err
}

func (m *model) want(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	out := json.NewEncoder(w)
	for i, write := range m.order {
		if m.newest[write.run] != write {
			continue
		}
		if err := out.Encode(write.found(i + 1)); err != nil {
			return err
		}
	}
	return w.Flush()
}

func (w write) id() string { return fmt.Sprintf("r-%06d", w.run) }

func (w write) time() time.Time {
	return time.Date(2026, 3, 1, 0, 0, w.run, 123_000+1000*w.attempt, time.UTC)
}

// values are what the record has beside its identity; one that it has not is absent.
func (w write) values() map[string]any {
	all := map[string]any{"ok": w.run%2 == 0, "tags.family": []string{"mlp", "größe \"x\"\n", ""}[w.run%3]}
	if w.run%3 > 0 {
		all["metrics.auc"] = float64(w.run)*0.1 + float64(w.attempt)
	}
	if w.run%5 > 0 {
		all["params.n"] = 9007199254740993 + int64(w.run)
	}
	if w.run%7 > 0 {
		all["note"] = strings.Repeat(fmt.Sprint(w.run*7919%10007, " "), w.run%9)
	}
	return all
}

func (w write) record() string {
	return fmt.Sprintf(`{"run_id":"%s","stage":"S","timestamp":"%s",%s}`, w.id(), w.time().Format(time.RFC3339Nano), w.members())
}

func (w write) members() string {
	var parts []string
	groups := map[string][]string{}
	for _, name := range []string{"ok", "note", "metrics.auc", "params.n", "tags.family"} {
		value, ok := w.values()[name]
		if !ok {
			continue
		}
		text, err := json.Marshal(value)
		if err != nil {
			panic(err) // none of these has no JSON
		}
		if group, member, ok := strings.Cut(name, "."); ok {
			groups[group] = append(groups[group], fmt.Sprintf(`"%s":%s`, member, text))
		} else {
			parts = append(parts, fmt.Sprintf(`"%s":%s`, name, text))
		}
	}
	for _, group := range []string{"metrics", "params", "tags"} {
		if members := groups[group]; members != nil {
			parts = append(parts, fmt.Sprintf(`"%s":{%s}`, group, strings.Join(members, ",")))
		}
	}
	if w.run%1000 == 0 {
		parts = append(parts, fmt.Sprintf(`"layers":[%d]`, w.run))
	}
	return strings.Join(parts, ",")
}

func (w write) found(seq int) row {
	key := w.id() + ":S"
	index := map[string]any{
		"run_id": w.id(), "phase": "S", "cohort_id": "c", "snapshot_seq": seq, "timestamp": w.time().UnixMicro(), "_key": key, "_extra": nil,
		"ok": nil, "note": nil, "metrics.auc": nil, "params.n": nil, "tags.family": nil,
	}
	for name, value := range w.values() {
		index[name] = value
	}
	if w.run%1000 == 0 {
		index["_extra"] = fmt.Sprintf(`{"layers":[%d]}`, w.run)
	}
	snapshot := fmt.Sprintf(`{"run_id":"%s","stage":"S","timestamp":"%s","snapshot_seq":%d,%s}`, w.id(), w.time().Format(time.RFC3339Nano), seq, w.members())
	return row{index, json.RawMessage(snapshot)}
}
