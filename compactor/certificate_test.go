package compactor_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/internal/durable"
)

// certified is the certificate of what was done. It must agree with the root.
func certified(t testing.TB, cfg compactor.Config, done compactor.Erased, when string) compactor.Certificate {
	t.Helper()
	c, err := compactor.Certify(cfg, done, "somebody@here")
	if err != nil {
		t.Fatalf("%s: Certify: %v", when, err)
	}
	if wrong, err := c.Verify(context.Background(), cfg); err != nil || len(wrong) > 0 {
		t.Errorf("%s: the certificate and the root do not agree: %v, %v", when, wrong, err)
	}
	return c
}

// TestCertificates certifies each of two erasures, the first one when the second has been, too, and then all that was ever erased.
func TestCertificates(t *testing.T) {
	root := toErase(t, newRoot(t))
	cfg := compactor.Config{Root: root}
	first := eraseNow(t, cfg, compactor.Erasure{RunID: "person"})
	second := eraseNow(t, cfg, compactor.Erasure{RunID: "a"})
	one := certified(t, cfg, first, "the first")
	two := certified(t, cfg, second, "the second")
	if one.Since != first.Since || one.SaltIn != first.Salt || two.Since != second.Since || two.SaltIn != second.Salt {
		t.Errorf("certified are generations %d and %d, with salts in %s and %s; want %d and %d, %s and %s",
			one.Since, two.Since, one.SaltIn, two.SaltIn, first.Since, second.Since, first.Salt, second.Salt)
	}
	all := certified(t, cfg, eraseNow(t, cfg, compactor.Erasure{}), "all")
	if n := len(one.Digests) + len(two.Digests); len(all.Digests) != n || all.Stamp != one.Stamp {
		t.Errorf("all are %d digests up to %d, want %d up to %d", len(all.Digests), all.Stamp, n, one.Stamp)
	}
}

// TestVerifyThinned verifies a certificate after folds have left out generations between others, as retention has it.
func TestVerifyThinned(t *testing.T) {
	root := toErase(t, newDamagedRoot(t))
	cfg := compactor.Config{Root: root}
	done := eraseNow(t, cfg, compactor.Erasure{RunID: "person"})
	for v := range 3 {
		appendTo(t, root, "c", fmt.Sprintf(`{"run_id":"o","stage":"S","v":%d}`, v))
		foldNow(t, cfg)
	}
	if err := os.Remove(root.Manifest(done.Clean[0].Generation + 1)); err != nil {
		t.Fatal(err)
	}
	certified(t, cfg, done, "a generation was left out")
}

// sweeping is a file system on which something happens before one file is opened for the first time.
type sweeping struct {
	durable.FS
	name  string
	sweep func()
}

func (s *sweeping) Open(name string) (durable.ReadFile, error) {
	if filepath.Base(name) == s.name && s.sweep != nil {
		sweep := s.sweep
		s.sweep = nil
		sweep()
	}
	return s.FS.Open(name)
}

// TestVerifyWhileSwept verifies, and looks for a run, while folds sweep an old generation: before its manifest is read, and before its index is.
func TestVerifyWhileSwept(t *testing.T) {
	root := toErase(t, newDamagedRoot(t))
	cfg := compactor.Config{Root: root}
	done := eraseNow(t, cfg, compactor.Erasure{RunID: "person"})
	c := certified(t, cfg, done, "after the erasure")
	appendTo(t, root, "c", `{"run_id":"o","stage":"S","v":1}`)
	foldNow(t, cfg)
	first := done.Clean[1]
	m, err := manifest(durable.OS, root, first.Generation)
	if err != nil {
		t.Fatal(err)
	}
	path := root.Manifest(first.Generation)
	for _, name := range []string{filepath.Base(path), m.Index.Name} {
		disk := loaded(t, root)
		sweep := func() {
			for _, p := range []string{path, root.Data(m.Index.Name)} {
				if err := disk.Remove(p); err != nil {
					t.Error(err)
				}
			}
		}
		cfg.FS, cfg.Lock = &sweeping{disk, name, sweep}, yes{}
		if wrong, err := c.Verify(context.Background(), cfg); err != nil || len(wrong) > 0 {
			t.Errorf("%s was swept meanwhile: Verify finds %v, %v", name, wrong, err)
		}
		disk = loaded(t, root)
		cfg.FS = &sweeping{disk, name, sweep}
		looked, err := compactor.Erase(context.Background(), cfg, compactor.Erasure{RunID: "o"})
		if err != nil || slices.ContainsFunc(looked.Holding, func(h compactor.Holding) bool { return h.Path == root.Rel(path) }) {
			t.Errorf("%s was swept meanwhile: Erase finds %+v, %v", name, looked.Holding, err)
		}
	}
}
