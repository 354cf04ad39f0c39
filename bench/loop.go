package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// makers make a file system in an image. They do at once what ext4 and others leave to threads that would write while a work is measured.
var makers = map[string][]string{
	"ext4":  {"mkfs.ext4", "-q", "-F", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0"},
	"xfs":   {"mkfs.xfs", "-q", "-f", "-m", "reflink=1"},
	"btrfs": {"mkfs.btrfs", "-q", "-f"},
}

// packages of Debian have them.
var packages = map[string]string{"ext4": "e2fsprogs", "xfs": "xfsprogs", "btrfs": "btrfs-progs"}

// fileSystems are the names of -fs, if this machine can make all of them.
func fileSystems(list string) ([]string, error) {
	if list == "" {
		return nil, nil
	}
	names := strings.Split(list, ",")
	for i, fs := range names {
		if makers[fs] == nil || slices.Contains(names[:i], fs) {
			return nil, fmt.Errorf("-fs takes some of ext4, xfs and btrfs, with commas between them, each once: not %q", list)
		}
	}
	if runtime.GOOS != "linux" {
		return nil, errors.New("-fs mounts file systems on loop devices, which only Linux has: leave it out here")
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("-fs makes file systems and mounts them, which only root may do: run it as root, or leave it out")
	}
	for _, fs := range names {
		if _, err := exec.LookPath(makers[fs][0]); err != nil {
			return nil, fmt.Errorf("-fs %s: %w; Debian has it in %s", fs, err, packages[fs])
		}
	}
	for _, tool := range []string{"mount", "umount", "losetup"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("-fs: %w; Debian has it in mount", err)
		}
	}
	return names, nil
}

// on is e on a fresh file system of that kind, and what removes it. The file system lies in a sparse image in the directory of
// the bench. The loop device reads and writes the image directly: its content is not twice in memory, and a sync of the
// file system has nothing else to write. The image has no name once it is mounted.
func (e env) on(fs string) (_ env, remove func() error, err error) {
	dir := filepath.Join(e.home, fs)
	image := dir + ".img"
	if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(image, nil, 0o600), os.Truncate(image, e.size)); err != nil {
		return e, nil, err
	}
	mounted := false
	remove = func() error {
		var err error
		if mounted {
			err = tool("umount", dir)
		}
		os.Remove(image)
		return errors.Join(err, os.Remove(dir))
	}
	err = tool(append(slices.Clone(makers[fs]), image)...)
	if err == nil {
		err = tool("mount", "-o", "loop", image, dir)
		mounted = err == nil
	}
	if err != nil {
		return e, nil, errors.Join(err, remove())
	}
	device := deviceOf(dir)
	how := "direct I/O"
	if err := tool("losetup", "--direct-io=on", device); err != nil {
		how = "I/O through the page cache"
		e.say("%v", err)
	}
	e.out.made(fmt.Sprintf("%s on a loop device of %d MiB with %s", fs, e.size>>20, how))
	e.say("%s is mounted from %s", fs, device)
	e.dir, e.fs, e.device, e.out.fs = dir, fs, filepath.Base(device), fs
	if err := os.Remove(image); err != nil {
		return e, nil, errors.Join(err, remove())
	}
	return e, remove, nil
}

func tool(args ...string) error {
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// deviceOf is the device that is mounted at dir.
func deviceOf(dir string) string {
	mounts, _ := os.ReadFile("/proc/self/mounts")
	dir, device := strings.ReplaceAll(dir, " ", `\040`), ""
	for l := range strings.Lines(string(mounts)) {
		if f := strings.Fields(l); len(f) > 1 && f[1] == dir {
			device = f[0]
		}
	}
	return device
}

// written is how many MiB the device has written since it was made, of a file system of -fs.
func (e env) written() (float64, error) {
	syscall.Sync()
	name := filepath.Join("/sys/block", e.device, "stat")
	raw, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	if f := strings.Fields(string(raw)); len(f) > 6 { // Documentation/block/stat.rst
		sectors, err := strconv.ParseFloat(f[6], 64)
		return sectors / 2048, err
	}
	return 0, fmt.Errorf("%s has no count of written sectors", name)
}

// counting does something, and adds to the values that it gives what it made the device write: data, and what the file system
// keeps about it. That is known only of a file system of -fs, on which nobody else writes.
func (e env) counting(do func() (map[string]float64, error)) (map[string]float64, error) {
	if e.device == "" {
		return do()
	}
	before, err := e.written()
	if err != nil {
		return nil, err
	}
	values, err := do()
	if err != nil {
		return values, err
	}
	after, err := e.written()
	values["device MiB"] = after - before
	return values, err
}

// trim gives the space of what was deleted back to the disk that holds the image.
func (e env) trim() {
	if e.device != "" {
		_ = exec.Command("fstrim", e.dir).Run() // some disks cannot: then the image stays as large as it was once
	}
}
