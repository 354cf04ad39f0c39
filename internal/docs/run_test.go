//go:build unix

package docs

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestPages runs every page.
func TestPages(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the commands twice, and waits for Python")
	}
	python := findPython(t)
	if python == "" {
		t.Log("blocks of Python and SQL are left out: make test-docs makes what they need")
	}
	bin := buildCommands(t)
	for _, page := range pages(t) {
		blocks := blocksOf(page, read(t, page))
		if !slices.ContainsFunc(blocks, isRun) {
			continue
		}
		t.Run(page, func(t *testing.T) {
			t.Parallel()
			r := &reader{dir: copyOfRepository(t), python: python, state: filepath.Join(t.TempDir(), "state")}
			path := bin + ":" + os.Getenv("PATH")
			if page == "README.md" {
				path = os.Getenv("PATH") // it says how to get the commands
				r.laterPath = filepath.Join(r.dir, "bin") + ":" + path
			}
			r.env = append(os.Environ(), "PATH="+path, "RUNFOLD_ROOT_ID=", "PYTHONPATH="+filepath.Join(r.dir, "journal", "python", "src"), "PYTHONDONTWRITEBYTECODE=1")
			t.Cleanup(r.close)
			r.read(t, blocks)
		})
	}
}

// findPython finds the Python that make test-docs makes; "" if it is not there.
func findPython(t *testing.T) string {
	t.Helper()
	python, err := filepath.Abs(filepath.Join(top, ".venv", "bin", "python"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(python); err == nil {
		return python
	} else if os.Getenv("RUNFOLD_MUST_RUN") != "" {
		t.Fatalf("%v: make test-docs makes it", err)
	}
	return ""
}

// buildCommands builds the commands, and says where.
func buildCommands(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", dir, "./cmd/...")
	build.Dir = top
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return dir
}

// copyOfRepository is what a newcomer has after git clone.
func copyOfRepository(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		name := rel(path)
		if err == nil && isMade(name) {
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		to := filepath.Join(dir, filepath.FromSlash(name))
		if err != nil || d.IsDir() {
			return errors.Join(err, os.MkdirAll(to, 0o777))
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		return errors.Join(err, os.WriteFile(to, text, info.Mode().Perm()))
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// reader does what a page says.
type reader struct {
	dir       string
	env       []string
	state     string // what the shell exports
	python    string // "": there is none
	laterPath string // of the session, if it is another one

	session *exec.Cmd
	jobs    io.WriteCloser
	answers *bufio.Reader
}

func (r *reader) read(t *testing.T, blocks []block) {
	var printed string
	var ran bool
	for _, b := range blocks {
		switch {
		case b.language == "output" && ran:
			if !matches(b.text, printed) {
				t.Errorf("%v: the block before it prints\n%s\nand not\n%s", b, printed, b.text)
			}
		case isRun(b):
			var err error
			if ran, printed, err = r.run(b); err != nil {
				t.Fatalf("%v: %v\n%s\n%s", b, err, b.text, printed)
			}
		}
	}
}

// run runs a block, and says what it printed.
func (r *reader) run(b block) (ran bool, printed string, err error) {
	switch {
	case b.language == "sh":
		printed, err = r.shell(b)
	case b.language == "go":
		printed, err = r.program(b)
	case r.python == "":
		return false, "", nil
	default:
		printed, err = r.ask(b)
	}
	return true, printed, err
}

func (r *reader) shell(b block) (string, error) {
	const script = "test ! -e %[1]s || . %[1]s\n%[2]s\nexport -p >%[1]s\n"
	return r.command("sh", "-euc", fmt.Sprintf(script, r.state, b.text))
}

func (r *reader) program(b block) (string, error) {
	dir := filepath.Join(r.dir, "cmd", fmt.Sprintf("block%d", b.line))
	err := os.MkdirAll(dir, 0o777)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "main.go"), []byte(b.text), 0o666)
	}
	if err != nil {
		return "", err
	}
	return r.command("go", "run", "-trimpath", dir)
}

func (r *reader) command(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = r.dir, r.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// ask has a block run by the one Python of the page.
func (r *reader) ask(b block) (string, error) {
	if r.session == nil {
		if err := r.start(); err != nil {
			return "", err
		}
	}
	job, err := json.Marshal(map[string]string{"language": b.language, "name": b.String(), "code": b.text})
	if err != nil {
		return "", err
	}
	if _, err := r.jobs.Write(append(job, '\n')); err != nil {
		return "", err
	}
	line, err := r.answers.ReadBytes('\n')
	if err != nil {
		return "", fmt.Errorf("python has ended: %w", err)
	}
	var answer struct {
		OK     bool
		Output string
	}
	if err := json.Unmarshal(line, &answer); err != nil {
		return "", err
	}
	if !answer.OK {
		return answer.Output, errors.New("it raises an exception")
	}
	return answer.Output, nil
}

func (r *reader) start() (err error) {
	script, err := filepath.Abs(filepath.Join("testdata", "session.py"))
	if err != nil {
		return err
	}
	cmd := exec.Command(r.python, script)
	cmd.Dir, cmd.Env, cmd.Stderr = r.dir, r.env, os.Stderr
	if r.laterPath != "" {
		cmd.Env = append(cmd.Env, "PATH="+r.laterPath)
	}
	if r.jobs, err = cmd.StdinPipe(); err != nil {
		return err
	}
	answers, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	r.answers = bufio.NewReader(answers)
	r.session = cmd
	return cmd.Start()
}

func (r *reader) close() {
	if r.session != nil {
		r.jobs.Close()
		r.session.Wait()
	}
}

// matches tells whether output is what a page says: "..." stands for anything within a line, or for any lines.
func matches(page, output string) bool {
	var pattern strings.Builder
	for line := range strings.Lines(page) {
		line = strings.TrimRight(line, " \n")
		if line == "..." {
			pattern.WriteString(`(?:.*\n)*`)
			continue
		}
		pattern.WriteString(strings.ReplaceAll(regexp.QuoteMeta(line), `\.\.\.`, `.*`) + `[ ]*\n`)
	}
	output = strings.TrimRight(output, " \n") + "\n"
	return regexp.MustCompile(`^(?:` + pattern.String() + `)$`).MatchString(output)
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		page, output string
		want         bool
	}{
		{"a\nb\n", "a\nb\n", true},
		{"a\nb\n", "a\nb", true},
		{"a\n", "a\nb\n", false},
		{"a\nb\n", "a\n", false},
		{"a ... c\n", "a 17 c\n", true},
		{"a ... c\n", "a 17\nc\n", false},
		{"a.c\n", "abc\n", false},
		{"a\n...\nd\n", "a\nb\nc\nd\n", true},
		{"a\n...\nd\n", "a\nb\n", false},
	} {
		if got := matches(c.page, c.output); got != c.want {
			t.Errorf("matches(%q, %q) = %v, want %v", c.page, c.output, got, c.want)
		}
	}
}
