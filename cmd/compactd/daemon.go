package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
)

func (a *app) runCommand() *cobra.Command {
	var flags daemonFlags
	var serve serving
	cmd := &cobra.Command{
		Use:   "run --root DIR",
		Short: "Fold on a schedule until told to stop",
		Long: `Fold at once and then on a schedule, until SIGTERM or SIGINT. The signal ends a running fold
after the phase that it is in; what it left is done by the next one. A second signal ends the
process at once, which loses nothing either.

Where there is no root yet, it says so and waits: for a share to be mounted, or for the root to be made.

A schedule is a cron expression of five fields in UTC, or "@every 30s". A run that comes while
the one before has not ended is left out, logged and counted.

SIGHUP reads the file of --config again. Its settings are named like the flags, with _ for -; one that stands in the file and on
the command line is refused. Sizes and durations have units: 512KiB, 320MiB, 1.5GB; 30s, 10m, 1h30m, 1d.

--view keeps copies of the index up to date, at the start and after each fold. One that fails holds up nothing: it is told, and tried again after a
while.

--listen shows the runs in a browser meanwhile, as "compactd serve" does, whose help says what --token-file, --insecure and --host are for.

More than one daemon may run for one root, also on several machines: the lock lets one work at
a time where locks work, and the commit keeps the result right where they do not. --lock takes the
lock from etcd, Redis or PostgreSQL; one that finds it held stands by until its next turn.`,
		Example: `  compactd run --root runs
  compactd run --root runs --schedule "*/5 * * * *" --log-format json
  compactd run --root runs --view sqlite:/var/lib/runfold/runs.db
  compactd run --root runs --listen 127.0.0.1:8321
  compactd run --root runs --config compactd.json   # {"schedule": "@every 10s", "view": ["sqlite:runs.db"]}`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			flags.given = cmd.Flags().Changed
			flags.lock = a.lock
			d, err := a.newDaemon(cfg, flags)
			if err != nil {
				return usageError{err}
			}
			if serve.listen == "" {
				if flags.given("token-file") || flags.given("insecure") || flags.given("host") {
					return usageError{errors.New("--token-file, --insecure and --host go with --listen")}
				}
				return d.run(cmd.Context())
			}
			end, at, err := a.serveBeside(cmd.Context(), serve, cfg, func(err error) { d.log.Error("a page was not shown", zap.Error(err)) })
			if err != nil {
				return err
			}
			defer end()
			d.log.Info("serving", zap.String("address", at))
			return d.run(cmd.Context())
		},
	}
	foldFlags(cmd, &flags.fold)
	serve.flags(cmd.Flags(), "", "also show the runs in a browser, at this `ADDRESS` (see compactd serve)")
	f := cmd.Flags()
	f.StringVar(&flags.schedule, "schedule", "@every 1m", "when to fold: cron expression (UTC) or @every DURATION")
	f.StringVar(&flags.logFormat, "log-format", "console", "the log on standard error: console or json")
	f.StringVar(&flags.logLevel, "log-level", "info", "debug, info, warn or error")
	f.StringArrayVar(&flags.views, "view", nil, "keep the view of this `URL` up to date; may be given more than once (see compactd view)")
	f.StringVar(&flags.config, "config", "", "a JSON `file` with "+strings.Join(settingNames(), ", "))
	return cmd
}

// daemon folds on a schedule.
type daemon struct {
	base  compactor.Config
	flags daemonFlags
	level zap.AtomicLevel
	log   *zap.Logger
	views *publishers
}

// plan is what one reading of the configuration results in.
type plan struct {
	schedule compactor.Schedule
	cfg      compactor.Config
	level    zapcore.Level
	views    *publishers
}

func (a *app) newDaemon(cfg compactor.Config, flags daemonFlags) (*daemon, error) {
	d := &daemon{base: cfg, flags: flags, level: zap.NewAtomicLevel()}
	log, err := newLogger(a.stderr, flags.logFormat, d.level)
	if err != nil {
		return nil, err
	}
	d.log = log
	d.base.Cache = new(generation.Cache)
	d.base.Notify = oncePerDaemon(func(n compactor.Notice) { logNotice(log, n) })
	p, err := d.plan()
	if err == nil {
		p.close() // it shows only that all can be read
	}
	return d, err
}

