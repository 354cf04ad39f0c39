package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/runfold/runfold/compactor/lock"
	"github.com/runfold/runfold/internal/doctor"
)

// lockHolderName is the hidden subcommand that the process runs that holds a lock and is killed.
const lockHolderName = "doctor-lock-holder"

// errUnsound ends a measuring of a lock that does not do what a lock promises.
var errUnsound = errors.New("this lock does not do what a lock promises: two compactors may do the same work, and no record is lost by it")

// errMeasured says that a lock was not measured.
var errMeasured = errors.New("the lock could not be measured")

// measureLock measures the service of --lock.
func (a *app) measureLock(ctx context.Context, asJSON bool) (err error) {
	defer func() {
		if errors.Is(err, lock.ErrAway) || errors.Is(err, lock.ErrRefused) {
			err = fmt.Errorf("%w: %w", errMeasured, err)
		}
	}()
	open := func() (lock.Provider, error) { return openLock(a.lock.wanted()) }
	p, err := open()
	if err != nil {
		return err
	}
	defer p.Close()
	if _, ok := p.(*lock.Leases); !ok {
		return usageError{fmt.Errorf("the lock %v is no service: give the URL of one; compactd doctor --root measures the lock file", p)}
	}
	end := a.progress.begin("measuring "+p.String(), nil)
	v, err := doctor.MeasureLock(ctx, open, a.lockHolder)
	end()
	if err != nil {
		return err
	}
	if err := a.printLockVerdict(v, asJSON); err != nil {
		return err
	}
	if !v.Sound {
		return errUnsound
	}
	return nil
}

// lockHolder runs this program as a process that holds a lock. It gets the URL by the environment, as a password may be there too.
func (a *app) lockHolder(rootID string) *exec.Cmd {
	cmd := exec.Command(self(), lockHolderName, rootID)
	cmd.Env = append(os.Environ(), lockVar+"="+a.lock.wanted())
	return cmd
}

// lockHolderCommand is what lockHolder runs.
func (a *app) lockHolderCommand() *cobra.Command {
	return &cobra.Command{
		Use:    lockHolderName + " ROOT-ID",
		Short:  "Run by doctor",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := openLock(a.lock.wanted())
			if err != nil {
				return err
			}
			return doctor.HoldLock(cmd.Context(), p, args[0], a.stdin, a.stdout)
		},
	}
}

func (a *app) printLockVerdict(v doctor.LockVerdict, asJSON bool) error {
	if asJSON {
		return a.printJSON(v)
	}
	fmt.Fprintf(a.stdout, "lock  %s\n\n", v.Lock)
	t := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "CHECK\tRESULT\tWHAT IT MEANS\n")
	for _, c := range v.Checks {
		fmt.Fprintf(t, "%s\t%s\t%s\n", c.Name, c.Result, c.Means)
		if c.Detail != "" {
			fmt.Fprintf(t, "\t\t(%s)\n", c.Detail)
		}
	}
	return t.Flush()
}
