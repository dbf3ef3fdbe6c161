package follow

import (
	"context"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

const (
	// A question that failed is asked again after a wait from the one to the
	// other.
	followFirstRetry   = time.Minute
	followLongestRetry = time.Hour
)

// An answer is what is known of a question.
type answer struct {
	door  *door
	users int

	commit, etag string
	at           time.Time // When that was so.

	failures int // Since then.
	retry    time.Time
	trouble  string

	asking bool
	slot   slot
}

// answerTo returns what is known of a question.
func (f *Follower) answerTo(id fingerprint, q Question) *answer {
	a, ok := f.answers[id]
	if !ok {
		a = &answer{door: f.doorOf(q.Options)}
		a.door.users++
		f.answers[id] = a
	}
	return a
}

// ask asks a Hub and returns what moved does. A client is made for this one
// request, so that Secrets that have changed, and connections that are idle,
// need no care.
func (f *Follower) ask(ctx context.Context, w *following, q Question, etag string) (commit string, err error) {
	var head hub.Head
	err = outcome.Errorf(outcome.Internal, "asking the Hub broke off") // Unless it does not.
	defer func() { commit = f.record(ctx, w, head, err) }()

	c, err := hub.New(q.Options)
	if err != nil {
		return "", err
	}
	defer c.Close()
	head, err = c.Of(q.kindOf()).Commit(ctx, q.Model, q.Revision, etag)
	return "", err
}

// record notes what a Hub answered, and returns what moved does.
func (f *Follower) record(ctx context.Context, w *following, head hub.Head, err error) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, a := f.now(), w.answer
	a.asking, a.door.budget.asking, a.slot = false, false, slot{}
	f.asking--
	a.door.rest(now.Add(head.Rest))
	switch {
	case err != nil && ctx.Err() != nil:
		// The Hub is not to blame.
		w.notBefore = now.Add(f.between(followBusy, 2*followBusy))
		return w.moved()
	case err != nil:
		f.fail(w, err, now)
	default:
		a.succeed(head, now)
	}
	w.urgent, w.period = false, f.jitter(w.interval)
	return w.moved()
}

func (a *answer) succeed(head hub.Head, now time.Time) {
	if !head.NotModified {
		a.commit, a.etag = head.Commit, head.ETag
	}
	a.at, a.failures, a.trouble = now, 0, ""
	a.door.failures, a.door.retry = 0, time.Time{}
}

// fail notes that a question was not answered. Where that passes by itself, it
// is the Hub that is left alone for a while, and the question is asked again
// though its interval may be long. What lasts waits for somebody to act.
func (f *Follower) fail(w *following, err error, now time.Time) {
	a := w.answer
	a.failures++
	a.trouble = err.Error()
	wait := f.backoff(a.failures, followFirstRetry, followLongestRetry)
	if reason := outcome.ReasonOf(err); reason.Transient() {
		a.door.fail(now.Add(f.backoff(a.door.failures+1, doorFirstRetry, doorLongestRetry)), reason)
	} else {
		wait = max(wait, w.interval)
	}
	a.retry = now.Add(wait)
}

// backoff returns a wait that grows with each failure: half of it at least, and the
// rest at random.
func (f *Follower) backoff(failures int, first, longest time.Duration) time.Duration {
	span := retry.Backoff(failures, first, longest)
	return f.between(span/2, span)
}

// jitter returns an interval, give or take a tenth.
func (f *Follower) jitter(d time.Duration) time.Duration { return f.between(d-d/10, d+d/10) }

func (f *Follower) between(from, to time.Duration) time.Duration {
	return from + time.Duration(f.random()*float64(to-from))
}
