package acceptance

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/history"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/compactor/view/delta"
	"github.com/runfold/runfold/journal"
)

var (
	engines       = flag.String("engines", "", "the `engines` that read the Delta tables of TestEngines, such as deltalake,polars: make test-engines gives them")
	enginesPython = flag.String("engines-python", "", "the `program` that runs testdata/engines/engines.py, and finds the engines")
	generations   = flag.Int("generations", 40, "how many folds each root of TestEngines has")
)

// TestEngines gives roots a random history: new columns and other types, names that need column mapping, withdrawals, restores, repairs, an erasure,
// and folds that publish nothing. Each engine reads every version of the Delta tables, and each cell is compared with the index of the
// generation that the version shows.
func TestEngines(t *testing.T) {
	if *engines == "" {
		t.Skip("no -engines: make test-engines runs this, with Python")
	}
	t.Logf("-seed %d", *seed)
	var plan []shown
	for i, name := range []string{"plain", "names", "erased"} {
		h := newHistory(t, name, rand.New(rand.NewPCG(*seed, uint64(i))))
		for range *generations {
			h.step()
		}
		if name == "erased" {
			h.erase()
		}
		plan = append(plan, h.plan...)
	}
	data, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "plan.json")
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	for engine := range strings.SplitSeq(*engines, ",") {
		out, err := exec.Command(*enginesPython, "testdata/engines/engines.py", engine, path).CombinedOutput()
		text := strings.TrimSpace(string(out))
		if err != nil {
			t.Errorf("%s: %v\n%s", engine, err, text[max(0, len(text)-3000):])
			continue
		}
		t.Logf("figure: %s", text[strings.LastIndexByte(text, '\n')+1:])
	}
}

// shown is a version, and the file with the rows that it must have.
type shown struct {
	Table   string `json:"table"`
	Version int64  `json:"version"`
	Newest  bool   `json:"newest"`
	Parquet string `json:"parquet"`
	Mapped  bool   `json:"mapped"`
}

// past is a root that is being changed.
type past struct {
	t    *testing.T
	rnd  *rand.Rand
	name string
	dir  string
	cfg  compactor.Config
	runs int
	plan []shown
}

func newHistory(t *testing.T, name string, rnd *rand.Rand) *past {
	h := &past{t: t, rnd: rnd, name: name, dir: t.TempDir()}
	h.cfg = compactor.Config{Root: cohort.Root(filepath.Join(h.dir, "runs")), KeepGenerations: 10000}
	_, _, err := journal.InitRoot(h.cfg.Root, cohort.Settings{}, journal.RootOptions{})
	h.must(err)
	h.turn(true)
	h.note()
	return h
}

func (h *past) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatalf("%s: %v", h.name, err)
	}
}

func (h *past) turn(on bool) {
	_, err := compactor.ChangeDelta(context.Background(), h.cfg, on)
	h.must(err)
}

// step changes the root in a random way, and folds.
func (h *past) step() {
	ctx := context.Background()
	off := h.rnd.IntN(12) == 0
	if off {
		h.turn(false)
	}
	switch h.rnd.IntN(12) {
	case 0:
		col := index.Column{Name: fmt.Sprintf("params.p%d", h.rnd.IntN(4)), Kind: []index.Kind{index.Int, index.Double, index.String, index.Bool}[h.rnd.IntN(4)]}
		_, err := compactor.ChangeColumns(ctx, h.cfg, compactor.ColumnChange{Declare: []index.Column{col}})
		h.must(err)
	case 1:
		h.append(fmt.Sprintf(`{"action":"withdraw","run_id":"r-%d","reason":"x"}`, h.rnd.IntN(h.runs+1)))
	case 2:
		if gens, err := h.store().List(); err == nil {
			_, err := history.Restore(ctx, h.cfg, gens[h.rnd.IntN(len(gens))], history.RestoreOptions{Apply: true})
			if !errors.As(err, new(*generation.NotKeptError)) {
				h.must(err)
			}
		}
	case 3:
		h.repair()
	default:
		for range 1 + h.rnd.IntN(12) {
			h.append(h.record())
		}
	}
	_, err := compactor.Fold(ctx, h.cfg)
	h.must(err)
	if off {
		h.turn(true)
	}
	h.note()
}

