package config

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/lru"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

const (
	// interval is how often a registry is asked again with the same account, also
	// after a permanent error: accounts are locked for wrong passwords that come more
	// often.
	interval = 10 * time.Minute

	// firstRetry is the wait after a transient error. It doubles up to the interval.
	firstRetry = 30 * time.Second

	// failuresUntilUnready is how many transient errors in a row make a config not Ready
	// that was Ready: they span a minute and a half.
	failuresUntilUnready = 3

	// askTimeout bounds one question, with its token. Each of its requests has the
	// bounds of connection.Hosts.
	askTimeout = time.Minute

	// renewAfter is how old an error is at least before a change of a config or its
	// Secret has the question asked again.
	renewAfter = 5 * time.Second

	// maxAnswers bounds how many answers are remembered.
	maxAnswers = 4096
)

// An answer is what a registry answered to all who come with the same account.
type answer struct {
	// err is why it is not usable; nil if it is.
	err error

	// accepted reports whether it has accepted the account's credentials.
	accepted bool

	// failures are transient errors in a row.
	failures int

	// at is when it was asked, next when it is to be asked again.
	at, next time.Time
}

// then returns the answer that follows a by the result of another question.
func (a answer) then(accepted bool, err error, now time.Time) answer {
	out := answer{err: err, accepted: accepted, at: now, next: now.Add(interval)}
	if err == nil || !outcome.ReasonOf(err).Transient() {
		return out
	}
	out.failures = a.failures + 1
	out.next = now.Add(max(retry.Backoff(out.failures, firstRetry, interval), outcome.RetryAfterOf(err)))
	if a.failures > 0 && errors.As(err, new(*connection.UnavailableError)) {
		// It was not asked. Why not was said before, without a time that changes.
		out.err = a.err
	}
	return out
}

// condition returns the Ready condition of a config of a generation by the answer of
// its registry, for which its Secret has credentials or not. A transient error leaves a
// config Ready that was, until there were some in a row.
func (a answer) condition(before xpv2.Condition, generation int64, credentials bool) xpv2.Condition {
	switch reason := outcome.ReasonOf(a.err); {
	case a.err == nil && credentials && !a.accepted:
		return xpv2.Available().WithMessage("The registry answers /v2/ without credentials: whether it accepts the config's account is known once an Artifact uses it")
	case a.err == nil:
		return xpv2.Available()
	case reason.Transient() && a.failures < failuresUntilUnready && before.Status == corev1.ConditionTrue && before.ObservedGeneration == generation:
		return before
	}
	return unavailable(a.err)
}

// unavailable returns a Ready condition that is false because of an error.
func unavailable(err error) xpv2.Condition {
	return xpv2.Condition{
		Type:               xpv2.TypeReady,
		Status:             corev1.ConditionFalse,
		LastTransitionTime: metav1.Now(),
		Reason:             xpv2.ConditionReason(outcome.ReasonOf(err)),
		Message:            err.Error(),
	}
}

// Questions are asked of registries: one for all configs that come with the same
// account, once an interval, by a bounded number of workers of which no registry and no
// namespace takes all. They are safe for concurrent use.
type questions struct {
	hosts   *connection.Hosts
	workers int
	now     func() time.Time

	// ping asks a registry.
	ping func(context.Context, registry.Options) (accepted bool, err error)

	slots connection.Slots

	mu      sync.Mutex
	answers *lru.Cache // Of an answer by its key.
}

// newQuestions returns questions that nobody has asked yet.
func newQuestions(hosts *connection.Hosts, ping func(context.Context, registry.Options) (bool, error)) *questions {
	return &questions{hosts: hosts, workers: workers, now: time.Now, ping: ping, answers: lru.New(maxAnswers)}
}

// keyOf returns what an answer is remembered by: a hash of all that decides it.
func keyOf(o registry.Options) [sha256.Size]byte {
	h := sha256.New()
	for _, part := range [][]byte{[]byte(registry.Origin(o.Host, o.PlainHTTP)), o.DockerConfig, o.CA, o.Certificate, o.Key} {
		fmt.Fprintf(h, "%d ", len(part))
		h.Write(part)
	}
	fmt.Fprint(h, o.Credential != nil)
	return [sha256.Size]byte(h.Sum(nil))
}

// known returns the answer that is remembered, and reports whether there is one.
func (q *questions) known(key [sha256.Size]byte) (answer, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	a, _ := q.answers.Get(key)
	out, ok := a.(answer)
	return out, ok
}

// ask returns what the registry answers, or what it answered lately. It reports false
// if the question must wait for a worker. If something has changed, an error is not
// taken from memory.
func (q *questions) ask(ctx context.Context, o registry.Options, namespace string, changed bool) (answer, bool) {
	key := keyOf(o)
	fresh := func() (answer, bool) {
		a, ok := q.known(key)
		renew := changed && a.err != nil && q.now().Sub(a.at) > renewAfter
		return a, ok && !renew && q.now().Before(a.next)
	}
	if a, ok := fresh(); ok {
		return a, true
	}
	limits := q.limits(o, key, namespace)
	if !q.slots.TryTake(limits) {
		return answer{}, false
	}
	defer q.slots.Release(limits)
	a, ok := fresh()
	if ok {
		return a, true
	}
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	accepted, err := q.ping(asking, o)
	if ctx.Err() != nil {
		// The provider stops.
		return answer{}, false
	}
	a = a.then(accepted, err, q.now())
	q.mu.Lock()
	defer q.mu.Unlock()
	q.answers.Add(key, a)
	return a, true
}

// limits returns what bounds a question: a registry that does not answer quickly, or
// was not asked yet, takes one worker, and namespaces share all workers but one fairly
// for such registries.
func (q *questions) limits(o registry.Options, key [sha256.Size]byte, namespace string) []connection.Limit {
	origin := registry.Origin(o.Host, o.PlainHTTP)
	out := []connection.Limit{{Pool: "question " + string(key[:]), Most: 1}}
	if q.hosts.Quick(origin) {
		return append(out, connection.Limit{Pool: "registry " + origin, Most: max(q.workers/2, 1)})
	}
	return append(out,
		connection.Limit{Pool: "slow registry " + origin, Most: 1},
		connection.Limit{Pool: "slow registries", Most: max(q.workers-1, 1), Sharer: namespace})
}
