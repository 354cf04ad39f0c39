package main

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/runfold/runfold/cohort"
)

// answer counts a line that was dealt with, says what is wrong with it, and under --ack answers it. What is no line that somebody
// sent, such as a file that cannot be opened, has no answer.
func (a *appender) answer(n *numbered) {
	p := place{n.file, n.number}
	var ack any
	switch {
	case n.lost: // the error ends the append, and is told there
		a.lost = true
		ack = refusal{p, n.err.Error()}
	case n.ends:
		if n.sent {
			a.say("%s: %v", n.file, n.err)
			ack = refusal{p, n.err.Error()}
		} else {
			a.say("%s: %v", n.where(), n.err)
		}
		if a.lost {
			break
		}
		if a.at != n.at {
			a.at, a.answered = n.at, 0
		}
		a.ended = true
		a.unread = append(a.unread, unread{n.file, a.answered})
	case n.err != nil:
		a.refused++
		a.say("%s: %v", n.where(), n.err)
		ack = refusal{p, n.err.Error()}
	case n.blank:
		ack = nothing{p, true}
	default:
		r := &n.record
		a.appended++
		a.nonFinite += r.NonFinite + n.nonFinite
		if n.zoned {
			a.zoned++
		}
		a.bytes += int64(len(r.JSON))
		a.last = p
		if a.ack {
			ack = acknowledgement{n.file, n.number, r.Action.String(), r.RunID, r.Stage, r.ID, r.Stream, r.Stamp}
		}
	}
	if !a.lost && !n.ends {
		a.at, a.answered, a.ended = n.at, n.number, false
	}
	if a.ack && ack != nil {
		a.acknowledge(ack)
	}
}

// place is a line of the input.
type place struct {
	File string `json:"file"`
	Line int    `json:"line"`
}

func (p place) String() string { return fmt.Sprintf("%s:%d", p.File, p.Line) }

// refusal is a line of --ack for a line that holds no record, or whose record is not known to be durable.
type refusal struct {
	place
	Error string `json:"error"`
}

// nothing is a line of --ack for an empty line.
type nothing struct {
	place
	Empty bool `json:"empty"`
}

// acknowledgement is a line of --ack.
type acknowledgement struct {
	File     string          `json:"file"`
	Line     int             `json:"line"`
	Action   string          `json:"action,omitempty"`
	RunID    string          `json:"run_id"`
	Stage    string          `json:"stage"`
	RecordID string          `json:"record_id"`
	Stream   cohort.StreamID `json:"stream"`
	Stamp    cohort.Stamp    `json:"stamp"`
}

// acknowledge prints one line. That nobody reads them any more does not undo the records, so the input
// goes on and the exit code tells.
func (a *appender) acknowledge(answer any) {
	if a.ackErr == nil {
		a.ackErr = a.printJSON(answer)
	}
}

func (a *appender) printJSON(v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := a.stdout.Write(b.Bytes())
	return err
}
