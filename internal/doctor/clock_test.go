package doctor

import (
	"strings"
	"testing"
	"time"
)

func TestReadingOf(t *testing.T) {
	before := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	after := before.Add(5 * time.Millisecond)
	for _, test := range []struct {
		t     time.Time
		text  string
		apart bool
	}{
		{before.Add(time.Millisecond), "0s behind", false},
		{before.Add(-9 * time.Millisecond), "9ms behind", false},
		{after, "0s behind", false},
		{after.Add(time.Hour), "1h0m0s ahead", true},
		{after.Add(time.Second), "1s ahead", true},
		{before.Add(-time.Hour), "1h0m0s behind", true},
		{time.Unix(0, 0), before.Sub(time.Unix(0, 0)).String() + " behind", true},
	} {
		got := readingOf(before, test.t, after)
		if got.String() != test.text || got.apart != test.apart {
			t.Errorf("readingOf(%v) = %v, apart %v; want %s, %v", test.t, got, got.apart, test.text, test.apart)
		}
	}
}

// TestWhose has what was measured on real storage with clocks that were an hour apart.
func TestWhose(t *testing.T) {
	ours, storage := reading{}, reading{time.Hour, true}
	for _, test := range []struct {
		name, kind string
		local      bool
		file, dir  reading
		result     string
		says       string
	}{
		{"ext4", "ext4", true, ours, ours, yes, "one clock"},
		{"NFS, a server with the same time", "nfs", false, ours, ours, yes, "NFS server"},
		{"NFS, a server with another time", "nfs", false, storage, storage, yes, "NFS server"},
		{"SMB", "smb3", false, ours, storage, yes, "directories have the storage's time"},
		{"sshfs", "fuse", false, storage, storage, yes, "files and directories have the storage's times"},
		{"GlusterFS", "fuse", false, ours, ours, unknown, "clocks of all machines must agree"},
		{"SMB, a server with the same time", "smb3", false, ours, ours, unknown, "or those of a clock that agrees with it"},
		{"nothing known", "type 0x1", false, storage, ours, unknown, "clocks of all machines must agree"},
	} {
		result, detail := whose(test.kind, test.local, test.file, test.dir)
		if result != test.result || !strings.Contains(detail, test.says) {
			t.Errorf("%s: %s, %q; want %s, %q", test.name, result, detail, test.result, test.says)
		}
	}
}
