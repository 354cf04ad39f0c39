package cohort

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
)

const (
	// manifestHead is the beginning of every manifest, in all later versions as well. Part of the format, do not change.
	manifestHead = `{"crc32c":"`
	// MaxManifest bounds what is read of a manifest, in bytes: 1,000,000 streams take about 150 MB.
	MaxManifest = 1 << 30
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// SealManifest makes a manifest from the members of its JSON object: everything after the opening brace, including
// the closing brace and a line break. It puts a first line before them, with the checksum of every byte after that line.
//
//	{"crc32c":"1a2b3c4d",
func SealManifest(members []byte) []byte { return append(checksumLine(members), members...) }

func checksumLine(members []byte) []byte {
	return fmt.Appendf(nil, manifestHead+"%08x\",\n", crc32.Checksum(members, castagnoli))
}

// IsWholeManifest tells whether the checksum in the first line of a manifest, of any version, fits all that follows.
func IsWholeManifest(data []byte) bool {
	line, members, _ := bytes.Cut(data, []byte("\n"))
	return string(line)+"\n" == string(checksumLine(members))
}

// IsManifest tells whether a file that begins with head is a manifest. It looks only at the beginning of the first line, as
// the rest may be damaged.
func IsManifest(head []byte) bool { return bytes.HasPrefix(head, []byte(manifestHead)) }

// HighestStamp reads the highest_stamp of a manifest of any version. ok is false if the manifest is damaged: a flipped bit
// could put the stamp into the far future, and all later stamps would be above it.
func HighestStamp(manifest []byte) (highest Stamp, ok bool) {
	if !IsWholeManifest(manifest) {
		return 0, false
	}
	// Each new stream reads this. It stands in front of all that grows with the root, which is passed over.
	in := json.NewDecoder(bytes.NewReader(manifest))
	if _, err := in.Token(); err != nil {
		return 0, false
	}
	for in.More() {
		name, err := in.Token()
		if err != nil {
			return 0, false
		}
		if name == "highest_stamp" {
			err := in.Decode(&highest)
			return highest, err == nil
		}
		var passed json.RawMessage
		if err := in.Decode(&passed); err != nil {
			return 0, false
		}
	}
	return 0, true
}

// ManifestRootID reads the root id of a manifest of any version. ok is false if the manifest is damaged.
func ManifestRootID(manifest []byte) (id string, ok bool) {
	var m struct {
		RootID string `json:"root_id"`
	}
	if !IsWholeManifest(manifest) || json.Unmarshal(manifest, &m) != nil {
		return "", false
	}
	_, err := ParseRootID(m.RootID)
	return m.RootID, err == nil
}
