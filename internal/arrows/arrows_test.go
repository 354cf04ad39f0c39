package arrows

import (
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/runfold/runfold"

// pkg is what go list says of a package.
type pkg struct {
	ImportPath, Dir string
	Imports         []string
	GoFiles         []string
	Standard        bool
}

func list(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json", module+"/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var pkgs []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

// allowed are the arrows between our packages. What is not listed may import none of ours.
var allowed = map[string][]string{
	"internal/durable/durabletest": {"internal/durable"},

	"compactor/view/sqlview":  {"cohort", "compactor/generation", "compactor/index", "compactor/view", "internal/jsonscan"},
	"compactor/view/sqlite":   {"cohort", "compactor/generation", "compactor/index", "compactor/view", "compactor/view/sqlview", "internal/jsonscan"},
	"compactor/view/postgres": {"compactor/view", "compactor/view/sqlview", "internal/jsonscan", "internal/pgclient"},
	"compactor/view/viewtest": {"cohort", "compactor", "compactor/audit", "compactor/generation", "compactor/history", "compactor/index", "compactor/view", "internal/jsonscan", "journal"},

	"compactor/intake/tracker":             {"cohort", "internal/jsonscan"},
	"compactor/intake/tracker/trackertest": {"compactor/intake/tracker"},
	"compactor/intake/mlruns":              {"compactor/intake/tracker"},
	"compactor/intake/optuna":              {"compactor/intake/tracker", "internal/jsonscan"},
	"compactor/intake/sacred":              {"compactor/intake/tracker", "internal/jsonscan"},
	"compactor/intake/tensorboard":         {"compactor/intake/tracker"},
	"compactor/intake/wandb":               {"compactor/intake/tracker", "internal/jsonscan"},

	"internal/doctor": {"cohort", "compactor/lock", "internal/durable"},
	"internal/padded": {"cohort", "compactor", "compactor/generation", "journal"},
	"internal/rootid": {"cohort", "journal"},

	"cohort":                  {"internal/jsonscan"},
	"journal":                 {"cohort", "internal/build", "internal/durable"},
	"compactor/index":         {"cohort", "internal/build", "internal/jsonscan"},
	"compactor/generation":    {"cohort", "compactor/index", "internal/build", "internal/durable", "journal"},
	"compactor/view/delta":    {"cohort", "compactor/generation", "compactor/index", "internal/durable"},
	"compactor":               {"cohort", "compactor/generation", "compactor/index", "compactor/lock", "compactor/lock/file", "compactor/view/delta", "internal/build", "internal/doctor", "internal/durable", "journal"},
	"compactor/audit":         {"cohort", "compactor", "compactor/generation", "compactor/index", "compactor/lock", "compactor/view/delta", "internal/durable", "internal/jsonscan", "journal"},
	"compactor/history":       {"cohort", "compactor", "compactor/generation", "compactor/index", "internal/jsonscan", "journal"},
	"compactor/intake":        {"cohort", "compactor", "compactor/index", "compactor/intake/tracker", "internal/jsonscan", "journal"},
	"compactor/lock":          {"internal/build"},
	"compactor/lock/locktest": {"cohort", "compactor", "compactor/audit", "compactor/generation", "compactor/index", "compactor/lock", "journal"},
	"compactor/lock/etcd":     {"compactor/lock"},
	"compactor/lock/file":     {"compactor/lock", "internal/durable"},
	"compactor/lock/postgres": {"compactor/lock", "internal/pgclient"},
	"compactor/lock/redis":    {"compactor/lock"},
	"compactor/query":         {"cohort", "compactor/index", "internal/jsonscan", "internal/quantity"},
	"compactor/view":          {"cohort", "compactor/generation", "compactor/index"},
	"cmd/journal-append":      {"cohort", "internal/build", "internal/durable", "internal/jsonscan", "internal/quantity", "internal/rootid", "internal/terminal", "journal"},
	"cmd/compactd/found":      {"cohort", "compactor", "compactor/audit", "compactor/generation", "compactor/index", "compactor/query", "internal/jsonscan", "internal/terminal"},
	"cmd/compactd/page":       {"cmd/compactd/found", "cohort", "compactor", "compactor/audit", "compactor/generation", "compactor/index", "compactor/query", "internal/build", "internal/durable", "internal/jsonscan", "internal/terminal", "journal"},
	"cmd/compactd":            {"cmd/compactd/found", "cmd/compactd/page", "cohort", "compactor", "compactor/audit", "compactor/generation", "compactor/history", "compactor/index", "compactor/intake", "compactor/intake/mlruns", "compactor/intake/optuna", "compactor/intake/sacred", "compactor/intake/tensorboard", "compactor/intake/tracker", "compactor/intake/wandb", "compactor/lock", "compactor/lock/etcd", "compactor/lock/file", "compactor/lock/postgres", "compactor/lock/redis", "compactor/query", "compactor/view", "compactor/view/delta", "compactor/view/postgres", "compactor/view/sqlite", "compactor/view/sqlview", "internal/build", "internal/doctor", "internal/durable", "internal/jsonscan", "internal/quantity", "internal/rootid", "internal/terminal", "journal"},
}

func TestArrows(t *testing.T) {
	for _, p := range list(t) {
		from := strings.TrimPrefix(p.ImportPath, module+"/")
		for _, to := range p.Imports {
			to, ours := strings.CutPrefix(to, module+"/")
			if ours && !slices.Contains(allowed[from], to) {
				t.Errorf("%s imports %s: no such arrow", from, to)
			}
			if from == "cohort" && strings.Contains(to, ".") && to != "github.com/cespare/xxhash/v2" {
				t.Errorf("cohort imports %s: all else that it imports is the standard library", to)
			}
		}
	}
}

// homes are where packages of others may be imported: folders, or one file. The checkpoints of a Delta table are Parquet files that have nothing
// in common with an index.
var homes = map[string][]string{
	"github.com/cespare/xxhash/v2":     {"cohort/record.go"},
	"github.com/tidwall/wal":           {"journal/wal.go"},
	"github.com/gofrs/flock":           {"internal/durable/lock.go"},
	"github.com/robfig/cron/v3":        {"compactor/schedule.go"},
	"github.com/parquet-go/parquet-go": {"compactor/index/", "compactor/view/delta/checkpoint"},
	"modernc.org/sqlite":               {"compactor/view/sqlite/"},
	"github.com/jackc/pgx/v5":          {"compactor/view/postgres/", "compactor/lock/postgres/", "internal/pgclient/", "internal/servertest/"},
	"go.etcd.io/etcd":                  {"compactor/lock/etcd/"},
	"google.golang.org/grpc":           {"compactor/lock/etcd/"},
	"github.com/redis/go-redis/v9":     {"compactor/lock/redis/"},
	"go.yaml.in/yaml":                  {"compactor/intake/mlruns/"},
	"google.golang.org/protobuf":       {"compactor/intake/wandb/", "compactor/intake/tensorboard/"},
	"github.com/spf13/cobra":           {"cmd/"},
	"go.uber.org/zap":                  {"cmd/"},
}

func TestHomes(t *testing.T) {
	met := map[string]bool{}
	for _, p := range list(t) {
		from := strings.TrimPrefix(p.ImportPath, module+"/")
		for _, name := range p.GoFiles {
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.ImportsOnly)
			if err != nil {
				t.Fatal(err)
			}
			for _, imp := range file.Imports {
				path, err := strconv.Unquote(imp.Path.Value)
				if err != nil {
					t.Fatal(err)
				}
				for lib, at := range homes {
					if path != lib && !strings.HasPrefix(path, lib+"/") {
						continue
					}
					met[lib] = true
					isHome := func(home string) bool { return strings.HasPrefix(from+"/"+name, home) }
					if !slices.ContainsFunc(at, isHome) {
						t.Errorf("%s/%s imports %s, whose home is %s", from, name, path, at)
					}
				}
			}
		}
	}
	for lib := range homes {
		if !met[lib] {
			t.Errorf("nothing imports %s: is this test looking in the right place?", lib)
		}
	}
}
