package durabletest

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/runfold/runfold/internal/durable"
)

// CrashFS is a file system in memory. It knows what programs see and what is on stable storage.
// Crash is a reboot: it finds what is on stable storage, and as much of the rest as a Mode says.
//
// It promises what POSIX does and docs/durability.md assumes, and no more: fsync of a file makes its
// bytes durable, not its name; fsync of a directory makes its names durable, not the directory's own
// name. It knows hard links, but neither symbolic links nor permissions. It is safe for concurrent use.
//
// Paths are cleaned; relative and absolute ones start at the same root directory, the only thing in a
// new CrashFS.
type CrashFS struct {
	// Clock gives the times of files. If nil, time.Now. It is set before the file system is used.
	Clock func() time.Time
	// Share makes it a share whose client says yes to the sync of a directory and does nothing, like those of SMB and GlusterFS. The sync
	// of a new file makes all names durable that were changed before: the disk of the server has one journal. It is set before the
	// file system is used.
	Share bool
	// Clones makes files share blocks, as XFS and btrfs do. It is set before the file system is used.
	Clones bool

	mu   sync.Mutex // guards all below, and every inode of this file system
	root *inode
	log  []*change // names that are not durable yet, oldest first
}

// inode is a file or a directory, whatever names it has.
type inode struct {
	fsys    *CrashFS
	mode    fs.FileMode
	modTime time.Time

	data   []byte // of a file, as seen
	synced []byte // of a file, as on stable storage

	names   map[string]*inode // of a directory, as seen
	durable map[string]*inode // of a directory, as on stable storage
}

// New is an empty file system.
func New() *CrashFS {
	c := &CrashFS{}
	c.root = c.newInode(fs.ModeDir | 0o777)
	return c
}

func (c *CrashFS) newInode(mode fs.FileMode) *inode {
	i := &inode{fsys: c, mode: mode, modTime: c.time()}
	if mode.IsDir() {
		i.names, i.durable = map[string]*inode{}, map[string]*inode{}
	}
	return i
}

func (c *CrashFS) time() time.Time {
	if c.Clock != nil {
		return c.Clock()
	}
	return time.Now()
}

// parts are the names on the way from the root to name.
func parts(name string) []string {
	name = filepath.Clean(name)
	name = filepath.ToSlash(name[len(filepath.VolumeName(name)):])
	if name == "." {
		return nil
	}
	return strings.FieldsFunc(name, func(r rune) bool { return r == '/' })
}

// walk finds an inode.
func (c *CrashFS) walk(path []string) (*inode, error) {
	at := c.root
	for _, p := range path {
		if !at.mode.IsDir() {
			return nil, syscall.ENOTDIR
		}
		next, ok := at.names[p]
		if !ok {
			return nil, syscall.ENOENT
		}
		at = next
	}
	return at, nil
}

// entry is a place for a name: the directory, the name in it, and what stands there, if anything does.
type entry struct {
	dir  *inode
	name string
	is   *inode
}

func (c *CrashFS) entry(name string) (entry, error) {
	path := parts(name)
	if len(path) == 0 {
		return entry{}, syscall.EBUSY // the root has no name in a directory
	}
	dir, err := c.walk(path[:len(path)-1])
	if err != nil {
		return entry{}, err
	}
	if !dir.mode.IsDir() {
		return entry{}, syscall.ENOTDIR
	}
	base := path[len(path)-1]
	return entry{dir, base, dir.names[base]}, nil
}

// Open opens a file or directory to read. It goes on reading what was opened, also after the name is removed or
// replaced.
func (c *CrashFS) Open(name string) (durable.ReadFile, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i, err := c.walk(parts(name))
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return &readFile{handle: handle{i: i, name: name}}, nil
}

// Create makes a file that must not exist.
func (c *CrashFS) Create(name string, perm fs.FileMode) (durable.WriteFile, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := c.newInode(perm.Perm())
	if err := c.add(name, i); err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return &writeFile{handle{i: i, name: name}}, nil
}

