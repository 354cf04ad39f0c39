//go:build unix

package compactor_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/journal"
)

// scene is a root into which somebody plants links, and a directory beside it that does not belong to us.
type scene struct {
	t        *testing.T
	root     cohort.Root
	out      string
	old, new journal.Stream // one that is folded and lies in reaped/, one that is to be folded
}

// newScene has one generation, and records for another.
func newScene(t *testing.T) *scene {
	s := &scene{t: t, root: newDamagedRoot(t), out: filepath.Join(t.TempDir(), "outside")}
	appendTo(t, s.root, "c", firstLines...)
	s.old = s.only()
	foldNow(t, compactor.Config{Root: s.root})
	appendTo(t, s.root, "c", secondLines...)
	s.new = s.only()
	for name, text := range map[string]string{
		"thesis.tex": "years of work", "c/notes": "more of it", "c/deep/er/file": "and more", "empty": "",
		".index.parquet.0123456789abcdef.tmp": "looks like ours", "c/.x.json.0123456789abcdef.tmp": "this too",
		"c/" + string(s.old.ID) + "/00000000000000000001": "a backup of a stream",
	} {
		path := filepath.Join(s.out, name)
		past := time.Now().Add(-48 * time.Hour)
		s.must(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644), os.Chtimes(path, past, past))
	}
	return s
}

func (s *scene) must(errs ...error) {
	s.t.Helper()
	if err := errors.Join(errs...); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) only() journal.Stream {
	s.t.Helper()
	streams := listed(s.t, s.root)
	if len(streams) != 1 {
		s.t.Fatalf("streams %v, want one", streams)
	}
	return streams[0]
}

// link makes path a link to a file or directory outside.
func (s *scene) link(path, to string) {
	s.t.Helper()
	s.must(os.RemoveAll(path), os.MkdirAll(filepath.Dir(path), 0o755), os.Symlink(filepath.Join(s.out, to), path))
}

// away moves path outside and makes it a link to where it is now.
func (s *scene) away(path string) {
	s.t.Helper()
	to := filepath.Join(s.out, "moved-"+filepath.Base(path))
	s.must(os.Rename(path, to), os.Symlink(to, path))
}

func (s *scene) pipe(path string) {
	s.t.Helper()
	s.must(os.RemoveAll(path), syscall.Mkfifo(path, 0o666))
}

// data is the index file of the one generation.
func (s *scene) data() string {
	s.t.Helper()
	h, err := newest(durable.OS, s.root)
	s.must(err)
	return s.root.Data(h.Index.Name)
}

const refused = ": nothing outside the root is touched: put the "

