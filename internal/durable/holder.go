package durable

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"
)

// Holder is the file beside a lock file in which the holder of the lock says who it is, and counts. It stands beside the lock
// file, because what is locked cannot be read on Windows and SMB, and because the lock file may belong to another user. Others
// read it to name the holder, and to see whether the holder still counts. Nothing is correct because of it.
//
// docs/format/lock.md is its page. One goroutine uses a Holder.
type Holder struct {
	f       *os.File
	token   string
	tokenAt int64
	countAt int64
	counter uint64
}

// The end of the file, after the words: part of the format, do not change.
const (
	holderEnd   = ".holder"
	holderRest  = "version 1\ntoken "
	tokenSize   = 32 // hexadecimal digits
	counterKey  = "\ncounter "
	counterSize = 20 // decimal digits, as many as the largest counter has
)

// SayHolder writes the file beside a lock that the caller holds. words are lines for people, each "key value". A file of another
// user is replaced; a link in its place is left alone, and is an error.
//
//	openat file O_CREAT|O_RDWR, or where that is refused unlinkat file and openat with O_EXCL; ftruncate; write; fsync
func SayHolder(lock, words string, perm fs.FileMode) (h *Holder, err error) {
	name := lock + holderEnd
	if err := Regular(OS, name); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, perm)
	if errors.Is(err, fs.ErrPermission) {
		if err = os.Remove(name); err == nil {
			f, err = os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, perm)
		}
	}
	if err != nil {
		return nil, err
	}
	holdMode(f, perm)
	var raw [tokenSize / 2]byte
	rand.Read(raw[:]) // never fails
	h = &Holder{f: f, token: hex.EncodeToString(raw[:])}
	text := words + holderRest
	h.tokenAt = int64(len(text))
	text += h.token + counterKey
	h.countAt = int64(len(text))
	if err = f.Truncate(0); err == nil {
		_, err = f.WriteAt([]byte(text+digits(0)+"\n"), 0)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	f.Sync() // the file stays open, and NFS may show others nothing of it before a sync; an error is dropped: the next count may succeed
	return h, nil
}

func digits(counter uint64) string { return fmt.Sprintf("%0*d", counterSize, counter) }

// Advance counts one further, in its place in the file, and syncs it: on NFS that is what shows it to others. It needs no space on
// the disk. It does nothing once the file is that of another holder.
func (h *Holder) Advance() error {
	if !h.isOurs() {
		return nil
	}
	h.counter++
	if _, err := h.f.WriteAt([]byte(digits(h.counter)), h.countAt); err != nil {
		return err
	}
	return h.f.Sync()
}

// isOurs tells whether the file still has our token. The lock may have been taken from us while we slept, and the next holder
// writes the same file.
func (h *Holder) isOurs() bool {
	buf := make([]byte, tokenSize)
	n, _ := h.f.ReadAt(buf, h.tokenAt)
	return string(buf[:n]) == h.token
}

// Close empties the file. Call it before Unlock.
func (h *Holder) Close() (err error) {
	if h.isOurs() {
		err = h.f.Truncate(0)
	}
	return errors.Join(err, h.f.Close())
}

// SaidAt is when the file beside a lock was written last, by the storage's clock or that of the machine that wrote it.
func SaidAt(lock string) (time.Time, error) {
	info, err := os.Lstat(lock + holderEnd)
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}

// WhoHolds is what the file beside a lock, or else the lock file itself, says of its holder, or of one that was killed. sign is
// different for each holder and changes when the holder counts. Both are empty if nothing can be read, or nobody holds the lock.
func WhoHolds(lock string) (words, sign string) {
	// Programs from before this file was there write the lock file alone. So what that says is a part of the sign.
	body := LockHolder(lock)
	text := LockHolder(lock + holderEnd)
	if text == "" {
		return body, body
	}
	words, sign = parseHolder(text)
	return words, sign + "\n" + body
}

// parseHolder takes a file apart. Of one that is being written it gives what is there.
func parseHolder(text string) (words, sign string) {
	words, rest, _ := strings.Cut(text, holderRest)
	token, counter, _ := strings.Cut(rest, counterKey)
	counter = strings.TrimSuffix(counter, "\n")
	if n, err := strconv.ParseUint(counter, 10, 64); err == nil && len(token) == tokenSize && len(counter) == counterSize {
		return words, token + " " + strconv.FormatUint(n, 10)
	}
	return words, text
}
