package delta_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
	"github.com/runfold/runfold/compactor/view/delta"
	"github.com/runfold/runfold/internal/durable"
	"github.com/runfold/runfold/internal/durable/durabletest"
	"github.com/runfold/runfold/journal"
)

const root = cohort.Root("/runs")

// newDisk is a disk with an empty root.
func newDisk(t testing.TB) *durabletest.CrashFS {
	t.Helper()
	disk := durabletest.New()
	if _, _, err := journal.InitRoot(root, cohort.Settings{}, journal.RootOptions{FS: disk}); err != nil {
		t.Fatal(err)
	}
	return disk
}

// grow commits the next generation, as a fold of records would, on any file system.
func grow(t testing.TB, fsys durable.FS, lines ...string) {
	t.Helper()
	st := store(t, fsys)
	prev, err := st.Newest()
	if err != nil {
		t.Fatal(err)
	}
	next, err := st.Draft(prev, nil)
	if err != nil {
		t.Fatal(err)
	}
	old, err := st.Summed(prev)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	var puts []index.Put
	var keys []cohort.Key
	schema := prev.Schema
	for _, line := range lines {
		r, err := cohort.ParseRecord([]byte(line), 0)
		if err != nil {
			t.Fatal(err)
		}
		r.Cohort, r.ID, r.Stamp = "churn", fmt.Sprint("id-", next.NextSeq), cohort.Stamp(next.NextSeq)
		schema = schema.Extend([]cohort.Record{r})
		puts = append(puts, index.Put{Key: st.Settings.Key.Of(r), Seq: next.NextSeq, Record: &r})
		keys = append(keys, st.Settings.Key.Of(r))
		next.NextSeq++
	}
	next.Schema, next.Columns = prev.Columns.Apply(schema, nil)
	next.Verb, next.Changed = generation.DidFold, &generation.Changed{}
	found, err := old.Find(keys)
	if err != nil {
		t.Fatal(err)
	}
	c := generation.Changes{Side: generation.Side{Puts: puts, Found: found}, Cohort: func(index.Put) cohort.ID { return "churn" }}
	if len(lines) > 0 || prev.Generation == 0 {
		if _, err := next.Write(old, c); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := next.Commit(); err != nil {
		t.Fatal(err)
	}
}

func run(n int) string {
	return fmt.Sprintf(`{"run_id":"r-%d","stage":"TRAINING","timestamp":"2026-01-02T03:04:05.%06dZ","metrics":{"auc":0.%d}}`, n, n, n)
}

// store opens a root on a file system.
func store(t testing.TB, fsys durable.FS) *generation.Store {
	t.Helper()
	s, err := compactor.Config{Root: root, FS: fsys}.Store()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func publish(t testing.TB, fsys durable.FS) delta.Done {
	t.Helper()
	done, err := delta.Publish(store(t, fsys))
	if err != nil {
		t.Fatalf("Publish: %v", err)
	}
	return done
}

// seen is what a reader finds in a table.
type seen struct {
	version    int64 // -1: there is no table
	files      []string
	generation int64
	schema     string
	protocol   [2]int32
	config     map[string]string
	stats      map[string]json.RawMessage
	times      []int64 // of the versions that were read
}

type checkpointRow struct {
	Protocol *struct {
		MinReaderVersion int32 `parquet:"minReaderVersion"`
		MinWriterVersion int32 `parquet:"minWriterVersion"`
	} `parquet:"protocol,optional"`
	MetaData *struct {
		SchemaString  string            `parquet:"schemaString"`
		Configuration map[string]string `parquet:"configuration"`
	} `parquet:"metaData,optional"`
	Txn *struct {
		AppID   string `parquet:"appId"`
		Version int64  `parquet:"version"`
	} `parquet:"txn,optional"`
	Add *struct {
		Path  string `parquet:"path"`
		Stats string `parquet:"stats,optional"`
	} `parquet:"add,optional"`
}

// look reads the table as a reader of Delta does: from the newest checkpoint up to the version at, or to the newest if at is -1. It returns an
// error where a reader would fail.
func look(fsys durable.FS, at int64) (s seen, err error) {
	s = seen{version: -1, stats: map[string]json.RawMessage{}}
	log := filepath.Join(root.Delta(), "_delta_log")
	entries, err := fsys.ReadDir(log)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	var versions []int64
	from := int64(-1)
	for _, e := range entries {
		var v int64
		if n, _ := fmt.Sscanf(e.Name(), "%020d.", &v); n != 1 || at >= 0 && v > at {
			continue
		}
		switch {
		case strings.HasSuffix(e.Name(), ".checkpoint.parquet"):
			from = max(from, v)
		case strings.HasSuffix(e.Name(), ".json"):
			versions = append(versions, v)
		}
	}
	if from >= 0 {
		if err := s.checkpoint(fsys, filepath.Join(log, fmt.Sprintf("%020d.checkpoint.parquet", from))); err != nil {
			return s, err
		}
		s.version = from
	}
	for _, v := range versions {
		if v <= from {
			continue
		}
		if v != s.version+1 {
			return s, fmt.Errorf("version %d follows %d", v, s.version)
		}
		data, err := durable.Read(fsys, filepath.Join(log, fmt.Sprintf("%020d.json", v)), 1<<30)
		if err != nil {
			return s, err
		}
		if err := s.apply(data); err != nil {
			return s, fmt.Errorf("version %d: %w", v, err)
		}
		s.version = v
	}
	if len(s.files) != 1 && s.version >= 0 {
		return s, fmt.Errorf("version %d has the files %v", s.version, s.files)
	}
	return s, nil
}

func (s *seen) checkpoint(fsys durable.FS, path string) error {
	f, err := fsys.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	rows, err := parquet.Read[checkpointRow](bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return err
	}
	for _, r := range rows {
		switch {
		case r.Protocol != nil:
			s.protocol = [2]int32{r.Protocol.MinReaderVersion, r.Protocol.MinWriterVersion}
		case r.MetaData != nil:
			s.schema, s.config = r.MetaData.SchemaString, r.MetaData.Configuration
		case r.Txn != nil:
			s.generation = r.Txn.Version
		case r.Add != nil:
			s.files = append(s.files, r.Add.Path)
			s.stats[r.Add.Path] = json.RawMessage(r.Add.Stats)
		}
	}
	if s.schema == "" || s.protocol[0] == 0 {
		return errors.New("the checkpoint has no schema or no protocol")
	}
	return nil
}

func (s *seen) apply(data []byte) error {
	if len(data) == 0 || data[len(data)-1] != '\n' {
		return fmt.Errorf("%d bytes are not whole lines", len(data))
	}
	for line := range bytes.Lines(data) {
		var a struct {
			CommitInfo *struct{ Timestamp int64 }
			Protocol   *struct{ MinReaderVersion, MinWriterVersion int32 }
			MetaData   *struct {
				SchemaString  string
				Configuration map[string]string
			}
			Txn *struct{ Version int64 }
			Add *struct{ Path, Stats string }
			Del *struct{ Path string } `json:"remove"`
		}
		if err := json.Unmarshal(line, &a); err != nil {
			return err
		}
		switch {
		case a.CommitInfo != nil:
			s.times = append(s.times, a.CommitInfo.Timestamp)
		case a.Protocol != nil:
			s.protocol = [2]int32{a.Protocol.MinReaderVersion, a.Protocol.MinWriterVersion}
		case a.MetaData != nil:
			s.schema, s.config = a.MetaData.SchemaString, a.MetaData.Configuration
		case a.Txn != nil:
			s.generation = a.Txn.Version
		case a.Add != nil:
			s.files = append(s.files, a.Add.Path)
			s.stats[a.Add.Path] = json.RawMessage(a.Add.Stats)
		case a.Del != nil:
			s.files = slices.DeleteFunc(s.files, func(p string) bool { return p == a.Del.Path })
		}
	}
	return nil
}

// mustShow fails unless the newest version is whole and shows a generation, with the bytes of its index.
func mustShow(t testing.TB, fsys durable.FS, when string) seen {
	t.Helper()
	s, err := isWhole(t, fsys, -1)
	newest, nerr := store(t, fsys).Newest()
	if err != nil || nerr != nil || s.generation != int64(newest.Generation) {
		t.Fatalf("%s: the table shows version %d, generation %d of %d: %v, %v", when, s.version, s.generation, newest.Generation, err, nerr)
	}
	return s
}

// isWhole reads a version, and compares its file with the index of its generation. No table is whole, too.
func isWhole(t testing.TB, fsys durable.FS, at int64) (seen, error) {
	t.Helper()
	s, err := look(fsys, at)
	if err != nil || s.version < 0 {
		return s, err
	}
	st := store(t, fsys)
	sum, err := st.Checksum(filepath.Join(root.Delta(), s.files[0]))
	if err != nil {
		return s, err
	}
	m, err := st.Read(cohort.Generation(s.generation))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil // swept
	}
	if err == nil && m.Index.CRC32C != sum {
		err = fmt.Errorf("the file has not the bytes of generation %d", s.generation)
	}
	return s, err
}

func generationNumber(n int) cohort.Generation { return cohort.Generation(n) }
