package main

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"
)

// summary is the closing line.
type summary struct {
	Cohort    string   `json:"cohort"`
	Appended  int      `json:"appended"`
	Refused   int      `json:"refused"`
	NonFinite int      `json:"non_finite_to_null"`
	Zoned     int      `json:"zones_assumed"`
	Bytes     int64    `json:"bytes"`
	Seconds   float64  `json:"seconds"`
	Last      *place   `json:"last_durable"` // the last line that is durable; null if there is none
	Unread    []unread `json:"not_read"`     // what was not read, or not acknowledged
	zone      string
}

// finish prints the summary and turns what went wrong into one error.
func (a *appender) finish(closed error) error {
	a.progress.clear()
	s := summary{
		Cohort: a.cohort, Appended: a.appended, Refused: a.refused, NonFinite: a.nonFinite, Zoned: a.zoned, zone: a.assumeZone, Bytes: a.bytes,
		Seconds: time.Since(a.start).Seconds(), Last: a.lastDurable(), Unread: append([]unread{}, a.unread...),
	}
	switch a.summary {
	case "json":
		a.ackErr = errors.Join(a.ackErr, a.printJSON(s))
	case "text":
		a.say("%s", s)
	}
	var err error
	if a.refused > 0 {
		err = fmt.Errorf("%d of %d records were not appended", a.refused, a.refused+a.appended)
	}
	if len(a.unread) > 0 {
		err = errors.Join(err, a.notRead())
	}
	if a.ackErr != nil {
		err = errors.Join(err, fmt.Errorf("standard output: %w", a.ackErr))
	}
	if closed != nil { // what was acknowledged is durable all the same
		a.say("the stream has no seal, which loses nothing: %v", closed)
	}
	return err
}

// lastDurable is nil where no line is durable.
func (a *appender) lastDurable() *place {
	if a.last.Line == 0 {
		return nil
	}
	return &a.last
}

// notRead says what to append again, and from where on.
func (a *appender) notRead() error {
	var names []string
	for _, u := range a.unread {
		names = append(names, u.String())
	}
	last := "nothing is durable"
	if p := a.lastDurable(); p != nil {
		last = fmt.Sprintf("the last durable line is %v", *p)
	}
	return fmt.Errorf("not read to the end: %s; %s", strings.Join(names, ", "), last)
}

func (s summary) String() string {
	text := fmt.Sprintf("%s: %d appended, %d refused", cmp.Or(s.Cohort, "cohorts of the records"), s.Appended, s.Refused)
	if s.NonFinite > 0 {
		text += fmt.Sprintf(", %d NaN or Infinity became null", s.NonFinite)
	}
	if s.Zoned > 0 {
		text += fmt.Sprintf(", %d timestamps without a zone taken as %s", s.Zoned, s.zone)
	}
	return text
}

// leave notes what is not read any more, because the append has ended before its input.
func (a *appender) leave() {
	if len(a.files) == 0 {
		return // a record from flags
	}
	if !a.ended {
		a.unread = append(a.unread, unread{inputName(a.files[a.at]), a.answered})
	}
	for _, name := range a.files[a.at+1:] {
		a.unread = append(a.unread, unread{inputName(name), 0})
	}
}

// unread is input of which nothing, or nothing behind a line, was acknowledged.
type unread struct {
	File  string `json:"file"`
	After int    `json:"after_line"`
}

func (u unread) String() string {
	if u.After == 0 {
		return u.File
	}
	return fmt.Sprintf("%s behind line %d", u.File, u.After)
}