// plan reads the configuration.
func (d *daemon) plan() (plan, error) {
	flags := d.flags
	if flags.config != "" {
		if err := flags.read(flags.config); err != nil {
			return plan{}, err
		}
	}
	cfg, err := withFlags(d.base, flags.fold)
	if err != nil {
		return plan{}, err
	}
	schedule, err := parseSchedule(flags.schedule)
	if err != nil {
		return plan{}, err
	}
	level, err := parseLevel(flags.logLevel)
	if err != nil {
		return plan{}, err
	}
	views, err := openPublishers(flags.views, d.log)
	if err != nil && len(d.flags.views) == 0 {
		err = fmt.Errorf("%s: %w", flags.config, err)
	}
	if err != nil {
		return plan{}, err
	}
	if cfg.Locks, err = flags.lock.open(missedDaemon); err != nil {
		views.stop()
	}
	return plan{schedule, cfg, level, views}, err
}

// close ends what a plan has opened that is not followed.
func (p plan) close() {
	p.views.stop()
	p.cfg.Locks.Close() // an error is dropped: it has asked nothing of anybody
}

// run goes round once per configuration and returns when ctx ends.
func (d *daemon) run(ctx context.Context) error {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	signal.Ignore(syscall.SIGPIPE) // a reader of the log that is gone must not end the folds
	p, err := d.plan()
	if err != nil {
		return err
	}
	d.level.SetLevel(p.level)
	if err := d.awaitRoot(ctx); err != nil {
		return err
	}
	d.views = &publishers{}
	defer func() { d.views.stop() }()
	for ctx.Err() == nil {
		d.level.SetLevel(p.level)
		d.publish(ctx, p)
		next := p.schedule.Next(time.Now())
		d.log.Info("folding on schedule", zap.Stringer("root", p.cfg.Root), zap.Stringer("schedule", p.schedule), zap.Stringer("lock", p.cfg.Locks),
			zap.Time("next", next), zap.Time("then", p.schedule.Next(next)))
		p = p.followed(d.until(ctx, p, hangup))
	}
	p.cfg.Locks.Close() // an error is dropped: leases end by themselves
	d.log.Info("stopped")
	return nil
}

// followed is the plan next. Its lock was opened anew, so that a password that has changed is read; that of p is closed.
func (p plan) followed(next plan) plan {
	if p.cfg.Locks != next.cfg.Locks { // or it is the same plan
		p.cfg.Locks.Close()
	}
	return next
}

// publish takes the views of a plan in the place of others.
func (d *daemon) publish(ctx context.Context, p plan) {
	if slices.Equal(p.views.urls, d.views.urls) {
		p.views.stop() // those that are there go on
		return
	}
	d.views.stop()
	d.views = p.views
	d.views.start(ctx, p.cfg)
}

// until runs p until ctx ends or a hangup brings a new plan, which it returns.
func (d *daemon) until(ctx context.Context, p plan, hangup <-chan os.Signal) plan {
	ctx, cancel := context.WithCancel(ctx)
	next := make(chan plan, 1)
	go func() {
		defer cancel()
		for {
			select {
			case <-ctx.Done():
				next <- p
				return
			case <-hangup:
			}
			fresh, err := d.plan()
			if err == nil {
				d.log.Info("configuration read again")
				next <- fresh
				return
			}
			d.log.Error("configuration not read again: going on with the old one", zap.Error(err))
		}
	}()
	p.schedule.Run(ctx, func(ctx context.Context) error { return d.turn(ctx, p) },
		d.failed, p.cfg.Notify)
	cancel()
	return <-next
}

// failed logs a run that failed, with the next step where there is one.
func (d *daemon) failed(err error) {
	fields := []zap.Field{zap.Error(err)}
	if h := hint(err); h != "" {
		fields = append(fields, zap.String("hint", h))
	}
	d.log.Error("fold failed", fields...)
}

// fold folds once. That we are told to stop is no failure.
func (d *daemon) fold(ctx context.Context, cfg compactor.Config) error {
	report, err := compactor.Fold(ctx, cfg)
	d.views.wake() // also after a fold that failed: it may have committed, and so may others
	switch {
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		d.log.Info("fold stopped: the next one goes on", reportFields(report)...)
		return nil
	case err != nil:
		return err
	case report.Commits > 0 || !report.Clean() || report.Unseen > 0:
		d.log.Info("folded", reportFields(report)...)
	default:
		d.log.Debug("nothing to fold", reportFields(report)...)
	}
	return nil
}
