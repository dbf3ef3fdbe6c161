// Package progress polls the Pods of runs for their progress.
package progress

import (
	"cmp"
	"context"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

const (
	// defaultInterval is how often a run is polled, and so how often an Artifact's
	// status is written because of its progress at most.
	defaultInterval = 15 * time.Second

	// longestWait bounds how long a run that does not answer is not polled, as when
	// a NetworkPolicy keeps the provider from its Pod.
	longestWait = 5 * time.Minute

	// maxFailures is how many polls in a row may fail until the last answer is
	// dropped.
	maxFailures = 3

	// workers is how many runs are polled at a time.
	workers = 8

	// retention is how long a run is polled whose Artifact is not reconciled, as
	// when it is paused.
	retention = time.Hour
)

// Options of a Poller.
type Options struct {
	// WritesPerMinute is how many statuses are written a minute because of
	// progress at most, of all runs together; with 0 no run is polled.
	WritesPerMinute int

	// Interval between two polls of a run; 0 for 15 seconds.
	Interval time.Duration

	// Ask asks the Pod at an address for its progress; nil means over HTTP.
	Ask func(context.Context, netip.Addr) (outcome.Progress, error)
}

// A Poller asks the Pods of runs for their progress, beside the reconciles, which
// tell it the runs to poll and read the answers. It is safe for concurrent use.
type Poller struct {
	now      func() time.Time
	interval time.Duration

	// budget of writes to the statuses of all runs, and the time between two of
	// them; nil if no run is polled.
	budget *rate.Limiter
	share  time.Duration

	ask func(context.Context, netip.Addr) (outcome.Progress, error)

	events chan event.GenericEvent

	// changed receives a value when another run may be due.
	changed chan struct{}

	mu      sync.Mutex // Not held while a Pod is asked.
	polling int
	runs    map[types.UID]*polledRun
}

// New returns a Poller that polls no run yet.
func New(o Options) *Poller {
	p := &Poller{
		now:      time.Now,
		interval: cmp.Or(o.Interval, defaultInterval),
		ask:      o.Ask,
		events:   make(chan event.GenericEvent),
		changed:  make(chan struct{}, 1),
		runs:     map[types.UID]*polledRun{},
	}
	if p.ask == nil {
		p.ask = newPodClient().ask
	}
	if o.WritesPerMinute > 0 {
		p.share = time.Minute / time.Duration(o.WritesPerMinute)
		// An interval's writes may come at once.
		burst := max(1, int(p.interval/p.share))
		p.budget = rate.NewLimiter(rate.Every(p.share), burst)
	}
	return p
}

// Events returns an event for each Artifact whose run has progressed, which must
// be reconciled for its status to be written.
func (p *Poller) Events() <-chan event.GenericEvent { return p.events }

// A polledRun is an Artifact's run that is polled.
type polledRun struct {
	artifact types.NamespacedName

	// pods are those that run. They are replaced as one, never changed.
	pods []polledPod

	// shares are what the run's Pods have answered, if it has several; nil for one Pod.
	shares *shares

	seen     time.Time // When it was reconciled last.
	due      time.Time
	polling  bool
	failures int // In a row.
	answer   *modelv1alpha1.ProgressObservation
}

// Progress returns the progress of an Artifact's run by the latest answers of its Pods, nil
// if it is unknown, and has the run polled from now on.
func (p *Poller) Progress(a *modelv1alpha1.Artifact, pods []corev1.Pod) *modelv1alpha1.ProgressObservation {
	polled := pollable(pods)
	if len(polled) == 0 || p.budget == nil {
		p.Forget(a.GetUID())
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	run, known := p.runs[a.GetUID()]
	if !known || !run.goesOnWith(polled) {
		// A Pod that has just started has no progress yet.
		next := &polledRun{artifact: client.ObjectKeyFromObject(a), due: now.Add(p.interval / 3)}
		if !known {
			// What was known before the provider started.
			next.answer = a.Status.AtProvider.Progress.DeepCopy()
		}
		run = next
		p.runs[a.GetUID()] = run
		p.notify()
	}
	run.seen, run.pods = now, polled
	run.shares = run.shares.of(a, pods)
	return run.answer.DeepCopy()
}

// goesOnWith reports whether the run has these Pods, or at least one of them if it has several.
func (r *polledRun) goesOnWith(pods []polledPod) bool {
	if r.shares == nil {
		return slices.Equal(r.pods, pods)
	}
	return slices.ContainsFunc(pods, func(p polledPod) bool { return slices.Contains(r.pods, p) })
}

// Forget stops polling an Artifact's run.
func (p *Poller) Forget(uid types.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.runs, uid)
}

// notify has Start look for runs that are due.
func (p *Poller) notify() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// Start polls runs until the context ends.
func (p *Poller) Start(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.changed:
		case <-timer.C:
		}
		if next, ok := p.pollDue(ctx); ok {
			timer.Reset(next)
		}
	}
}

