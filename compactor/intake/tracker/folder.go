package tracker

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// EndOf is what a reader of entries makes of an error of reading: io.EOF at the end of a file between two entries, torn within one.
func EndOf(err error, within bool, torn error) error {
	switch {
	case !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		return err
	case within:
		return torn
	}
	return io.EOF
}

// Folder is a directory from which nothing leads out: neither ".." nor a symbolic link. Names in it are relative, with slashes.
type Folder struct {
	root *os.Root
	name string
}

// OpenFolder opens a directory. Close closes it.
func OpenFolder(name string) (*Folder, error) {
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	return &Folder{root, name}, nil
}

// In are the runs that read finds in a directory, which is open meanwhile.
func In(dir string, read func(f *Folder, yield func(Run, error) bool)) Runs {
	return func(yield func(Run, error) bool) {
		f, err := OpenFolder(dir)
		if err != nil {
			yield(Run{}, err)
			return
		}
		defer f.Close()
		read(f, yield)
	}
}

// Close closes it.
func (f *Folder) Close() error { return f.root.Close() }

// Path is a name in it as people write it.
func (f *Folder) Path(name string) string { return filepath.Join(f.name, filepath.FromSlash(name)) }

// LeftOut is what could not be read, and why.
func (f *Folder) LeftOut(name string, err error) *LeftOutError {
	reason := err.Error()
	var at *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		reason = "went away while it was read: import again"
	case errors.Is(err, fs.ErrPermission):
		reason = "may not be read: permission denied"
	case errors.As(err, &at):
		reason = at.Err.Error()
	}
	return &LeftOutError{f.Path(name), reason}
}

// List is what stands in a directory, in the order of the names.
func (f *Folder) List(name string) ([]fs.DirEntry, error) {
	d, err := f.root.Open(filepath.FromSlash(cmp.Or(name, ".")))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	entries, err := d.ReadDir(-1)
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, err
}

// errNoFile says that something cannot be read as a file: a pipe would never end.
var errNoFile = errors.New("is not a file")

// Open opens a file to read. A symbolic link must lead to a file in the folder.
func (f *Folder) Open(name string) (*os.File, error) {
	name = filepath.FromSlash(name)
	info, err := f.root.Stat(name)
	if err == nil && !info.Mode().IsRegular() {
		err = errNoFile
	}
	if err != nil {
		return nil, err
	}
	return f.root.Open(name)
}

// OpenFile opens a file that a person names.
func OpenFile(name string) (*os.File, error) {
	info, err := os.Stat(name)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s %w", name, errNoFile)
	}
	if err != nil {
		return nil, err
	}
	return os.Open(name)
}

// Read reads a whole file that has at most so many bytes.
func (f *Folder) Read(name string, most int) ([]byte, error) {
	file, err := f.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, int64(most)+1))
	if err == nil && len(data) > most {
		err = fmt.Errorf("has more than %d bytes", most)
	}
	return data, err
}

// Line is the next line of a file without its end, and of one that is longer than most its beginning, with ErrLong. It is io.EOF
// if the file ends without a line feed, also where the line is not empty.
func Line(r *bufio.Reader, most int) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line) <= most {
			line = append(line, part...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if len(line) > most && (err == nil || errors.Is(err, io.EOF)) {
			return line[:most], ErrLong
		}
		return bytes.TrimSuffix(line, []byte("\n")), err
	}
}

// ErrLong says that a line is longer than any that is expected.
var ErrLong = errors.New("is longer than any line that is expected")

// maxText bounds files that hold one text.
const maxText = 4 << 20

// Text reads a file that holds one text.
func (f *Folder) Text(name string) (string, error) {
	data, err := f.Read(name, maxText)
	if err == nil && !utf8.Valid(data) {
		err = errors.New("is not UTF-8")
	}
	return string(data), err
}

// Has tells whether a directory has an entry of a name.
func Has(entries []fs.DirEntry, name string) bool {
	return slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == name })
}

// maxFolders bounds how deep folders are looked into.
const maxFolders = 64

// Visit is called for a directory with what is in it. It returns which of the directories in it are to be visited.
type Visit func(dir string, entries []fs.DirEntry) (into []string, ok bool)

// Walk visits a directory and those below it, in the order of the names. It follows no symbolic link: what one leads to in the folder is met without it,
// and one that leads out of the folder to a directory is told. It ends when visit is not ok, or with ctx, and tells with left what it could not look into,
// which may end it, too.
func (f *Folder) Walk(ctx context.Context, dir string, visit Visit, left func(*LeftOutError) bool) (ok bool) {
	if ctx.Err() != nil {
		return false
	}
	if strings.Count(dir, "/") >= maxFolders {
		return left(&LeftOutError{f.Path(dir), fmt.Sprintf("lies deeper than %d folders", maxFolders)})
	}
	entries, err := f.List(dir)
	if err != nil && !left(f.LeftOut(dir, err)) {
		return false
	}
	into, ok := visit(dir, entries)
	if !ok {
		return false
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		if !slices.Contains(into, e.Name()) {
			continue
		}
		switch {
		case e.IsDir():
			ok = f.Walk(ctx, name, visit, left)
		case f.leadsOut(name, e):
			ok = left(&LeftOutError{f.Path(name), "is a link that leads out of the folder, and was not followed: import what it leads to"})
		}
		if !ok {
			return false
		}
	}
	return true
}

// leadsOut tells whether a link leads to a directory that is not in the folder.
func (f *Folder) leadsOut(name string, e fs.DirEntry) bool {
	if e.Type()&fs.ModeSymlink == 0 {
		return false
	}
	if _, err := f.root.Stat(filepath.FromSlash(name)); err == nil || errors.Is(err, fs.ErrNotExist) {
		return false
	}
	info, err := os.Stat(f.Path(name))
	return err == nil && info.IsDir()
}

// Names are the names of all directories and links among entries: where Walk goes if nothing speaks against it.
func Names(entries []fs.DirEntry) (names []string) {
	for _, e := range entries {
		if e.IsDir() || e.Type()&fs.ModeSymlink != 0 {
			names = append(names, e.Name())
		}
	}
	return names
}

// Files are the names of all files below a directory, relative to it. There are none if there is no such directory.
func (f *Folder) Files(ctx context.Context, dir string, left func(*LeftOutError) bool) (names []string, ok bool) {
	if _, err := f.root.Stat(filepath.FromSlash(dir)); errors.Is(err, fs.ErrNotExist) {
		return nil, true
	}
	ok = f.Walk(ctx, dir, func(at string, entries []fs.DirEntry) ([]string, bool) {
		for _, e := range entries {
			if !e.IsDir() {
				names = append(names, strings.TrimPrefix(path.Join(at, e.Name()), dir+"/"))
			}
		}
		return Names(entries), true
	}, left)
	return names, ok
}
