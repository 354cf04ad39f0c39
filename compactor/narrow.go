package compactor

import (
	"fmt"
	"slices"
	"strings"

	"github.com/runfold/runfold/cohort"
)

// Narrowing counts records and rows that gave way to a later write of their key although the two look like different
// results: they differ in cohort, target, view, symbol or model_family. A root whose key has such a field keeps them apart.
type Narrowing struct {
	Narrow         int        `json:"narrow"`
	NarrowFields   []string   `json:"narrow_fields,omitempty"`   // in which they differ
	NarrowExamples []Narrowed `json:"narrow_examples,omitempty"` // of up to three keys
}

// Narrowed is one of them.
type Narrowed struct {
	Key     cohort.Key          `json:"key"`
	Differs []cohort.Difference `json:"differs"`
}

// String is the example on one line.
func (n Narrowed) String() string {
	var all []string
	for _, d := range n.Differs {
		all = append(all, fmt.Sprintf("%s %s gave way to %s", d.Field, orAbsent(d.Gone), orAbsent(d.Stays)))
	}
	return fmt.Sprintf("%q (%s)", string(n.Key), strings.Join(all, ", "))
}

func orAbsent(text string) string {
	if text == "" {
		return "none"
	}
	return fmt.Sprintf("%q", text)
}

// maxNarrowed bounds the examples.
const maxNarrowed = 3

// add counts what gives way under a key, unless it looks like an earlier state of the same result.
func (n *Narrowing) add(key cohort.Key, gone, stays *cohort.Facets) {
	if gone == stays || *gone == *stays {
		return
	}
	one := Narrowed{key, gone.Differences(*stays)}
	n.Narrow++
	for _, d := range one.Differs {
		n.field(d.Field)
	}
	n.example(one)
}

func (n *Narrowing) field(name string) {
	if !slices.Contains(n.NarrowFields, name) {
		n.NarrowFields = append(n.NarrowFields, name)
	}
}

func (n *Narrowing) example(one Narrowed) {
	known := slices.ContainsFunc(n.NarrowExamples, func(e Narrowed) bool { return e.Key == one.Key })
	if !known && len(n.NarrowExamples) < maxNarrowed {
		n.NarrowExamples = append(n.NarrowExamples, one)
	}
}

// Plus is both. Neither shares memory with the sum that is written to later.
func (n Narrowing) Plus(more Narrowing) Narrowing {
	sum := Narrowing{n.Narrow + more.Narrow, slices.Clone(n.NarrowFields), slices.Clone(n.NarrowExamples)}
	for _, name := range more.NarrowFields {
		sum.field(name)
	}
	for _, one := range more.NarrowExamples {
		sum.example(one)
	}
	return sum
}

// NarrowKey tells that the last write of a key won over records that look like other results.
type NarrowKey struct{ Narrowing }

func (n NarrowKey) String() string {
	var examples []string
	for _, e := range n.NarrowExamples {
		examples = append(examples, e.String())
	}
	return fmt.Sprintf("%d records gave way to later ones of the same key with another %s, such as %s: "+
		"if they are different results, make a root whose key has these fields, and import this one into it",
		n.Narrow, strings.Join(n.NarrowFields, " or "), strings.Join(examples, ", "))
}

// RepeatedByID tells of records with the id of a row that an older program wrote. Such a row does not say what bytes it was
// made of, so they were taken for that record appended again, whatever they say.
type RepeatedByID struct{ Count int }

func (n RepeatedByID) String() string {
	return fmt.Sprintf("%d records have the record_id of a row that an older program wrote, which keeps no digest of its bytes: "+
		"they were taken for that record appended again, whatever they say", n.Count)
}
