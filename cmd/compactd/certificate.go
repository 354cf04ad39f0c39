package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/internal/durable"
)

// certify writes the certificate of an erasure into a new file.
func (a *app) certify(cfg compactor.Config, done compactor.Erased, file string) error {
	c, err := compactor.Certify(cfg, done, whoErases())
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	if err := durable.Create(durable.OS, file, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("what was erased is erased, and its certificate was not written: %w: compactd erase --continue --apply --certificate FILE writes one", err)
	}
	a.say("%s states what was erased: it is signed by nobody", file)
	return nil
}

// whoErases is this user and this machine, for people to read.
func whoErases() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return generation.Account() + "@" + host
}

// maxCertificate bounds what is read of one: a million digests take about 70 MB.
const maxCertificate = 1 << 30

// verifyErased compares a certificate with the root.
func (a *app) verifyErased(ctx context.Context, cfg compactor.Config, o eraseFlags) error {
	data, err := durable.Read(durable.OS, o.verify, maxCertificate)
	if err != nil {
		return err
	}
	var c compactor.Certificate
	if err := json.Unmarshal(data, &c); err != nil || c.Version == 0 {
		return usageError{fmt.Errorf("%s is no certificate of an erasure", o.verify)}
	}
	wrong, err := c.Verify(ctx, cfg)
	if err == nil && o.what.RunID != "" {
		wrong, err = namesRun(cfg, c, o, wrong)
	}
	for _, text := range wrong {
		if _, werr := fmt.Fprintln(a.stdout, text); werr != nil {
			return werr
		}
	}
	switch {
	case err != nil:
		return err
	case len(wrong) > 0:
		return errors.New("the certificate and the root do not agree")
	case len(c.Left) > 0:
		a.say("the certificate and the root agree; it names %d places that were left", len(c.Left))
	default:
		a.say("the certificate and the root agree: %d digests, gone since generation %d", len(c.Digests), c.Since)
	}
	return nil
}

// namesRun adds it to wrong if a certificate is not about the run.
func namesRun(cfg compactor.Config, c compactor.Certificate, o eraseFlags, wrong []string) ([]string, error) {
	store, err := cfg.Store()
	if err != nil {
		return wrong, err
	}
	m, err := store.Newest()
	if err != nil {
		return wrong, err
	}
	all, err := store.Erased(m)
	if err == nil && !c.Names(all, o.what.RunID, o.what.Stage) {
		wrong = append(wrong, "it is not about the run that is named")
	}
	return wrong, err
}
