package doctor

import (
	"errors"
	"os"
	"time"
)

// reading is a time that the storage gave, against this machine's clock.
type reading struct {
	ahead time.Duration // of this machine; below zero: behind
	apart bool          // it is not a time of this machine's clock
}

// coarse is how far a file time may be behind the clock that it was taken from: kernels take it at the last tick.
const coarse = 20 * time.Millisecond

// readingOf compares a time that the storage gave between two looks at this machine's clock.
func readingOf(before, t, after time.Time) reading {
	switch {
	case t.After(after):
		return reading{t.Sub(after), true}
	case t.Before(before.Add(-coarse)):
		return reading{t.Sub(before), true}
	}
	return reading{min(t.Sub(before), 0), false}
}

func (r reading) String() string {
	ahead := r.ahead.Round(time.Millisecond)
	if ahead > 0 {
		return ahead.String() + " ahead"
	}
	return (-ahead).String() + " behind"
}

// written is the time of a file into which this machine has written.
func (p *probe) written() (reading, error) {
	name := p.path("clock")
	before := time.Now()
	err := os.WriteFile(name, []byte("x"), 0o666)
	if err == nil {
		err = syncAgain(name)
	}
	if err != nil {
		return reading{}, err
	}
	return look(before, name)
}

// syncAgain makes a client that writes later write now, so that the server has given the time.
func syncAgain(name string) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// made is the time of a new directory.
func (p *probe) made() (reading, error) {
	name := p.path("clock.d")
	before := time.Now()
	if err := os.Mkdir(name, 0o777); err != nil {
		return reading{}, err
	}
	return look(before, name)
}

// look reads the time of what was made since before, and removes it.
func look(before time.Time, name string) (reading, error) {
	after := time.Now()
	info, err := os.Stat(name)
	if err = errors.Join(err, os.Remove(name)); err != nil {
		return reading{}, err
	}
	return readingOf(before, info.ModTime(), after), nil
}

func (p *probe) fileTime() (string, string) { return told(p.written()) }

func (p *probe) dirTime() (string, string) { return told(p.made()) }

func told(r reading, err error) (string, string) {
	if err != nil {
		return unknown, err.Error()
	}
	return r.String(), ""
}

// ownClock finds out whose times the storage gives.
func (p *probe) ownClock() (string, string) {
	kind, local, err := IsLocal(p.dir)
	file, ferr := p.written()
	dir, derr := p.made()
	if err := errors.Join(err, ferr, derr); err != nil {
		return unknown, err.Error()
	}
	return whose(kind, local, file, dir)
}

// whose decides whether records of two machines are ordered by one clock. From one machine a server's clock that agrees with this
// machine's cannot be told from one that does not exist.
func whose(kind string, local bool, file, dir reading) (result, detail string) {
	switch {
	case local:
		return yes, "one machine has it mounted, so there is one clock"
	case kind == "nfs":
		return yes, "an NFS server gives the times"
	case dir.apart && file.apart:
		return yes, "files and directories have the storage's times"
	case dir.apart:
		return yes, "new directories have the storage's time, and a file that was written has this machine's"
	case file.apart:
		return unknown, "a file that was written has another time than a new directory, which has this machine's: the clocks of all machines must agree, " +
			"or an earlier write may win"
	}
	return unknown, "the times of files and of directories are this machine's, or those of a clock that agrees with it; where the storage takes the times of its clients, " +
		"as GlusterFS does, the clocks of all machines must agree, or an earlier write may win"
}
