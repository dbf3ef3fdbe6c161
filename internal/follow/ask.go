package follow

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"golang.org/x/time/rate"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

const (
	// workers is how many Hubs are asked at a time.
	workers = 8

	// busyWait is how long a question waits at least that finds its Hub, or all
	// workers, busy.
	busyWait = 5 * time.Second

	// A question that failed is asked again after a wait between these two, and
	// nothing else is asked of a Hub that failed for a wait between the other two.
	// Waits double with each failure, and are random from the half on.
	firstRetry, longestRetry       = time.Minute, time.Hour
	hubFirstRetry, hubLongestRetry = 30 * time.Second, 10 * time.Minute

	// budgetQuestions are asked of one Hub in budgetWindow at most, however many
	// Artifacts follow a revision of it: a fifth of what the Hub grants without a
	// token (https://huggingface.co/docs/hub/rate-limits), so that most of it is
	// left for runs. budgetBurst of these may be asked at once.
	budgetQuestions = 100
	budgetWindow    = 5 * time.Minute
	budgetBurst     = 10

	// tellFailures is how many transient failures in a row it takes for Artifacts to be
	// told: a Hub that restarts is no news to the thousands that follow it.
	tellFailures = 3
)

// A hubKey identifies a Hub or a registry, by all that decides whether and how it answers.
type hubKey struct {
	endpoint, token, ca, caFile string

	// account and certificate are those at a registry; identity reports whether the
	// account is a cloud's.
	account, certificate string
	identity             bool

	// confined reports whether it must be at a public address.
	confined bool
}

// A questionKey identifies a question, by all that decides its answer.
type questionKey struct {
	hub             *hubState
	kind            hub.Kind
	model, revision string
}

// A question is asked for all Artifacts that have it in common.
type question struct {
	key   questionKey
	users int

	// The latest answer, and when it was so.
	commit, etag string
	at           time.Time

	// trouble is why there was no answer since, nil if there was one, after so many
	// failures in a row; retry is when to ask again.
	trouble  *outcome.Error
	failures int
	retry    time.Time

	// queued until it is asked; urgent if a person waits.
	queued, urgent bool

	// interval and namespace of the Artifact that asks.
	interval  time.Duration
	namespace string

	// share is what the namespace has of the Hub's budget, as long as the question has a place
	// in it or waits for one; shared is what is reserved of that.
	share  *share
	shared []*rate.Reservation

	bucket *pipeline.Source // Nil for a Hub or a registry.

	// cost is how many requests it takes, as far as it is known; 0 for one. reserved is as
	// much of the Hub's budget.
	cost     int
	reserved []*rate.Reservation

	// paid is how many requests were reserved for it when it was admitted, and extra pays for
	// one more, and reports whether the budget has it now. Only who asks uses them.
	paid  int
	extra func() bool
}

// told returns the trouble that Artifacts are told; nil for none. A transient one counts
// once it lasts.
func (q *question) told() *outcome.Error {
	if q.trouble == nil || q.failures < tellFailures && q.trouble.Reason.Transient() {
		return nil
	}
	return q.trouble
}

// toldMessage returns what Artifacts are told; empty for nothing.
func (q *question) toldMessage() string {
	if t := q.told(); t != nil {
		return string(t.Reason) + ": " + t.Message
	}
	return ""
}

// cancel gives the place in the budget to another question.
func (q *question) cancel(now time.Time) {
	// Each gives back less if there are later ones.
	for _, r := range slices.Backward(q.reserved) {
		r.CancelAt(now)
	}
	for _, r := range slices.Backward(q.shared) {
		r.CancelAt(now)
	}
	q.leave()
}

// leave has the question have no place in the budget.
func (q *question) leave() {
	if q.share != nil && q.share.next == q {
		q.share.next = nil
	}
	q.share, q.shared, q.reserved = nil, nil, nil
}

