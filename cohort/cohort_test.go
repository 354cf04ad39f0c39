package cohort_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runfold/runfold/cohort"
)

// names is what ParseID is told to accept, or to refuse with the given message.
var names = []struct{ name, want string }{
	{"TARGET_RANKING", ""},
	{"a=b.c-d", ""},
	{"0", ""},
	{"-", ""},
	{"=", ""},
	{"_tmp", ""},
	{"a..b", ""},
	{"a.", ""},
	{strings.Repeat("x", 200), ""},

	{"", `cohort name is empty`},
	{strings.Repeat("x", 201), `cohort name of 201 bytes is too long: at most 200`},
	{strings.Repeat("ß", 101), `cohort name of 202 bytes is too long: at most 200`},
	{".", `cohort name "." starts with a dot`},
	{"..", `cohort name ".." starts with a dot`},
	{".hidden", `cohort name ".hidden" starts with a dot`},
	{"../x", `cohort name "../x" starts with a dot`},
	{"a/b", `cohort name "a/b" has "/": only A-Z a-z 0-9 . _ = - are allowed`},
	{"/a", `cohort name "/a" has "/": only A-Z a-z 0-9 . _ = - are allowed`},
	{"a/../../b", `cohort name "a/../../b" has "/": only A-Z a-z 0-9 . _ = - are allowed`},
	{`a\b`, `cohort name "a\\b" has "\\": only A-Z a-z 0-9 . _ = - are allowed`},
	{`\\host\share`, `cohort name "\\\\host\\share" has "\\": only A-Z a-z 0-9 . _ = - are allowed`},
	{"a:b", `cohort name "a:b" has ":": only A-Z a-z 0-9 . _ = - are allowed`},
	{"C:", `cohort name "C:" has ":": only A-Z a-z 0-9 . _ = - are allowed`},
	{"a\x00b", `cohort name "a\x00b" has "\x00": only A-Z a-z 0-9 . _ = - are allowed`},
	{"a\nb", `cohort name "a\nb" has "\n": only A-Z a-z 0-9 . _ = - are allowed`},
	{"größe", `cohort name "größe" has "\xc3": only A-Z a-z 0-9 . _ = - are allowed`},
	{"a\u202eb", `cohort name "a\u202eb" has "\xe2": only A-Z a-z 0-9 . _ = - are allowed`},
	{"a\uff0fb", `cohort name "a／b" has "\xef": only A-Z a-z 0-9 . _ = - are allowed`},
	{"a\xff", `cohort name "a\xff" has "\xff": only A-Z a-z 0-9 . _ = - are allowed`},
	{"a ", `cohort name "a " has " ": only A-Z a-z 0-9 . _ = - are allowed`},
	{" a", `cohort name " a" has " ": only A-Z a-z 0-9 . _ = - are allowed`},
	{"~", `cohort name "~" has "~": only A-Z a-z 0-9 . _ = - are allowed`},
	{"$HOME", `cohort name "$HOME" has "$": only A-Z a-z 0-9 . _ = - are allowed`},
	{"a*", `cohort name "a*" has "*": only A-Z a-z 0-9 . _ = - are allowed`},
}

func TestParseID(t *testing.T) {
	for _, test := range names {
		id, err := cohort.ParseID(test.name)
		if got := message(err); got != test.want {
			t.Errorf("ParseID(%q) = %q, want %q", test.name, got, test.want)
		}
		if want := test.name; err == nil && id.String() != want {
			t.Errorf("ParseID(%q) = %q, want the same text", test.name, id)
		}
		if err != nil && id != "" {
			t.Errorf("ParseID(%q) = %q with an error, want no ID", test.name, id)
		}
	}
}

// Every single byte is either in the set or refused.
func TestParseIDBytes(t *testing.T) {
	const allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._=-"
	for c := range 256 {
		name := "a" + string([]byte{byte(c)})
		_, err := cohort.ParseID(name)
		if got, want := err == nil, strings.IndexByte(allowed, byte(c)) >= 0; got != want {
			t.Errorf("ParseID(%q) accepts it: %v, want %v", name, got, want)
		}
	}
}

func TestIDEqualFold(t *testing.T) {
	tests := []struct {
		a, b cohort.ID
		want bool
	}{
		{"a", "A", true},
		{"fwd_ret=5m", "FWD_RET=5M", true},
		{"a", "a", true},
		{"a", "b", false},
		{"a", "a.", false},
	}
	for _, test := range tests {
		if got := test.a.EqualFold(test.b); got != test.want {
			t.Errorf("ID(%q).EqualFold(%q) = %v, want %v", test.a, test.b, got, test.want)
		}
	}
}

// The domain imports only the standard library, our scanner of JSON, and one hash (docs/decisions/0027), which has no imports
// itself.
func TestImports(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", cmd, err)
	}
	got := strings.Fields(string(out))
	want := []string{"github.com/cespare/xxhash/v2", "github.com/runfold/runfold/internal/jsonscan", "github.com/runfold/runfold/cohort"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%v (-want +got):\n%s", cmd, diff)
	}
}

// message is the text of err, or empty.
func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
