package durable

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

const dataPerm = 0o444 // of data files: decision 0009

// writeData makes a read-only file as a fold makes its data files.
func writeData(t *testing.T, name, text string) {
	t.Helper()
	f, err := Pending(OS, name, dataPerm)
	if err == nil {
		_, err = f.Write([]byte(text))
	}
	if err == nil {
		err = f.Commit()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func isReadOnly(t *testing.T, name string) bool {
	t.Helper()
	path, err := syscall.UTF16PtrFromString(name)
	if err != nil {
		t.Fatal(err)
	}
	attributes, err := syscall.GetFileAttributes(path)
	if err != nil {
		t.Fatal(err)
	}
	return attributes&syscall.FILE_ATTRIBUTE_READONLY != 0
}

// TestReplaceReadOnly publishes twice. Windows refuses to replace a read-only name, so the attribute of the first file must be gone
// before the rename. (Wine replaces it in any case; that the attribute is gone shows that it was cleared.)
func TestReplaceReadOnly(t *testing.T) {
	dir := t.TempDir()
	one, two, public := filepath.Join(dir, "1"), filepath.Join(dir, "2"), filepath.Join(dir, "public")
	writeData(t, one, "one")
	writeData(t, two, "two")
	if !isReadOnly(t, one) {
		t.Fatal("a data file can be written")
	}
	for _, data := range []string{one, two, two} {
		if err := ReplaceWith(OS, public, data, dataPerm); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(public); err != nil || string(got) != "two" {
		t.Errorf("the public name shows %q, %v", got, err)
	}
	if isReadOnly(t, one) {
		t.Error("the public name was replaced while it was read-only, which Windows refuses")
	}
	if err := Replace(OS, two, []byte("three"), 0o666); err != nil {
		t.Error(err)
	}
	if isReadOnly(t, public) {
		t.Error("a data file was replaced while it was read-only")
	}
	writeData(t, filepath.Join(dir, "3"), "3")
	if err := Remove(OS, filepath.Join(dir, "3")); err != nil {
		t.Error(err)
	}
}

// TestOpenLetsOthersChange holds a file open to read. Others delete its other name and rename it meanwhile, as a sweep and a
// fold do.
func TestOpenLetsOthersChange(t *testing.T) {
	dir := t.TempDir()
	data, public := filepath.Join(dir, "data"), filepath.Join(dir, "public")
	writeData(t, data, "data")
	if err := ReplaceWith(OS, public, data, dataPerm); err != nil {
		t.Fatal(err)
	}
	f, err := OS.Open(public)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := Remove(OS, data); err != nil {
		t.Error(err)
	}
	if err := Move(OS, public, public+".moved"); err != nil {
		t.Error(err)
	}
}
