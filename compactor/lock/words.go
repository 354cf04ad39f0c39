package lock

import (
	"cmp"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/runfold/runfold/internal/build"
)

// Words are what others read of a holder: lines of a key, a space and a value.
func Words(program string) string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	// The name is only asked of the environment: a directory service may be slow, and a lock must not wait for one.
	user := cmp.Or(os.Getenv("USER"), os.Getenv("LOGNAME"), os.Getenv("USERNAME"), "unknown")
	if id := os.Getuid(); id >= 0 { // it is -1 on Windows
		user += " (" + strconv.Itoa(id) + ")"
	}
	text := ""
	for _, line := range [][2]string{
		{"host", host}, {"pid", strconv.Itoa(os.Getpid())}, {"user", user}, {"since", time.Now().UTC().Format(time.RFC3339)},
		{"program", cmp.Or(program, "runfold "+build.Version())},
	} {
		text += line[0] + " " + strings.Join(strings.Fields(line[1]), " ") + "\n"
	}
	return text
}

// OneLine is what Words returns, on one line.
func OneLine(words string) string { return strings.ReplaceAll(strings.TrimSpace(words), "\n", ", ") }
