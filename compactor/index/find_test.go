package index

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"testing"

	"github.com/runfold/runfold/cohort"
)

// metered counts the bytes that are read.
type metered struct {
	io.ReaderAt
	n int
}

func (m *metered) ReadAt(p []byte, off int64) (int, error) {
	m.n += len(p)
	return m.ReaderAt.ReadAt(p, off)
}

// randomKeys are in no order, so that the bounds of a row group exclude nothing.
func randomKeys(first, n int) []cohort.Key {
	keys := make([]cohort.Key, n)
	for i := range keys {
		keys[i] = cohort.Key(fmt.Sprintf("%x:T", sha256.Sum256(fmt.Append(nil, first+i))))
	}
	return keys
}

// indexOf is an index whose rows have these keys.
func indexOf(t testing.TB, keys []cohort.Key, size groupSize) []byte {
	t.Helper()
	all := make([]Put, len(keys))
	for i, key := range keys {
		r := runRecord(t, i, `,"metrics":{"auc":0.5}`)
		all[i] = Put{Key: key, Seq: cohort.Seq(i + 1), Record: &r}
	}
	data, _ := mergeWith(t, nil, all, size)
	return data
}

// TestFindFew: keys that stand in the index are found however few are asked for, and for a few that do not, no
// column is read.
func TestFindFew(t *testing.T) {
	keys := randomKeys(0, 6000)
	data := indexOf(t, keys, groupSize{2000, 1 << 30})
	m := &metered{ReaderAt: bytes.NewReader(data)}
	f, err := Open(m, int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, fewKeys, fewKeys + 1, len(keys)} {
		asked := append(randomKeys(len(keys), n), keys[:n]...)
		found, err := f.Find(asked)
		if err != nil || len(found) != n {
			t.Fatalf("%d of %d keys are found, %v", len(found), n, err)
		}
		for i, key := range keys[:n] {
			if found[key].Seq != cohort.Seq(i+1) {
				t.Fatalf("key %d has seq %d", i, found[key].Seq)
			}
		}
	}
	m.n = 0
	found, err := f.Find(randomKeys(len(keys), 2))
	if err != nil || len(found) != 0 {
		t.Fatalf("%v, %v", found, err)
	}
	filters := 3 * 2000 * bloomBits / 8
	if m.n < filters/2 || m.n > 2*filters {
		t.Errorf("%d bytes were read for two keys that are not there, want about the %d of the filters", m.n, filters)
	}
}

// TestFindDamagedFilter: bytes that are not a filter are an error, and never a missing row.
func TestFindDamagedFilter(t *testing.T) {
	keys := randomKeys(0, 500)
	data := indexOf(t, keys, fullGroup)
	f := open(t, data)
	at := f.file.Metadata().RowGroups[0].Columns[f.layout.place[columnKey]].MetaData.BloomFilterOffset
	for _, bad := range []byte{0, 0xff} {
		broken := bytes.Clone(data)
		for i := range 4 {
			broken[int(at)+i] = bad
		}
		if found, err := open(t, broken).Find(keys[:10]); err == nil && len(found) != 10 {
			t.Errorf("header of %#x: %d keys are found and no error", bad, len(found))
		}
	}
}

func BenchmarkFind(b *testing.B) {
	keys := randomKeys(0, 100_000)
	data := indexOf(b, keys, groupSize{20_000, 1 << 30})
	f := open(b, data)
	for _, n := range []int{10, 100, 10_000} {
		b.Run(fmt.Sprintf("rows=100000/keys=%d", n), func(b *testing.B) {
			asked := randomKeys(len(keys), n)
			for b.Loop() {
				if _, err := f.Find(asked); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
