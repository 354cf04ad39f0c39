package audit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
)

// place is where a backup is made: in a directory beside its own, which is renamed when all is there.
type place struct {
	fsys      durable.FS
	dir, temp string
	was       bool     // dir was there, and empty: it is the directory that is filled, so it keeps its owner and mode
	left      []string // by backups that were killed, or of one that is at work
}

// claim makes the directory that is filled.
func claim(fsys durable.FS, root cohort.Root, dir string, perm fs.FileMode) (*place, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := mustBeOutside(root, dir); err != nil {
		return nil, err
	}
	p := &place{fsys: fsys, dir: dir}
	if p.temp, err = durable.TempName(dir); err != nil {
		return nil, err
	}
	if p.left, err = leftBeside(fsys, dir); err != nil {
		return nil, err
	}
	info, err := fsys.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return p, fsys.Mkdir(p.temp, perm)
	case err != nil:
		return nil, err
	case !info.IsDir():
		return nil, fmt.Errorf("%s is no directory: %w", dir, ErrTaken)
	}
	p.was = true
	if err := isEmpty(fsys, dir); err != nil {
		return nil, err
	}
	// The directory itself is filled, away from its name. It cannot be renamed if a file system is mounted there.
	if err := fsys.Rename(dir, p.temp); err != nil {
		return nil, fmt.Errorf("%w: if a file system is mounted there, name a directory below it", err)
	}
	if err := isEmpty(fsys, p.temp); err != nil { // somebody was faster
		return nil, errors.Join(err, fsys.Rename(p.temp, dir))
	}
	return p, nil
}

func isEmpty(fsys durable.FS, dir string) error {
	entries, err := fsys.ReadDir(dir)
	if err == nil && len(entries) > 0 {
		err = fmt.Errorf("%s is not empty, it holds %s: %w", dir, entries[0].Name(), ErrTaken)
	}
	return err
}

// mustBeOutside returns an error if dir lies in the root, by whatever path. The root itself and the directories above dir may be links.
func mustBeOutside(root cohort.Root, dir string) error {
	inside, err := os.Stat(string(root))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a test has it in memory, where nothing is a link
	}
	if err != nil {
		return err
	}
	at, err := filepath.EvalSymlinks(filepath.Dir(dir))
	if err != nil {
		return err
	}
	for at = filepath.Join(at, filepath.Base(dir)); ; at = filepath.Dir(at) {
		if info, err := os.Stat(at); err == nil && os.SameFile(info, inside) {
			return fmt.Errorf("%s lies in the root %s: %w", dir, root, ErrTaken)
		}
		if at == filepath.Dir(at) {
			return nil
		}
	}
}

// leftBeside lists the temporary directories of backups to dir.
func leftBeside(fsys durable.FS, dir string) ([]string, error) {
	entries, err := fsys.ReadDir(filepath.Dir(dir))
	if err != nil {
		return nil, err
	}
	left := []string{}
	for _, e := range entries {
		if e.IsDir() && durable.IsTemp(e.Name()) && strings.HasPrefix(e.Name(), "."+filepath.Base(dir)+".") {
			left = append(left, filepath.Join(filepath.Dir(dir), e.Name()))
		}
	}
	return left, nil
}

// keep gives the backup its name, durably. It must be synced. A directory that somebody else has put there meanwhile stays.
func (p *place) keep() error {
	return durable.Move(p.fsys, p.temp, p.dir)
}

// drop removes what was copied. A directory that was there before is empty again and has its name.
func (p *place) drop() error {
	if _, err := p.fsys.Stat(p.temp); errors.Is(err, fs.ErrNotExist) {
		return nil // it has its name: only the sync failed, and nobody knows what the disk has
	}
	if !p.was {
		return durable.RemoveAll(p.fsys, p.temp)
	}
	entries, err := p.fsys.ReadDir(p.temp)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := durable.RemoveAll(p.fsys, filepath.Join(p.temp, e.Name())); err != nil {
			return err
		}
	}
	return p.fsys.Rename(p.temp, p.dir)
}

// mkdir makes a directory of the copy, and those above it.
func (b *backup) mkdir(dir string) error {
	if _, ok := b.dirs[dir]; ok {
		return nil
	}
	if err := b.mkdir(filepath.Dir(dir)); err != nil { // the copy itself is open from the beginning
		return err
	}
	if err := b.disk.Mkdir(dir, b.Settings.DirMode.FS()); err != nil {
		return err
	}
	return b.open(dir)
}

func (b *backup) open(dir string) error {
	d, err := b.disk.OpenDir(dir)
	if err == nil {
		b.dirs[dir] = d
	}
	return err
}

// write makes one file of the copy. Its bytes are durable then; its name is when the directories are synced.
func (b *backup) write(name string, r io.Reader, perm fs.FileMode) error {
	n, err := durable.Copy(b.disk, name, r, perm)
	b.out.Bytes += n
	return err
}

// closeDir syncs a directory that gets no more entries, so that not too many are open.
func (b *backup) closeDir(dir string) error {
	d := b.dirs[dir]
	delete(b.dirs, dir)
	return errors.Join(durable.Sync(b.disk, d, dir), d.Close())
}

// forget removes a directory of the copy with what it holds.
func (b *backup) forget(dir string) error {
	if d, ok := b.dirs[dir]; ok {
		delete(b.dirs, dir)
		d.Close()
	}
	return durable.RemoveAll(b.disk, dir)
}

func (b *backup) syncDirs() error {
	for dir, d := range b.dirs {
		if err := durable.Sync(b.disk, d, dir); err != nil {
			return fmt.Errorf("sync %s: %w", dir, err)
		}
	}
	return nil
}

func (b *backup) closeDirs() {
	for _, d := range b.dirs {
		d.Close()
	}
}
