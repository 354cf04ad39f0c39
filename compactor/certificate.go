package compactor

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
)

// Certificate states what was erased from a root, as a file that can be kept elsewhere. Nobody signs it: a user who can write the file can write
// another one. What it states can be compared with the root, see Certificate.Verify.
//
// Its form is part of the format: docs/format/erased.md.
type Certificate struct {
	Version int    `json:"version"`
	RootID  string `json:"root_id"`
	At      string `json:"erased_at"` // the wall clock of the machine that erased
	By      string `json:"erased_by"` // user@host
	Program string `json:"program"`
	// Digests are HMAC-SHA-256 of keys, runs and stages, with the salt in the first line of the data file SaltIn.
	Digests []cohort.NameDigest `json:"digests"`
	SaltIn  string              `json:"salt_in"`
	Stamp   cohort.Stamp        `json:"stamp"` // what was appended before it is erased
	// From is the last generation that had the runs, and Since the first one without them.
	From  generation.Gone   `json:"erased_from"`
	Since cohort.Generation `json:"gone_since"`
	Clean []generation.Gone `json:"clean_generations"`
	Gone  []generation.Gone `json:"removed_generations"`
	Left  []Holding         `json:"left"` // what may still hold something of them
}

const certificateVersion = 1

// Certify makes the certificate of what Erase did. If that call has only gone on with what an earlier one left, the certificate is about all that was
// ever erased from the root.
func Certify(cfg Config, done Erased, by string) (Certificate, error) {
	r, err := open(cfg)
	if err != nil {
		return Certificate{}, err
	}
	m, err := r.store.Newest()
	if err != nil {
		return Certificate{}, err
	}
	all, err := r.store.Erased(m)
	if err != nil {
		return Certificate{}, err
	}
	if all == nil {
		return Certificate{}, fmt.Errorf("nothing was erased from %s: there is nothing to certify", cfg.Root)
	}
	c := Certificate{
		Version: certificateVersion, RootID: m.RootID, At: cohort.FormatTime(r.Now()), By: by, Program: r.Program,
		Digests: slices.Clone(done.At), SaltIn: m.Erased.Name, Stamp: done.Stamp,
		From: done.Base, Since: m.Erased.Since,
		Clean: append([]generation.Gone{}, done.Clean...), Gone: append([]generation.Gone{}, done.Gone...), Left: append([]Holding{}, done.Holding...),
	}
	if done.Since > 0 { // others may have erased more meanwhile
		c.Since, c.SaltIn = done.Since, done.Salt
	}
	if len(c.Digests) == 0 {
		c.Digests = slices.Collect(maps.Keys(all.All()))
		c.Stamp = lowestOf(all)
	}
	if c.From.Generation == 0 {
		c.From.Generation = c.Since - 1
		if first, err := r.store.Read(c.Since); err == nil {
			c.From.SHA256 = first.Parent
		}
	}
	slices.SortFunc(c.Digests, func(a, b cohort.NameDigest) int { return slices.Compare(a[:], b[:]) })
	return c, nil
}

// lowestOf is the lowest stamp of all tombstones: what was appended before that is erased, whichever of them is about it.
func lowestOf(all *cohort.Erased) cohort.Stamp {
	lowest := cohort.Stamp(math.MaxInt64)
	for _, t := range all.All() {
		lowest = min(lowest, t.Stamp)
	}
	return lowest
}

