package compactor_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

// TestScripts runs testdata/fold: one behaviour a file. The scripts are the specification; -rewrite
// writes what the program says into them, and the difference is then read by a person.
//
//	init [key=(run_id,phase,target)] [snapshots=per-cohort] [profile=foxml]   a fresh root; the first command
//	append cohort=c [writer=w]           the lines of the input; without writer a stream of its own, sealed
//	close writer=w
//	fold [keep=n] [age=-1] [dead]               what the report and the notices say
//	index, snapshots [cohort=c], manifest, status   the published files, the newest commit, and what a reader is told
//	ls [dir]                             names under the root, masked
//	flip cohort=c at=n, cut cohort=c n=n damage the only stream of a cohort
//	spoil index|snapshots|manifest gen=n flip a byte in the middle of that file
//	repair [apply] [cohort=c]            what it finds and does; the only stream of cohort is declared dead
//	write path, rm path                  a file that runfold did not make; remove one
//	save dir, restore dir                copy what stands in a directory aside; bring it back
//	check
func TestScripts(t *testing.T) {
	datadriven.Walk(t, filepath.Join("testdata", "fold"), func(t *testing.T, path string) {
		t.Parallel() // they wait for the disk most of the time
		s := &script{writers: map[string]*journal.Writer{}}
		t.Cleanup(func() {
			for _, w := range s.writers {
				w.Close()
			}
		})
		datadriven.RunTest(t, path, s.run)
	})
}

type script struct {
	root    cohort.Root
	writers map[string]*journal.Writer
	saved   string // directory
}

func (s *script) run(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	switch d.Cmd {
	case "init":
		return s.init(t, d)
	case "append":
		return s.append(t, d)
	case "close":
		var name string
		d.ScanArgs(t, "writer", &name)
		return errText(s.writers[name].Close())
	case "fold":
		return s.fold(t, d)
	case "index":
		return s.index(t)
	case "withdrawn":
		return s.withdrawn(t)
	case "snapshots":
		var id string
		maybe(t, d, "cohort", &id)
		data, err := os.ReadFile(s.root.SnapshotsOf(cohort.ID(id)))
		return s.mask(string(data) + errText(err))
	case "manifest":
		return s.manifest(t)
	case "status":
		return s.status(t)
	case "save":
		s.saved = t.TempDir()
		return errText(os.CopyFS(s.saved, os.DirFS(filepath.Join(string(s.root), d.CmdArgs[0].Key))))
	case "restore":
		return errText(os.CopyFS(filepath.Join(string(s.root), d.CmdArgs[0].Key), os.DirFS(s.saved)))
	case "repair":
		return s.repair(t, d)
	case "spoil":
		return s.spoil(t, d)
	case "ls":
		return s.ls(t, d)
	case "flip", "cut":
		return s.damage(t, d)
	case "write":
		path := filepath.Join(string(s.root), d.CmdArgs[0].Key)
		return errText(os.MkdirAll(filepath.Dir(path), 0o755)) + errText(os.WriteFile(path, []byte(d.Input), 0o644))
	case "rm":
		return errText(os.Remove(filepath.Join(string(s.root), d.CmdArgs[0].Key)))
	case "check":
		var out []string
		for _, p := range check(t, s.root) {
			kind := "note"
			if p.Damage {
				kind = "damage"
			}
			out = append(out, kind+": "+p.String())
		}
		return s.mask(strings.Join(out, "\n"))
	}
	t.Fatalf("unknown command %q", d.Cmd)
	return ""
}

func errText(err error) string {
	if err != nil {
		return err.Error()
	}
	return ""
}

func (s *script) init(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	var settings cohort.Settings
	maybe(t, d, "snapshots", (*string)(&settings.Snapshots))
	maybe(t, d, "profile", (*string)(&settings.Profile))
	for _, arg := range d.CmdArgs {
		if arg.Key == "key" {
			var err error
			if settings.Key, err = cohort.ParseKeyForm(arg.Vals); err != nil {
				return err.Error()
			}
		}
	}
	s.root = newRootWith(t, settings)
	return ""
}

