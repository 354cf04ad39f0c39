package index

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"testing"

	"github.com/runfold/runfold/cohort"
)

// sameBytes are checksums of an index and of the snapshots, as TestSameBytes makes them, on every machine. They change only if the
// encoding is changed on purpose, here or in the library. Then the test prints the new ones.
var sameBytes = map[string]string{
	"index, new":              "e5bcaf6ef1a690f75085a21ea764a95971b79519ad1ea4d0298d64d03135bddd",
	"index, with copied rows": "aa0b1149f4370093274f180f4791ce2e98f3db32d3c4fa373ff16d5955c80e1e",
	"snapshots":               "31e2045d84394985190e8d9279655ad54054e30e3eef7e50a21862672cbe2e95",
}

// versionText is the only part of an index that depends on the release, with the byte of its length.
var versionText = regexp.MustCompile(`(?s).runfold version [^(]*\(build parquet-go\)`)

// TestSameBytes makes files from fixed records and compares them with committed checksums. So a machine of another word size or
// byte order, or without our processor's instructions, writes the same bytes (make test-machines).
func TestSameBytes(t *testing.T) {
	size := groupSize{rows: 500, bytes: 1 << 20}
	var first, second []cohort.Record
	for i := range 1800 {
		r := runRecord(t, i, fmt.Sprintf(`,"symbol":"s%d","i":%d,"f":%d.%de-5,"ok":%t,"metrics":{"auc":0.%d,"big":1e%d},"params":{"lr":0.%d,"deep":{"er":[%d]}},`+
			`"tags":{"owner":"ü%d"},"token":-12345678901234567890.50%d`, i%7, int64(i)*int64(i)*7919-9e6, i, i, i%3 == 0, i, i%300, i*31, i, i%11, i))
		if i >= 1000 && i%5 == 4 { // two row groups stay and are copied
			second = append(second, r)
			r = runRecord(t, i, `,"i":9223372036854775807,"f":"text","late":true`)
		}
		if i%4 > 0 {
			r.Writer = fmt.Sprintf("ü@node-%d:%d", i%3, i%5)
		}
		first = append(first, r)
	}
	for i := range 40 {
		second = append(second, runRecord(t, 5000+i, fmt.Sprintf(`,"i":1.5,"new":%d`, -i)))
	}
	a, b := puts(1, first...), puts(5000, second...)
	one := mergeOf(t, nil, a, size)
	two := mergeOf(t, one, b, size)
	lines := snapshots(t, nil, a, nil)
	got := map[string]string{"index, new": sumOf(one), "index, with copied rows": sumOf(two), "snapshots": sumOf(lines)}
	for name, sum := range got {
		if sameBytes[name] != sum {
			t.Errorf("%q: %q, want %q", name, sum, sameBytes[name])
		}
	}
}

func mergeOf(t *testing.T, old []byte, puts []Put, size groupSize) []byte {
	t.Helper()
	data, _ := mergeWith(t, old, puts, size)
	return data
}

// sumOf leaves out the release, and the length of the footer at the end, which depends on it.
func sumOf(data []byte) string {
	if bytes.HasSuffix(data, []byte("PAR1")) {
		data = versionText.ReplaceAll(data[:len(data)-8], nil)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