// reserve reserves what the question costs, and returns how long to wait for it.
func (q *question) reserve(now time.Time) time.Duration {
	if q.share == nil {
		q.share = q.key.hub.budget.shareOf(q.namespace, q.urgent, now)
	}
	cost := max(q.cost, 1)
	// The namespace's share comes first, so that no place is held for who must wait for it.
	if wait := reserveOf(q.share.limiter, &q.shared, cost, now); wait > 0 {
		return wait
	}
	// Who has a place already, and was too late for a worker, does not wait for another one's.
	if next := q.share.next; len(q.reserved) < cost && next != nil && next != q {
		if wait := next.reserved[len(next.reserved)-1].DelayFrom(now); wait > 0 {
			return wait
		}
	}
	wait := reserveOf(q.limiter(), &q.reserved, cost, now)
	if wait > 0 {
		q.share.next = q
	}
	return wait
}

// reserveOf reserves of a limiter what is not reserved yet, and returns how long to wait for it.
func reserveOf(l *rate.Limiter, reserved *[]*rate.Reservation, cost int, now time.Time) time.Duration {
	for len(*reserved) < cost {
		*reserved = append(*reserved, l.ReserveN(now, 1))
	}
	return (*reserved)[len(*reserved)-1].DelayFrom(now)
}

// rest returns the time between two of its questions by which it leaves most of the
// budget to others.
func (q *question) rest() time.Duration {
	return time.Duration(q.cost) * costShare * budgetWindow / budgetQuestions
}

// limiter returns the budget that the question is asked within.
func (q *question) limiter() *rate.Limiter {
	if q.urgent {
		return q.key.hub.budget.people
	}
	return q.key.hub.budget.artifacts
}

// A hubState is a Hub as those see it who come with the same token: it limits the
// rate of their requests.
type hubState struct {
	key      hubKey
	options  hub.Options
	registry *registry.Options // Nil for a Hub.
	origin   string
	budget   *budget
	users    int

	asked time.Time // Until when the Hub asked to send no request.
	retry time.Time // Until when it gets none since it failed.
}

// notBefore returns when the Hub may be asked. A person waits only for as long as
// the Hub itself asks for.
func (h *hubState) notBefore(urgent bool) time.Time {
	if urgent || h.asked.After(h.retry) {
		return h.asked
	}
	return h.retry
}

// A budget is how many questions a host is asked, with all tokens. People have one of
// the same size of their own: they must not wait for all Artifacts.
type budget struct {
	host              string
	users             int
	artifacts, people *rate.Limiter

	// shares are what namespaces have of either.
	shares map[shareKey]*share
}

// A shareKey identifies a share: of people's budget, or of Artifacts'.
type shareKey struct {
	namespace string
	urgent    bool
}

// A share bounds what one namespace has of a budget to half of its rate, so that others are
// never behind all of its questions: of these one at a time, next, waits for the budget
// itself.
type share struct {
	limiter *rate.Limiter
	next    *question
}

// maxShares is how many shares a budget keeps before those are dropped that are full again.
const maxShares = 1024

// shareOf returns a namespace's share of the budget.
func (b *budget) shareOf(namespace string, urgent bool, now time.Time) *share {
	key := shareKey{namespace, urgent}
	s, ok := b.shares[key]
	if !ok {
		if len(b.shares) >= maxShares {
			maps.DeleteFunc(b.shares, func(_ shareKey, s *share) bool {
				return s.next == nil && s.limiter.TokensAt(now) >= budgetBurst
			})
		}
		s = &share{limiter: rate.NewLimiter(rate.Every(2*budgetWindow/budgetQuestions), budgetBurst)}
		b.shares[key] = s
	}
	return s
}

// key returns a question's key.
func (f *Follower) key(q Question) questionKey {
	switch {
	case q.Registry != nil:
		return f.registryKey(*q.Registry, q.Revision)
	case q.Bucket != nil:
		return f.bucketKey(*q.Bucket)
	}
	o := q.Options
	key := hubKey{endpoint: strings.TrimRight(cmp.Or(o.Endpoint, hub.DefaultEndpoint), "/"), token: o.Token, ca: string(o.CA), caFile: o.CAFile}
	h, ok := f.hubs[key]
	if !ok {
		origin := hub.Origin(o.Endpoint)
		_, host, _ := strings.Cut(origin, "://")
		h = &hubState{key: key, options: o, origin: origin, budget: f.budgetOf(host)}
		h.options.Hosts = f.hosts
		f.hubs[key] = h
	}
	return questionKey{h, cmp.Or(q.Kind, hub.Model), q.Model, cmp.Or(q.Revision, "main")}
}

