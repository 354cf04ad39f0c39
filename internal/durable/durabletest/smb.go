package durabletest

import (
	"io"
	"io/fs"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/runfold/runfold/internal/durable"
)

// SMB is a file system that does to the programs of one machine what a share of SMB does, as it was measured with kernels of
// Linux. While a name of a file is open, another name of it cannot be opened: EINVAL. What is open cannot be replaced: EACCES, and the
// name is gone until it is closed. If another machine replaces a name that is open here, each new open of the name still reads what it was. There are no inodes to count. Files have the time of the machine, and directories that of the server.
type SMB struct {
	durable.FS
	// Refused is called after a rename over a name that is open was refused. If nil, nothing is done.
	Refused func(name string)
	// Ahead is by how much the clock of the machine is ahead of the server's.
	Ahead time.Duration

	mu   sync.Mutex // guards open
	open []*openOnSMB
}

type openOnSMB struct {
	durable.ReadFile
	share *SMB
	name  string
	info  fs.FileInfo
	going bool // its name was taken away, and is not free until it is closed
}

// Statfs says that it is SMB.
func (*SMB) Statfs(string) (durable.Statfs, error) {
	return durable.Statfs{Type: 0xFE534D42, BlockSize: 1024, Blocks: 1 << 30, FreeBlocks: 1 << 29}, nil
}

// Stat tells the machine's time of files.
func (s *SMB) Stat(name string) (fs.FileInfo, error) {
	info, err := s.FS.Stat(name)
	if err != nil || info.IsDir() {
		return info, err
	}
	return machineTime{info, s.Ahead}, nil
}

type machineTime struct {
	fs.FileInfo
	ahead time.Duration
}

func (m machineTime) ModTime() time.Time { return m.FileInfo.ModTime().Add(m.ahead) }

func (m machineTime) SameFile(other fs.FileInfo) bool {
	if o, ok := other.(machineTime); ok {
		other = o.FileInfo
	}
	return durable.SameFile(m.FileInfo, other)
}

// Open opens a file, unless another name of it is open.
func (s *SMB) Open(name string) (durable.ReadFile, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.open {
		if o.name == name && !o.going && !s.stands(o) {
			again := &openOnSMB{ReadFile: heldFile{o.ReadFile, new(int64)}, share: s, name: name, info: o.info}
			s.open = append(s.open, again)
			return again, nil
		}
	}
	f, err := s.FS.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	for _, o := range s.open {
		if o.name != name && durable.SameFile(o.info, info) {
			f.Close()
			return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EINVAL}
		}
	}
	o := &openOnSMB{ReadFile: f, share: s, name: name, info: info}
	s.open = append(s.open, o)
	return o, nil
}

// stands tells whether a name still is the file that is open.
func (s *SMB) stands(o *openOnSMB) bool {
	info, err := s.FS.Stat(o.name)
	return err == nil && durable.SameFile(o.info, info)
}

// heldFile reads through the handle of somebody else, from its own place.
type heldFile struct {
	durable.ReadFile
	at *int64
}

func (h heldFile) Read(p []byte) (int, error) {
	n, err := h.ReadAt(p, *h.at)
	*h.at += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

func (heldFile) Close() error { return nil }

// Close lets the name be replaced again.
func (o *openOnSMB) Close() error {
	o.share.mu.Lock()
	defer o.share.mu.Unlock()
	o.share.open = slices.DeleteFunc(o.share.open, func(other *openOnSMB) bool { return other == o })
	return o.ReadFile.Close()
}

// Rename takes away a name that is open.
func (s *SMB) Rename(old, new string) error {
	if !s.isOpen(new) {
		return s.FS.Rename(old, new)
	}
	s.FS.Remove(new) // an error means that it is gone already
	if s.Refused != nil {
		s.Refused(new)
	}
	return &fs.PathError{Op: "rename", Path: new, Err: syscall.EACCES}
}

// Exchange is what SMB does not have.
func (*SMB) Exchange(_, b string) error {
	return &fs.PathError{Op: "exchange", Path: b, Err: syscall.EINVAL}
}

// isOpen tells whether a name is open, which is about to be taken away then.
func (s *SMB) isOpen(name string) (open bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.open {
		if o.name == name && (o.going || s.stands(o)) {
			o.going, open = true, true
		}
	}
	return open
}
