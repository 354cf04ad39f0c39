package main

import (
	"fmt"
	"time"
	_ "time/tzdata" // Windows and small containers have no names of zones

	"github.com/runfold/runfold/cohort"
)

// parseZone reads --assume-zone: UTC, an offset, or a name of the IANA time zone database. Neither the machine's own zone is
// one, nor -00:00, which says that nobody knows: the same command must write the same record wherever it runs.
func parseZone(s string) (*time.Location, error) {
	bad := usageError{fmt.Errorf("--assume-zone %q is not UTC, an offset such as +02:00, or a name such as Europe/Berlin", s)}
	if s == "" || s == "Local" || s == "-00:00" {
		return nil, bad
	}
	if s[0] == '+' || s[0] == '-' {
		t, ok := cohort.ParseTime("2026-01-31T12:00:00" + s)
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

// inZone is the record with the zone that its timestamp is to have if it has none.
func (o options) inZone(r cohort.Record) (cohort.Record, error) {
	if o.zone == nil {
		return r, nil
	}
	return r.AssumeZone(o.zone)
}
