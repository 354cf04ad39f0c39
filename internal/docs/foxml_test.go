//go:build unix

package docs

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// TestFoxml tries a root with the profile with what its users have: pandas and pyarrow.
func TestFoxml(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the commands, and waits for Python")
	}
	python := findPython(t)
	if python == "" {
		t.Skip("no pandas: make test-docs makes what this needs")
	}
	bin := buildCommands(t)
	t.Run("reader", func(t *testing.T) { foxmlReader(newFoxmlRoot(t, bin, python)) })
	t.Run("writers", func(t *testing.T) { foxmlWriters(newFoxmlRoot(t, bin, python)) })
}

// foxmlRoot is a root with the profile, and what runs the commands on it.
type foxmlRoot struct {
	t           *testing.T
	bin, python string
	root        string
}

func newFoxmlRoot(t *testing.T, bin, python string) *foxmlRoot {
	t.Helper()
	r := &foxmlRoot{t: t, bin: bin, python: python, root: filepath.Join(t.TempDir(), "runs")}
	r.must("compactd", "init", "--root", r.root, "--profile", "foxml")
	return r
}

// run runs a command, and returns what it prints and its exit code.
func (r *foxmlRoot) run(name string, args ...string) (out string, code int) {
	cmd := exec.Command(filepath.Join(r.bin, name), args...)
	cmd.Env = append(os.Environ(), "RUNFOLD_ROOT_ID=")
	text, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		r.t.Fatalf("%s %q: %v", name, args, err)
	}
	return string(text), cmd.ProcessState.ExitCode()
}

func (r *foxmlRoot) must(name string, args ...string) string {
	r.t.Helper()
	out, code := r.run(name, args...)
	if code != 0 {
		r.t.Fatalf("%s %q: exit code %d\n%s", name, args, code, out)
	}
	return out
}

// read is what testdata/foxml_read.py prints.
func (r *foxmlRoot) read() string {
	r.t.Helper()
	out, err := exec.Command(r.python, "-B", "testdata/foxml_read.py", r.root).CombinedOutput()
	if err != nil {
		r.t.Fatalf("foxml_read.py: %v\n%s", err, out)
	}
	return string(out)
}

// foxmlReader reads the 48 columns with pandas, in an index without rows and in one with all of them.
func foxmlReader(r *foxmlRoot) {
	t := r.t
	if got := strings.Count(r.read(), "\n"); got != 48 {
		t.Errorf("an empty index has %d of 48 columns", got)
	}
	r.must("journal-append", "--root", r.root, "--json", `{"phase":"TRAINING","mode":"CROSS_SECTIONAL","target":"y/5m","symbol":"BRK/B","model_family":"lightgbm","cohort_id":"cs_5m",
		"run_id":"r1","data_fingerprint":"d","featureset_hash":"f","config_hash":"c","git_commit":"g","n_effective":52000,"n_symbols":3,"auc":0.71,"logloss":1,"pr_auc":0.2,
		"sym_auc_mean":0.1,"sym_auc_median":0.2,"sym_auc_iqr":0.3,"sym_auc_min":0.4,"sym_auc_max":0.5,"frac_symbols_good":0.6,"composite_score":0.7,"mean_importance":0.8,
		"route":"CROSS_SECTIONAL","route_changed":1,"route_entropy":0.9,"pos_rate":0.5,"n_features_pre":10,"n_features_post_prune":9,"n_features_selected":8,
		"purge_minutes_used":85,"embargo_minutes_used":5.5,"horizon_minutes":5,"jaccard_topK":0.3,"rank_corr_spearman":0.4,"importance_concentration":0.5,
		"runtime_sec":12.5,"peak_ram_mb":1024,"folds_executed":5,"date":"2026-01-01","created_at":"2026-03-01T12:00:00.123456","run_started_at":"2026-03-01T12:00:00Z",
		"decision_level":2,"decision_action_mask":"[\"a\"]","decision_reason_codes":"[]","path":"targets/y"}`)
	r.must("compactd", "once", "--root", r.root)
	want := `phase string str
mode string str
target string str
symbol string str
model_family string str
cohort_id string str
run_id string str
segment_id int64 int64
data_fingerprint string str
featureset_hash string str
config_hash string str
git_commit string str
n_effective int64 int64
n_symbols int64 int64
auc double float64
logloss double float64
pr_auc double float64
sym_auc_mean double float64
sym_auc_median double float64
sym_auc_iqr double float64
sym_auc_min double float64
sym_auc_max double float64
frac_symbols_good double float64
composite_score double float64
mean_importance double float64
route string str
route_changed int64 int64
route_entropy double float64
pos_rate double float64
n_features_pre int64 int64
n_features_post_prune int64 int64
n_features_selected int64 int64
purge_minutes_used double float64
embargo_minutes_used double float64
horizon_minutes double float64
jaccard_topK double float64
rank_corr_spearman double float64
importance_concentration double float64
runtime_sec double float64
peak_ram_mb double float64
folds_executed int64 int64
date string str
created_at string str
run_started_at string str
decision_level int64 int64
decision_action_mask string str
decision_reason_codes string str
path string str
phase=TRAINING mode=CROSS_SECTIONAL target=y/5m symbol=BRK/B model_family=lightgbm cohort_id=cs_5m run_id=r1 segment_id=0 data_fingerprint=d featureset_hash=f config_hash=c git_commit=g n_effective=52000 n_symbols=3 auc=0.71 logloss=1.0 pr_auc=0.2 ` +
		`sym_auc_mean=0.1 sym_auc_median=0.2 sym_auc_iqr=0.3 sym_auc_min=0.4 sym_auc_max=0.5 frac_symbols_good=0.6 composite_score=0.7 mean_importance=0.8 route=CROSS_SECTIONAL route_changed=1 route_entropy=0.9 pos_rate=0.5 ` +
		`n_features_pre=10 n_features_post_prune=9 n_features_selected=8 purge_minutes_used=85.0 embargo_minutes_used=5.5 horizon_minutes=5.0 jaccard_topK=0.3 rank_corr_spearman=0.4 importance_concentration=0.5 ` +
		`runtime_sec=12.5 peak_ram_mb=1024.0 folds_executed=5 date=2026-01-01 created_at=2026-03-01T12:00:00.123456 run_started_at=2026-03-01T12:00:00Z decision_level=2 decision_action_mask=["a"] decision_reason_codes=[] path=targets/y
`
	if got := r.read(); got != want {
		t.Errorf("pandas reads\n%s\nwant\n%s", got, want)
	}
}

