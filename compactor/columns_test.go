package compactor_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/compactor/lock"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
	"github.com/runfold/runfold/internal/jsonscan"
)

// mixedLines have values of every type under one name, what no column holds, and two values for one column.
var mixedLines = []string{
	`{"run_id":"a","stage":"S","timestamp":"2026-01-31T12:00:00Z","v":1,"w":7,"metrics":{"m":0.5}}`,
	`{"run_id":"b","stage":"S","timestamp":"2026-01-31T12:00:00Z","v":"text","w":9007199254740993,"metrics":{"m":"failed"}}`,
	`{"run_id":"c","stage":"S","timestamp":"2026-01-31T12:00:00Z","v":true,"w":-9223372036854775808,"tags":{"t":1.50}}`,
	`{"run_id":"d","stage":"S","timestamp":"2026-01-31T12:00:00Z","v":"1","w":92233720368547758070,"tags":{"t":"x"}}`,
	`{"run_id":"e","stage":"S","timestamp":"2026-01-31T12:00:00Z","v":[1,2],"params.p":5,"params":{"p":"five"},"w":1}`,
	`{"run_id":"f","stage":"S","timestamp":"2026-01-31T12:00:00Z"}`,
}

// mixed is a root with mixedLines folded.
func mixed(t *testing.T) cohort.Root {
	t.Helper()
	root := newRoot(t)
	appendTo(t, root, "c", mixedLines...)
	foldNow(t, compactor.Config{Root: root})
	return root
}

// retype makes numbers text, takes a column away, and declares one that no record has.
var retype = compactor.ColumnChange{
	Declare: []index.Column{{Name: "v", Kind: index.String}, {Name: "symbol", Kind: index.String}},
	Drop:    []string{"w"},
}

