// Package doctor measures whether the file system of a root gives what runfold needs.
//
// It tries everything that it can try: two processes race for one name, a holder of a lock is killed, a file
// is replaced while it is open. A child process does the measuring. On a network file system whose server does not answer, every
// call may hang, and no signal ends it; so the parent never touches the directory.
//
// What was measured is kept in the root as doctor.json. One decision depends on it: whether a free lock proves
// that a writer has ended (see [Verdict.LocksTell]). Everything else is for people.
package doctor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
)

// Verdict is what was found in one directory, from one machine. docs/format/doctor.md is its page.
type Verdict struct {
	Version    int    `json:"version"`
	MeasuredAt string `json:"measured_at"` // the wall clock, for people only
	Host       string `json:"host"`
	FileSystem string `json:"file_system"` // as the kernel names its type
	// Local tells that the file system is of a kind that only one machine mounts.
	Local bool `json:"local"`
	// Supported tells that every check that is needed gave "yes".
	Supported bool    `json:"supported"`
	Checks    []Check `json:"checks"`
}

// Check is one line of the table.
type Check struct {
	Name   string `json:"name"`
	Result string `json:"result"` // yes, no, unknown, without, fails, or a figure
	Detail string `json:"detail,omitempty"`
	Needed bool   `json:"needed"` // without it records can be lost
	Means  string `json:"means"`  // what runfold does about it
}

// The names of the checks on which a decision depends.
const (
	ExclusiveCreate = "exclusive create"
	HardLink        = "hard link"
	FileLocks       = "locks between processes"
	Removal         = "removal"
	SharedBlocks    = "blocks that files share"
)

// OwnClock is the name of the check of whose clock gives the times.
const OwnClock = "one clock for all machines"

const (
	yes     = "yes"
	no      = "no"
	unknown = "unknown"
	without = "without" // it is needed where it can be had; here the work goes on without it
	fails   = "fails"   // an error that stops a fold or an append
)

// amend changes the result of a check.
func (v *Verdict) amend(name, result, detail string) {
	for i, c := range v.Checks {
		if c.Name == name {
			v.Checks[i].Result, v.Checks[i].Detail = result, detail
		}
	}
}

// verdictVersion is part of the format, do not change.
const verdictVersion = 1

func (v Verdict) result(name string) string {
	for _, c := range v.Checks {
		if c.Name == name {
			return c.Result
		}
	}
	return unknown
}

// LocksTell reports whether a lock that is free proves that its holder has ended: locks were seen to exclude
// processes and to end with them, on a file system that no other machine has mounted.
func (v Verdict) LocksTell() bool { return v.Local && v.result(FileLocks) == yes }

// judge sets Supported.
func (v *Verdict) judge() { v.Supported = len(v.Missing()) == 0 }

// stops tells whether runfold cannot work with this result.
func (c Check) stops() bool {
	return c.Result == fails || c.Needed && c.Result != yes && c.Result != without
}

// Missing are the names of the checks that keep v from being Supported. Exclusive create or hard link is enough.
func (v Verdict) Missing() []string {
	var out []string
	for _, c := range v.Checks {
		if c.stops() {
			out = append(out, c.Name)
		}
	}
	if v.result(ExclusiveCreate) != yes && v.result(HardLink) != yes {
		out = append(out, ExclusiveCreate+" or "+HardLink)
	}
	return out
}

// maxVerdict bounds what is read.
const maxVerdict = 1 << 20

// Read reads the verdict that Save wrote. It fails with fs.ErrNotExist if nothing was measured, and with
// cohort.ErrNewer if a later version wrote it.
func Read(fsys durable.FS, root cohort.Root) (Verdict, error) {
	if err := durable.Regular(fsys, root.Verdict()); err != nil {
		return Verdict{}, err
	}
	data, err := durable.Read(fsys, root.Verdict(), maxVerdict)
	if err != nil {
		return Verdict{}, fmt.Errorf("read verdict: %w", err)
	}
	v, err := decode(data)
	if err != nil {
		return Verdict{}, fmt.Errorf("%s: %w: compactd doctor measures anew", root.Verdict(), err)
	}
	return v, nil
}

func decode(data []byte) (Verdict, error) {
	var version struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(data, &version); err != nil {
		return Verdict{}, err
	}
	if version.Version > verdictVersion {
		return Verdict{}, fmt.Errorf("version %d: %w", version.Version, cohort.ErrNewer)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var v Verdict
	if err := dec.Decode(&v); err != nil {
		return Verdict{}, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Verdict{}, errors.New("has bytes after the end of its JSON")
	}
	if v.Version != verdictVersion {
		return Verdict{}, fmt.Errorf("version %d is not valid", v.Version)
	}
	return v, nil
}

// Save makes v the verdict of a root, durably.
func Save(fsys durable.FS, root cohort.Root, v Verdict, mode cohort.Mode) error {
	return durable.Replace(fsys, root.Verdict(), encode(v), mode.FS())
}

func encode(v Verdict) []byte {
	data, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		panic(fmt.Sprintf("doctor: internal error: encode verdict: %v", err))
	}
	return append(data, '\n')
}
