package acceptance

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/testscript"
)

// Build builds commands of this module into dir. If RUNFOLD_COMMANDS names a directory, it copies them from there: under
// Wine there is no Go to build them with (make test-windows).
func Build(dir string, names ...string) error {
	if from := os.Getenv("RUNFOLD_COMMANDS"); from != "" {
		return copyBuilt(dir, from, names)
	}
	args := []string{"build", "-o", dir + string(filepath.Separator)}
	for _, name := range names {
		args = append(args, "github.com/runfold/runfold/cmd/"+name)
	}
	out, err := exec.Command("go", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("go build %v: %w\n%s", names, err, out)
	}
	return nil
}

func copyBuilt(dir, from string, names []string) error {
	for _, name := range names {
		if runtime.GOOS == "windows" {
			name += ".exe"
		}
		data, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			return fmt.Errorf("RUNFOLD_COMMANDS: %w", err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o777); err != nil {
			return err
		}
	}
	return nil
}

// Main is the TestMain of a command's package: scripts and tests find name, which is main of that
// package, and others, built, on their PATH. It does not return.
func Main(m testscript.TestingM, name string, main func(), others ...string) {
	if strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe") == name {
		testscript.Main(m, map[string]func(){name: main})
	}
	dir, err := os.MkdirTemp("", "runfold-commands")
	if err == nil {
		err = Build(dir, others...)
	}
	if err == nil {
		err = os.Setenv("PATH", dir+string(filepath.ListSeparator)+os.Getenv("PATH"))
	}
	if err == nil && os.Getenv("GORACE") == "" {
		err = os.Setenv("GORACE", "atexit_sleep_ms=10") // or each process of a -race run sleeps 1 s
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	testscript.Main(cleaned{m, dir}, map[string]func(){name: main})
}

// cleaned removes dir after the tests; testscript.Main ends the process.
type cleaned struct {
	testscript.TestingM
	dir string
}

func (c cleaned) Run() int {
	defer os.RemoveAll(c.dir)
	return c.TestingM.Run()
}

// Params runs the scripts in testdata; rewrite writes what they get into what they want. They find
// docs/examples at $EXAMPLES.
func Params(rewrite bool) testscript.Params {
	return testscript.Params{
		Dir: "testdata", Cmds: commands(), Condition: condition, UpdateScripts: rewrite,
		RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			examples, err := filepath.Abs(filepath.Join("..", "..", "docs", "examples"))
			env.Setenv("EXAMPLES", examples)
			env.Setenv("GORACE", os.Getenv("GORACE"))
			return err
		},
	}
}

// commands are the commands of scripts beside those of testscript.
//
//	exits N PROGRAM [ARG ...]  runs a program that must end with exit code N
//	mask FROM TO               writes a file, stdout or stderr to TO, see mask
//	find VAR PATTERN           sets VAR to the only path that matches
//	flip FILE OFFSET           inverts one byte; a negative offset counts from the end
//	cut FILE SIZE              shortens a file; a negative size says by how much
//	terminal WIDTH FILE PROGRAM [ARG ...]  writes what a program shows on a terminal, Linux only
//	bytes FILE TEXT            writes a file; escapes are those of Go, for what no script can hold
func commands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"exits": exits, "mask": maskFile, "find": find, "flip": flip, "cut": cut, "bytes": writeBytes, "terminal": onTerminal,
	}
}

func want(ts *testscript.TestScript, neg bool, args []string, usage string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: %s", usage)
	}
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, "exits N PROGRAM [ARG ...]")
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("%s exits with %d, want %s", args[1], got, args[0])
	}
}

