package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/internal/durable"
)

// amounts is the file system with a count of what passes: it tells people how far long work has come. What it writes it looks up
// on the disk, as a file that is written must stay what the operating system gave.
type amounts struct {
	durable.FS
	root cohort.Root
	read atomic.Int64 // bytes

	mu      sync.Mutex // guards what follows
	streams map[string]bool
	listed  map[string]int   // streams in each cohort
	written map[string]int64 // the size of each new file, when it was last looked up
}

func countAmounts(fsys durable.FS, root cohort.Root) *amounts {
	return &amounts{FS: fsys, root: root, streams: map[string]bool{}, listed: map[string]int{}, written: map[string]int64{}}
}

// Open counts streams, and what is read.
func (a *amounts) Open(name string) (durable.ReadFile, error) {
	f, err := a.FS.Open(name)
	if err != nil {
		return nil, err
	}
	if stream := filepath.Dir(name); filepath.Dir(filepath.Dir(stream)) == a.root.Cohorts() {
		a.mu.Lock()
		a.streams[stream] = true
		a.mu.Unlock()
	}
	return countedFile{f, &a.read}, nil
}

// ReadDir counts the streams that there are.
func (a *amounts) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := a.FS.ReadDir(name)
	if filepath.Dir(name) == a.root.Cohorts() {
		n := 0
		for _, e := range entries {
			if _, err := cohort.ParseStreamID(e.Name()); err == nil {
				n++
			}
		}
		a.mu.Lock()
		a.listed[name] = max(n, a.listed[name]) // who finishes streams lists them again
		a.mu.Unlock()
	}
	return entries, err
}

// Create notes a file that is written from now on.
func (a *amounts) Create(name string, perm fs.FileMode) (durable.WriteFile, error) {
	f, err := a.FS.Create(name, perm)
	if err == nil {
		a.mu.Lock()
		a.written[name] = 0
		a.mu.Unlock()
	}
	return f, err
}

// Rename follows a new file to its name.
func (a *amounts) Rename(old, new string) error {
	err := a.FS.Rename(old, new)
	a.follow(old, new, err)
	return err
}

// Link does what Rename does: a new file gets its name by one of the two.
func (a *amounts) Link(old, new string) error {
	err := a.FS.Link(old, new)
	a.follow(old, new, err)
	return err
}

func (a *amounts) follow(old, new string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if size, ok := a.written[old]; ok && err == nil {
		delete(a.written, old)
		a.written[new] = size
	}
}

// bytesWritten looks up how large the new files are by now. It is called under mu.
func (a *amounts) bytesWritten() (sum int64) {
	for name, size := range a.written {
		if info, err := os.Lstat(name); err == nil { // else it is gone, and was written all the same
			size = info.Size()
			a.written[name] = size
		}
		sum += size
	}
	return sum
}

// String is what was done until now.
func (a *amounts) String() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var parts []string
	all := 0
	for _, n := range a.listed {
		all += n
	}
	if n := len(a.streams); n > 0 {
		parts = append(parts, fmt.Sprintf("%d of %d streams", n, max(all, n)))
	}
	parts = append(parts, megabytes(a.read.Load())+" read")
	if written := a.bytesWritten(); written > 0 {
		parts = append(parts, megabytes(written)+" of new files") // also blocks that they share with others
	}
	return strings.Join(parts, ", ")
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

type countedFile struct {
	durable.ReadFile
	n *atomic.Int64
}

func (f countedFile) Read(p []byte) (int, error) {
	n, err := f.ReadFile.Read(p)
	f.n.Add(int64(n))
	return n, err
}

func (f countedFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.ReadFile.ReadAt(p, off)
	f.n.Add(int64(n))
	return n, err
}

func (f countedFile) Unwrap() durable.ReadFile { return f.ReadFile }

// amountsOf is what a fold did with the bytes of the files that it made.
func amountsOf(b generation.Bytes) string {
	text := fmt.Sprintf("%s written, %s copied, %s shared with earlier files", megabytes(b.Written), megabytes(b.Copied), megabytes(b.Cloned))
	if b.Scrubbed > 0 {
		text += fmt.Sprintf(", of which %s were compared", megabytes(b.Scrubbed))
	}
	return text
}
