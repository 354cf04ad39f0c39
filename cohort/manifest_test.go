package cohort_test

import (
	"bytes"
	"testing"

	"github.com/runfold/runfold/cohort"
)

// TestManifestLine: a manifest is whole or it is not, and only a whole one tells its highest stamp.
func TestManifestLine(t *testing.T) {
	whole := cohort.SealManifest([]byte(" \"version\": 9,\n \"highest_stamp\": 17\n}\n"))
	if want := "{\"crc32c\":\"1ee997a0\",\n \"version\": 9,\n \"highest_stamp\": 17\n}\n"; string(whole) != want {
		t.Errorf("SealManifest = %q, want %q", whole, want)
	}
	if s, ok := cohort.HighestStamp(whole); s != 17 || !ok {
		t.Errorf("HighestStamp = %d, %v, want 17, true", s, ok)
	}
	for i := range whole {
		flipped := bytes.Clone(whole)
		flipped[i] ^= 1
		if cohort.IsWholeManifest(flipped) {
			t.Errorf("byte %d flipped: IsWholeManifest = true", i)
		}
		if s, ok := cohort.HighestStamp(flipped); ok {
			t.Errorf("byte %d flipped: HighestStamp = %d, true", i, s)
		}
		if cohort.IsWholeManifest(whole[:i]) {
			t.Errorf("cut to %d bytes: IsWholeManifest = true", i)
		}
	}
	if notJSON := cohort.SealManifest([]byte("]")); !cohort.IsWholeManifest(notJSON) {
		t.Error("the checksum of bytes that are not JSON does not hold")
	} else if _, ok := cohort.HighestStamp(notJSON); ok {
		t.Error("HighestStamp of bytes that are not JSON is ok")
	}
	if !cohort.IsManifest(whole[:20]) || cohort.IsManifest([]byte("{\n")) || cohort.IsManifest(nil) {
		t.Error("IsManifest knows its beginning from others")
	}
}
