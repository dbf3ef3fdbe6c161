// Package follow asks Hubs, registries and object stores whether the revisions that Artifacts
// follow have moved, beside the reconciles and within a budget for each host. What is said of
// a Hub below holds for a registry and a bucket, too: what a bucket is asked is the list of a
// folder, of which each page is a request.
//
// What to ask, when, and after which wait following a failure, is client-go's workqueue
// and its rate limiter. What those have no notion of is here: a question that many
// Artifacts share, each with its interval and its commit; a budget for each host, in
// which a question keeps its place while others of other hosts pass; and the time for
// which a Hub asks one token to wait.
package follow

import (
	"context"
	"math/rand/v2"
	"regexp"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

const (
	// spread is the time over which requests are spread that could be made at
	// once: Artifacts are created, and Hubs become available, by the hundred.
	spread = time.Minute

	// startup is how long the provider takes to see all Artifacts after its start.
	// Their first questions are spread over their intervals.
	startup = 10 * time.Minute

	// recent is how old an answer may be for a person who asks for one now.
	recent = 5 * time.Second

	// retention is how long an Artifact is remembered at least that is not
	// reconciled, and sweepInterval how often such Artifacts are looked for.
	retention     = 24 * time.Hour
	sweepInterval = 10 * time.Minute
)

// commit matches a revision that cannot move.
var commit = regexp.MustCompile(`^[a-f0-9]{40}$`)

// A Question is what an Artifact must know of a Hub, a registry or a bucket.
type Question struct {
	// Registry has the options of a client for the registry and the repository in which
	// Revision is a tag; nil for a Hub. If it is set, Options, Kind and Model are ignored.
	Registry *registry.Options

	// Bucket is the source of a folder in a bucket, whose revision is asked for, with the
	// files that are selected and credentials in memory; nil for a Hub and a registry. If it
	// is set, all fields but Interval and Now are ignored.
	Bucket *pipeline.Source

	// Options of a client for the Hub.
	Options hub.Options

	// Kind of the repository that Model names; "" means hub.Model.
	Kind            hub.Kind
	Model, Revision string

	// Interval at which to ask; more than zero.
	Interval time.Duration

	// Now asks as soon as the Hub permits, since a person wants to know.
	Now bool

	// Waiting has Events name the Artifact for the next answer, whatever that is.
	Waiting bool
}

// A Follower knows whether the revisions that Artifacts follow have moved.
// Reconciles tell it what to ask, and read what it knows without waiting; its
// workers ask, and Events names the Artifacts for which there is something new. All
// of it is in memory. It is safe for concurrent use.
//
// An Artifact's question is asked at its interval, with a jitter of a tenth. The
// first time comes at random: within the interval if the provider has just started,
// otherwise within a minute, as for an Artifact that asks something else than before.
// Artifacts with the same question share the answer. The budget of a Hub may make
// intervals longer; see budgetQuestions.
type Follower struct {
	// Observe is called after each question that was asked, with its error; nil for
	// nobody. It must be set before Start, and must not call the Follower.
	Observe func(error)

	// Anywhere has buckets and registries be asked at any address but a metadata service's, such as at the
	// loopback address. It is for tests. It must be set before Start.
	Anywhere bool

	now    func() time.Time
	random func() float64 // From 0 to 1.
	hosts  *connection.Hosts
	slots  connection.Slots
	events chan event.GenericEvent

	// queue holds the questions to ask now, or when their Hub permits.
	queue workqueue.TypedDelayingInterface[questionKey]

	// Waits of questions, and of Hubs, that failed.
	retries    workqueue.TypedRateLimiter[questionKey]
	hubRetries workqueue.TypedRateLimiter[hubKey]

	mu         sync.Mutex // Not held while a Hub is asked.
	started    time.Time  // When it was told of the first Artifact.
	followings map[types.UID]*following
	questions  map[questionKey]*question
	hubs       map[hubKey]*hubState
	budgets    map[string]*budget
}

// New returns a Follower that knows nothing. Its requests, and those of all others
// that share the hosts, are bounded by host.
func New(hosts *connection.Hosts) *Follower {
	return &Follower{
		now:        time.Now,
		random:     rand.Float64,
		hosts:      hosts,
		events:     make(chan event.GenericEvent),
		queue:      workqueue.NewTypedDelayingQueueWithConfig(workqueue.TypedDelayingQueueConfig[questionKey]{Name: "follow"}),
		retries:    workqueue.NewTypedItemExponentialFailureRateLimiter[questionKey](firstRetry, longestRetry),
		hubRetries: workqueue.NewTypedItemExponentialFailureRateLimiter[hubKey](hubFirstRetry, hubLongestRetry),
		followings: map[types.UID]*following{},
		questions:  map[questionKey]*question{},
		hubs:       map[hubKey]*hubState{},
		budgets:    map[string]*budget{},
	}
}

// A following is an Artifact that asks a question.
type following struct {
	artifact types.NamespacedName
	question *question

	// interval as specified, and with its jitter.
	interval, period time.Duration

	// have is the commit, or the digest, that the Artifact has, and since when that is known. An
	// older answer that differs may be older than the commit, and does not count.
	have  string
	since time.Time

	// first is when to ask while no answer counts.
	first time.Time

	// waiting wants an event for any answer.
	waiting bool

	// seen is when the Artifact was reconciled last.
	seen time.Time
}

// Moved returns the commit that the revision stands for, if it is known to differ
// from the one that the Artifact has; otherwise it returns nothing. It returns at
// once. If it is time to, the Hub is asked meanwhile, and Events names the Artifact
// if there is something new.
func (f *Follower) Moved(a client.Object, q Question, have string) string {
	if q.Registry == nil && q.Bucket == nil && commit.MatchString(q.Revision) {
		f.Forget(a.GetUID())
		return ""
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	if f.started.IsZero() {
		f.started = now
	}
	w := f.follow(a, q, have, now)
	urgent := q.Now && now.Sub(w.question.at) >= recent
	if urgent || !w.question.queued && !now.Before(w.due()) {
		f.enqueue(w, urgent)
	}
	return w.moved()
}

// Known returns what Moved does, and reports whether that needs no Question: none
// is due for the Artifact, and its interval and commit are what they were.
func (f *Follower) Known(artifact types.UID, interval time.Duration, have string) (string, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w, ok := f.followings[artifact]
	if !ok || w.have != have || w.interval != interval || !w.question.queued && !f.now().Before(w.due()) {
		return "", false
	}
	w.seen = f.now()
	return w.moved(), true
}

// Next returns when the Artifact must be reconciled for its Hub to be asked, five
// seconds from now at least. It reports false for an Artifact that follows nothing,
// or whose question was due long ago: something else keeps it from being asked.
func (f *Follower) Next(artifact types.UID) (time.Duration, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w, ok := f.followings[artifact]
	if !ok {
		return 0, false
	}
	if w.question.queued {
		return w.period, true
	}
	due := w.due().Sub(f.now())
	return max(due, recent), due >= -spread
}

// Trouble returns why the Hub gives no answer to the Artifact's question, without secrets;
// nil if it did when it was asked last. A transient failure counts from the third one in a
// row.
func (f *Follower) Trouble(artifact types.UID) *outcome.Error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if w, ok := f.followings[artifact]; ok {
		return w.question.told()
	}
	return nil
}

// Answered reports whether the Hub has answered the Artifact's question since it is known
// what the Artifact has.
func (f *Follower) Answered(artifact types.UID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	w, ok := f.followings[artifact]
	return ok && !w.isUnanswered()
}

// Forget stops asking for an Artifact.
func (f *Follower) Forget(artifact types.UID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drop(artifact)
}

// follow returns what is known of an Artifact, brought up to date.
func (f *Follower) follow(a client.Object, q Question, have string, now time.Time) *following {
	key, within := f.key(q), min(q.Interval, spread)
	w, ok := f.followings[a.GetUID()]
	if !ok && now.Sub(f.started) < startup {
		within = q.Interval
	}
	if !ok || w.question.key != key {
		added := &following{artifact: client.ObjectKeyFromObject(a), question: f.questionFor(key, q.Bucket)}
		f.drop(a.GetUID())
		w = added
		f.followings[a.GetUID()] = w
	}
	if w.since.IsZero() || w.have != have {
		w.have, w.since, w.first = have, now, now.Add(f.between(0, within))
	}
	if w.interval != q.Interval {
		w.interval, w.period = q.Interval, f.jitter(q.Interval)
	}
	w.seen, w.waiting = now, q.Waiting
	return w
}

// drop forgets an Artifact, and its question, Hub and budget if no other one needs
// them.
func (f *Follower) drop(artifact types.UID) {
	w, ok := f.followings[artifact]
	if !ok {
		return
	}
	delete(f.followings, artifact)
	q, h := w.question, w.question.key.hub
	if q.users--; q.users > 0 {
		return
	}
	q.cancel(f.now())
	f.retries.Forget(q.key)
	delete(f.questions, q.key)
	if h.users--; h.users > 0 {
		return
	}
	f.hubRetries.Forget(h.key)
	delete(f.hubs, h.key)
	if h.budget.users--; h.budget.users == 0 {
		delete(f.budgets, h.budget.host)
	}
}

// sweep forgets Artifacts that have not been reconciled for long.
func (f *Follower) sweep(context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for artifact, w := range f.followings {
		if f.now().Sub(w.seen) > max(2*w.interval, retention) {
			f.drop(artifact)
		}
	}
}

// due returns when the Artifact's question must be asked.
func (w *following) due() time.Time {
	switch q := w.question; {
	case q.trouble != nil:
		return q.retry
	case w.isUnanswered():
		return w.first
	default:
		return q.at.Add(max(w.period, q.rest()))
	}
}

// isUnanswered reports whether no answer counts yet.
func (w *following) isUnanswered() bool {
	q := w.question
	return q.at.IsZero() || q.at.Before(w.since) && q.commit != w.have
}

// moved returns the commit that the Artifact should have, if it has another one.
func (w *following) moved() string {
	if q := w.question; q.commit != w.have && !q.at.Before(w.since) {
		return q.commit
	}
	return ""
}

// jitter returns an interval with a jitter of a tenth.
func (f *Follower) jitter(d time.Duration) time.Duration { return f.between(d-d/10, d+d/10) }

// between returns a random duration.
func (f *Follower) between(from, to time.Duration) time.Duration {
	return from + time.Duration(f.random()*float64(to-from))
}

// Events returns an event for each Artifact that must be reconciled, since its
// revision has moved or another trouble is known.
func (f *Follower) Events() <-chan event.GenericEvent { return f.events }

// Start asks Hubs until the context ends.
func (f *Follower) Start(ctx context.Context) error {
	defer context.AfterFunc(ctx, f.queue.ShutDown)()
	var wg sync.WaitGroup
	wg.Go(func() { wait.UntilWithContext(ctx, f.sweep, sweepInterval) })
	for range workers {
		wg.Go(func() {
			for f.processNext(ctx) {
			}
		})
	}
	wg.Wait()
	return nil
}
