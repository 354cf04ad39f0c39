package cohort

import "testing"

func TestIsSystemEntry(t *testing.T) {
	for name, want := range map[string]bool{
		"lost+found": true, ".snapshot": true, ".snapshots": true, "@eaDir": true, ".DS_Store": true,
		"Thumbs.db": true, "desktop.ini": true, ".gitkeep": true, "$RECYCLE.BIN": true,
		".nfs000000000064c9f500000001": true, ".Trash-1000": true, "._index.parquet": true, ".fuse_hidden0000000100000001": true,

		"": false, ".": false, "LOST+FOUND": false, "lost+found2": false, "thumbs.db": false, ".nfs": false, "._": false,
		".ssh": false, ".git": false, "notes.txt": false, "churn_eu": false, ".runfold.json.0123456789abcdef.tmp": false,
		"cohorts": false, "manifests": false, "data": false, "runfold.json": false, "index.parquet": false,
		"01JQ4Z0000000000000000000R": false, "00000000000000000001.json": false,
	} {
		if got := IsSystemEntry(name); got != want {
			t.Errorf("IsSystemEntry(%q) = %t, want %t", name, got, want)
		}
	}
}
