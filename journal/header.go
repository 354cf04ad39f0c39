package journal

import (
	"bufio"
	"cmp"
	"encoding/json"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode"

	"github.com/runfold/runfold/cohort"
)

// Header is the payload of a stream's first entry: to which root and cohort the records belong, and who wrote them. Part of the format,
// do not change.
type Header struct {
	RootID  string    `json:"root_id"`
	Cohort  cohort.ID `json:"cohort"`
	Host    string    `json:"host"`
	BootID  string    `json:"boot_id"` // empty if the writer has no lock
	PID     int       `json:"pid"`
	User    string    `json:"user,omitempty"` // the name in the operating system, for people only; empty if it is not known
	Started string    `json:"started"`        // the wall clock, for people only
	Program string    `json:"program"`
}

// Writer is who wrote the stream, on one line and for people: user@host:pid, or host:pid if the user is not known. It is what the
// column _writer of the index holds. It has at most 255 bytes and no control characters, whatever the header says. It is empty if
// the header names no process.
func (h Header) Writer() string {
	if h.PID <= 0 {
		return ""
	}
	text := cmp.Or(forPeople(h.Host), "unknown") + ":" + strconv.Itoa(h.PID)
	if user := forPeople(h.User); user != "" {
		text = user + "@" + text
	}
	return text
}

// mostOfName bounds a user and a host in bytes: two of them and a number are within 255 bytes.
const mostOfName = 100

// forPeople is a name without what nobody can read. A long one is cut.
func forPeople(name string) string {
	name = strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, name)
	for i := range name {
		if i > mostOfName {
			return strings.ToValidUTF8(name[:mostOfName], "")
		}
	}
	return name
}

// userName is the user of this process, as far as that can be told at once. Libraries of the system would ask a directory server, which
// may not answer, and a training job must not wait for a name that is for people only. So it comes from the environment, else from
// /etc/passwd. It is empty if neither knows it.
func userName() string {
	for _, name := range []string{"USER", "LOGNAME", "USERNAME"} {
		if user := forPeople(os.Getenv(name)); user != "" {
			return user
		}
	}
	passwd, err := os.Open("/etc/passwd")
	if err != nil {
		return ""
	}
	defer passwd.Close()
	return forPeople(userIn(passwd, os.Getuid()))
}

// mostOfPasswd bounds what is read of /etc/passwd.
const mostOfPasswd = 1 << 20

// userIn is the user with this number in a file of lines name:password:number:...
func userIn(passwd io.Reader, uid int) string {
	lines := bufio.NewScanner(io.LimitReader(passwd, mostOfPasswd))
	for lines.Scan() {
		if f := strings.SplitN(lines.Text(), ":", 4); len(f) == 4 && f[2] == strconv.Itoa(uid) {
			return f[0]
		}
	}
	return ""
}

// Header is what the stream's first entry says of its writer. A Reader that has passed it remembers it; another one reads it
// now, once, which leaves the Position and the last record as they are. ok is false if there is no header that can be read, because the
// stream is empty or its first entry is damaged. The error is one of the file system: then nobody knows.
func (r *Reader) Header() (h Header, ok bool, err error) {
	if r.head == nil && !r.headless && r.w != nil {
		err = r.readHeader()
	}
	if r.head == nil || err != nil {
		return Header{}, false, err
	}
	return *r.head, true, nil
}

// usualHeader is more bytes than nearly all headers take.
const usualHeader = 1 << 10

// readHeader reads the first entry with a window of its own, because a record that was returned may lie in that of the Reader.
func (r *Reader) readHeader() error {
	for _, size := range []int64{min(usualHeader, r.size), r.size} {
		first := Reader{stream: r.stream, size: size, w: &window{f: r.w.f, size: size}}
		f, err := first.parse(0)
		if isRead(err) {
			return err
		}
		var h Header
		if err == nil && f.kind == kindHeader && json.Unmarshal(f.payload, &h) == nil {
			r.head = &h
			return nil
		}
	}
	r.headless = true
	return nil
}

// ParseHeader reads the payload of a header, such as [Entries] yields it.
func ParseHeader(payload []byte) (Header, error) {
	var h Header
	err := json.Unmarshal(payload, &h)
	return h, err
}