// Verify compares a certificate with its root: that the tombstones are there, that no generation before is, that the generations which it names are
// in the chain of manifests as it says, and that no row that is kept has one of its digests. It returns what does not hold. It reads the keys
// of all rows of all generations.
func (c Certificate) Verify(ctx context.Context, cfg Config) (wrong []string, err error) {
	r, err := open(cfg)
	if err != nil {
		return nil, err
	}
	m, err := r.store.Newest()
	if err != nil {
		return nil, err
	}
	if c.Version != certificateVersion {
		return nil, fmt.Errorf("certificate of version %d: %w", c.Version, cohort.ErrNewer)
	}
	if m.RootID != c.RootID {
		return []string{fmt.Sprintf("it is of root %s, and this is %s", c.RootID, m.RootID)}, nil
	}
	all, err := r.store.Erased(m)
	if err != nil {
		return nil, err
	}
	v := verifier{Certificate: c, store: r.store, all: all}
	v.tombstones()
	err = v.generations(ctx)
	return v.wrong, err
}

type verifier struct {
	Certificate
	store *generation.Store
	all   *cohort.Erased
	wrong []string
}

func (v *verifier) tell(format string, args ...any) {
	v.wrong = append(v.wrong, fmt.Sprintf(format, args...))
}

func (v *verifier) tombstones() {
	if v.all == nil {
		v.tell("the root has no tombstones at all")
		return
	}
	for _, d := range v.Digests {
		if !v.all.Has(d, v.Stamp) {
			v.tell("the root has no tombstone with digest %v up to that stamp", d)
		}
	}
}

// generations reads every generation that is kept. One that is swept meanwhile is not kept.
func (v *verifier) generations(ctx context.Context) error {
	gens, err := v.store.List()
	if err != nil {
		return err
	}
	var before *generation.Manifest
	for _, g := range gens {
		if err := ctx.Err(); err != nil {
			return err
		}
		if g < v.Since {
			v.tell("generation %d is there, and they were gone only since %d", g, v.Since)
		}
		m, err := v.store.Read(g)
		if err == nil {
			v.links(before, &m)
			before = &m
			err = v.rows(m)
		}
		if err != nil && !isSwept(v.store, g) {
			return err
		}
	}
	return nil
}

// links compares what a manifest says of itself and its parent. before is the one before it that was read.
func (v *verifier) links(before, m *generation.Manifest) {
	g := m.Generation
	if before != nil && before.Generation+1 == g && !before.IsParentOf(m) { // retention may have left out some between others
		v.tell("generation %d does not follow %d: one of the two is void", g, before.Generation)
	}
	for _, named := range slices.Concat(v.Clean, []generation.Gone{v.From}) {
		if named.Generation == g && named.SHA256 != m.SHA256() {
			v.tell("generation %d is another one: its manifest has SHA-256 %s, and not %s", g, m.SHA256(), named.SHA256)
		}
	}
	if g == v.Since && m.Parent != v.From.SHA256 {
		v.tell("generation %d was made from a manifest with SHA-256 %s, and not %s", g, m.Parent, v.From.SHA256)
	}
}

// rows looks for the digests among the rows of a generation.
func (v *verifier) rows(m generation.Manifest) error {
	if v.all == nil {
		return nil
	}
	digests := make(map[cohort.NameDigest]bool, len(v.Digests))
	for _, d := range v.Digests {
		digests[d] = true
	}
	d, err := v.store.Data(m)
	if err != nil {
		return err
	}
	defer d.Close()
	for _, d := range []*generation.Data{d, d.Withdrawn} {
		if d == nil {
			continue
		}
		for h, err := range d.Index.Identities() {
			if err != nil {
				return err
			}
			digest := v.all.Salt.OfKey(h.Key)
			if digests[digest] && (h.Version.Stamp <= v.Stamp || v.all.Has(digest, h.Version.Stamp)) {
				v.tell("generation %d has a row with digest %v", m.Generation, digest)
			}
		}
	}
	return nil
}

// Names tells whether a certificate is about a run, or a stage of it if that is given. all are the tombstones of its root.
func (c Certificate) Names(all *cohort.Erased, runID, stage string) bool {
	if all == nil {
		return false
	}
	return slices.Contains(c.Digests, all.Salt.OfRun(runID)) || stage != "" && slices.Contains(c.Digests, all.Salt.OfStage(runID, stage))
}