// Mkdir makes a directory that must not exist.
func (c *CrashFS) Mkdir(name string, perm fs.FileMode) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.add(name, c.newInode(fs.ModeDir|perm&(fs.ModePerm|fs.ModeSetgid))); err != nil {
		return &fs.PathError{Op: "mkdir", Path: name, Err: err}
	}
	return nil
}

// add gives an inode a name that must be free.
func (c *CrashFS) add(name string, i *inode) error {
	if len(parts(name)) == 0 {
		return syscall.EEXIST
	}
	e, err := c.entry(name)
	if err != nil {
		return err
	}
	if e.is != nil {
		return syscall.EEXIST
	}
	c.change(&change{dir: e.dir, name: e.name, is: i, of: i})
	return nil
}

// ReadDir lists a directory, sorted by name.
func (c *CrashFS) ReadDir(name string) ([]fs.DirEntry, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i, err := c.walk(parts(name))
	if err == nil && !i.mode.IsDir() {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: err}
	}
	var out []fs.DirEntry
	for _, n := range slices.Sorted(maps.Keys(i.names)) {
		out = append(out, fs.FileInfoToDirEntry(i.names[n].info(n)))
	}
	return out, nil
}

// Append writes to the end of a file that exists, as a program that has it open. Only the Sync of an open file makes the bytes durable.
func (c *CrashFS) Append(name string, data []byte) error {
	return c.write(name, func(i *inode) { i.data = append(i.data, data...) })
}

// Overwrite writes into a file that exists, as a program that has it open. It becomes longer if the bytes do not fit.
func (c *CrashFS) Overwrite(name string, off int, data []byte) error {
	return c.write(name, func(i *inode) {
		i.data = append(i.data, make([]byte, max(off+len(data)-len(i.data), 0))...)
		copy(i.data[off:], data)
	})
}

// Cut makes a file shorter, as a program that has it open.
func (c *CrashFS) Cut(name string, size int) error {
	return c.write(name, func(i *inode) { i.data = slices.Clone(i.data[:size]) })
}

func (c *CrashFS) write(name string, do func(*inode)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	i, err := c.walk(parts(name))
	if err == nil && i.mode.IsDir() {
		err = syscall.EISDIR
	}
	if err != nil {
		return &fs.PathError{Op: "write", Path: name, Err: err}
	}
	do(i)
	i.modTime = time.Now()
	return nil
}

// Flip changes a bit of a file, as a bad disk does: all that have the file open see it.
func (c *CrashFS) Flip(name string, off int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	i, err := c.walk(parts(name))
	if err == nil && (off < 0 || off >= int64(len(i.data)) || off >= int64(len(i.synced))) {
		err = syscall.EINVAL
	}
	if err != nil {
		return &fs.PathError{Op: "flip", Path: name, Err: err}
	}
	i.data[off] ^= 1
	i.synced[off] ^= 1
	return nil
}

// Stat tells about a file or directory.
func (c *CrashFS) Stat(name string) (fs.FileInfo, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i, err := c.walk(parts(name))
	if err != nil {
		return nil, &fs.PathError{Op: "lstat", Path: name, Err: err}
	}
	return i.info(filepath.Base(name)), nil
}

// Link gives a file a second name, which must be free.
func (c *CrashFS) Link(old, new string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	i, err := c.walk(parts(old))
	if err == nil {
		err = c.mayLink(i, new)
	}
	if err == nil {
		err = c.add(new, i)
	}
	if err != nil {
		return &os.LinkError{Op: "link", Old: old, New: new, Err: err}
	}
	return nil
}

// mayLink refuses links to directories. It makes its checks in the order of Linux.
func (c *CrashFS) mayLink(i *inode, new string) error {
	e, err := c.entry(new)
	switch {
	case err != nil:
		return err
	case e.is != nil:
		return syscall.EEXIST
	case i.mode.IsDir():
		return syscall.EPERM
	}
	return nil
}

