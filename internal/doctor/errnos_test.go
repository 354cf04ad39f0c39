//go:build linux

package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
)

// TestErrnos asks doctor for every row of the table of errnos: it says that runfold can work exactly where the table says that the
// work goes on.
func TestErrnos(t *testing.T) {
	dir := t.TempDir()
	for i, row := range durabletest.Errnos() {
		if row.Op == "open" || row.Op == "write" { // what it measures with makes these, too
			continue
		}
		scratch := filepath.Join(dir, fmt.Sprint(i))
		if err := os.Mkdir(scratch, 0o755); err != nil {
			t.Fatal(err)
		}
		fault, _ := row.Inject(durable.OS, durabletest.Every)
		p := &probe{scratch, self, fault}
		var v Verdict
		for _, c := range checks {
			if !singly[c.name] {
				continue
			}
			result, detail := c.find(p)
			v.Checks = append(v.Checks, Check{c.name, result, detail, c.needed, c.means})
		}
		v.Checks = append(v.Checks, Check{Name: ExclusiveCreate, Result: yes})
		v.judge()
		if goesOn := row.Then == durabletest.GoesOn || row.Then == durabletest.Told; v.Supported != goesOn {
			t.Errorf("%v: supported %v, and the table says that it %v: %v", row, v.Supported, row.Then, v.Checks)
		}
	}
}

// singly are the checks that one process makes alone by its file system. The link's race is left out where a link fails.
var singly = map[string]bool{
	HardLink: true, "rename over an open file": true, "fsync of a file": true, "fsync of a directory": true, Removal: true,
	"free bytes": true, "free inodes": true,
}

// TestLyingStatfs: what statfs does not know is unknown, and stops nothing.
func TestLyingStatfs(t *testing.T) {
	for lie, about := range durabletest.LyingStatfs() {
		p := &probe{t.TempDir(), self, durabletest.Lies{FS: durable.OS, About: about}}
		bytes, _ := p.freeBytes()
		inodes, _ := p.freeInodes()
		if want := about.Type == 0; (bytes == unknown) != want || inodes != unknown {
			t.Errorf("%s: free bytes %s, inodes %s", lie, bytes, inodes)
		}
	}
}

// TestKindsOfSMB: the types by which package durable knows SMB are those that doctor names so.
func TestKindsOfSMB(t *testing.T) {
	for magic, kind := range kinds {
		is := kind.name == "smb" || kind.name == "smb3" || kind.name == "cifs"
		if got := (durable.Statfs{Type: magic}).IsSMB(); got != is {
			t.Errorf("%s (0x%x): IsSMB is %v", kind.name, magic, got)
		}
	}
}
