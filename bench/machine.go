package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// machine says where and when a run was made.
type machine struct {
	CPU     string `json:"cpu"`
	Cores   int    `json:"cores"`
	Kernel  string `json:"kernel"`
	Go      string `json:"go"`
	Disk    string `json:"file_system"`
	Made    string `json:"file_systems_made,omitempty"` // those of -fs
	Date    string `json:"date"`
	Command string `json:"command"`
}

func (m machine) String() string {
	disk := m.Disk
	if m.Made != "" {
		disk += "; " + m.Made
	}
	return fmt.Sprintf("%s, %d cores; %s; %s; %s; %s; `%s`", m.CPU, m.Cores, m.Kernel, disk, m.Go, m.Date, m.Command)
}

// made adds a file system that was made. It may be told again.
func (r *results) made(fs string) {
	if all := &r.Machine.Made; *all == "" {
		*all = fs
	} else if !strings.Contains(*all, fs) {
		*all += "; " + fs
	}
}

func thisMachine(dir, command string) machine {
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return machine{
		CPU: cpuModel(), Cores: runtime.NumCPU(), Kernel: strings.TrimSpace(runtime.GOOS + " " + string(kernel)),
		Go: runtime.Version(), Disk: fileSystem(dir), Date: time.Now().UTC().Format(time.DateOnly), Command: command,
	}
}

func cpuModel() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for l := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// fileSystem is the type of the mount that dir lies in.
func fileSystem(dir string) string {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "unknown file system"
	}
	mounts, _ := os.ReadFile("/proc/self/mounts")
	best, kind := "", "unknown file system"
	for l := range strings.Lines(string(mounts)) {
		f := strings.Fields(l)
		if len(f) < 3 || len(f[1]) < len(best) {
			continue
		}
		if rel, err := filepath.Rel(f[1], dir); err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
			device := filepath.Base(f[0])
			best, kind = f[1], f[2]
			if kind == "ext4" && !hasJournal(device) {
				kind = "ext4 without a journal"
			}
			kind += throttling(device)
		}
	}
	return kind
}

// throttling is what Linux takes for so slow an answer of a disk that it holds back writes, which hundreds of processes feel
// (README.md). It is empty for something that is not a disk, or that is a part of a disk.
func throttling(device string) string {
	text, err := os.ReadFile("/sys/block/" + device + "/queue/wbt_lat_usec")
	if err != nil {
		return ""
	}
	return ", wbt_lat_usec " + strings.TrimSpace(string(text))
}

// hasJournal tells whether an ext4 has one, as the kernel says where it says anything.
func hasJournal(device string) bool {
	if _, err := os.Stat("/proc/fs/ext4/" + device); err != nil {
		return true
	}
	journals, _ := filepath.Glob("/proc/fs/jbd2/" + device + "-*")
	return len(journals) > 0
}