// Rename moves a name, over a file if one is there. Between two names of one file it does nothing, as
// rename(2) says.
func (c *CrashFS) Rename(old, new string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.rename(old, new); err != nil {
		return &os.LinkError{Op: "rename", Old: old, New: new, Err: err}
	}
	return nil
}

func (c *CrashFS) rename(old, new string) error {
	from, err := c.entry(old)
	if err != nil {
		return err
	}
	to, err := c.entry(new)
	switch {
	case err != nil:
		return err
	case from.is == nil:
		return syscall.ENOENT
	case to.is != nil && to.is.mode.IsDir():
		return syscall.EEXIST // as os.Rename says, also of an empty one
	case to.is == from.is:
		return nil
	case from.is.holds(to.dir):
		return syscall.EINVAL
	case to.is != nil && from.is.mode.IsDir():
		return syscall.ENOTDIR
	}
	set := &change{dir: to.dir, name: to.name, is: from.is, of: from.is}
	c.change(set)
	c.change(&change{dir: from.dir, name: from.name, of: from.is, set: set})
	return nil
}

// Exchange swaps two files, in one step that a crash does not divide: the file systems that can do this have a journal.
func (c *CrashFS) Exchange(a, b string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.exchange(a, b); err != nil {
		return &os.LinkError{Op: "exchange", Old: a, New: b, Err: err}
	}
	return nil
}

func (c *CrashFS) exchange(a, b string) error {
	one, err := c.entry(a)
	if err != nil {
		return err
	}
	two, err := c.entry(b)
	switch {
	case err != nil:
		return err
	case one.is == nil || two.is == nil:
		return syscall.ENOENT
	case one.is.mode.IsDir() || two.is.mode.IsDir():
		return syscall.EINVAL // which nobody needs
	}
	first := &change{dir: one.dir, name: one.name, is: two.is, of: two.is}
	second := &change{dir: two.dir, name: two.name, is: one.is, of: one.is, set: first}
	first.set = second
	c.change(first)
	c.change(second)
	return nil
}

// holds tells whether a directory is dir or above it.
func (i *inode) holds(dir *inode) bool {
	if i == dir {
		return true
	}
	for _, sub := range i.names {
		if sub.mode.IsDir() && sub.holds(dir) {
			return true
		}
	}
	return false
}

// Remove removes a file or an empty directory.
func (c *CrashFS) Remove(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, err := c.entry(name)
	switch {
	case err != nil:
	case e.is == nil:
		err = syscall.ENOENT
	case len(e.is.names) > 0:
		err = syscall.ENOTEMPTY
	default:
		c.change(&change{dir: e.dir, name: e.name, of: e.is})
		return nil
	}
	return &fs.PathError{Op: "remove", Path: name, Err: err}
}

// SyncDir makes the names in a directory durable.
func (c *CrashFS) SyncDir(name string) error {
	d, err := c.OpenDir(name)
	if err != nil {
		return err
	}
	return d.Sync()
}

// OpenDir holds a directory, also after its name is removed or replaced.
func (c *CrashFS) OpenDir(name string) (durable.Dir, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i, err := c.walk(parts(name))
	if err == nil && !i.mode.IsDir() {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return &dirHandle{handle{i: i, name: name}}, nil
}

// Statfs tells of a disk that is half full.
func (c *CrashFS) Statfs(name string) (durable.Statfs, error) {
	if _, err := c.Stat(name); err != nil {
		return durable.Statfs{}, &fs.PathError{Op: "statfs", Path: name, Err: syscall.ENOENT}
	}
	s := durable.Statfs{BlockSize: 4096, Blocks: 1 << 30, FreeBlocks: 1 << 29, FreeInodes: 1 << 29}
	if c.Share {
		s.Type = 0x65735546 // FUSE, as GlusterFS says
	}
	return s, nil
}

type dirHandle struct{ handle }

func (d *dirHandle) Sync() error {
	return d.use("sync", func() error {
		if !d.i.fsys.Share {
			d.i.fsys.commit(d.i)
		}
		return nil
	})
}
