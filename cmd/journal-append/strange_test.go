package main

import "testing"

// TestStrangePart gives the front of a good line, as a pipe may bring it: nothing is refused on such a word.
func TestStrangePart(t *testing.T) {
	const good = "{ \"run_id\": \"r-1\", \"stage\": \"S\" }\n{\"run_id\":\"r-2\",\"stage\":\"S\"}\n"
	for n := range len(good) + 1 {
		for _, mark := range []string{"", "\xef\xbb\xbf", "\r\n "} {
			if err := strange([]byte(mark+good[:n]), "-"); err != nil {
				t.Errorf("strange(%q) = %v", mark+good[:n], err)
			}
		}
	}
}