func (s *script) append(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	var id, name string
	d.ScanArgs(t, "cohort", &id)
	maybe(t, d, "writer", &name)
	w := s.writers[name]
	if w == nil {
		w = openWriter(t, s.root, cohort.ID(id))
	}
	appendLines(t, w, strings.Split(strings.TrimSpace(d.Input), "\n")...)
	if name != "" {
		s.writers[name] = w
		return ""
	}
	return errText(w.Close())
}

// maybe reads an argument that need not be there.
func maybe(t *testing.T, d *datadriven.TestData, name string, to any) bool {
	t.Helper()
	if !d.HasArg(name) {
		return false
	}
	d.ScanArgs(t, name, to)
	return true
}

func (s *script) fold(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	said := &notices{}
	cfg := compactor.Config{Root: s.root, Program: "runfold", Notify: said.add}
	var age int
	maybe(t, d, "keep", &cfg.KeepGenerations)
	if d.HasArg("dead") { // every stream that did not grow since the last fold
		cfg.DeadAfter, cfg.ReapGrace = -1, -1
	}
	if maybe(t, d, "age", &age) {
		cfg.KeepAge = time.Duration(age)
	}
	r, err := compactor.Fold(context.Background(), cfg)
	if err != nil {
		return s.mask(err.Error())
	}
	out := fmt.Sprintf("generation %d, %d rows: %d records, %d added, %d replaced, %d superseded, %d duplicates, %d streams swept, clean %v",
		r.Generation, r.Rows, r.Records, r.Added, r.Replaced, r.Superseded, r.Duplicates, r.Swept, r.Clean())
	if text := said.text(); text != "" {
		out += "\n" + text
	}
	return s.mask(out)
}

// spoil flips a byte of one file of a generation.
func (s *script) spoil(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	var gen int
	d.ScanArgs(t, "gen", &gen)
	spoil(t, s.root, d.CmdArgs[0].Key, cohort.Generation(gen))
	return ""
}

func (s *script) repair(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	opts := audit.RepairOptions{Apply: d.HasArg("apply")}
	if d.HasArg("cohort") {
		var id string
		d.ScanArgs(t, "cohort", &id)
		for _, st := range listed(t, s.root) {
			if string(st.Cohort) == id {
				opts.Dead = append(opts.Dead, st)
			}
		}
	}
	said := &notices{}
	r, err := audit.Repair(context.Background(), compactor.Config{Root: s.root, Notify: said.add}, opts)
	r.Fold.Elapsed = 0
	out := fmt.Sprintf("newest %d, good %d, now %d; whole %v, lossless %v, published %v, unknown %d, imports %d; folded %d records, %d rows",
		r.Newest, r.Good, r.Generation, r.Whole(), r.Lossless(), r.Published, r.Unknown, r.Imports, r.Fold.Records, r.Fold.Rows)
	for name, list := range map[string][]audit.Problem{"damaged": r.Damaged, "misfit": r.Misfits, "waiting": r.Waiting} {
		for _, p := range list {
			out += "\n" + name + ": " + p.String()
		}
	}
	for _, l := range r.Lost {
		out += fmt.Sprintf("\nlost: %s entries %d to %d", l.Stream, l.First, l.Last)
	}
	if text := said.text(); text != "" {
		out += "\n" + text
	}
	return s.mask(out + errText(err))
}

// index prints the columns that do not differ from run to run.
func (s *script) index(t *testing.T) string {
	t.Helper()
	var out []string
	for row := range publishedRows(t, durable.OS, s.root) {
		out = append(out, regexp.MustCompile(`,"_(stamp|record_id|digest|stream|writer)":("[^"]*"|-?\d+)`).ReplaceAllString(row, ""))
	}
	return strings.Join(out, "\n")
}

// withdrawn is what the newest generation has of withdrawals: rows, their snapshots, and actions.
func (s *script) withdrawn(t *testing.T) string {
	t.Helper()
	out := withdrawnOf(t, durable.OS, s.root)
	for i := range out {
		out[i] = regexp.MustCompile(`,?"_?(stamp|record_id|digest|stream|written|writer)":("[^"]*"|-?\d+)`).ReplaceAllString(out[i], "")
	}
	return s.mask(strings.Join(out, "\n"))
}

