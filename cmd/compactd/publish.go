package main

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/view"
)

// How long a publisher waits before it tries again after failures: twice as long each time.
const (
	firstBackOff = time.Second
	lastBackOff  = 5 * time.Minute
)

// publishers bring the views of a daemon up to date. Each is a goroutine of its own: a view that fails, or takes its time, holds up neither a fold
// nor another view.
type publishers struct {
	all []*publisher
	wg  sync.WaitGroup
}

// publisher is that of one view.
type publisher struct {
	view view.View
	log  *zap.Logger
	due  chan struct{} // holds one: more folds meanwhile are one sync
	told map[string]bool
}

// openPublishers opens the views of URLs, and asks nothing of them.
func openPublishers(urls []string, log *zap.Logger) (*publishers, error) {
	p := &publishers{}
	for _, url := range urls {
		v, err := openView(url)
		if err != nil {
			return nil, err
		}
		p.all = append(p.all, &publisher{view: v, log: log.With(zap.String("view", v.Name())), due: make(chan struct{}, 1), told: map[string]bool{}})
	}
	return p, nil
}

// start syncs every view at once, and then whenever wake is called, until ctx ends.
func (p *publishers) start(ctx context.Context, cfg compactor.Config) {
	for _, one := range p.all {
		p.wg.Go(func() { one.run(ctx, cfg) })
	}
	p.wake()
}

// wake says that there may be a newer generation.
func (p *publishers) wake() {
	for _, one := range p.all {
		select {
		case one.due <- struct{}{}:
		default: // it is due already
		}
	}
}

// wait returns after all syncs have ended.
func (p *publishers) wait() {
	p.wg.Wait()
	for _, one := range p.all {
		if err := one.view.Close(); err != nil {
			one.log.Warn("view not closed", zap.Error(err))
		}
	}
}

// run syncs until ctx ends. After a failure it waits, whatever else is folded meanwhile.
func (p *publisher) run(ctx context.Context, cfg compactor.Config) {
	failures := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.due:
		}
		for {
			err := p.sync(ctx, cfg)
			if err == nil || ctx.Err() != nil {
				failures = 0
				break
			}
			failures++
			wait := backOff(failures)
			fields := []zap.Field{zap.Error(err), zap.Int("failures", failures), zap.Duration("again_in", wait)}
			if h := hint(err); h != "" {
				fields = append(fields, zap.String("hint", h))
			}
			p.log.Warn("view not synced", fields...)
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
		}
	}
}

// backOff is how long a publisher waits after so many failures.
func backOff(failures int) time.Duration {
	wait := firstBackOff
	for range failures - 1 {
		wait = min(2*wait, lastBackOff)
	}
	return wait
}

func (p *publisher) sync(ctx context.Context, cfg compactor.Config) error {
	store, err := cfg.Store()
	if err != nil {
		return err
	}
	report, err := view.Sync(ctx, store, p.view, view.Options{})
	if err != nil {
		return doubt(store, err)
	}
	for _, text := range report.Told() {
		if !p.told[text] {
			p.told[text] = true
			p.log.Warn(text)
		}
	}
	fields := []zap.Field{zap.Uint64("generation", uint64(report.To)), zap.Int64("rows", report.Rows), zap.Int64("written", report.Written),
		zap.Int64("removed", report.Removed)}
	if report.How == "" {
		p.log.Debug("view is up to date", fields...)
	} else {
		p.log.Info("view synced", fields...)
	}
	return nil
}
