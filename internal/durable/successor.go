package durable

import (
	"path/filepath"
	"strconv"
	"strings"
)

// maxSuccessor bounds the numbers of successors.
const maxSuccessor = 999

// LastLock is the lock file that is in use: name, or the last of its successors name.2, name.3 and so on that is there. It lists
// the directory: on a network file system a listing is fresher than a look at one name. If it cannot be listed, it is name.
func LastLock(fsys FS, name string) string {
	entries, err := fsys.ReadDir(filepath.Dir(name))
	if err != nil {
		return name
	}
	last := 1
	for _, e := range entries {
		last = max(last, successorNumber(filepath.Base(name), e.Name()))
	}
	return numbered(name, last)
}

// NextLock is the successor of a lock file of LastLock(name). After the last number, ok is false.
func NextLock(name, lock string) (next string, ok bool) {
	n := max(successorNumber(filepath.Base(name), filepath.Base(lock)), 1) + 1
	return numbered(name, n), n <= maxSuccessor
}

func numbered(name string, n int) string {
	if n == 1 {
		return name
	}
	return name + "." + strconv.Itoa(n)
}

// successorNumber is the number of a successor of base, or 0 for every other file.
func successorNumber(base, file string) int {
	digits, ok := strings.CutPrefix(file, base+".")
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || n < 2 || n > maxSuccessor || strconv.Itoa(n) != digits {
		return 0
	}
	return n
}