func (h *past) append(line string) {
	parse := func(b []byte) (cohort.Record, error) { return cohort.ParseRecord(b, 0) }
	if strings.HasPrefix(line, `{"action"`) {
		parse = cohort.ParseAction
	}
	r, err := parse([]byte(line))
	h.must(err)
	w, err := journal.Create(h.cfg.Root, cohort.ID(fmt.Sprintf("c%d", h.rnd.IntN(2))), journal.Options{})
	h.must(err)
	h.must(w.Append([]cohort.Record{r}))
	h.must(w.Close())
}

// record is a random record. Later ones bring new columns, and other types of old ones.
func (h *past) record() string {
	h.runs++
	values := []string{`1`, `-9007199254740993`, `9223372036854775807`, `0.5`, `-0.0`, `1e308`, `"text"`, `"ü\u0000\n\"'"`, `""`, `true`, `null`, `[1]`,
		`"` + strings.Repeat("long ", 30) + `"`}
	pick := func() string { return values[h.rnd.IntN(len(values))] }
	fields := []string{fmt.Sprintf(`"run_id":"r-%d"`, h.rnd.IntN(h.runs)), `"stage":"TRAINING"`}
	times := []string{`"2026-01-02T03:04:05.123456Z"`, `"0001-01-01T00:00:00Z"`, `"9999-12-31T23:59:59.999999Z"`, `"1969-12-31T23:59:59.999999Z"`}
	if h.rnd.IntN(2) == 0 {
		fields = append(fields, `"timestamp":`+times[h.rnd.IntN(len(times))])
	}
	params, metrics := []string{}, []string{}
	for i := range 4 {
		if h.rnd.IntN(2) == 0 {
			params = append(params, fmt.Sprintf(`"p%d":%s`, i, pick()))
		}
		if h.rnd.IntN(3) == 0 {
			metrics = append(metrics, fmt.Sprintf(`"m%d":%s`, h.rnd.IntN(3)+4*i, []string{"0.25", "-3", "1e-300", "null"}[h.rnd.IntN(4)]))
		}
	}
	if h.name == "names" && h.rnd.IntN(3) == 0 {
		params = append(params, fmt.Sprintf(`"a b":%s,"x,y;{z}":%s,"q=(1)":%s,"dotted.name":%s`, pick(), pick(), pick(), pick()))
	}
	fields = append(fields, `"params":{`+strings.Join(params, ",")+`}`, `"metrics":{`+strings.Join(metrics, ",")+`}`, `"tags":{"owner":`+pick()+`}`)
	return "{" + strings.Join(fields, ",") + "}"
}

// repair damages the newest index, and goes back.
func (h *past) repair() {
	newest := h.newest()
	path := h.cfg.Root.Data(newest.Index.Name)
	data, err := os.ReadFile(path)
	h.must(err)
	for _, name := range []string{path, h.cfg.Root.Index()} { // else the published copy mends it
		os.Remove(name)
		data[len(data)/2] ^= 1
		h.must(os.WriteFile(name, data, 0o644))
		data[len(data)/2] ^= 1
	}
	_, err = audit.Repair(context.Background(), h.cfg, audit.RepairOptions{Apply: true})
	h.must(err)
}

func (h *past) erase() {
	_, err := compactor.Erase(context.Background(), h.cfg, compactor.Erasure{RunID: "r-0", Apply: true})
	h.must(err)
	h.plan = nil // only the newest version is left
	h.note()
}

func (h *past) store() *generation.Store {
	s, err := h.cfg.Store()
	h.must(err)
	return s
}

func (h *past) newest() generation.Manifest {
	m, err := h.store().Newest()
	h.must(err)
	return m
}

// note keeps the rows that the newest version must have.
func (h *past) note() {
	s, err := delta.Read(h.store())
	h.must(err)
	m := h.newest()
	if s.Generation != m.Generation {
		h.t.Fatalf("%s: the table shows generation %d of %d", h.name, s.Generation, m.Generation)
	}
	kept := filepath.Join(h.dir, fmt.Sprintf("%d.parquet", s.Version))
	data, err := os.ReadFile(h.cfg.Root.Data(m.Index.Name))
	h.must(err)
	h.must(os.WriteFile(kept, data, 0o666))
	if n := len(h.plan); n > 0 {
		h.plan[n-1].Newest = false
		if h.plan[n-1].Version == s.Version {
			h.plan = h.plan[:n-1]
		}
	}
	h.plan = append(h.plan, shown{h.cfg.Root.Delta(), s.Version, true, kept, s.Mapped})
}
