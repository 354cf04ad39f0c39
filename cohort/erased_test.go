package cohort

import (
	"fmt"
	"strings"
	"testing"
)

// erasedOf are the tombstones of the run "person", and of the stage T of the run "half".
func erasedOf(t testing.TB) *Erased {
	t.Helper()
	salt, err := NewSalt()
	if err != nil {
		t.Fatal(err)
	}
	e := NewErased(KeyForm{}, salt)
	e.Add(Tombstone{Digest: salt.OfRun("person"), Stamp: 1})
	e.Add(Tombstone{Digest: salt.OfStage("half", "T"), Stamp: 1})
	return e
}

// TestIsMentionedIn looks through what is left of records.
func TestIsMentionedIn(t *testing.T) {
	e := erasedOf(t)
	for text, want := range map[string]bool{
		``:                                false,
		`{"run_id":"a","stage":"S"}`:      false,
		`{"run_id":"person","stage":"S"}`: true,
		"\x00\xff\"run_id\" :\n \"pers\\u006fn\", cut o":           true,
		`{"run_id":"a"}{"run_id":"a"}{"run_id":"person"}`:          true,
		`{"run_id":"half","stage":"S"}`:                            false,
		`{"stage":"T","run_id":"half"}`:                            true,
		`{"run_id":"half","phase":"T"}`:                            true,
		`{"run_id":"half"}{"run_id":"b","stage":"S"}{"phase":"T"}`: true, // nobody knows which belongs to which
		`{"note":"person"}`:                                        false,
		`{"run_id":"person`:                                        false, // a name that is cut off is another one
		`{"run_id":7}{"run_id" "person"}`:                          false,
	} {
		if got := e.IsMentionedIn([]byte(text)); got != want {
			t.Errorf("IsMentionedIn(%q) = %v, want %v", text, got, want)
		}
	}
	if NewErased(KeyForm{}, e.Salt).IsMentionedIn([]byte(`{"run_id":"person"}`)) {
		t.Error("something is mentioned where nothing was erased")
	}
}

// BenchmarkIsMentionedIn looks through bytes with many different names.
func BenchmarkIsMentionedIn(b *testing.B) {
	for _, runs := range []int{1000, 80000} {
		var text strings.Builder
		for i := range runs {
			fmt.Fprintf(&text, `{"run_id":"run-%d","stage":"S"}`, i)
		}
		e, data := erasedOf(b), []byte(text.String())
		b.Run(fmt.Sprintf("runs=%d", runs), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if e.IsMentionedIn(data) {
					b.Fatal("nothing of it was erased")
				}
			}
		})
	}
}
