// Package durabletest has file systems for tests: Fault, whose calls fail on demand, and CrashFS, which
// knows what a crash leaves of what was written to it.
//
// They combine: to stop a program at its k-th change and see what a reboot would find, run it on
//
//	disk := durabletest.New()
//	fsys := &durabletest.Fault{FS: disk, Hook: durabletest.StopAt(k)}
//
// and continue on disk.Crash(mode, rnd) for each of Modes.
package durabletest

import (
	"errors"
	"io/fs"
	"sync/atomic"

	"github.com/runfold/runfold/internal/durable"
)

// Fault is a file system that calls Hook before each call that changes something. It is as safe for
// concurrent use as the file system that it wraps.
type Fault struct {
	// FS does the calls.
	FS durable.FS
	// Hook is called before each mutating call, numbered 0, 1, 2 and so on, with the name of the call
	// (create, write, fsync, chmod, mkdir, link, rename, exchange, remove, syncdir; syncread for the sync of a file that is open to read) and
	// the path it changes, which is the new one for link and rename. If it returns an error, the call is not done and returns that error; AfterError
	// and ShortWrite are exceptions. Several goroutines may be in it at once. If nil, nothing fails.
	Hook func(n int, op, name string) error
	// Look is called before each call that changes nothing (open, readdir, stat, statfs), with the path that it looks at. If it
	// returns an error, the call returns that. Several goroutines may be in it at once. If nil, nothing fails.
	Look func(op, name string) error

	calls atomic.Int64
}

// AfterError is a Hook's answer for a doubtful call: it is done, and Err is returned all the same.
type AfterError struct{ Err error }

func (e AfterError) Error() string { return "done, but: " + e.Err.Error() }
func (e AfterError) Unwrap() error { return e.Err }

// ShortWrite is a Hook's answer for a write that gets half of its bytes to the file and returns Err.
// Other calls are not done and return Err.
type ShortWrite struct{ Err error }

func (e ShortWrite) Error() string { return "short write: " + e.Err.Error() }
func (e ShortWrite) Unwrap() error { return e.Err }

// ErrStopped is what a program gets from every change that it tries after the end of its life.
var ErrStopped = errors.New("stopped")

// StopAt is a Hook that ends the program's life at the k-th mutating call. This call and all later ones fail with
// ErrStopped, also those with which the program cleans up.
func StopAt(k int) func(n int, op, name string) error {
	return func(n int, _, _ string) error {
		if n >= k {
			return ErrStopped
		}
		return nil
	}
}

// Calls is the number of mutating calls until now, those that failed included.
func (f *Fault) Calls() int { return int(f.calls.Load()) }

func (f *Fault) ask(op, name string) error {
	n := int(f.calls.Add(1)) - 1
	if f.Hook == nil {
		return nil
	}
	return f.Hook(n, op, name)
}

// do does a call as the hook says.
func (f *Fault) do(op, name string, call func() error) error {
	err := f.ask(op, name)
	if err == nil {
		return call()
	}
	var after AfterError
	if errors.As(err, &after) {
		if cerr := call(); cerr != nil {
			return cerr
		}
	}
	return bare(err)
}

// bare is the error that the program sees, without the wrappers, which are meant for Fault.
func bare(err error) error {
	var after AfterError
	var short ShortWrite
	switch {
	case errors.As(err, &after):
		return after.Err
	case errors.As(err, &short):
		return short.Err
	}
	return err
}

// look does a call that changes nothing, as Look says.
func look[T any](f *Fault, op, name string, call func(string) (T, error)) (T, error) {
	if f.Look != nil {
		if err := f.Look(op, name); err != nil {
			var none T
			return none, &fs.PathError{Op: op, Path: name, Err: err}
		}
	}
	return call(name)
}

func (f *Fault) Open(name string) (durable.ReadFile, error) {
	r, err := look(f, "open", name, f.FS.Open)
	if err != nil {
		return nil, err
	}
	return faultReader{r, f, name}, nil
}

