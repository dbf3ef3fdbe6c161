package main

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
)

// The limits that the figures are held to.
const (
	limitSingle = 300 * time.Millisecond
	limitBurst  = 1500 * time.Millisecond
	limitMemory = 200_000_000

	// A poll comes up to 10 % early by the provider's default.
	limitHeads = 1.12

	// Once a day the provider reads a manifest and looks for its one blob; some more
	// often, since the times of all are spread at random.
	requestsPerDay = 4.0

	// Fewer than these, and Artifacts were not polled as often as said.
	leastHeads = 0.85
)

const (
	// patience is how long Artifacts may take to become Ready.
	patience = 10 * time.Minute

	// quiet is how long there is no write once idle Artifacts have settled.
	quiet = 10 * time.Second
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
	before, err := b.written(ctx)
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
	after, err := b.written(ctx)
	if err != nil {
		return err
	}
	p50, p99 := percentile(waits, 50), percentile(waits, 99)
	b.report.phase("%d Artifacts, one at a time, on %d processors", n, runtime.NumCPU())
	b.report.say("from apply to Job, p50", "%s", milliseconds(p50))
	b.report.hold(p99 < limitSingle, "from apply to Job, p99", milliseconds(p99), "under "+milliseconds(limitSingle))
	b.report.writes("API writes until all are Ready", after.less(before), n)
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

// burst applies Artifacts one after the other without waiting.
func (b *bench) burst(ctx context.Context) error {
	n := b.options.burst
	if n == 0 {
		return nil
	}
	if b.provider == nil {
		if err := b.start(ctx); err != nil {
			return err
		}
		if _, err := b.applyOne(ctx, "first"); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	before, err := b.written(ctx)
	if err != nil {
		return err
	}
	jobs, start := b.cluster.made(), time.Now()
	if err := b.applyAll(ctx, names("burst", n)); err != nil {
		return err
	}
	applied := time.Now()
	b.artifacts += n
	last, err := b.lastJob(ctx, names("burst", n))
	if err != nil {
		return err
	}
	if err := b.waitReady(ctx, b.artifacts); err != nil {
		return err
	}
	ready := time.Now()
	after, err := b.written(ctx)
	if err != nil {
		return err
	}
	rss, _, err := b.provider.memory()
	made := b.cluster.made() - jobs
	b.report.phase("%d Artifacts, applied by %d without waiting, on %d processors", n, b.options.appliers, runtime.NumCPU())
	b.report.say("the applies", "%s", seconds(applied.Sub(start)))
	b.report.say("from the first apply to the last Job", "%s", seconds(last.Sub(start)))
	b.report.hold(last.Sub(applied) <= limitBurst, "from the last apply to the last Job", seconds(last.Sub(applied)), "at most "+seconds(limitBurst))
	b.report.say("from the first apply to all Ready", "%s (a Job runs for %s)", seconds(ready.Sub(start)), b.options.runTime)
	b.report.hold(made == n, "Jobs made", fmt.Sprint(made), fmt.Sprint(n))
	b.report.writes("API writes until all are Ready", after.less(before), n)
	b.report.say("RSS", "%d MB", rss/1e6)
	return err
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

// applyAll applies Artifacts, as many at the same time as there are appliers.
func (b *bench) applyAll(ctx context.Context, names []string) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(b.options.appliers)
	for _, name := range names {
		g.Go(func() error { return b.apply(ctx, name) })
	}
	return g.Wait()
}

// idle watches what Artifacts cost that are all Ready, after a restart of the
// provider.
func (b *bench) idle(ctx context.Context) error {
	n := b.options.ready
	if n == 0 {
		return nil
	}
	if err := errors.Join(b.provider.stop(), b.seed(ctx, n-b.artifacts)); err != nil {
		return err
	}
	b.provider = nil
	b.artifacts = max(n, b.artifacts)
	jobs := b.cluster.made()
	start := time.Now()
	b.registry.full.Store(true)
	if err := b.start(ctx); err != nil {
		return err
	}
	if err := b.settle(ctx); err != nil {
		return err
	}
	b.report.phase("%d Ready Artifacts, idle for %d polls of %s", b.artifacts, b.options.polls, b.options.poll)
	b.report.say("from the provider's start until all are settled", "%s", seconds(time.Since(start)))
	if err := b.watchIdle(ctx); err != nil {
		return err
	}
	made := b.cluster.made() - jobs
	b.report.hold(made == 0, "Jobs made", fmt.Sprint(made), "none")
	rss, peak, err := b.provider.memory()
	b.report.hold(rss < limitMemory, "RSS", fmt.Sprintf("%d MB", rss/1e6), fmt.Sprintf("under %d MB", int(limitMemory/1e6)))
	b.report.say("RSS at its most, while starting", "%d MB", peak/1e6)
	return err
}

// settle waits until every Artifact was looked at after the provider's start, and
// then until there are no more writes or another poll has passed.
func (b *bench) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for heads := b.registry.heads.Load(); ; {
		usages := &v1alpha1.ProviderConfigUsageList{}
		if err := b.client.List(ctx, usages, client.InNamespace(namespace)); err != nil {
			return errors.Wrap(err, "cannot list ProviderConfigUsages")
		}
		seen := int(b.registry.heads.Load() - heads)
		if len(usages.Items) >= b.artifacts && seen >= b.artifacts {
			break
		}
		if err := sleep(ctx, time.Second); err != nil {
			return errors.Wrapf(err, "the registry was asked %d times for %d Artifacts, of which %d use the ProviderConfig", seen, b.artifacts, len(usages.Items))
		}
	}
	last, err := b.written(ctx)
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(b.options.poll); time.Now().Before(deadline); {
		if err := sleep(ctx, quiet); err != nil {
			return err
		}
		now, err := b.written(ctx)
		if err != nil || now.total() == last.total() {
			return err
		}
		last = now
	}
	return nil
}

// watchIdle counts what happens during the polls.
func (b *bench) watchIdle(ctx context.Context) error {
	before, err := b.written(ctx)
	if err != nil {
		return err
	}
	old, err := b.versions(ctx)
	if err != nil {
		return err
	}
	heads, others := b.registry.heads.Load(), b.registry.others.Load()
	if err := sleep(ctx, time.Duration(b.options.polls)*b.options.poll); err != nil {
		return err
	}
	heads, others = b.registry.heads.Load()-heads, b.registry.others.Load()-others
	after, err := b.written(ctx)
	if err != nil {
		return err
	}
	now, err := b.versions(ctx)
	if err != nil {
		return err
	}
	changed := 0
	for id, version := range now {
		if old[id] != version {
			changed++
		}
	}
	asked := float64(heads) / float64(b.artifacts*b.options.polls)
	writes := after.less(before)
	b.report.hold(asked >= leastHeads && asked <= limitHeads, "HEADs an Artifact and poll", fmt.Sprintf("%.2f", asked), "1, polls up to 10 % off")
	b.report.say("HEADs a poll", "%d", int(heads)/b.options.polls)
	rare := int64(requestsPerDay * float64(b.artifacts) * (float64(b.options.polls) * b.options.poll.Hours() / 24))
	b.report.hold(others <= rare, "other requests to the registry", fmt.Sprint(others), fmt.Sprintf("%d, %.0f an Artifact and day", rare, requestsPerDay))
	b.report.hold(writes.total() == 0, "API writes", fmt.Sprint(writes.total()), "none")
	b.report.writes("API writes by kind and verb", writes, b.artifacts)
	b.report.hold(changed == 0, "Artifacts with another resourceVersion", fmt.Sprint(changed), "none")
	return nil
}
