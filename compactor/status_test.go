package compactor_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/audit"
)

func TestStatus(t *testing.T) {
	root := newRoot(t)
	s, err := audit.ReadStatus(context.Background(), compactor.Config{Root: root})
	if err != nil || s.Generation != 0 || len(s.Cohorts) != 0 {
		t.Errorf("status of a fresh root = %+v, %v", s, err)
	}
	appendTo(t, root, "b", firstLines...)
	w := openWriter(t, root, "a")
	appendLines(t, w, firstLines...)
	foldNow(t, compactor.Config{Root: root})
	appendLines(t, w, secondLines[0])
	appendTo(t, root, "b", secondLines...)
	s, err = audit.ReadStatus(context.Background(), compactor.Config{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	if s.Generation != 1 || s.Rows != 2 || s.NextSeq != 3 || !s.Published || s.Holder != "" {
		t.Errorf("status = %+v", s)
	}
	var got []string
	for _, c := range s.Cohorts {
		if c.UnfoldedBytes <= 0 || c.OldestUnfolded <= 0 {
			t.Errorf("cohort %s: %d bytes, oldest %v", c.Cohort, c.UnfoldedBytes, c.OldestUnfolded)
		}
		got = append(got, strings.Join([]string{string(c.Cohort), itoa(c.Streams), itoa(c.Sealed), itoa(int(c.UnfoldedRecords))}, " "))
	}
	if want := []string{"a 1 0 1", "b 1 1 2"}; !slices.Equal(got, want) {
		t.Errorf("cohorts (streams, sealed, unfolded) %q, want %q", got, want)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func itoa(n int) string { return cohort.Seq(n).String() }
