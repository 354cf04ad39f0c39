package acceptance

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/index"
)

var (
	differential = flag.Duration("differential", 0, "how long TestDifferential makes roots; make test-differential gives a minute")
	firstSeed    = flag.Uint64("first-seed", 1, "of the first root of TestDifferential; each root has the next one")
	python       = flag.String("python", "python3", "the `program` that runs the model of TestDifferential; it finds duckdb, polars and pyarrow")
)

const modelDir = "testdata/differential"

// TestDifferential appends random records through the built commands, folds them in random splits, and has DuckDB, pyarrow and
// polars read what was published. A model in Python says what each cell and each byte of the snapshots must be.
func TestDifferential(t *testing.T) {
	if *differential == 0 {
		t.Skip("no -differential: make test-differential runs this, with Python")
	}
	model := startModel(t)
	until := time.Now().Add(*differential)
	roots, sum := 0, trialSum{}
	for seed := *firstSeed; roots == 0 || time.Now().Before(until) && !t.Failed(); seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			trial := newTrial(t, model, seed)
			trial.run(t)
			sum.add(trial.trialSum)
		})
		roots++
	}
	t.Logf("figure: %d roots from seed %d on, %d records, %d folds, %d changes of columns, %d cells compared in %v",
		roots, *firstSeed, sum.records, sum.folds, sum.changes, sum.cells, *differential)
	if !t.Failed() && (sum.records == 0 || sum.folds == 0 || sum.cells == 0) {
		t.Error("nothing was compared")
	}
}

// model is the process that knows what must be read.
type model struct {
	in      io.Writer
	answers *bufio.Reader
}

func startModel(t *testing.T) *model {
	t.Helper()
	cmd := exec.Command(*python, "-B", filepath.Join(modelDir, "compare.py"))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%s runs the model of this test: %v", *python, err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("compare.py: %v", err)
		}
	})
	return &model{in, bufio.NewReader(out)}
}

// write is a record that was acknowledged.
type write struct {
	Line   string `json:"line"`
	Stamp  int64  `json:"stamp"`
	ID     string `json:"id"`
	Cohort string `json:"cohort"`
}

// ask has the root compared, and returns how many cells were.
func (m *model) ask(t *testing.T, question any) (cells int) {
	t.Helper()
	text, err := json.Marshal(question)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.in.Write(append(text, '\n')); err != nil {
		t.Fatal(err)
	}
	answer, err := m.answers.ReadString('\n')
	if err != nil {
		t.Fatalf("compare.py: %v", err)
	}
	answer = strings.TrimSpace(answer)
	if n, ok := strings.CutPrefix(answer, "ok "); ok {
		if cells, err = strconv.Atoi(n); err == nil {
			return cells
		}
	}
	if words, err := strconv.Unquote(answer); err == nil {
		answer = words
	}
	t.Fatal(answer)
	return 0
}

type trialSum struct{ records, folds, changes, cells int }

func (s *trialSum) add(o trialSum) {
	s.records, s.folds, s.changes, s.cells = s.records+o.records, s.folds+o.folds, s.changes+o.changes, s.cells+o.cells
}

// trial is one random root.
type trial struct {
	trialSum
	model   *model
	root    cohort.Root
	rnd     *rand.Rand
	records *randomRecords
	since   time.Time
	open    []*pipe
	acked   []write
	moved   bool // a column was retyped or dropped
	before  map[string]column
}

// column is one of "compactd columns --json".
type column struct {
	Name, Type string
	Declared   bool
	Values     int
}

func newTrial(t *testing.T, m *model, seed uint64) *trial {
	rnd := rand.New(rand.NewPCG(seed, 20))
	return &trial{model: m, root: newRoot(t), rnd: rnd, records: newRandomRecords(rnd), since: time.Now()}
}

func (d *trial) run(t *testing.T) {
	for range 1 + d.rnd.IntN(6) {
		for range 1 + d.rnd.IntN(4) {
			d.append(t, d.rnd.IntN(d.records.most))
		}
		d.fold(t)
		d.compare(t)
		if d.rnd.IntN(2) == 0 {
			d.change(t)
			d.compare(t)
		}
	}
	for len(d.open) > 0 {
		d.close(t, 0)
	}
	d.fold(t) // reads the seals
	d.compare(t)
	if out, words, code := compactd(t, "check", "--root", string(d.root)); code != 0 {
		t.Errorf("compactd check: exit code %d: %s%s", code, out, words)
	}
}

// append sends records through a stream that is open, or a new one, and waits for them.
func (d *trial) append(t *testing.T, n int) {
	t.Helper()
	i := d.rnd.IntN(len(d.open) + 1)
	if i == len(d.open) {
		d.open = append(d.open, startPipe(t, d.root, fmt.Sprintf("c%d", d.rnd.IntN(3))))
	}
	p := d.open[i]
	var lines []string
	for range n {
		lines = append(lines, d.records.next())
	}
	d.acked = append(d.acked, p.send(t, lines)...)
	d.trialSum.records += n
	if d.rnd.IntN(3) == 0 {
		d.close(t, i)
	}
}

func (d *trial) close(t *testing.T, i int) {
	t.Helper()
	d.open[i].close(t)
	d.open = append(d.open[:i], d.open[i+1:]...)
}

