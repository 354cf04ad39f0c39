package doctor

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/durable"
)

// event is a line that a measuring child writes: what it begins, a result, or the end.
type event struct {
	Begin   string   `json:"begin,omitempty"`
	Check   *Check   `json:"check,omitempty"`
	Verdict *Verdict `json:"verdict,omitempty"`
	Error   string   `json:"error,omitempty"`
}

// check is something to find out.
type check struct {
	name   string
	needed bool
	means  string
	find   func(p *probe) (result, detail string)
}

var checks = []check{
	{ExclusiveCreate, false, "one of this and hard links decides who commits; without both nothing does", (*probe).exclusiveCreate},
	{HardLink, false, "commits and public names are links; without them exclusive create and a copy", (*probe).hardLink},
	{"both names of a link open", false, "a public file is a second name of a data file; on SMB it is a copy, because a reader of the one would lock out the other", (*probe).bothNames},
	{"rename over an open file", true, "readers keep the file that they opened and find the new one next", (*probe).rename},
	{"fsync of a file", true, "a record is acknowledged only after it", (*probe).syncFile},
	{"fsync of a directory", true, "a new name is acknowledged only after it", (*probe).syncDir},
	{Removal, false, "what is no longer needed is removed; where that fails it stays, which is told", (*probe).removal},
	{FileLocks, false, "keep two compactors from doing the same work: without them folds and appends go on; on a local file system a free lock proves a dead writer", (*probe).locks},
	{"lock of the compactor", false, "a fold takes it if it can, and waits or ends while another one holds it", (*probe).compactLock},
	{"a new name is seen", false, "how late a fold sees a new stream, from this machine; from others it can be later (NFS: 30 s)", (*probe).names},
	{"appended bytes are seen", false, "how late a fold sees a new record, from this machine; from others it can be later (NFS: 30 s)", (*probe).bytes},
	{"step of time stamps", false, "how close two writers on two machines can be ordered", (*probe).timeStep},
	{"time of a written file", false, "against this machine's clock; sweeps and the reaping of streams use it", (*probe).fileTime},
	{"time of a new directory", false, "against this machine's clock; the order of records begins with the storage's time", (*probe).dirTime},
	{OwnClock, false, "it orders the records of all machines; without it their clocks must agree, or an earlier write may win", (*probe).ownClock},
	{"names that differ in case", false, "cohorts that differ in case only are refused everywhere", (*probe).letterCase},
	{"free bytes", false, "a fold needs room for a second pair of files before it begins", (*probe).freeBytes},
	{"free inodes", false, "a stream takes three", (*probe).freeInodes},
	{SharedBlocks, false, "a fold takes over what nothing changes: as blocks that files share, or else as bytes, which costs what copying both files costs", (*probe).sharedBlocks},
	{"mmap", false, "not needed", func(*probe) (string, string) { return "not needed", "" }},
}

// probe is one measuring in a directory of its own.
type probe struct {
	dir   string
	again Again
	fsys  durable.FS // makes the calls that one process tries alone, by the verbs of package durable
}

// measure makes all checks in a fresh directory inside dir, which it removes.
func measure(dir string, out io.Writer, again Again) error {
	tell := json.NewEncoder(out)
	scratch, err := scratchIn(dir)
	if err != nil {
		return errors.Join(err, tell.Encode(event{Error: err.Error()}))
	}
	v, err := (&probe{scratch, again, durable.OS}).all(dir, tell)
	if err != nil {
		return errors.Join(err, tell.Encode(event{Error: err.Error()}))
	}
	if err := durable.RemoveAll(durable.OS, scratch); err != nil {
		v.amend(Removal, without, fmt.Sprintf("%s stays: %v", scratch, err))
	}
	return tell.Encode(event{Verdict: &v})
}

// scratchIn makes a directory with a name that nobody else has.
func scratchIn(dir string) (string, error) {
	var raw [8]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return "", err
	}
	scratch := filepath.Join(dir, ".doctor-"+hex.EncodeToString(raw[:]))
	if err := os.Mkdir(scratch, 0o777); err != nil {
		return "", fmt.Errorf("make a directory to measure in: %w", err)
	}
	return scratch, nil
}

func (p *probe) all(dir string, tell *json.Encoder) (Verdict, error) {
	kind, local, err := IsLocal(dir)
	if err != nil {
		kind = unknown // nothing depends on it but the shortcut of LocksTell
	}
	host, err := os.Hostname()
	if err != nil {
		host = unknown
	}
	v := Verdict{
		Version: verdictVersion, MeasuredAt: time.Now().UTC().Format(time.RFC3339), Host: host, FileSystem: kind, Local: local,
	}
	for _, c := range checks {
		if err := tell.Encode(event{Begin: c.name}); err != nil {
			return Verdict{}, err
		}
		result, detail := c.find(p)
		done := Check{c.name, result, detail, c.needed, c.means}
		v.Checks = append(v.Checks, done)
		if err := tell.Encode(event{Check: &done}); err != nil {
			return Verdict{}, err
		}
	}
	v.judge()
	return v, nil
}