// registryKey returns the key of a question for a registry.
func (f *Follower) registryKey(o registry.Options, tag string) questionKey {
	o.Confined = o.Confined && !f.Anywhere
	repository, origin := o.Repository, registry.Origin(o.Host, o.PlainHTTP)
	key := hubKey{
		endpoint: origin, ca: string(o.CA), account: string(o.DockerConfig), certificate: string(o.Certificate), identity: o.Credential != nil,
		confined: o.Confined,
	}
	h, ok := f.hubs[key]
	if !ok {
		o.Hosts, o.SingleTry = f.hosts, true
		h = &hubState{key: key, registry: &o, origin: origin, budget: f.budgetOf(o.Host)}
		f.hubs[key] = h
	}
	return questionKey{hub: h, model: repository, revision: tag}
}

// budgetOf returns a host's budget for another Hub.
func (f *Follower) budgetOf(host string) *budget {
	b, ok := f.budgets[host]
	if !ok {
		every := rate.Every(budgetWindow / budgetQuestions)
		b = &budget{host: host, artifacts: rate.NewLimiter(every, budgetBurst), people: rate.NewLimiter(every, budgetBurst), shares: map[shareKey]*share{}}
		f.budgets[host] = b
	}
	b.users++
	return b
}

// questionFor returns what is known of a question for another Artifact; bucket is nil for
// one that is not about a bucket.
func (f *Follower) questionFor(key questionKey, bucket *pipeline.Source) *question {
	q, ok := f.questions[key]
	if !ok {
		q = &question{key: key, bucket: bucket}
		key.hub.users++
		f.questions[key] = q
	}
	q.users++
	return q
}

// enqueue has an Artifact's question asked.
func (f *Follower) enqueue(w *following, urgent bool) {
	q := w.question
	if urgent && !q.urgent {
		q.cancel(f.now())
		q.urgent = true
	}
	q.queued, q.interval, q.namespace = true, w.interval, w.artifact.Namespace
	f.queue.Add(q.key)
}

// processNext processes the next question, and reports whether more may come.
func (f *Follower) processNext(ctx context.Context) bool {
	key, shutdown := f.queue.Get()
	if shutdown {
		return false
	}
	defer f.queue.Done(key)
	if wait := f.process(ctx, key); wait > 0 {
		f.queue.AddAfter(key, wait)
	}
	return true
}

// process asks a question if it may be asked now, and otherwise returns how long it
// must wait.
func (f *Follower) process(ctx context.Context, key questionKey) time.Duration {
	q, limits, wait := f.admit(key)
	if q == nil {
		return wait
	}
	if !f.slots.Take(ctx, limits) {
		return f.between(busyWait, 2*busyWait)
	}
	defer f.slots.Release(limits)
	// Another question's answer may have come meanwhile, with a wish to rest.
	if q, _, wait = f.admit(key); q == nil {
		return wait
	}
	head, cost, err := f.ask(ctx, q)
	if errors.Is(err, errOverBudget) {
		return f.askLater(q, cost)
	}
	for _, a := range f.record(ctx, q, head, cost, err) {
		select {
		case f.events <- event.GenericEvent{Object: &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: a.Namespace, Name: a.Name}}}:
		case <-ctx.Done():
		}
	}
	return 0
}

// admit returns a question that its Hub and its budget let be asked now, and what
// bounds it then; otherwise how long it must wait, 0 if it need not be asked.
func (f *Follower) admit(key questionKey) (*question, []connection.Limit, time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	q, h, now := f.questions[key], key.hub, f.now()
	if q == nil || !q.queued {
		return nil, nil, 0
	}
	if until := h.notBefore(q.urgent); now.Before(until) {
		q.cancel(now)
		return nil, nil, until.Sub(now) + f.between(0, spread)
	}
	if wait := q.reserve(now); wait > 0 {
		return nil, nil, wait
	}
	// A Hub that does not answer takes one worker. Namespaces share all workers but
	// one fairly for those that do not answer quickly, or were not asked yet.
	limits := []connection.Limit{{Pool: h.origin, Most: 1}}
	if !f.hosts.Quick(h.origin) {
		limits = append(limits, connection.Limit{Pool: "slow Hubs", Most: workers - 1, Sharer: q.namespace})
	}
	if q.bucket != nil {
		limits = append(limits, listingLimit(q.namespace))
	}
	limiter, own := q.limiter(), q.share.limiter
	q.paid, q.extra = len(q.reserved), func() bool { return own.AllowN(f.now(), 1) && limiter.AllowN(f.now(), 1) }
	return q, limits, 0
}

