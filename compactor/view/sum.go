package view

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/index"
)

// Mark is a checksum of the fixed columns of a row without its stamp. Two rows of one seq with one mark are the same row, also where the root
// was restored from a backup and gave the seq again.
func Mark(id index.Identity) uint64 {
	h := sha256.New()
	addIdentity(h, id)
	return binary.LittleEndian.Uint64(h.Sum(nil))
}

// addIdentity leaves out the stamp: an append of the same record raises it, and the row gets no seq for that.
func addIdentity(h io.Writer, id index.Identity) {
	var micros int64
	if !id.Time.IsZero() {
		micros = id.Time.UnixMicro()
	}
	for _, n := range []uint64{uint64(id.Seq), uint64(id.Version.Digest), uint64(micros)} {
		h.Write(binary.LittleEndian.AppendUint64(nil, n)) // a hash returns no error
	}
	for _, text := range []string{string(id.Key), string(id.Cohort), id.RunID, id.Stage, id.Version.RecordID, string(id.Stream), id.Writer} {
		addText(h, text)
	}
}

func addText(h io.Writer, text string) {
	h.Write(binary.AppendUvarint(nil, uint64(len(text))))
	io.WriteString(h, text)
}

// Sum is the count and the checksum of rows. It does not depend on their order.
type Sum struct {
	Rows int64
	hash [2]uint64
}

// add adds a row. Its snapshot must be canonical.
func (s *Sum) add(c index.Content, snapshot []byte) {
	h := sha256.New()
	addIdentity(h, c.Identity)
	of := c.Sum()
	h.Write(of[:])
	h.Write(snapshot)
	sum := h.Sum(nil)
	s.Rows++
	s.hash[0] += binary.LittleEndian.Uint64(sum)
	s.hash[1] += binary.LittleEndian.Uint64(sum[8:])
}

func (s Sum) String() string {
	return fmt.Sprintf("%d rows, checksum %016x%016x", s.Rows, s.hash[1], s.hash[0])
}

// ErrNone reports that a view holds nothing of a root.
var ErrNone = errors.New("the view holds nothing of the root")

// Checked tells what Check compared.
type Checked struct {
	View       string            `json:"view"`
	RootID     string            `json:"root_id"`
	Generation cohort.Generation `json:"generation"` // that the view states
	Newest     cohort.Generation `json:"newest"`     // of the root
	Rows       int64             `json:"rows"`       // that the view has
	Expected   int64             `json:"expected"`   // that the generation has
	Same       bool              `json:"same"`
}

// Check reads all rows of a view, and all rows of the generation that it states, and compares their number and a checksum of all that they
// say. A view that differs is no error: see Checked.Same. A generation that is no longer kept is a *generation.NotKeptError: sync, and
// check again. One of another history is ErrAhead, and a view that holds nothing ErrNone.
func Check(ctx context.Context, store *generation.Store, v View) (Checked, error) {
	var has Sum
	held, err := v.Rows(ctx, store.Settings.RootID, func(_ State, r Held) error {
		has.add(r.Content, v.Canonical(r.Snapshot))
		return nil
	})
	switch {
	case err != nil:
		return Checked{}, err
	case held.IsNone():
		return Checked{}, fmt.Errorf("%s: %w", v.Name(), ErrNone)
	}
	newest, err := store.Newest()
	if err != nil {
		return Checked{}, err
	}
	want, err := sumOf(ctx, store, v, held, newest)
	if err != nil {
		return Checked{}, err
	}
	return Checked{v.Name(), held.RootID, held.Generation, newest.Generation, has.Rows, want.Rows, has == want && held.Rows == want.Rows}, nil
}

// sumOf is the sum of the generation that a view states.
func sumOf(ctx context.Context, store *generation.Store, v View, held State, newest generation.Manifest) (sum Sum, err error) {
	m := generation.Manifest{NextSeq: 1}
	if held.Generation > newest.Generation {
		return Sum{}, &AheadError{v.Name(), held, newest.Generation}
	}
	if held.Generation > 0 {
		if m, err = store.Kept(held.Generation); err != nil {
			return Sum{}, err
		}
		if m.Token != held.Token {
			return Sum{}, &AheadError{v.Name(), held, newest.Generation}
		}
	}
	data, err := store.Data(m)
	if err != nil {
		return Sum{}, store.WhyGone(err, held.Generation)
	}
	defer data.Close()
	for r, err := range data.RowsFrom(0) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return Sum{}, store.WhyGone(err, held.Generation)
		}
		c, err := index.ContentOf(r.Identity, data.Index.Schema(), r.Values, r.Extra, v.Canonical)
		if err != nil {
			return Sum{}, err
		}
		sum.add(c, v.Canonical(r.Snapshot))
	}
	return sum, nil
}
