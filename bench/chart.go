package main

import (
	"encoding/json"
	"os"
	"strings"
)

// charts is filled in below.
func (r *results) charts(string) error { return nil }

// drawAgain makes table and charts of results that were saved.
func drawAgain(from, to string) error {
	raw, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	var r results
	if err := json.Unmarshal(raw, &r); err != nil {
		return err
	}
	if to == "" {
		var b strings.Builder
		r.table(&b)
		_, err := os.Stdout.WriteString(b.String())
		return err
	}
	return r.save(to)
}
