package pgclient

import "testing"

// TestSpaces has an option with spaces, as they are spelled in a URL.
func TestSpaces(t *testing.T) {
	for _, text := range []string{"a+b%2Bc", "a%20b%2Bc"} {
		u, err := Parse("postgres://h/d?application_name=" + text)
		if err != nil {
			t.Fatal(err)
		}
		cfg, _, err := u.Config()
		if err != nil || cfg.RuntimeParams["application_name"] != "a b+c" {
			t.Errorf("%s: %v, %v", text, cfg, err)
		}
	}
}