func readText(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func changeOnce(cfg compactor.Config, change compactor.ColumnChange) error {
	_, err := compactor.ChangeColumns(context.Background(), cfg, change)
	return err
}

// schemaOn are the columns of the newest generation, as text.
func schemaOn(t *testing.T, fsys durable.FS, root cohort.Root) (columns []string) {
	t.Helper()
	m, err := newest(fsys, root)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range m.Schema {
		columns = append(columns, c.Name+":"+c.Kind.String())
	}
	return columns
}

// TestRetypeLosesNothing changes types at random, there and back, with appends between, and drops columns and brings them back: in
// the end each row says what it said in the beginning, and the snapshots never change.
func TestRetypeLosesNothing(t *testing.T) {
	t.Logf("-seed %d", *seed)
	rnd := rand.New(rand.NewPCG(*seed, 21))
	root := mixed(t)
	kinds := []index.Kind{index.Bool, index.Int, index.Double, index.String}
	declare := func(name string, kind index.Kind) {
		t.Helper()
		if err := changeOnce(compactor.Config{Root: root}, compactor.ColumnChange{Declare: []index.Column{{Name: name, Kind: kind}}}); err != nil {
			t.Fatalf("declare %s %v: %v", name, kind, err)
		}
	}
	base := func() {
		t.Helper()
		for _, name := range []string{"v", "w", "params.p"} {
			declare(name, index.Int)
		}
	}
	base()
	snapshots, rows := readText(t, root.Snapshots()), dumpRows(t, durable.OS, root)
	steps := 40
	if testing.Short() {
		steps = 8
	}
	for i := range steps {
		name := []string{"v", "w", "params.p"}[rnd.IntN(3)]
		what := fmt.Sprintf("step %d, %s", i, name)
		if rnd.IntN(4) == 0 {
			if err := changeOnce(compactor.Config{Root: root}, compactor.ColumnChange{Drop: []string{name}}); err != nil {
				t.Fatalf("%s: drop: %v", what, err)
			}
		} else {
			declare(name, kinds[rnd.IntN(len(kinds))])
		}
		if got := readText(t, root.Snapshots()); got != snapshots {
			t.Fatalf("%s: the snapshots changed:\n%s\nwere\n%s", what, got, snapshots)
		}
		if got := damage(t, root); got != "" {
			t.Fatalf("%s: check finds\n%s", what, got)
		}
		if rnd.IntN(5) == 0 {
			base()
			if diff := cmp.Diff(rows, dumpRows(t, durable.OS, root)); diff != "" {
				t.Fatalf("%s, and back: rows (-want +got):\n%s", what, diff)
			}
		}
	}
	base()
	if diff := cmp.Diff(rows, dumpRows(t, durable.OS, root)); diff != "" {
		t.Fatalf("and back: rows (-want +got):\n%s", diff)
	}
}

// dumpRows are the rows by key: what stands in columns, then what stands in _extra, each sorted by name.
func dumpRows(t *testing.T, fsys durable.FS, root cohort.Root) map[string]string {
	t.Helper()
	out := map[string]string{}
	for row := range publishedRows(t, fsys, root) {
		var key string
		var columns, extra []string
		for name, value := range jsonscan.Members([]byte(row)) {
			switch name {
			case "_key":
				key = string(value)
			case "_extra":
				for name, value := range jsonscan.Members(value) {
					extra = append(extra, fmt.Sprintf("%s=%s", name, value))
				}
			default:
				columns = append(columns, fmt.Sprintf("%s=%s", name, value))
			}
		}
		slices.Sort(columns)
		slices.Sort(extra)
		out[key] = strings.Join(columns, " ") + " | " + strings.Join(extra, " ")
	}
	return out
}

// TestChangeOnError: what cannot be done leaves the newest generation, its files, and no others.
func TestChangeOnError(t *testing.T) {
	many := make([]index.Column, index.DefaultColumns+1)
	for i := range many {
		many[i] = index.Column{Name: fmt.Sprintf("n%d", i), Kind: index.Int}
	}
	full := func(part string) durable.FS {
		return &durabletest.Fault{FS: durable.OS, Hook: func(_ int, op, name string) error {
			if op == "write" && strings.Contains(name, part) {
				return syscall.ENOSPC
			}
			return nil
		}}
	}
	for _, test := range []struct {
		name   string
		change compactor.ColumnChange
		cfg    func() compactor.Config
		is     error
		says   string
	}{
		{"a fixed column", compactor.ColumnChange{Declare: []index.Column{{Name: "run_id", Kind: index.String}}}, nil, nil, "run_id"},
		{"a metric of text", compactor.ColumnChange{Declare: []index.Column{{Name: "v", Kind: index.String}, {Name: "metrics.m", Kind: index.String}}}, nil, nil, "must be double"},
		{"no kind", compactor.ColumnChange{Declare: []index.Column{{Name: "v"}}}, nil, nil, `"v"`},
		{"drop of none", compactor.ColumnChange{Drop: []string{"v", "none"}}, nil, nil, `there is no column "none"`},
		{"too many", compactor.ColumnChange{Declare: many}, nil, nil, "501 columns are declared"},
		{"more than a root may have", compactor.ColumnChange{Max: index.MostColumns + 1}, nil, nil, "2001 columns"},
		{"fewer than none", compactor.ColumnChange{Declare: many[:2], Max: 1}, nil, nil, "2 columns are declared"},
		{"full disk, index", retype, func() compactor.Config { return compactor.Config{FS: full("data/.index-")} }, syscall.ENOSPC, "write index"},
		{"full disk, snapshots", retype, func() compactor.Config { return compactor.Config{FS: full("snapshots-")} }, syscall.ENOSPC, "write snapshots"},
		{"no room", retype, func() compactor.Config {
			return compactor.Config{Free: func(string) (int64, error) { return 1000, nil }}
		}, syscall.ENOSPC, "are free"},
		{"lock held", retype, func() compactor.Config { return compactor.Config{Lock: no{}} }, compactor.ErrLocked, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := mixed(t)
			before, rows := contents(t, string(root)), dumpRows(t, durable.OS, root)
			cfg := compactor.Config{}
			if test.cfg != nil {
				cfg = test.cfg()
			}
			cfg.Root = root
			err := changeOnce(cfg, test.change)
			if err == nil || !errors.Is(err, test.is) && test.is != nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("ChangeColumns = %v, want %v, %q", err, test.is, test.says)
			}
			after := contents(t, string(root))
			for name := range after {
				if strings.Contains(name, "compact.lock") {
					delete(after, name)
					delete(before, name)
				}
			}
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("the root (-before +after):\n%s", diff)
			}
			if diff := cmp.Diff(rows, dumpRows(t, durable.OS, root)); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
		})
	}
}

// no is a Locker that always says no.
type no struct{}

func (no) Lock(context.Context) (lock.Held, error) { return nil, compactor.ErrLocked }

// TestChangeKeepsDamage: an index that is damaged is not written anew as if it were whole.
func TestChangeKeepsDamage(t *testing.T) {
	root := newDamagedRoot(t)
	appendTo(t, root, "c", mixedLines...)
	foldNow(t, compactor.Config{Root: root})
	m := newestOn(t, root)
	for _, name := range []string{root.Data(m.Index.Name), root.Data(m.Snapshots[0].Name)} {
		t.Run(root.Rel(name), func(t *testing.T) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			change(t, name, flip(len(data)/3))
			defer put(t, name, data)
			if err := changeOnce(compactor.Config{Root: root}, retype); !generation.IsDamage(err) {
				t.Errorf("ChangeColumns = %v, want damage", err)
			}
			if now := newestOn(t, root); now.Generation != m.Generation {
				t.Errorf("generation %d was made", now.Generation)
			}
		})
	}
}