// foxmlWriters lets processes as FoxML has them save over both files, while records are appended and folded. Whatever they saved is in the index at the end:
// what was set aside was imported as the fold says.
func foxmlWriters(r *foxmlRoot) {
	t := r.t
	const rows = 12
	var all sync.WaitGroup
	saved := make([][]string, 2)
	ended := make(chan bool)
	for i, name := range []string{"x", "y"} {
		all.Go(func() {
			cmd := exec.Command(r.python, "-B", "testdata/foxml_writer.py", r.root, name, fmt.Sprint(rows))
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			if err != nil {
				t.Errorf("writer %s: %v", name, err)
			}
			saved[i] = strings.Fields(string(out))
		})
	}
	go func() {
		all.Wait()
		close(ended)
	}()
	var imports []string // commands
	fold := func() {
		out, code := r.run("compactd", "once", "--root", r.root)
		if code != 0 && code != 4 {
			t.Errorf("once: exit code %d\n%s", code, out)
		}
		for line := range strings.Lines(out) {
			if _, command, ok := strings.Cut(strings.TrimSpace(line), ": take its rows in with "); ok && !slices.Contains(imports, command) {
				imports = append(imports, command)
			}
		}
	}
	appended, folds := 0, 0
	for going := true; going; folds++ {
		select {
		case <-ended:
			going = false
		default:
		}
		r.must("journal-append", "--root", r.root, "--json", fmt.Sprintf(`{"run_id":"a-%d","phase":"TRAINING","cohort_id":"cs_5m","auc":0.5,"git_commit":"0aa6d6c"}`, appended))
		appended++
		fold()
	}
	fold()
	for _, command := range imports {
		args := strings.Fields(command)
		// The other program may have written one file while the other was set aside: then a snapshot names no cohort, which is told, and its row has it.
		if out, code := r.run(args[0], append(args[1:], "--cohort", "cs_5m")...); code != 0 && !strings.Contains(out, "read ") {
			t.Errorf("%s: exit code %d\n%s", command, code, out)
		}
	}
	found := map[string]bool{}
	for line := range strings.Lines(r.read()) {
		for _, field := range strings.Fields(line) {
			if run, ok := strings.CutPrefix(field, "run_id="); ok {
				found[run] = true
			}
		}
	}
	for _, run := range slices.Concat(saved...) {
		if !found[run] {
			t.Errorf("row %s was saved over the index and is nowhere", run)
		}
	}
	for n := range appended {
		if !found[fmt.Sprintf("a-%d", n)] {
			t.Errorf("row a-%d was appended and is nowhere", n)
		}
	}
	if len(saved[0]) != rows || len(saved[1]) != rows || len(imports) == 0 {
		t.Errorf("saved %d and %d rows, %d imports: nothing was tried", len(saved[0]), len(saved[1]), len(imports))
	}
	t.Logf("figure: %d rows saved by pandas, %d appended, %d folds, %d imports", len(saved[0])+len(saved[1]), appended, folds, len(imports))
	scanner := bufio.NewScanner(strings.NewReader(r.must("compactd", "check", "--root", r.root, "--replay")))
	for scanner.Scan() {
		if strings.Contains(scanner.Text(), "damage") {
			t.Error(scanner.Text())
		}
	}
}