// TestPlantedLinks plants a link, or a pipe, wherever a file or directory of ours may stand. What a fold says
// must name it; what lies outside stays as it is, and is not taken for ours.
func TestPlantedLinks(t *testing.T) {
	folded, unfolded := map[string]string{"a:S": "1", "b:S": "1"}, bothRows
	tests := []struct {
		name  string
		plant func(*scene)
		fails string            // what Fold says; "" is success
		says  string            // among the notices
		finds string            // among what Check calls damage, or Check's own error
		rows  map[string]string // afterwards; nil if index.parquet cannot be read
	}{
		{"reaped", func(s *scene) { s.link(s.root.ReapedDir(), "") }, "reaped is a symbolic link" + refused + "directory", "", "reaped is a symbolic link", folded},
		{"quarantine", func(s *scene) { s.link(s.root.QuarantineDir(), "") }, "quarantine is a symbolic link" + refused + "directory", "", "quarantine is a symbolic link", folded},
		{"cohorts", func(s *scene) { s.away(s.root.Cohorts()) }, "cohorts is a symbolic link" + refused, "", "cohorts is a symbolic link", folded},
		{"manifests", func(s *scene) { s.away(s.root.Manifests()) }, "manifests is a symbolic link" + refused, "", "manifests is a symbolic link", folded},
		{"data", func(s *scene) { s.away(s.root.DataDir()) }, "data is a symbolic link" + refused, "", "data is a symbolic link", folded},
		{"data that leads nowhere", func(s *scene) { s.link(s.root.DataDir(), "none") }, "data is a symbolic link" + refused, "", "data is a symbolic link", folded},
		{"runfold.json", func(s *scene) { s.away(s.root.Settings()) }, "runfold.json is a symbolic link" + refused + "file", "", "runfold.json is a symbolic link", folded},
		{"runfold.json that leads nowhere", func(s *scene) { s.link(s.root.Settings(), "none") }, "runfold.json is a symbolic link" + refused, "", "runfold.json is a symbolic link", folded},
		{"runfold.json as a pipe", func(s *scene) { s.pipe(s.root.Settings()) }, "runfold.json is a named pipe" + refused, "", "runfold.json is a named pipe", folded},

		{"a cohort in reaped", func(s *scene) { s.link(s.root.Reaped("c", ""), "c") }, "", "reaped/c is a symbolic link" + refused, "", unfolded},
		{"a stream in reaped", func(s *scene) { s.link(s.root.Reaped("c", s.old.ID), "c") }, "", "symbolic link" + refused, "", unfolded},
		{"a segment in reaped", func(s *scene) {
			dir := s.root.Reaped("c", s.old.ID)
			s.link(cohort.SegmentIn(dir), "thesis.tex")
			s.link(filepath.Join(dir, "more"), "c")
		}, "", "", "is not a regular file", unfolded},
		{"a cohort in quarantine", func(s *scene) {
			change(s.t, s.root.Segment("c", s.new.ID), flip(300))
			s.link(s.root.Quarantine("c"), "c")
		}, "keep damage: ", "", "no entry|damage|bytes at offset", folded},
		{"a cohort", func(s *scene) { s.away(s.root.Cohort("c")) }, "", "cohorts/c: not made by runfold: left alone", "", folded},
		{"a cohort whose streams are folded", func(s *scene) {
			s.must(os.Rename(s.root.Reaped("c", s.old.ID), s.root.Stream("c", s.old.ID)))
			s.away(s.root.Cohort("c"))
		}, "", "cohorts/c is a symbolic link" + refused, "", folded},
		{"a stream", func(s *scene) { s.away(s.root.Stream("c", s.new.ID)) }, "", ": not made by runfold: left alone", "", folded},
		{"a folded stream", func(s *scene) { s.link(s.root.Stream("c", s.old.ID), "c") }, "", ": not made by runfold: left alone", "", unfolded},
		{"a segment", func(s *scene) { s.away(s.root.Segment("c", s.new.ID)) }, "", "is not a regular file", "is not a regular file", folded},
		{"a segment as a pipe", func(s *scene) { s.pipe(s.root.Segment("c", s.new.ID)) }, "", "is not a regular file", "is not a regular file", folded},

		{"a manifest", func(s *scene) { s.away(s.root.Manifest(1)) }, "00001.json is a symbolic link" + refused + "file", "", "is a symbolic link", folded},
		{"a manifest that leads nowhere", func(s *scene) { s.link(s.root.Manifest(2), "none") }, "00002.json is a symbolic link" + refused, "", "is a symbolic link", folded},
		{"a manifest as a pipe", func(s *scene) { s.pipe(s.root.Manifest(1)) }, "00001.json is a named pipe" + refused, "", "is a named pipe", folded},
		{"a data file", func(s *scene) { s.away(s.data()) }, ".parquet is a symbolic link" + refused, "", "is a symbolic link", folded},
		{"a data file, and nothing published", func(s *scene) {
			s.away(s.data())
			s.must(os.Remove(s.root.Index()))
		}, ".parquet is a symbolic link" + refused, "", "is a symbolic link", nil},
		{"a data file as a pipe", func(s *scene) { s.pipe(s.data()) }, ".parquet is a named pipe" + refused, "", "is a named pipe", folded},
		{"a data file that nobody names", func(s *scene) {
			s.link(s.root.Data(cohort.IndexName(9, "0123456789abcdef")), "thesis.tex")
			s.link(filepath.Join(string(s.root), ".index.parquet.0123456789abcdef.tmp"), "thesis.tex")
		}, "", "", "", unfolded},

		{"the public names", func(s *scene) {
			s.link(s.root.Index(), "thesis.tex")
			s.link(s.root.Snapshots(), "none")
		}, "", "healed: published generation 1", "is not generation 1", unfolded},
		{"a public name as a pipe", func(s *scene) { s.pipe(s.root.Index()) }, "", "healed: published generation 1", "is not generation 1", unfolded},

		{"compact.lock", func(s *scene) { s.link(s.root.CompactLock(), "thesis.tex") }, "compact.lock is a symbolic link" + refused + "file", "", "", folded},
		{"compact.lock that leads nowhere", func(s *scene) { s.link(s.root.CompactLock(), "none") }, "compact.lock is a symbolic link" + refused, "", "", folded},
		{"compact.lock as a pipe", func(s *scene) { s.pipe(s.root.CompactLock()) }, "compact.lock is a named pipe" + refused, "", "", folded},
		{"doctor.json", func(s *scene) { s.link(s.root.Verdict(), "thesis.tex") }, "", "", "", unfolded},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel() // they wait for the disk most of the time
			s := newScene(t)
			test.plant(s)
			before := contents(t, s.out)
			s.lookAround(test.finds)
			said := new(notices)
			cfg := compactor.Config{Root: s.root, Notify: said.add, KeepAge: -1, KeepGenerations: 1, DeadAfter: -1, ReapGrace: -1}
			for range 3 { // so that each phase acts on what the one before left
				_, err := compactor.Fold(context.Background(), cfg)
				if got := errorText(err); (got == "") != (test.fails == "") || !strings.Contains(got, test.fails) {
					t.Errorf("Fold = %q, want %q", got, test.fails)
				}
			}
			if got := said.text(); !strings.Contains(got, test.says) {
				t.Errorf("notices\n%s\nwant %q among them", got, test.says)
			}
			if diff := cmp.Diff(before, contents(t, s.out)); diff != "" {
				t.Errorf("what lies outside (-before +after):\n%s", diff)
			}
			if test.rows != nil && !strings.Contains(test.finds, "is not generation") {
				if diff := cmp.Diff(test.rows, values(t, s.root)); diff != "" {
					t.Errorf("rows (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// lookAround runs all that only reads. Only Check's findings are looked at: nothing may hang, or show what
// lies outside as ours.
func (s *scene) lookAround(finds string) {
	s.t.Helper()
	before := contents(s.t, string(s.root))
	var found []string
	_, err := audit.Check(context.Background(), compactor.Config{Root: s.root}, func(p audit.Problem) {
		if p.Damage {
			found = append(found, p.String())
		}
	})
	got := strings.Join(append(found, errorText(err)), "\n")
	matches := strings.TrimSpace(got) == "" && finds == ""
	for _, f := range strings.Split(finds, "|") {
		matches = matches || f != "" && strings.Contains(got, f)
	}
	if !matches {
		s.t.Errorf("Check finds\n%s\nwant %q", got, finds)
	}
	status, err := audit.ReadStatus(context.Background(), compactor.Config{Root: s.root})
	if strings.Contains(status.Holder, "work") {
		s.t.Errorf("status shows %q as the holder of the lock (%v)", status.Holder, err)
	}
	if run, ok, err := compactor.Previous(context.Background(), compactor.Config{Root: s.root}, compactor.Query{Cohort: "c", RunID: "z", Stage: "S"}); ok && run.RunID != "b" {
		s.t.Errorf("Previous = %v, %v", run, err)
	}
	if diff := cmp.Diff(before, contents(s.t, string(s.root))); diff != "" {
		s.t.Errorf("looking changes the root (-before +after):\n%s", diff)
	}
}

// TestPlantedLinksAndWriters appends where somebody has planted a link: it is refused before anything is
// acknowledged, as readers do not follow it.
func TestPlantedLinksAndWriters(t *testing.T) {
	for _, plant := range []func(*scene) string{
		func(s *scene) string { s.away(s.root.Cohort("c")); return s.root.Cohort("c") },
		func(s *scene) string { s.away(s.root.Cohorts()); return s.root.Cohorts() },
		func(s *scene) string { s.away(s.root.Settings()); return s.root.Settings() },
		func(s *scene) string { s.link(s.root.Cohort("c"), "none"); return s.root.Cohort("c") },
	} {
		s := newScene(t)
		path := plant(s)
		before := contents(t, s.out)
		_, err := journal.Create(s.root, "c", journal.Options{})
		if want := path + " is a symbolic link" + refused; !strings.Contains(errorText(err), want) {
			t.Errorf("Create = %v, want %q", err, want)
		}
		if _, _, err := journal.InitRoot(s.root, cohort.Settings{}, journal.RootOptions{}); err == nil && path != s.root.Cohort("c") {
			t.Errorf("InitRoot with %s as a link = nil", path)
		}
		if diff := cmp.Diff(before, contents(t, s.out)); diff != "" {
			t.Errorf("what lies outside (-before +after):\n%s", diff)
		}
	}
}

// TestRootMayBeALink shows the one link that is followed, and that a root can be made through it.
func TestRootMayBeALink(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real"), cohort.Root(filepath.Join(dir, "runs"))
	if err := errors.Join(os.Mkdir(real, 0o755), os.Symlink(real, string(link))); err != nil {
		t.Fatal(err)
	}
	if _, created, err := journal.InitRoot(link, cohort.Settings{}, journal.RootOptions{}); !created || err != nil {
		t.Fatalf("InitRoot through a link = %t, %v", created, err)
	}
	appendTo(t, link, "c", firstLines...)
	foldNow(t, compactor.Config{Root: link})
	if diff := cmp.Diff(map[string]string{"a:S": "1", "b:S": "1"}, values(t, cohort.Root(real))); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if got := damage(t, link); got != "" {
		t.Error(got)
	}
}