func (f *Fault) ReadDir(name string) ([]fs.DirEntry, error) {
	return look(f, "readdir", name, f.FS.ReadDir)
}
func (f *Fault) Stat(name string) (fs.FileInfo, error) { return look(f, "stat", name, f.FS.Stat) }

func (f *Fault) Statfs(name string) (durable.Statfs, error) {
	return look(f, "statfs", name, f.FS.Statfs)
}

func (f *Fault) Create(name string, perm fs.FileMode) (durable.WriteFile, error) {
	var w durable.WriteFile
	err := f.do("create", name, func() (err error) {
		w, err = f.FS.Create(name, perm)
		return err
	})
	if err == nil {
		return &faultFile{w, f, name}, nil
	}
	if w != nil { // it was made, but the caller gets an error and no file
		w.Close()
	}
	return nil, err
}

func (f *Fault) Mkdir(name string, perm fs.FileMode) error {
	return f.do("mkdir", name, func() error { return f.FS.Mkdir(name, perm) })
}

func (f *Fault) Link(old, new string) error {
	return f.do("link", new, func() error { return f.FS.Link(old, new) })
}

func (f *Fault) Rename(old, new string) error {
	return f.do("rename", new, func() error { return f.FS.Rename(old, new) })
}

func (f *Fault) Exchange(a, b string) error {
	return f.do("exchange", b, func() error { return f.FS.Exchange(a, b) })
}

func (f *Fault) Remove(name string) error {
	return f.do("remove", name, func() error { return f.FS.Remove(name) })
}

func (f *Fault) SyncDir(name string) error {
	return f.do("syncdir", name, func() error { return f.FS.SyncDir(name) })
}

// OpenDir is a look of the kind open; the Sync of what it returns is a syncdir.
func (f *Fault) OpenDir(name string) (durable.Dir, error) {
	d, err := look(f, "open", name, f.FS.OpenDir)
	if err != nil {
		return nil, err
	}
	return faultDir{d, f, name}, nil
}

type faultDir struct {
	durable.Dir
	fault *Fault
	name  string
}

func (d faultDir) Sync() error { return d.fault.do("syncdir", d.name, d.Dir.Sync) }

// faultReader is an open file whose sync is a change: of what is durable.
type faultReader struct {
	durable.ReadFile
	fault *Fault
	name  string
}

func (r faultReader) Unwrap() durable.ReadFile { return r.ReadFile }

func (r faultReader) Sync() error { return r.fault.do("syncread", r.name, r.ReadFile.Sync) }

type faultFile struct {
	w     durable.WriteFile
	fault *Fault
	name  string
}

// Clone fails without having cloned, whatever the error: a file is written on from where it ended.
func (w *faultFile) Clone(from durable.ReadFile, off, n int64) error {
	c, ok := w.w.(durable.Cloner)
	if !ok {
		return durable.ErrNoClone
	}
	if err := w.fault.ask("clone", w.name); err != nil {
		return err
	}
	return c.Clone(from, off, n)
}

func (w *faultFile) Write(p []byte) (int, error) {
	err := w.fault.ask("write", w.name)
	switch {
	case err == nil:
		return w.w.Write(p)
	case errors.As(err, new(AfterError)):
	case errors.As(err, new(ShortWrite)):
		p = p[:len(p)/2]
	default:
		return 0, err
	}
	if n, werr := w.w.Write(p); werr != nil {
		return n, werr
	}
	return len(p), bare(err)
}

func (w *faultFile) Sync() error { return w.fault.do("fsync", w.name, w.w.Sync) }

func (w *faultFile) Chmod(mode fs.FileMode) error {
	return w.fault.do("chmod", w.name, func() error { return w.w.Chmod(mode) })
}

// Close changes nothing that a test could see: it is neither counted nor refused.
func (w *faultFile) Close() error { return w.w.Close() }
