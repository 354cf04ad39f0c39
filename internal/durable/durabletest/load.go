package durabletest

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Load copies a real directory to the same path of c, durably: as it would stand there after a sync of
// the whole disk. Hard links within it stay hard links. What is neither a file nor a directory is an
// error.
func (c *CrashFS) Load(dir string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	loaded := map[string][]loadedFile{}
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		i, err := c.loadInode(path, info, loaded)
		if err != nil {
			return fmt.Errorf("load %s: %w", path, err)
		}
		return c.place(parts(path), i)
	})
}

// loadedFile is a file that may have more names.
type loadedFile struct {
	info fs.FileInfo
	i    *inode
}

// loadInode reads a file, unless it is known by another name. The map's key is what two names of one
// file have in common.
func (c *CrashFS) loadInode(path string, info fs.FileInfo, loaded map[string][]loadedFile) (*inode, error) {
	if info.IsDir() {
		return c.newInode(info.Mode()), nil
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("is neither a file nor a directory: %v", info.Mode())
	}
	key := fmt.Sprint(info.Size(), info.ModTime().UnixNano())
	for _, l := range loaded[key] {
		if os.SameFile(l.info, info) {
			return l.i, nil
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	i := c.newInode(info.Mode().Perm())
	i.data, i.synced, i.modTime = data, append([]byte(nil), data...), info.ModTime()
	loaded[key] = append(loaded[key], loadedFile{info, i})
	return i, nil
}

// place puts an inode at a path, durably, with the directories that lead to it.
func (c *CrashFS) place(path []string, i *inode) error {
	at := c.root
	for n, name := range path {
		next, last := at.names[name], n == len(path)-1
		switch {
		case next == nil && last:
			next = i
		case next == nil:
			next = c.newInode(fs.ModeDir | 0o777)
		case !next.mode.IsDir() || last && !i.mode.IsDir():
			return fmt.Errorf("load %s: %w", filepath.Join(path...), fs.ErrExist)
		}
		at.names[name], at.durable[name] = next, next
		at = next
	}
	return nil
}

// Dump writes all of c, as everybody sees it, below an existing real directory: /a/b becomes dir/a/b.
// Hard links stay hard links.
func (c *CrashFS) Dump(dir string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.root.dump(dir, map[*inode]string{})
}

func (i *inode) dump(dir string, files map[*inode]string) error {
	for name, sub := range i.names {
		path := filepath.Join(dir, name)
		if err := sub.dumpAs(path, files); err != nil {
			return err
		}
	}
	return nil
}

func (i *inode) dumpAs(path string, files map[*inode]string) error {
	if i.mode.IsDir() {
		if err := os.Mkdir(path, i.mode.Perm()|0o700); err != nil {
			return err
		}
		return i.dump(path, files)
	}
	if first, ok := files[i]; ok {
		return os.Link(first, path)
	}
	files[i] = path
	if err := os.WriteFile(path, i.data, i.mode.Perm()); err != nil {
		return err
	}
	return os.Chtimes(path, i.modTime, i.modTime)
}
