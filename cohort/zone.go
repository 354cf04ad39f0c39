package cohort

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/runfold/runfold/internal/jsonscan"
)

// AssumeZone gives a timestamp that has no zone, such as 2026-03-01T12:00:00.5, the offset that is in force in loc at that time.
// Only these characters are added: every other byte of the JSON stays, in memory of its own. A timestamp that has a zone, and
// one that is no time at all, stays as it is: Validate judges it. The record must have been parsed.
//
// Where clocks go back, an hour comes twice, and where they go forward, one does not come at all. Nobody can tell then which
// offset was meant, and a guess would be an hour wrong: that is an error. UTC and a fixed offset know no such hours.
func (r Record) AssumeZone(loc *time.Location) (Record, error) {
	offset, err := MissingZone(r.Timestamp, loc)
	if err != nil {
		return Record{}, err
	}
	if offset == "" {
		return r, nil
	}
	end := endOfTimestamp(r.JSON)
	if end == 0 {
		return Record{}, errors.New("timestamp does not stand in the JSON: use cohort.ParseRecord")
	}
	parsed := r.Unchanged()
	r.JSON = slices.Concat(r.JSON[:end], []byte(offset), r.JSON[end:])
	r.Timestamp += offset
	r.top = nil
	if parsed {
		r.sum = r.sumOf()
	}
	return r, nil
}

// MissingZone is the offset, such as +02:00 or Z, that AssumeZone adds to a timestamp; it is empty where nothing is to be added.
func MissingZone(timestamp string, loc *time.Location) (string, error) {
	local, _, ok := parseTime(timestamp + "Z")
	if !ok {
		return "", nil
	}
	offset, err := offsetIn(loc, local)
	if err != nil {
		return "", fmt.Errorf("timestamp %q %w", timestamp, err)
	}
	return offset, nil
}

// endOfTimestamp is where the text of the timestamp ends in a record's JSON, before its last quote; of several the last one
// counts. 0: it is absent, or no text.
func endOfTimestamp(json []byte) (end int) {
	for _, at := range jsonscan.Spans(nil, json) {
		if m := at.Member(json); string(m.Name) == "timestamp" && jsonscan.KindOf(m.Value) == jsonscan.String {
			end = at.End() - 1
		}
	}
	return end
}

// offsetIn is the offset of loc, as RFC 3339 writes it, at a local time, which is given as if it were UTC.
func offsetIn(loc *time.Location, local time.Time) (string, error) {
	if loc == time.UTC {
		return "Z", nil
	}
	const day = 24 * time.Hour // more than any offset: one that is in force at the local time is in force within a day of it
	var offsets []string
	for at := local.Add(-day).In(loc); at.Before(local.Add(day)); {
		_, offset := at.Zone()
		_, inForce := local.Add(-time.Duration(offset) * time.Second).In(loc).Zone()
		text := offsetText(offset)
		if inForce == offset && !slices.Contains(offsets, text) {
			offsets = append(offsets, text)
		}
		_, next := at.ZoneBounds()
		if next.IsZero() {
			break
		}
		at = next
	}
	switch {
	case len(offsets) == 0:
		return "", fmt.Errorf("never was in %v, where clocks went forward over it: write its offset", loc)
	case len(offsets) > 1:
		return "", fmt.Errorf("was twice in %v, where clocks went back: write its offset, %s", loc, strings.Join(offsets, " or "))
	case len(offsets[0]) != len("+00:00"):
		return "", fmt.Errorf("had the offset %s in %v, for which RFC 3339 has no form: write another one", offsets[0], loc)
	}
	return offsets[0], nil
}

// offsetText is an offset in seconds as RFC 3339 writes it; longer, with its seconds, if it is not one of whole minutes.
func offsetText(offset int) string {
	form := "-07:00"
	if offset%60 != 0 {
		form = "-07:00:00"
	}
	return time.Unix(0, 0).In(time.FixedZone("", offset)).Format(form)
}

// ParseZone reads the name of a zone that timestamps without one are to have: UTC, an offset such as +02:00, or a name of the IANA time
// zone database, which must be there (time/tzdata). Neither the machine's own zone is one, nor -00:00, which says that nobody
// knows: the same command must write the same record wherever it runs.
func ParseZone(s string) (*time.Location, error) {
	bad := fmt.Errorf("%q is not UTC, an offset such as +02:00, or a name such as Europe/Berlin", s)
	if s == "" || s == "Local" || s == "-00:00" {
		return nil, bad
	}
	if s[0] == '+' || s[0] == '-' {
		t, ok := ParseTime("2026-01-31T12:00:00" + s)
		if !ok {
			return nil, bad
		}
		_, offset := t.Zone()
		return time.FixedZone(s, offset), nil
	}
	loc, err := time.LoadLocation(s)
	if err != nil {
		return nil, bad
	}
	return loc, nil
}