func (d *trial) fold(t *testing.T) {
	t.Helper()
	args := []string{"once", "--root", string(d.root)}
	if d.rnd.IntN(3) == 0 {
		args = append(args, "--batch-bytes", strconv.Itoa(1+d.rnd.IntN(20_000)))
	}
	if _, words, code := compactd(t, args...); code != 0 {
		t.Fatalf("compactd %v: exit code %d: %s", args, code, words)
	}
	d.folds++
	now := d.listed(t)
	for name, was := range d.before {
		is, there := now[name]
		switch {
		case !there && !was.Declared: // it had no values, or the model misses them
		case is.Type == was.Type && is.Declared == was.Declared:
		case is.Type == "double" && was.Type == "int64" && !was.Declared:
		default:
			t.Errorf("the fold made column %+v of %+v", is, was)
		}
	}
	d.before = now
}

// listed are the columns by name.
func (d *trial) listed(t *testing.T) map[string]column {
	t.Helper()
	var c struct{ Columns []column }
	if err := json.Unmarshal(d.columns(t), &c); err != nil {
		t.Fatal(err)
	}
	all := map[string]column{}
	for _, col := range c.Columns {
		all[col.Name] = col
	}
	return all
}

// change sets or drops columns, those of the wide records seldom.
func (d *trial) change(t *testing.T) {
	t.Helper()
	var names []string
	for _, name := range slices.Sorted(maps.Keys(d.before)) {
		if !isWide(name) || d.rnd.IntN(100) == 0 {
			names = append(names, name)
		}
	}
	names = sample(d.rnd, names, 1+d.rnd.IntN(8))
	args := []string{"columns", "drop", "--root", string(d.root), "--"}
	switch {
	case len(names) > 0 && d.rnd.IntN(4) == 0:
		args = append(args, names...)
		d.moved = true
	case d.rnd.IntN(6) == 0:
		args = []string{"columns", "set", "--root", string(d.root), "--max", strconv.Itoa(min(index.MostColumns, 1+len(d.before)+d.rnd.IntN(1000)))}
	default:
		args[1] = "set"
		args = append(args, d.declarations(names)...)
		d.moved = true
	}
	if _, words, code := compactd(t, args...); code != 0 {
		t.Fatalf("compactd %q: exit code %d: %s", args, code, words)
	}
	d.changes++
	d.before = d.listed(t)
}

// declarations give columns that are there, and one that may not be, a type that its name allows.
func (d *trial) declarations(names []string) (args []string) {
	if name, err := strconv.Unquote(`"` + pick(d.rnd, hostileNames...) + `"`); err == nil {
		names = append(names, name)
	}
	names = append(names, "params.seed")
	for _, name := range names {
		kind := pick(d.rnd, "bool", "int64", "int64", "double", "string", "string")
		for _, k := range []string{kind, "double", "string"} {
			if _, err := index.ParseColumn(name + ":" + k); err == nil {
				args = append(args, name+":"+k)
				break
			}
		}
	}
	return args
}

func (d *trial) columns(t *testing.T) []byte {
	t.Helper()
	out, words, code := compactd(t, "columns", "--root", string(d.root), "--json")
	if code != 0 {
		t.Fatalf("compactd columns: exit code %d: %s", code, words)
	}
	return []byte(out)
}

func (d *trial) compare(t *testing.T) {
	t.Helper()
	d.cells += d.model.ask(t, map[string]any{
		"root": string(d.root), "since": d.since.UnixMicro(), "records": append([]write{}, d.acked...),
		"columns": json.RawMessage(d.columns(t)), "moved": d.moved,
	})
}

// pipe is a journal-append that is told record after record.
type pipe struct {
	cohort string
	cmd    *exec.Cmd
	in     io.WriteCloser
	acks   *bufio.Reader
	words  strings.Builder
}

func startPipe(t *testing.T, root cohort.Root, id string, flags ...string) *pipe {
	t.Helper()
	args := append([]string{"--root", string(root), "--cohort", id, "--ack", "--strict"}, flags...)
	p := &pipe{cohort: id, cmd: exec.Command("journal-append", args...)}
	p.cmd.Stderr = &p.words
	in, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.in, p.acks = in, bufio.NewReader(out)
	t.Cleanup(func() { p.cmd.Process.Kill() })
	return p
}

// send returns when all lines are durable.
func (p *pipe) send(t *testing.T, lines []string) (acked []write) {
	t.Helper()
	go io.WriteString(p.in, strings.Join(lines, "\n")+strings.Repeat("\n", min(1, len(lines)))) // an error shows in the answers
	for _, line := range lines {
		text, err := p.acks.ReadBytes('\n')
		if err != nil {
			t.Fatalf("journal-append answered %d of %d lines: %v: %s", len(acked), len(lines), err, p.words.String())
		}
		ack := struct {
			Stamp int64
			ID    string `json:"record_id"`
		}{}
		if err := json.Unmarshal(text, &ack); err != nil || ack.Stamp == 0 {
			t.Fatalf("journal-append answers %q to %s: %v", text, line, err)
		}
		acked = append(acked, write{line, ack.Stamp, ack.ID, p.cohort})
	}
	return acked
}

func (p *pipe) close(t *testing.T) {
	t.Helper()
	p.in.Close()
	if err := p.cmd.Wait(); err != nil {
		t.Fatalf("journal-append: %v: %s", err, p.words.String())
	}
}
