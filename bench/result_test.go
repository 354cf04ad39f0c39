package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestOldResults: results of before file systems had names are read, and drawn as they were.
func TestOldResults(t *testing.T) {
	from, to := filepath.Join("..", "docs", "bench"), t.TempDir()
	if err := drawAgain(filepath.Join("testdata", "old.json"), to); err != nil {
		t.Fatal(err)
	}
	table := read(t, filepath.Join(to, "README.md"))
	for _, want := range []string{"\n### append goroutines=1\n", "| runfold | 6004 |", "| append, 100 goroutines: p99 of Pebble | at most 1.00 | 0.122 | met |"} {
		if !strings.Contains(table, want) {
			t.Errorf("the table has no %q:\n%s", want, table)
		}
	}
	if title := regexp.MustCompile(`(?m)^### .* on .*$`).FindString(table); title != "" {
		t.Errorf("a title names a file system: %s", title)
	}
	if err := drawAgain(filepath.Join(from, "results.json"), to); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestOneFileSystem: rows of different file systems never meet, in cells, bars, charts or where a part is measured again.
func TestOneFileSystem(t *testing.T) {
	const work = "append goroutines=1"
	measured := func(fs string, ours, theirs float64) (all []Result) {
		return []Result{{Work: work, FS: fs, Who: us, Values: map[string]float64{"records/s": ours}}, {Work: work, FS: fs, Who: raw, Values: map[string]float64{"records/s": theirs}}}
	}
	before := &results{All: slices.Concat(measured("", 100, 100), measured("ext4", 100, 100), measured("xfs", 200, 100))}
	again := &results{All: measured("ext4", 300, 100)}
	r := again.with(before)
	if got, want := len(r.All), 6; got != want {
		t.Fatalf("%d rows, want %d: %v", got, want, r.All)
	}
	var table strings.Builder
	r.table(&table)
	for _, want := range []string{
		"\n### append goroutines=1\n", "\n### append goroutines=1 on ext4\n", "\n### append goroutines=1 on xfs\n",
		"| append, 1 goroutine: records/s of write+fsync on ext4 | at least 1.70 | 3.00 | met |",
		"| append, 1 goroutine: records/s of write+fsync on xfs | at least 1.70 | 2.00 | met |",
	} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table has no %q:\n%s", want, table.String())
		}
	}
	dir := t.TempDir()
	if err := r.save(dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"append-goroutines.svg", "append-goroutines-ext4.svg", "append-goroutines-xfs.svg"} {
		if svg, want := read(t, filepath.Join(dir, name)), ">100<"; !strings.Contains(svg, want) {
			t.Errorf("%s has no %q", name, want)
		}
		if !strings.Contains(read(t, filepath.Join(dir, "README.md")), name) {
			t.Errorf("the table does not show %s", name)
		}
	}
	loaded, err := loadResults(filepath.Join(dir, "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := loaded.on("xfs").value(work, us, "records/s"), 200.0; got != want {
		t.Errorf("on xfs %v, want %v", got, want)
	}
	if got, want := loaded.value(work, us, "records/s"), 100.0; got != want {
		t.Errorf("in the directory %v, want %v", got, want)
	}
}