// manifest is the newest one without what differs from run to run.
func (s *script) manifest(t *testing.T) string {
	t.Helper()
	h, err := newest(durable.OS, s.root)
	if err != nil {
		return s.mask(err.Error())
	}
	parent := regexp.MustCompile(`"parent": "[0-9a-f]{64}"`).ReplaceAllString(string(h.Encode()), `"parent": "SHA256"`)
	figures := regexp.MustCompile(`"(token|root_id|created_at|host|crc32c|pid|highest_stamp|size|offset|crc|grown|reaped|user|at|synced|sections|bytes_written|bytes_copied)":( ?)("[^"]+"|\d+)`)
	// An hour or a day may end while the script runs.
	firsts := regexp.MustCompile(`(?s) "firsts": \{.*?\n \},`).ReplaceAllString(parent, ` "firsts": ...,`)
	return s.mask(figures.ReplaceAllString(firsts, `"$1":$2...`))
}

// status is what a reader is told, without what differs from run to run.
func (s *script) status(t *testing.T) string {
	t.Helper()
	st, err := audit.ReadStatus(context.Background(), compactor.Config{Root: s.root})
	if err != nil {
		return s.mask(err.Error())
	}
	out := []string{fmt.Sprintf("generation %d, %d rows, next seq %d, published %v, %d quarantined",
		st.Generation, st.Rows, st.NextSeq, st.Published, st.Quarantine)}
	for _, c := range st.Cohorts {
		out = append(out, fmt.Sprintf("%s: %d streams, %d sealed, %d reaped, %d unfolded, %d unreadable",
			c.Cohort, c.Streams, c.Sealed, c.Reaped, c.UnfoldedRecords, c.Unreadable))
	}
	return strings.Join(out, "\n")
}

func (s *script) ls(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	dir := string(s.root)
	if len(d.CmdArgs) > 0 {
		dir = filepath.Join(dir, d.CmdArgs[0].Key)
	}
	var out []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && path != dir {
			name := s.root.Rel(path)
			if e.IsDir() {
				name += "/"
			}
			out = append(out, name)
		}
		return err
	})
	text := s.mask(strings.Join(out, "\n") + errText(err))
	lines := strings.Split(text, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func (s *script) damage(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	var id string
	var at int
	d.ScanArgs(t, "cohort", &id)
	for _, st := range listed(t, s.root) {
		if string(st.Cohort) != id {
			continue
		}
		segment := s.root.Segment(st.Cohort, st.ID)
		switch d.Cmd {
		case "flip":
			// at counts entries: the header is 0.
			d.ScanArgs(t, "entry", &at)
			change(t, segment, flip(s.entryAt(t, segment, st, at)+30))
		case "cut":
			d.ScanArgs(t, "n", &at)
			change(t, segment, func(b []byte) []byte {
				b = bytes.TrimRight(b, "\x00") // zeros may stand ahead
				return b[:len(b)-at]
			})
		}
	}
	return ""
}

// entryAt is the offset of the n-th entry.
func (*script) entryAt(t *testing.T, path string, st journal.Stream, n int) int {
	t.Helper()
	for e, err := range journal.Entries(path, st) {
		if err != nil {
			t.Fatal(err)
		}
		if int(e.Seq) == n+1 {
			return int(e.Offset)
		}
	}
	t.Fatalf("%s has no entry %d", path, n)
	return 0
}

var masks = []struct {
	pattern *regexp.Regexp
	text    string
}{
	{regexp.MustCompile(`[0-7][0-9A-HJKMNP-TV-Z]{25}`), "ULID"},
	{regexp.MustCompile(`-[0-9a-f]{16}\b`), "-TOKEN"},
	{regexp.MustCompile(`"timestamp":"[^"]*(\.\d+|20:\d\d)Z"`), `"timestamp":"NOW"`},
	{regexp.MustCompile(`ULID-0{10}\d{10}`), "ULID-OFFSET"},
	{regexp.MustCompile(`checksum is [0-9a-f]{8}, [0-9a-f]{8} was`), "checksum is CRC, CRC was"},
	{regexp.MustCompile(`(\d+) bytes at offset \d+`), "N bytes at offset N"},
	{regexp.MustCompile(`ends at offset \d+`), "ends at offset N"},
}

// mask replaces what differs from run to run.
func (s *script) mask(text string) string {
	text = strings.ReplaceAll(text, string(s.root), "ROOT")
	for _, m := range masks {
		text = m.pattern.ReplaceAllString(text, m.text)
	}
	return strings.TrimRight(text, "\n")
}
