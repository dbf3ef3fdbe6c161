// Package progress polls the Pods of runs for their progress.
package progress

import (
	"cmp"
	"context"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

const (
	// progressInterval is how often a run is asked how far it is, and so how
	// often an Artifact's status is written because of that, at most.
	progressInterval = 15 * time.Second

	// progressLongest bounds how long a run is left alone that did not answer,
	// as where a NetworkPolicy keeps the provider from its Pod.
	progressLongest = 5 * time.Minute

	// progressTries is how often a run does not answer, one time after the other,
	// until what it said before is worth nothing any more.
	progressTries = 3

	// progressAskers bounds how many runs are asked at a time.
	progressAskers = 8

	// progressKept is how long a run is asked at most whose Artifact is not
	// reconciled, as when it is paused.
	progressKept = time.Hour
)

// Options of a Poller.
type Options struct {
	// WritesPerMinute is how many statuses are written a minute because of
	// progress at most, of all runs together; with 0 no run is polled.
	WritesPerMinute int

	// Interval between two polls of a run; 0 for 15 seconds.
	Interval time.Duration

	// Ask asks the Pod at an address for its progress; nil asks over HTTP.
	Ask func(context.Context, netip.Addr) (outcome.Progress, error)
}

// A Poller asks the Pods of runs for their progress, beside the reconciles:
// those say which runs are polled, and read the answers. It is safe for
// concurrent use.
type Poller struct {
	now      func() time.Time
	interval time.Duration

	// budget of writes to statuses, of all runs together; nil where no run is
	// asked at all. share is the time between two of them.
	budget *rate.Limiter
	share  time.Duration

	// ask asks a Pod at an address of its own.
	ask func(context.Context, netip.Addr) (outcome.Progress, error)

	// events has the Artifacts reconciled whose runs have got on.
	events chan event.GenericEvent

	// changed says that there are others to ask.
	changed chan struct{}

	mu     sync.Mutex // Not held while a Pod is asked.
	asking int
	runs   map[types.UID]*askedRun
}

// New returns a Poller that polls no run yet.
func New(o Options) *Poller {
	p := &Poller{
		now:      time.Now,
		interval: cmp.Or(o.Interval, progressInterval),
		ask:      o.Ask,
		events:   make(chan event.GenericEvent),
		changed:  make(chan struct{}, 1),
		runs:     map[types.UID]*askedRun{},
	}
	if p.ask == nil {
		p.ask = newProgressClient().ask
	}
	if o.WritesPerMinute > 0 {
		p.share = time.Minute / time.Duration(o.WritesPerMinute)
		// As many at once as are written in an interval.
		burst := max(1, int(p.interval/p.share))
		p.budget = rate.NewLimiter(rate.Every(p.share), burst)
	}
	return p
}

// Events returns an event for each Artifact whose run has progressed, which must
// be reconciled for its status to be written.
func (p *Poller) Events() <-chan event.GenericEvent { return p.events }

// An askedRun is an Artifact's run that is asked how far it is.
type askedRun struct {
	artifact types.NamespacedName
	pod      types.UID
	address  netip.Addr

	seen     time.Time // In a reconcile.
	due      time.Time
	asking   bool
	failures int
	answer   *modelv1alpha1.ProgressObservation
}

// Progress returns how far an Artifact's run is, as its Pod said last; nil where
// that is not known. From now on it is asked.
func (p *Poller) Progress(a *modelv1alpha1.Artifact, pods []corev1.Pod) *modelv1alpha1.ProgressObservation {
	pod, address, ok := askable(pods)
	if !ok || p.budget == nil {
		p.Forget(a.GetUID())
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	run, known := p.runs[a.GetUID()]
	if !known || run.pod != pod.GetUID() || run.address != address {
		// A Pod that has just started has nothing to say yet.
		next := &askedRun{artifact: client.ObjectKeyFromObject(a), pod: pod.GetUID(), address: address, due: now.Add(p.interval / 3)}
		if !known {
			// As it was before the provider started.
			next.answer = a.Status.AtProvider.Progress.DeepCopy()
		}
		run = next
		p.runs[a.GetUID()] = run
		p.tell()
	}
	run.seen = now
	return run.answer.DeepCopy()
}

// Forget asks an Artifact's run no more.
func (p *Poller) Forget(uid types.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.runs, uid)
}

// tell says that others are to be asked.
func (p *Poller) tell() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// Start asks until the context ends.
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
		if next, ok := p.askDue(ctx); ok {
			timer.Reset(next)
		}
	}
}

// askDue begins to ask the runs whose time has come, as many as may be asked at
// once. It returns when the next one's comes; for those that are being asked,
// that is known when they have answered.
func (p *Poller) askDue(ctx context.Context) (time.Duration, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	var next time.Time
	for uid, run := range p.runs {
		switch {
		case run.asking:
			continue
		case now.Sub(run.seen) > progressKept:
			delete(p.runs, uid)
			continue
		case !now.Before(run.due) && p.asking < progressAskers:
			run.asking = true
			p.asking++
			go p.askRun(ctx, uid, run)
			continue
		case !now.Before(run.due):
			// The end of another one's answer is when.
			continue
		}
		if next.IsZero() || run.due.Before(next) {
			next = run.due
		}
	}
	return next.Sub(now), !next.IsZero()
}

// askRun asks one run, and has its Artifact reconciled where there is something
// new.
func (p *Poller) askRun(ctx context.Context, uid types.UID, run *askedRun) {
	got, err := p.ask(ctx, run.address)
	if p.record(uid, run, got, err) {
		a := &modelv1alpha1.Artifact{ObjectMeta: metav1.ObjectMeta{Namespace: run.artifact.Namespace, Name: run.artifact.Name}}
		select {
		case p.events <- event.GenericEvent{Object: a}:
		case <-ctx.Done():
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	run.asking = false
	p.asking--
	p.tell()
}

// record notes what a run answered, and reports whether that must be written to the
// status of a run that is still asked. What there is no budget for is not
// noted: the next answer says more.
func (p *Poller) record(uid types.UID, run *askedRun, got outcome.Progress, err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	// Of many runs each one is asked less often, so that all have their share.
	wait := max(p.interval, time.Duration(len(p.runs))*p.share)
	many := wait > p.interval
	answer := run.answer
	if err != nil {
		run.failures++
		wait = max(wait, min(wait<<min(run.failures-1, 8), progressLongest))
		if run.failures >= progressTries {
			answer = nil
		}
	} else {
		run.failures, answer = 0, observed(got)
	}
	now := p.now()
	run.due = now.Add(wait)
	if p.runs[uid] != run || !isNews(run.answer, answer, many) {
		return false
	}
	if !p.budget.AllowN(now, 1) {
		// Runs that began together take their turns from now on.
		run.due = now.Add(p.share + rand.N(wait)) //nolint:gosec // No secret.
		return false
	}
	run.answer = answer
	return true
}

// isNews reports whether an answer is worth a write. Of many runs only another
// step or another percent is.
func isNews(before, after *modelv1alpha1.ProgressObservation, many bool) bool {
	if many && before != nil && after != nil {
		return before.Step != after.Step || before.Percent != after.Percent
	}
	return !equality.Semantic.DeepEqual(before, after)
}

// observed returns a progress as the status has it.
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
