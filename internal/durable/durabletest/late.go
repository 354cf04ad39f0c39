package durabletest

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/runfold/runfold/internal/durable"
)

// Late is the view that one machine has of a file system that other machines change, too: a client of a network file system with
// caches. What it has looked at once, it may show again as it was: a name that is gone, no name where one is, an old listing,
// size, time or content. What the machine changes by itself, it sees. Two Lates on one FS are two machines.
//
// It can go away, and come back: see Hook. It is safe for concurrent use if Old and Hook are.
type Late struct {
	// FS does the calls: the server. A method of it that Late does not have is never late.
	durable.FS
	// Old is asked each time when there is an old answer: true shows it, false asks FS. If nil, no answer is old.
	Old func(name string) bool
	// Hook is called before each call, the reads of open files included, numbered 0, 1, 2 and so on. If it returns an error,
	// the call is not done and returns that error. If nil, the server answers.
	Hook func(n int, name string) error

	mu    sync.Mutex // guards all below
	calls int
	files map[string]*looked
	lists map[string]listed
}

// looked is what was seen of a name.
type looked struct {
	info fs.FileInfo
	err  error
	data []byte // what an Open read; nil: it was not opened
}

type listed struct {
	entries []fs.DirEntry
	err     error
}

// Remote makes durable.Remote true.
func (*Late) Remote(string) bool { return true }

// Forget drops everything that is old.
func (l *Late) Forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.files, l.lists = nil, nil
}

// Calls is the number of calls until now.
func (l *Late) Calls() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.calls
}

// ask counts a call, and is the error of a server that is away.
func (l *Late) ask(op, name string) error {
	l.mu.Lock()
	n := l.calls
	l.calls++
	l.mu.Unlock()
	if l.Hook == nil {
		return nil
	}
	if err := l.Hook(n, name); err != nil {
		return &fs.PathError{Op: op, Path: name, Err: err}
	}
	return nil
}

func (l *Late) shows(name string) bool { return l.Old != nil && l.Old(name) }

// look is what is shown of a name. l.mu is held.
func (l *Late) look(name string) *looked {
	if f := l.files[name]; f != nil && l.shows(name) {
		return f
	}
	f := &looked{}
	f.info, f.err = l.FS.Stat(name)
	if l.files == nil {
		l.files = map[string]*looked{}
	}
	l.files[name] = f
	return f
}

// drop forgets a name that this machine has changed, what is below it, and the listing in which it stands.
func (l *Late) drop(names ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range names {
		delete(l.lists, filepath.Dir(name))
		delete(l.files, filepath.Dir(name))
		for old := range l.files {
			if old == name || strings.HasPrefix(old, name+string(filepath.Separator)) {
				delete(l.files, old)
			}
		}
		for old := range l.lists {
			if old == name || strings.HasPrefix(old, name+string(filepath.Separator)) {
				delete(l.lists, old)
			}
		}
	}
}

func (l *Late) Stat(name string) (fs.FileInfo, error) {
	if err := l.ask("lstat", name); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.look(name)
	return f.info, f.err
}

func (l *Late) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := l.ask("readdir", name); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	old, ok := l.lists[name]
	if !ok || !l.shows(name) {
		old.entries, old.err = l.FS.ReadDir(name)
		if l.lists == nil {
			l.lists = map[string]listed{}
		}
		l.lists[name] = old
	}
	return old.entries, old.err
}

// Open shows the content as it was when the name was opened before, cut to the size that was seen. A name that was seen and
// now leads to another file, or to none, is ESTALE.
func (l *Late) Open(name string) (durable.ReadFile, error) {
	if err := l.ask("open", name); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.look(name)
	if f.err != nil {
		return nil, f.err
	}
	if f.data == nil {
		data, err := l.content(name, f.info)
		if err != nil {
			delete(l.files, name)
			return nil, err
		}
		f.data = data
	}
	return &lateFile{l, name, f.info, strings.NewReader(string(f.data))}, nil
}

func (l *Late) content(name string, seen fs.FileInfo) ([]byte, error) {
	stale := &fs.PathError{Op: "open", Path: name, Err: syscall.ESTALE}
	file, err := l.FS.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, stale
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	now, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !durable.SameFile(now, seen) || now.Size() < seen.Size() {
		return nil, stale
	}
	data := make([]byte, seen.Size())
	_, err = io.ReadFull(file, data)
	return data, err
}

type lateFile struct {
	late *Late
	name string
	info fs.FileInfo
	r    *strings.Reader
}

func (f *lateFile) Read(p []byte) (int, error) {
	if err := f.late.ask("read", f.name); err != nil {
		return 0, err
	}
	return f.r.Read(p)
}

func (f *lateFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.late.ask("read", f.name); err != nil {
		return 0, err
	}
	return f.r.ReadAt(p, off)
}

func (f *lateFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (*lateFile) Close() error                 { return nil }

// Sync does nothing, as that of a client of NFS: another machine has written the file.
func (f *lateFile) Sync() error { return f.late.ask("fsync", f.name) }

// change does a call that changes names. Whatever it returns, the server has answered, and what was old of these names is gone.
func (l *Late) change(op string, call func() error, names ...string) error {
	if err := l.ask(op, names[len(names)-1]); err != nil {
		return err
	}
	defer l.drop(names...)
	return call()
}

func (l *Late) Create(name string, perm fs.FileMode) (w durable.WriteFile, err error) {
	err = l.change("create", func() error {
		w, err = l.FS.Create(name, perm)
		return err
	}, name)
	if err != nil {
		return nil, err
	}
	return &lateWriter{w, l, name}, nil
}

func (l *Late) Mkdir(name string, perm fs.FileMode) error {
	return l.change("mkdir", func() error { return l.FS.Mkdir(name, perm) }, name)
}

func (l *Late) Link(old, new string) error {
	return l.change("link", func() error { return l.FS.Link(old, new) }, old, new)
}

func (l *Late) Rename(old, new string) error {
	return l.change("rename", func() error { return l.FS.Rename(old, new) }, old, new)
}

func (l *Late) Exchange(a, b string) error {
	return l.change("exchange", func() error { return l.FS.Exchange(a, b) }, a, b)
}

func (l *Late) Remove(name string) error {
	return l.change("remove", func() error { return l.FS.Remove(name) }, name)
}

func (l *Late) SyncDir(name string) error {
	if err := l.ask("syncdir", name); err != nil {
		return err
	}
	return l.FS.SyncDir(name)
}

func (l *Late) OpenDir(name string) (durable.Dir, error) {
	if err := l.ask("opendir", name); err != nil {
		return nil, err
	}
	d, err := l.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return lateDir{d, l, name}, nil
}

type lateDir struct {
	durable.Dir
	late *Late
	name string
}

func (d lateDir) Sync() error {
	if err := d.late.ask("syncdir", d.name); err != nil {
		return err
	}
	return d.Dir.Sync()
}

type lateWriter struct {
	w    durable.WriteFile
	late *Late
	name string
}

func (w *lateWriter) Write(p []byte) (n int, err error) {
	err = w.late.change("write", func() error {
		n, err = w.w.Write(p)
		return err
	}, w.name)
	return n, err
}

func (w *lateWriter) Sync() error {
	return w.late.change("fsync", w.w.Sync, w.name)
}

func (w *lateWriter) Chmod(mode fs.FileMode) error {
	return w.late.change("chmod", func() error { return w.w.Chmod(mode) }, w.name)
}

func (w *lateWriter) Close() error { return w.w.Close() }
