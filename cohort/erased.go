package cohort

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"strings"

	"github.com/runfold/runfold/internal/jsonscan"
)

// NameDigest is what a tombstone keeps of an erased run: an HMAC-SHA-256 of its name, whose key is the root's salt. It does not tell the name. A
// reader of the salt can try names that he guesses.
type NameDigest [sha256.Size]byte

func (d NameDigest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText returns 64 lower-hex digits.
func (d NameDigest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText returns, and refuses every other spelling.
func (d *NameDigest) UnmarshalText(text []byte) error {
	raw, err := hex.DecodeString(string(text))
	if err != nil || len(raw) != len(d) || strings.ToLower(string(text)) != string(text) {
		return fmt.Errorf("digest of %d bytes is not 64 lower-hex digits", len(text))
	}
	copy(d[:], raw)
	return nil
}

// Salt is the random key of the digests of one root.
type Salt [32]byte

// NewSalt chooses one.
func NewSalt() (s Salt, err error) {
	if _, err := rand.Read(s[:]); err != nil {
		return s, fmt.Errorf("choose a salt: %w", err)
	}
	return s, nil
}

func (s Salt) String() string { return hex.EncodeToString(s[:]) }

// MarshalText returns 64 lower-hex digits.
func (s Salt) MarshalText() ([]byte, error) { return NameDigest(s).MarshalText() }

// UnmarshalText reads what MarshalText returns.
func (s *Salt) UnmarshalText(text []byte) error { return (*NameDigest)(s).UnmarshalText(text) }

// digest is the HMAC of a name. Part of the format: what the name begins with keeps names of different kinds apart.
func (s Salt) digest(kind, name string) (d NameDigest) {
	h := hmac.New(sha256.New, s[:])
	h.Write([]byte(kind))
	h.Write([]byte(name))
	h.Sum(d[:0])
	return d
}

// OfKey is the digest of a key.
func (s Salt) OfKey(k Key) NameDigest { return s.digest("key:", string(k)) }

// OfRun is the digest of a run_id. A root has it if it has no row of that run any more.
func (s Salt) OfRun(runID string) NameDigest { return s.digest("run:", runID) }

// OfStage is the digest of a run_id and a stage. A root has it if it has no row of that stage of the run any more.
func (s Salt) OfStage(runID, stage string) NameDigest { return s.digest("stage:", stage+":"+runID) }

// Tombstone says that a run was erased. A record or an action that it is about never gets in again, unless it is later than Stamp.
type Tombstone struct {
	Digest     NameDigest `json:"digest"`
	Stamp      Stamp      `json:"stamp"`
	Generation Generation `json:"generation"` // the first one without the run
}

// Erased is the tombstones of a root. The zero value, and nil, drop nothing. Any number of goroutines may use it while nothing is added.
type Erased struct {
	Salt Salt
	form KeyForm
	by   map[NameDigest]Tombstone
}

// NewErased makes an empty set for a root with this form of keys.
func NewErased(form KeyForm, salt Salt) *Erased {
	return &Erased{Salt: salt, form: form, by: map[NameDigest]Tombstone{}}
}

// Clone makes a copy to which tombstones can be added.
func (e *Erased) Clone() *Erased { return &Erased{e.Salt, e.form, maps.Clone(e.by)} }

// Add adds a tombstone. Of two with one digest the later stamp stands.
func (e *Erased) Add(t Tombstone) {
	if was, ok := e.by[t.Digest]; !ok || was.Stamp < t.Stamp {
		e.by[t.Digest] = t
	}
}

// Len is how many there are.
func (e *Erased) Len() int {
	if e == nil {
		return 0
	}
	return len(e.by)
}

// All are the tombstones by digest.
func (e *Erased) All() map[NameDigest]Tombstone {
	if e == nil {
		return nil
	}
	return e.by
}

// Has tells whether what has this digest was erased after stamp.
func (e *Erased) Has(d NameDigest, stamp Stamp) bool {
	t, ok := e.All()[d]
	return ok && stamp <= t.Stamp
}

// Drops tells whether a record with this key and stamp was erased.
func (e *Erased) Drops(k Key, stamp Stamp) bool {
	return e.Len() > 0 && e.Has(e.Salt.OfKey(k), stamp)
}

// DropsRecord tells whether a record was erased, or an action that stands in its place: see Drops and DropsAction.
func (e *Erased) DropsRecord(r Record) bool {
	if e.Len() == 0 {
		return false
	}
	if r.Action != NoAction {
		return e.DropsAction(r)
	}
	return e.Drops(e.form.Of(r), r.Stamp)
}

// DropsAction tells whether an action names only what was erased.
func (e *Erased) DropsAction(r Record) bool {
	if e.Len() == 0 {
		return false
	}
	if e.Has(e.Salt.OfRun(r.RunID), r.Stamp) {
		return true
	}
	if r.Stage == "" {
		return false
	}
	at := e.form.AimOf(r)
	return e.Has(e.Salt.OfStage(r.RunID, r.Stage), r.Stamp) || at.IsWhole(e.form) && e.Drops(at.Key(e.form, r.Cohort), r.Stamp)
}

// IsMentionedIn looks through bytes that are no whole record: whether what is left of one names an erased run. It finds the texts of the members
// run_id and stage (or phase), and tries each run_id alone, and with each stage.
func (e *Erased) IsMentionedIn(data []byte) bool {
	if e.Len() == 0 {
		return false
	}
	stages := textsOf(data, "stage", "phase")
	for run := range textsOf(data, "run_id") {
		if e.hasAny(e.Salt.OfRun(run)) {
			return true
		}
		for stage := range stages {
			if e.hasAny(e.Salt.OfStage(run, stage)) {
				return true
			}
		}
	}
	return false
}

func (e *Erased) hasAny(d NameDigest) bool {
	_, ok := e.by[d]
	return ok
}

// textsOf are the different texts that stand after the names of these members in what is left of JSON.
func textsOf(data []byte, members ...string) map[string]bool {
	texts := map[string]bool{}
	for _, member := range members {
		name, rest := jsonscan.Quote(member), data
		for {
			_, after, ok := bytes.Cut(rest, name)
			if !ok {
				break
			}
			rest = after
			value, ok := bytes.CutPrefix(bytes.TrimLeft(rest, " \t\r\n"), []byte(":"))
			if !ok {
				continue
			}
			if text := firstText(bytes.TrimLeft(value, " \t\r\n")); text != "" {
				texts[text] = true
			}
		}
	}
	return texts
}

// firstText is the JSON text at the beginning of value; empty if it is not whole.
func firstText(value []byte) string {
	if len(value) == 0 || value[0] != '"' {
		return ""
	}
	for i := 1; i < len(value) && i <= 2*maxText; i++ {
		switch value[i] {
		case '\\':
			i++
		case '"':
			if text := value[:i+1]; jsonscan.Valid(text) {
				return jsonscan.Text(text)
			}
			return ""
		}
	}
	return ""
}