// ask asks a question, and returns what that has cost, or will cost if the error is
// errOverBudget.
func (f *Follower) ask(ctx context.Context, q *question) (hub.Head, int, error) {
	if q.bucket != nil {
		return f.askBucket(ctx, q)
	}
	head, err := q.ask(ctx)
	return head, 1, err
}

// askLater returns how long a question must wait that costs more than was reserved for it.
func (f *Follower) askLater(q *question, cost int) time.Duration {
	f.mu.Lock()
	q.cost = cost
	q.leave()
	f.mu.Unlock()
	_, _, wait := f.admit(q.key)
	return max(wait, time.Millisecond)
}

// ask asks the Hub. Its client is made for this one request, and leaves no
// connection open until the next one.
func (q *question) ask(ctx context.Context) (hub.Head, error) {
	if q.key.hub.registry != nil {
		return q.askRegistry(ctx)
	}
	c, err := hub.New(q.key.hub.options)
	if err != nil {
		return hub.Head{}, err
	}
	defer c.Close()
	return c.Of(q.key.kind).Commit(ctx, q.key.model, q.key.revision, q.etag)
}

// askRegistry asks the registry which digest the tag has.
func (q *question) askRegistry(ctx context.Context) (hub.Head, error) {
	o := *q.key.hub.registry
	o.Repository = q.key.model
	c, err := registry.New(o)
	if err != nil {
		return hub.Head{}, err
	}
	defer c.Close()
	d, err := c.Resolve(ctx, o.Repository, q.key.revision)
	return hub.Head{Commit: d.Digest.String()}, err
}

// record records what a Hub answered, and returns the Artifacts for which that is
// something new.
func (f *Follower) record(ctx context.Context, q *question, head hub.Head, cost int, err error) []types.NamespacedName {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, before := f.now(), q.toldMessage()
	if ctx.Err() != nil {
		// The provider stops.
		return nil
	}
	if f.Observe != nil {
		f.Observe(err)
	}
	q.queued, q.urgent, q.cost = false, false, cost
	q.leave()
	if until := now.Add(head.Rest); until.After(q.key.hub.asked) {
		q.key.hub.asked = until
	}
	if err != nil {
		f.fail(q, err, now)
	} else {
		f.succeed(q, head, now)
	}
	var news []types.NamespacedName
	for _, w := range f.followings {
		if w.question != q {
			continue
		}
		w.period = f.jitter(w.interval)
		if w.moved() != "" || q.toldMessage() != before || w.waiting && err == nil {
			w.waiting = false
			news = append(news, w.artifact)
		}
	}
	return news
}

func (f *Follower) succeed(q *question, head hub.Head, now time.Time) {
	if !head.NotModified {
		q.commit, q.etag = head.Commit, head.ETag
	}
	q.at, q.trouble, q.failures, q.key.hub.retry = now, nil, 0, time.Time{}
	f.retries.Forget(q.key)
	f.hubRetries.Forget(q.key.hub.key)
}

// fail records that a question was not answered. After a transient error the Hub
// gets no request for a while, and the question is retried with backoff; after a
// permanent one, the question waits for its interval.
func (f *Follower) fail(q *question, err error, now time.Time) {
	h, reason := q.key.hub, outcome.ReasonOf(err)
	wait := max(f.afterHalf(f.retries.When(q.key)), q.rest())
	if reason.Transient() {
		h.retry = now.Add(f.afterHalf(f.hubRetries.When(h.key)))
	} else {
		wait = max(wait, q.interval)
	}
	if reason == outcome.RateLimited && h.retry.After(h.asked) {
		h.asked = h.retry
	}
	q.trouble, q.retry = outcome.Errorf(reason, "%s", err), now.Add(wait)
	q.failures++
}

// afterHalf returns a random part of a wait, half of it at least.
func (f *Follower) afterHalf(d time.Duration) time.Duration { return f.between(d/2, d) }
