// Command worker is one process of a benchmark: it opens a competitor, says "ready", reads when all go from its
// standard input, appends for a time, and writes what it measured to its standard output.
//
//	worker -peer NAME -dir DIR -for 2s                 one process among many
//	worker -peer NAME -dir DIR -once                   one record and no more, as a command line tool does
//	worker measure FILE COMMAND...                     runs a command and writes what it took to FILE
//	worker ask -root DIR -where EXPRESSION ...         asks a root in one process, as a page does
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/runfold/runfold/bench/peer"
)

func main() {
	do := run
	if len(os.Args) > 3 && os.Args[1] == "measure" {
		do = func() error { return measure(os.Args[2], os.Args[3:]) }
	}
	if len(os.Args) > 1 && os.Args[1] == "ask" {
		do = func() error { return ask(os.Args[2:]) }
	}
	if err := do(); err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		os.Exit(1)
	}
}

func run() error {
	var o peer.Options
	var w peer.Work
	name := flag.String("peer", "", "whose process this is")
	record := flag.String("records", "", "file with the records, one a line")
	once := flag.Bool("once", false, "append one record and end")
	flag.StringVar(&o.Dir, "dir", "", "directory of the competitor")
	flag.StringVar(&o.DSN, "dsn", "", "of PostgreSQL")
	flag.IntVar(&o.Writer, "writer", 0, "number of this process")
	flag.IntVar(&w.Writers, "goroutines", 1, "writers in this process")
	flag.DurationVar(&w.For, "for", time.Second, "how long to append")
	flag.IntVar(&w.Runs, "runs", 0, "the number of the first run, if each record is to be of a run of its own")
	flag.DurationVar(&w.Every, "every", 0, "a record of each writer in this time")
	flag.IntVar(&w.All, "processes", 1, "how many processes append, which -every spreads over its time")
	flag.Parse()
	data, err := os.ReadFile(*record)
	if err != nil {
		return err
	}
	for _, l := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		w.Records = append(w.Records, []byte(l))
	}
	w.Process = o.Writer
	if w.Runs > 0 {
		w.Runs += o.Writer * peer.Spread
	}
	k, err := peer.Find(*name)
	if err != nil {
		return err
	}
	p, err := k.Open(o)
	if err != nil {
		return err
	}
	if *once {
		return appendOnce(p, w.Records[o.Writer%len(w.Records)])
	}
	w.Ready = func() error {
		fmt.Println("ready")
		return peer.Wait(os.Stdin)
	}
	s, err := peer.Run(p, w)
	if err != nil {
		return err
	}
	if err := s.Send(os.Stdout); err != nil {
		return err
	}
	return p.Close()
}

func appendOnce(p peer.Peer, record []byte) error {
	a, err := p.Writer()
	if err != nil {
		return err
	}
	if err := a(record); err != nil {
		return err
	}
	return p.Close()
}