// changing is mixed with a record that no fold has read. wants are the rows with it, wherever their values stand, and the columns before
// and after retype.
type changing struct {
	root          cohort.Root
	rows          map[string]string
	before, after []string
}

func newChanging(t *testing.T) changing {
	t.Helper()
	c := changing{root: mixed(t)}
	appendTo(t, c.root, "c", `{"run_id":"late","stage":"S","timestamp":"2026-01-31T12:00:00Z","v":3}`)
	c.before = schemaOn(t, durable.OS, c.root)
	disk := loaded(t, c.root)
	cfg := compactor.Config{Root: c.root, FS: disk, Lock: yes{}}
	foldNow(t, cfg)
	c.rows = rowsOn(t, disk, c.root)
	if err := changeOnce(cfg, retype); err != nil {
		t.Fatal(err)
	}
	c.after = schemaOn(t, disk, c.root)
	if diff := cmp.Diff(c.rows, rowsOn(t, disk, c.root)); diff != "" || slices.Equal(c.before, c.after) || len(c.rows) != 7 {
		t.Fatalf("undisturbed: columns %v, then %v, %d rows (-before +after):\n%s", c.before, c.after, len(c.rows), diff)
	}
	return c
}

func (c changing) config(fsys durable.FS) compactor.Config {
	return compactor.Config{Root: c.root, FS: fsys, Lock: yes{}, KeepAge: -1, KeepGenerations: 1}
}

// holds folds what is left and compares. done says that the change was reported as committed.
func (c changing) holds(t *testing.T, fsys durable.FS, done bool, when string) {
	t.Helper()
	if err := foldOnce(c.config(fsys)); err != nil {
		t.Fatalf("%s: the next fold: %v", when, err)
	}
	if diff := cmp.Diff(c.rows, rowsOn(t, fsys, c.root)); diff != "" {
		t.Fatalf("%s: rows after the next fold (-want +got):\n%s", when, diff)
	}
	if got := schemaOn(t, fsys, c.root); !slices.Equal(got, c.after) && (done || !slices.Equal(got, c.before)) {
		t.Fatalf("%s, reported as done: %v: columns %v, before %v, wanted %v", when, done, got, c.before, c.after)
	}
	if got := damageOn(t, fsys, c.root); got != "" {
		t.Fatalf("%s: check finds\n%s", when, got)
	}
	noTemp(t, fsys, c.root, when)
}

// again changes the columns once more, as one does after a failure, and wants the columns of retype.
func (c changing) again(t *testing.T, fsys durable.FS, when string) {
	t.Helper()
	if err := changeOnce(c.config(fsys), retype); err != nil {
		t.Fatalf("%s: done again: %v", when, err)
	}
	c.holds(t, fsys, true, when+", and again")
}

// TestChangePowerLossAnywhere cuts the power before each change of the disk that a change of columns makes, and lets each fail. The
// columns are those before or after it, never others, each row says what it said, and the change may be made again.
func TestChangePowerLossAnywhere(t *testing.T) {
	t.Logf("-seed %d", *seed)
	rnd := rand.New(rand.NewPCG(*seed, 22))
	c := newChanging(t)
	crashes, faults := 0, 0
	for k := 0; ; k++ {
		if k%sparse != 0 || testing.Short() && k%5 != 0 {
			continue
		}
		disk := loaded(t, c.root)
		fault := &durabletest.Fault{FS: disk, Hook: durabletest.StopAt(k)}
		if err := changeOnce(c.config(fault), retype); err == nil && fault.Calls() <= k {
			t.Logf("figure: %d crash states of a change of columns and %d faults, at %d places", crashes, faults, k)
			return
		}
		for _, mode := range durabletest.Modes() {
			when := fmt.Sprintf("power lost before change %d, %v", k, mode)
			reboot := disk.Crash(mode, rnd)
			c.holds(t, reboot, false, when)
			c.again(t, reboot, when)
			crashes++
		}
		for _, cause := range faultKinds {
			disk, when := loaded(t, c.root), fmt.Sprintf("change %d: %v", k, cause)
			fault := &durabletest.Fault{FS: disk, Hook: func(n int, op, _ string) error {
				if late := (durabletest.AfterError{}); n != k || errors.As(cause, &late) && late.Err == fs.ErrExist && op != "link" {
					return nil
				}
				return cause
			}}
			err := changeOnce(c.config(fault), retype)
			c.holds(t, disk, err == nil, when)
			c.again(t, disk, when)
			faults++
		}
	}
}

