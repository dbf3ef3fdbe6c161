package main

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
)

// The limits that the figures are held to.
const (
	limitSingle = 300 * time.Millisecond

	// leastShare is the least share of the bare client's rate at which the provider makes
	// the Jobs of Artifacts that are applied at once.
	leastShare = 0.80
)

const (
	// patience is how long Artifacts may take to become Ready.
	patience = 10 * time.Minute
)

// single applies Artifacts one at a time.
func (b *bench) single(ctx context.Context) error {
	n := b.options.single
	if n == 0 {
		return nil
	}
	if err := b.start(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	// The first waits until the provider has started.
	if _, err := b.applyOne(ctx, "first"); err != nil {
		return err
	}
	before, err := b.asked(ctx)
	if err != nil {
		return err
	}
	waits := make([]time.Duration, 0, n)
	for _, name := range names("single", n) {
		wait, err := b.applyOne(ctx, name)
		if err != nil {
			return err
		}
		waits = append(waits, wait)
	}
	if err := b.waitReady(ctx, b.artifacts); err != nil {
		return err
	}
	after, err := b.asked(ctx)
	if err != nil {
		return err
	}
	p50, p99 := percentile(waits, 50), percentile(waits, 99)
	b.report.phase("%d Artifacts, one at a time, on %d processors", n, runtime.NumCPU())
	b.report.say("from apply to Job, p50", "%s", milliseconds(p50))
	b.report.hold(p99 < limitSingle, "from apply to Job, p99", milliseconds(p99), "under "+milliseconds(limitSingle))
	b.report.requests("API writes until all are Ready", after.less(before).writes(), n)
	b.report.requests("API reads until all are Ready", after.less(before).reads(), n)
	return nil
}

// applyOne applies an Artifact and returns how long it was without a Job.
func (b *bench) applyOne(ctx context.Context, name string) (time.Duration, error) {
	start := time.Now()
	if err := b.apply(ctx, name); err != nil {
		return 0, err
	}
	b.artifacts++
	at, err := b.cluster.waitJob(ctx, name)
	return at.Sub(start), err
}

// A burst is what it takes from applying Artifacts at once to the last of their Jobs.
type burst struct {
	took time.Duration

	// used is the processor time of that.
	used processorTimes
}

// burst applies Artifacts at once, after a bare client has made as many with their objects.
// No Job ends before all are there, so that both do nothing else meanwhile.
func (b *bench) burst(ctx context.Context) error {
	n := b.options.burst
	if n == 0 {
		return nil
	}
	bare, err := b.bareBurst(ctx, n)
	if err != nil {
		return err
	}
	// It goes on after this phase.
	if err := b.start(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if _, err := b.applyOne(ctx, "started"); err != nil {
		return err
	}
	before, err := b.asked(ctx)
	if err != nil {
		return err
	}
	jobs := b.cluster.made()
	own, err := b.ownBurst(ctx, n, bare)
	if err != nil {
		return err
	}
	started, err := b.asked(ctx)
	if err != nil {
		return err
	}
	b.report.requests("API writes until the last Job", started.less(before).writes(), n)
	b.report.requests("API reads until the last Job", started.less(before).reads(), n)
	b.cluster.release()
	if err := b.waitReady(ctx, b.artifacts); err != nil {
		return err
	}
	ready := time.Now()
	after, err := b.asked(ctx)
	if err != nil {
		return err
	}
	rss, _, err := b.provider.memory()
	made := b.cluster.made() - jobs
	b.report.say("from the last Job to all Ready", "%s", seconds(ready.Sub(own)))
	b.report.hold(made == n, "Jobs made", fmt.Sprint(made), fmt.Sprint(n))
	b.report.requests("API writes until all are Ready", after.less(before).writes(), n)
	b.report.requests("API reads until all are Ready", after.less(before).reads(), n)
	b.report.say("RSS", "%d MB", rss/1e6)
	return errors.Join(err, b.releaseClaims(ctx, namespace))
}

// bareBurst has the bare client make the objects of as many Artifacts, without a provider
// beside it. Jobs are held from here on.
func (b *bench) bareBurst(ctx context.Context, n int) (burst, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := b.start(ctx); err != nil {
		return burst{}, err
	}
	if _, err := b.applyOne(ctx, sampleName); err != nil {
		return burst{}, err
	}
	b.cluster.hold()
	if _, err := b.applyOne(ctx, "held"); err != nil {
		return burst{}, err
	}
	if err := b.provider.stop(); err != nil {
		return burst{}, err
	}
	b.provider = nil
	return b.bare(ctx, "bare", n)
}

// ownBurst applies as many Artifacts to the provider, reports how soon they have their Jobs,
// beside the bare client, and returns when the last one was there.
func (b *bench) ownBurst(ctx context.Context, n int, bare burst) (time.Time, error) {
	before, err := usedProcessor()
	if err != nil {
		return time.Time{}, err
	}
	start, all := time.Now(), names("burst", n)
	if err := inParallel(ctx, b.options.workers, all, b.apply); err != nil {
		return time.Time{}, err
	}
	applied := time.Now()
	b.artifacts += n
	last, err := b.lastJob(ctx, all)
	if err != nil {
		return last, err
	}
	after, err := usedProcessor()
	if err != nil {
		return last, err
	}
	took := last.Sub(start)
	share := bare.took.Seconds() / took.Seconds()
	b.report.phase("%d Artifacts, applied by %d at once, on %d processors", n, b.options.workers, runtime.NumCPU())
	b.report.say("a bare client makes the same", "%s, %.1f Jobs a second", seconds(bare.took), float64(n)/bare.took.Seconds())
	b.report.say("its processor time for an Artifact", "%s", bare.used.each(n))
	b.report.say("the applies", "%s", seconds(applied.Sub(start)))
	b.report.say("from the first apply to the last Job", "%s, %.1f Jobs a second", seconds(took), float64(n)/took.Seconds())
	b.report.say("processor time for an Artifact", "%s", after.less(before).each(n))
	b.report.hold(share >= leastShare, "of the bare client's rate", fmt.Sprintf("%.0f %%", share*100), fmt.Sprintf("at least %.0f %%", leastShare*100))
	return last, nil
}

// lastJob waits for the Jobs of Artifacts and returns when the last was there.
func (b *bench) lastJob(ctx context.Context, names []string) (time.Time, error) {
	last := time.Time{}
	for _, name := range names {
		at, err := b.cluster.waitJob(ctx, name)
		if err != nil {
			return last, err
		}
		if at.After(last) {
			last = at
		}
	}
	return last, nil
}