// pollDue starts to poll the runs that are due, as many as may be polled at a time.
// It returns how long until the next run is due, if one is known: those that are
// being polled have no time yet.
func (p *Poller) pollDue(ctx context.Context) (time.Duration, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	var next time.Time
	for uid, run := range p.runs {
		switch {
		case run.polling:
			continue
		case now.Sub(run.seen) > retention:
			delete(p.runs, uid)
			continue
		case !now.Before(run.due) && p.polling < workers:
			run.polling = true
			p.polling++
			go p.poll(ctx, uid, run)
			continue
		case !now.Before(run.due):
			// The end of another poll wakes the loop.
			continue
		}
		if next.IsZero() || run.due.Before(next) {
			next = run.due
		}
	}
	return next.Sub(now), !next.IsZero()
}

// poll polls one run, and has its Artifact reconciled if there is news.
func (p *Poller) poll(ctx context.Context, uid types.UID, run *polledRun) {
	p.mu.Lock()
	pods := run.pods
	p.mu.Unlock()
	got, err := p.askAll(ctx, pods)
	if p.record(uid, run, got, err) {
		a := &modelv1alpha1.Artifact{ObjectMeta: metav1.ObjectMeta{Namespace: run.artifact.Namespace, Name: run.artifact.Name}}
		select {
		case p.events <- event.GenericEvent{Object: a}:
		case <-ctx.Done():
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	run.polling = false
	p.polling--
	p.notify()
}

// podsAtATime is how many Pods of one run are asked at a time.
const podsAtATime = 4

// askAll asks all Pods of a run, and returns what those said that answered. It returns an
// error if none did.
func (p *Poller) askAll(ctx context.Context, pods []polledPod) (map[types.UID]outcome.Progress, error) {
	var mu sync.Mutex
	var failed error
	out := make(map[types.UID]outcome.Progress, len(pods))
	group := errgroup.Group{}
	group.SetLimit(podsAtATime)
	for _, pod := range pods {
		group.Go(func() error {
			got, err := p.ask(ctx, pod.address)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = err
				return nil
			}
			out[pod.uid] = got
			return nil
		})
	}
	_ = group.Wait()
	if len(out) > 0 {
		failed = nil
	}
	return out, failed
}

// record records what the Pods of a run answered, and reports whether that must be written to
// its Artifact's status. Without budget for a write the answer is dropped, since the
// next one says more.
func (p *Poller) record(uid types.UID, run *polledRun, got map[types.UID]outcome.Progress, err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	// Many runs are polled less often, so that each has its share of the budget.
	wait := max(p.interval, time.Duration(len(p.runs))*p.share)
	many := wait > p.interval
	answer := run.answer
	if err != nil {
		run.failures++
		wait = max(wait, retry.Backoff(run.failures, wait, longestWait))
		if run.failures >= maxFailures {
			answer = nil
		}
	} else {
		run.failures, answer = 0, run.observed(got)
	}
	now := p.now()
	run.due = now.Add(wait)
	if p.runs[uid] != run || !isNews(run.answer, answer, many) {
		return false
	}
	if !p.budget.AllowN(now, 1) {
		// Spreads runs that began together.
		run.due = now.Add(p.share + rand.N(wait)) //nolint:gosec // No secret.
		return false
	}
	run.answer = answer
	return true
}

// isNews reports whether an answer is worth a write. With many runs, only another
// step or percentage is.
func isNews(before, after *modelv1alpha1.ProgressObservation, many bool) bool {
	if many && before != nil && after != nil {
		return before.Step != after.Step || before.Percent != after.Percent
	}
	return !equality.Semantic.DeepEqual(before, after)
}

// observed returns the status of the run by what its Pods answered.
func (r *polledRun) observed(got map[types.UID]outcome.Progress) *modelv1alpha1.ProgressObservation {
	if r.shares != nil {
		return r.shares.observed(got)
	}
	for _, p := range got {
		return observed(p)
	}
	return r.answer
}

// observed returns the status of a progress.
func observed(p outcome.Progress) *modelv1alpha1.ProgressObservation {
	o := &modelv1alpha1.ProgressObservation{
		Step:           p.Step,
		Percent:        p.Percent,
		BytesDone:      p.BytesDone,
		BytesTotal:     p.BytesTotal,
		BytesPerSecond: p.BytesPerSecond,
	}
	if left, ok := p.TimeLeft(); ok {
		o.TimeLeft = &metav1.Duration{Duration: left}
	}
	return o
}