// TestChangeSleepsAnywhere stops a change of columns before each change of the disk in turn, lets another compactor do its work
// meanwhile, and wakes it: both are there in the end.
func TestChangeSleepsAnywhere(t *testing.T) {
	c := newChanging(t)
	mine := compactor.ColumnChange{Declare: retype.Declare, Drop: retype.Drop}
	for _, other := range []struct {
		name  string
		do    func(compactor.Config) error
		after []string
	}{
		{"fold", foldOnce, c.after},
		{"two folds", func(cfg compactor.Config) error { return errors.Join(foldOnce(cfg), foldOnce(cfg)) }, c.after},
		{"the same change", func(cfg compactor.Config) error { return changeOnce(cfg, mine) }, c.after},
		{"another change", func(cfg compactor.Config) error {
			return changeOnce(cfg, compactor.ColumnChange{Declare: []index.Column{{Name: "w", Kind: index.Double}, {Name: "view", Kind: index.Bool}}})
		}, append(slices.Clone(c.after), "view:bool")},
		{"import", func(cfg compactor.Config) error { return importOf(cfg, `{}`) }, c.after},
	} {
		t.Run(other.name, func(t *testing.T) {
			for k := 0; ; k++ {
				if k%sparse != 0 || testing.Short() && k%5 != 0 {
					continue
				}
				disk := loaded(t, c.root)
				asleep, wake, at := make(chan struct{}), make(chan struct{}), ""
				fault := &durabletest.Fault{FS: disk, Hook: func(n int, op, name string) error {
					if n == k {
						at = op + " " + c.root.Rel(name)
						close(asleep)
						<-wake
					}
					return nil
				}}
				done := make(chan error, 1)
				go func() { done <- changeOnce(c.config(fault), mine) }()
				select {
				case err := <-done:
					if err != nil {
						t.Error(err)
					}
					t.Logf("figure: %d interleavings of a change of columns with %s", k, other.name)
					return
				case <-asleep:
				}
				if err := other.do(c.config(disk)); err != nil {
					t.Errorf("asleep before change %d, %s: %s: %v", k, at, other.name, err)
				}
				close(wake)
				when := fmt.Sprintf("asleep before change %d, %s", k, at)
				if err := <-done; err != nil {
					t.Errorf("%s: the change ends with %v", when, err)
					continue
				}
				got := schemaOn(t, disk, c.root)
				want := slices.Sorted(slices.Values(other.after))
				if i := slices.Index(got, "w:double"); i >= 0 && other.name == "another change" { // it came second, and brought w back
					want = slices.Sorted(slices.Values(append(want, got[i])))
				}
				if diff := cmp.Diff(want, slices.Sorted(slices.Values(got))); diff != "" {
					t.Errorf("%s: columns (-want +got):\n%s", when, diff)
				}
				w := c
				w.after = got
				w.holds(t, disk, true, when)
			}
		})
	}
}

// TestChangesRace lets changes of columns and folds run at once, with a lock that stops nobody, while writers append. Each change
// that was reported as done is there, and nothing is lost.
func TestChangesRace(t *testing.T) {
	const changers, writers, runs = 3, 3, 12
	root := newRoot(t)
	var appending, others sync.WaitGroup
	done := make(chan struct{})
	for i := range changers {
		others.Go(func() {
			for n := 0; ; n++ {
				kind := []index.Kind{index.String, index.Int, index.Double}[n%3]
				change := compactor.ColumnChange{Declare: []index.Column{{Name: fmt.Sprintf("own%d", i), Kind: kind}}}
				if err := changeOnce(compactor.Config{Root: root, Lock: yes{}}, change); err != nil {
					t.Errorf("ChangeColumns: %v", err)
				}
				if err := foldOnce(compactor.Config{Root: root, Lock: yes{}, BatchBytes: 2000}); err != nil {
					t.Errorf("Fold: %v", err)
				}
				select {
				case <-done: // not before each column was declared once
					return
				default:
				}
			}
		})
	}
	want := map[string]string{}
	for w := range writers {
		var lines []string
		for n := range runs {
			lines = append(lines, fmt.Sprintf(`{"run_id":"w%d-%d","stage":"S","own%d":%d,"v":%d}`, w, n, w, n, n%10))
			want[fmt.Sprintf("w%d-%d:S", w, n)] = fmt.Sprint(n % 10)
		}
		appending.Go(func() { appendTo(t, root, "c", lines...) })
	}
	appending.Wait()
	close(done)
	others.Wait()
	foldNow(t, compactor.Config{Root: root})
	if diff := cmp.Diff(want, values(t, root)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	m := newestOn(t, root)
	for i := range changers {
		if !m.Columns.Is(fmt.Sprintf("own%d", i)) {
			t.Errorf("own%d is not declared, though this was reported as done", i)
		}
	}
}
