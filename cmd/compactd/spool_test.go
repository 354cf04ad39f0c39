package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestSpool writes much more than memory holds while nobody reads, then reads to and fro: all comes as it was written, and no writer waits.
func TestSpool(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	rnd, content := rand.New(rand.NewPCG(1, 61)), rand.NewChaCha8([32]byte{61})
	for range 20 {
		from, to := io.Pipe()
		s := newSpool(to)
		var want, got bytes.Buffer
		write := func(most int) {
			for range 1 + rnd.IntN(min(60, 16*spoolMemory/most)) {
				part := make([]byte, rnd.IntN(most))
				content.Read(part)
				want.Write(part)
				if n, err := s.Write(part); n != len(part) || err != nil {
					t.Fatal(n, err)
				}
			}
		}
		for range 5 {
			write([]int{10, 1000, 100_000, 2 * spoolMemory}[rnd.IntN(4)])
			for n := rnd.IntN(1 + want.Len() - got.Len()); n > 0; {
				part := make([]byte, min(n, 1+rnd.IntN(100_000)))
				read, err := from.Read(part)
				if err != nil {
					t.Fatal(err)
				}
				got.Write(part[:read])
				n -= read
			}
		}
		ended := make(chan error, 1)
		go func() { ended <- errors.Join(s.end(t.Context()), to.Close()) }()
		if _, err := io.Copy(&got, from); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(want.Bytes(), got.Bytes()) {
			t.Fatalf("%d bytes came of %d", got.Len(), want.Len())
		}
	}
}

// TestSpoolEnds: a reader that goes away ends the writer, and one that takes nothing ends with the context.
func TestSpoolEnds(t *testing.T) {
	from, to := io.Pipe()
	s := newSpool(to)
	gone := errors.New("gone")
	from.CloseWithError(gone)
	for err := error(nil); !errors.Is(err, gone); _, err = s.Write(make([]byte, 100)) {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.end(t.Context()); !errors.Is(err, gone) {
		t.Errorf("end = %v, want that the reader is gone", err)
	}

	_, to = io.Pipe()
	s = newSpool(to)
	if _, err := s.Write(make([]byte, 3*spoolMemory)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write(make([]byte, 3*spoolMemory)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.end(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("end = %v, want that of the context", err)
	}
	to.CloseWithError(gone)
}

// TestQueryBehindAPager has a query whose output nobody takes: the next one, after a fold, does not wait for it.
func TestQueryBehindAPager(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	at := newRoot(t, "r-1")
	root := string(at)
	if _, stderr, code := compactd(t, "once", "--root", root); code != exitDone {
		t.Fatal(stderr)
	}
	const large = `WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 200000) SELECT i, run_id, 'some text to fill a page' FROM c, runs`
	from, to := io.Pipe()
	ended := make(chan int, 1)
	go func() { ended <- run([]string{"query", large, "--root", root}, strings.NewReader(""), to, io.Discard) }()
	first := make([]byte, 100)
	if _, err := io.ReadFull(from, first); err != nil { // now it has the copy, and the page is full
		t.Fatal(err)
	}
	appendRun(t, at, "r-2")
	if _, stderr, code := compactd(t, "once", "--root", root); code != exitDone {
		t.Fatal(stderr)
	}
	if stdout, stderr, code := compactd(t, "query", "SELECT count(*) AS n FROM runs", "--root", root); code != exitDone || stdout != "n\n2\n" {
		t.Errorf("the next query: exit code %d, %s%s", code, stdout, stderr)
	}
	rest, err := io.ReadAll(io.LimitReader(from, 1<<20))
	if err != nil || len(rest) != 1<<20 {
		t.Errorf("of the first one %d bytes are left, %v", len(rest), err)
	}
	go io.Copy(io.Discard, from)
	if code := <-ended; code != exitDone {
		t.Errorf("the first query: exit code %d", code)
	}
}
