package main

import (
	_ "time/tzdata" // Windows and small containers have no names of zones

	"github.com/runfold/runfold/cohort"
)

// inZone is the record with the zone that its timestamp is to have if it has none.
func (o options) inZone(r cohort.Record) (cohort.Record, error) {
	if o.zone == nil {
		return r, nil
	}
	return r.AssumeZone(o.zone)
}