func (p *probe) path(name string) string { return filepath.Join(p.dir, name) }

// answer makes a result from an error.
func answer(err error) (result, detail string) {
	if err != nil {
		return no, err.Error()
	}
	return yes, ""
}

func (p *probe) exclusiveCreate() (string, string) { return p.oneWinner("create") }

// hardLink tries one link, as a verb does, and then lets two processes race.
func (p *probe) hardLink() (string, string) {
	if err := durable.Create(durable.OS, p.path("source"), nil, 0o666); err != nil {
		return fails, err.Error()
	}
	switch err := p.fsys.Link(p.path("source"), p.path("linked")); {
	case err == nil:
		return p.oneWinner("link")
	case durable.IsLinkless(p.fsys, p.dir, err):
		return no, err.Error()
	default:
		return fails, err.Error()
	}
}

// bothNames opens one file by two names. hardLink has made them.
func (p *probe) bothNames() (string, string) {
	first, err := os.Open(p.path("source"))
	if err != nil {
		return unknown, err.Error()
	}
	defer first.Close()
	second, err := os.Open(p.path("linked"))
	if errors.Is(err, fs.ErrNotExist) {
		return unknown, "there are no hard links"
	}
	if err != nil {
		return no, err.Error()
	}
	return answer(second.Close())
}

// rounds is how often two processes race.
const rounds = 50

// oneWinner lets two processes make the same names at the same time.
func (p *probe) oneWinner(verb string) (string, string) {
	var racers [2]*child
	for i := range racers {
		c, err := p.again.start("race", p.dir)
		if err != nil {
			return unknown, err.Error()
		}
		defer c.end()
		racers[i] = c
	}
	for n := range rounds {
		line := fmt.Sprintf("%s %s-%d", verb, verb, n)
		for _, c := range racers {
			if err := c.say(line); err != nil {
				return unknown, err.Error()
			}
		}
		winners := 0
		for _, c := range racers {
			heard, err := c.hear()
			if err != nil {
				return unknown, err.Error()
			}
			switch heard {
			case won:
				winners++
			case lost:
			default:
				return no, heard
			}
		}
		if winners != 1 {
			return no, fmt.Sprintf("%d winners in round %d", winners, n+1)
		}
	}
	return yes, fmt.Sprintf("one winner in each of %d races", rounds)
}

func (p *probe) rename() (string, string) {
	old, next := p.path("old"), p.path("next")
	err := errors.Join(os.WriteFile(old, []byte("old"), 0o666), os.WriteFile(next, []byte("next"), 0o666))
	if err != nil {
		return fails, err.Error()
	}
	f, err := os.Open(old)
	if err != nil {
		return fails, err.Error()
	}
	defer f.Close()
	err = p.fsys.Rename(next, old)
	if durable.IsInUse(err) {
		f.Close()
		if p.fsys.Rename(next, old) == nil {
			return without, err.Error() + ": a file that a program on this machine has open is replaced once that closes it"
		}
	}
	if err != nil {
		return fails, err.Error()
	}
	was, err := io.ReadAll(f)
	if err != nil || string(was) != "old" {
		return no, fmt.Sprintf("who has it open reads %q, %v", was, err)
	}
	is, err := os.ReadFile(old)
	if err != nil || string(is) != "next" {
		return no, fmt.Sprintf("who opens it reads %q, %v", is, err)
	}
	return yes, ""
}

func (p *probe) syncFile() (string, string) {
	return answer(func() error {
		f, err := p.fsys.Create(p.path("synced"), 0o666)
		if err != nil {
			return err
		}
		_, err = f.Write([]byte("x"))
		return errors.Join(err, f.Sync(), f.Close())
	}())
}

func (p *probe) syncDir() (string, string) {
	err := p.fsys.SyncDir(p.dir)
	if err != nil && durable.IsUnsyncable(err) {
		return without, err.Error() + ": after a power loss a new name may be missing, unless the file system keeps it by itself"
	}
	return answer(err)
}

func (p *probe) removal() (string, string) {
	w, err := p.fsys.Create(p.path("removed"), 0o666)
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return fails, err.Error()
	}
	if err := p.fsys.Remove(p.path("removed")); err != nil {
		return without, err.Error()
	}
	return yes, ""
}