// masks are what differs from run to run.
var masks = []struct {
	pattern *regexp.Regexp
	text    string
}{
	{regexp.MustCompile(`\b[0-7][0-9A-HJKMNP-TV-Z]{25}\b`), "ULID"},
	{regexp.MustCompile(`\b1[0-9]{18}\b`), "STAMP"},
	{regexp.MustCompile(`"_digest":"[0-9a-f]{16}"`), `"_digest":"DIGEST"`},
	{regexp.MustCompile(`"_writer":"[^"]*"`), `"_writer":"WRITER"`},
	{regexp.MustCompile(`,"user":"[^"]*"`), ""}, // not every machine knows it
	{regexp.MustCompile(`(written by \w+)@\S+`), "$1@HOST:PID"},
	{regexp.MustCompile(`(?m)^(writer\t| *"writer": ")[^"\n]*`), "${1}WRITER"},
	{regexp.MustCompile(`(with journal-append) \S+`), "$1 VERSION"},
	{regexp.MustCompile(`-[0-9a-f]{16}\.`), "-TOKEN."},
	{regexp.MustCompile(`("token": ?)"[0-9a-f]{16}"`), `$1"TOKEN"`},
	{regexp.MustCompile(`("crc": ?)[0-9]+`), `${1}CRC`},
	{regexp.MustCompile(`("crc32c": ?)"[0-9a-f]{8}"`), `$1"CRC"`},
	{regexp.MustCompile(`("bytes_\w+": ?)[0-9]+`), `${1}BYTES`},
	{regexp.MustCompile(`("(?:seconds|elapsed_ns)": ?)[0-9.e-]+`), `${1}SECONDS`},
	{regexp.MustCompile(`\bin [0-9.]+m?s\b`), "in SECONDS"},
	{regexp.MustCompile(`(host"?:? ?)"?[\w.-]+"?(,?)`), "${1}HOST$2"},
	{regexp.MustCompile(`(pid"?:? ?)[0-9]+`), "${1}PID"},
	{regexp.MustCompile(`("(?:boot_id|program|folded_by)": ?)"[^"]*"`), `$1"ANY"`},
	{regexp.MustCompile(`(by compactd) .*`), "$1 VERSION on HOST"},
}

var timePattern = regexp.MustCompile(`\b\d{4}-\d\d-\d\dT[0-9:.]+Z`)

// mask replaces ids, stamps, checksums, hosts and the times of this test in text.
func mask(text string) string {
	for _, m := range masks {
		text = m.pattern.ReplaceAllString(text, m.text)
	}
	return timePattern.ReplaceAllStringFunc(text, func(s string) string {
		if t, err := time.Parse(time.RFC3339Nano, s); err == nil && time.Since(t) < time.Hour {
			return "TIME"
		}
		return s
	})
}

func maskFile(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, "mask FROM TO")
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(mask(ts.ReadFile(args[0]))), 0o666))
}

func find(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, "find VAR PATTERN")
	paths, err := filepath.Glob(ts.MkAbs(args[1]))
	ts.Check(err)
	if len(paths) != 1 {
		ts.Fatalf("%s matches %v, want one path", args[1], paths)
	}
	ts.Setenv(args[0], paths[0])
}

func flip(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, "flip FILE OFFSET")
	data := []byte(ts.ReadFile(args[0]))
	data[place(ts, args[1], len(data))] ^= 0xff
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o666))
}

func cut(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, "cut FILE SIZE")
	data := ts.ReadFile(args[0])
	ts.Check(os.Truncate(ts.MkAbs(args[0]), int64(place(ts, args[1], len(data)))))
}

func place(ts *testscript.TestScript, text string, size int) int {
	n, err := strconv.Atoi(text)
	ts.Check(err)
	if n < 0 {
		n += size
	}
	if n < 0 || n >= size {
		ts.Fatalf("%s is not within a file of %d bytes", text, size)
	}
	return n
}

func writeBytes(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, "bytes FILE TEXT")
	var data []byte
	for text := args[1]; text != ""; {
		r, multibyte, tail, err := strconv.UnquoteChar(text, 0)
		ts.Check(err)
		if multibyte {
			data = utf8.AppendRune(data, r)
		} else {
			data = append(data, byte(r))
		}
		text = tail
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o666))
}

// condition knows [root]: this process may do everything, so that no permission can be tested.
func condition(name string) (bool, error) {
	if name == "root" {
		return os.Geteuid() == 0, nil
	}
	return false, fmt.Errorf("unknown condition %q", name)
}