// locks lets one process hold a lock while another process tries to take it, and kills the holder.
func (p *probe) locks() (string, string) {
	file := p.path("lock")
	holder, err := p.again.start("hold", file)
	if err != nil {
		return unknown, err.Error()
	}
	defer holder.end()
	if heard, err := holder.hear(); err != nil {
		return no, err.Error()
	} else if heard != held {
		return no, heard
	}
	if heard := p.try(file); heard != held {
		return no, "another process finds a lock that is held: " + heard
	}
	holder.kill()
	if heard := p.try(file); heard != free {
		return no, "after a holder that was killed: " + heard
	}
	return yes, "excludes processes, and ends with the holder"
}

// compactLock tries the lock of the root itself: its file may be another user's.
func (p *probe) compactLock() (string, string) {
	root := cohort.Root(filepath.Dir(p.dir))
	ok, err := durable.LockIsFree(durable.LastLock(durable.OS, root.CompactLock()))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "not made yet", ""
	case err != nil:
		return no, err.Error() + ": folds go on without it"
	case ok:
		return free, ""
	}
	return held, ""
}

func (p *probe) try(file string) string {
	c, err := p.again.start("try", file)
	if err != nil {
		return err.Error()
	}
	defer c.end()
	heard, err := c.hear()
	if err != nil {
		return err.Error()
	}
	return heard
}

// patience bounds how long a change may take to be seen.
const patience = 5 * time.Second

// seen polls until is returns true, because a change of another process has become visible.
func seen(is func() bool) (string, string) {
	start := time.Now()
	for !is() {
		if time.Since(start) > patience {
			return no, fmt.Sprintf("not within %v", patience)
		}
	}
	return fmt.Sprintf("after %v", time.Since(start).Round(100*time.Microsecond)), ""
}

// names looks for a name that does not exist, and then lets another process make it.
func (p *probe) names() (string, string) {
	c, err := p.again.start("race", p.dir)
	if err != nil {
		return unknown, err.Error()
	}
	defer c.end()
	isThere := func() bool {
		_, err := os.Stat(p.path("new"))
		return err == nil
	}
	if isThere() {
		return unknown, "the name is taken"
	}
	if err := c.say("create new"); err != nil {
		return unknown, err.Error()
	}
	if heard, err := c.hear(); err != nil || heard != won {
		return unknown, fmt.Sprint(heard, err)
	}
	return seen(isThere)
}

// bytes appends through one handle and looks through others.
func (p *probe) bytes() (string, string) {
	f, err := os.OpenFile(p.path("grows"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o666)
	if err != nil {
		return unknown, err.Error()
	}
	defer f.Close()
	if data, err := os.ReadFile(p.path("grows")); err != nil || len(data) > 0 {
		return unknown, fmt.Sprint(len(data), err)
	}
	if _, err := f.WriteString("x"); err != nil {
		return unknown, err.Error()
	}
	return seen(func() bool {
		data, err := os.ReadFile(p.path("grows"))
		return err == nil && string(data) == "x"
	})
}

// timeStep makes files until their times have differed a few times.
func (p *probe) timeStep() (string, string) {
	var last time.Time
	step := time.Duration(0)
	start := time.Now()
	for n, steps := 0, 0; steps < 4; n++ {
		if time.Since(start) > patience {
			return unknown, fmt.Sprintf("no two times in %v", patience)
		}
		t, err := p.stamp(fmt.Sprintf("stamp-%d", n))
		if err != nil {
			return unknown, err.Error()
		}
		if d := t.Sub(last); d > 0 {
			if steps > 0 && (step == 0 || d < step) {
				step = d
			}
			steps++
			last = t
		}
	}
	return step.String(), "the smallest difference seen"
}

// stamp is the time that the file system gives to a new file.
func (p *probe) stamp(name string) (time.Time, error) {
	f, err := os.OpenFile(p.path(name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if err != nil {
		return time.Time{}, err
	}
	info, err := f.Stat()
	if err = errors.Join(err, f.Close(), os.Remove(p.path(name))); err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}

func (p *probe) letterCase() (string, string) {
	if err := os.WriteFile(p.path("CASE"), nil, 0o666); err != nil {
		return unknown, err.Error()
	}
	if _, err := os.Stat(p.path("case")); err == nil {
		return no, "they are one name"
	}
	return yes, "they are two names"
}

func (p *probe) freeBytes() (string, string) { return p.figure(durable.Statfs.FreeBytes) }

func (p *probe) freeInodes() (string, string) { return p.figure(durable.Statfs.Inodes) }

// figure is one of statfs. A file system that does not know it is not full.
func (p *probe) figure(of func(durable.Statfs) (int64, error)) (string, string) {
	about, err := p.fsys.Statfs(p.dir)
	if err != nil {
		return unknown, err.Error()
	}
	n, err := of(about)
	if err != nil {
		return unknown, err.Error()
	}
	return fmt.Sprint(n), ""
}
