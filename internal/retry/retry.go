// Package retry retries with exponential backoff what failed with a transient
// error. All requests of a run follow one policy, Default's.
package retry

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// A Policy says how often something is tried, and how long to wait between two
// tries. The wait doubles with each failure, and is jittered.
type Policy struct {
	// Tries at most, the first one included.
	Tries int

	// MaxElapsed is how long after the first failure another try may begin, not
	// counting the waits that servers asked for; zero for no limit.
	MaxElapsed time.Duration

	// FirstWait is the wait after the first failure, before jitter.
	FirstWait time.Duration

	// MaxWait bounds the wait, before jitter.
	MaxWait time.Duration

	// MaxRetryAfter is the longest wait that a server may ask for, by an
	// outcome.Error's RetryAfter, which is added to the wait. An error that asks
	// for more is returned at once: the caller may come back later.
	MaxRetryAfter time.Duration

	// Logf gets a line for each failure that is followed by another try; nil for
	// none.
	Logf func(format string, args ...any)

	// Sleep waits, or returns the context's error if that ends earlier. Nil, which
	// only tests should change, is the function Sleep.
	Sleep func(ctx context.Context, d time.Duration) error
}

// Default returns the policy of a run's requests. It outlasts the restart of a
// registry or a Hub, which takes up to 2 minutes, and a wait of 6 minutes that a
// server asks for: a window of the Hub's rate limits has 5
// (https://huggingface.co/docs/hub/rate-limits).
func Default() Policy {
	return Policy{Tries: 20, MaxElapsed: 2 * time.Minute, FirstWait: time.Second, MaxWait: 30 * time.Second, MaxRetryAfter: 6 * time.Minute}
}

// Do calls f until it succeeds, fails with a permanent error, or has failed as
// often as the policy allows, and returns f's last error. Log lines and the error
// of an interrupted wait call f what.
func (p Policy) Do(ctx context.Context, what string, f func() error) error {
	t := p.Start(what)
	for {
		err := f()
		if err == nil {
			return nil
		}
		if err := t.Wait(ctx, err); err != nil {
			return err
		}
	}
}

// Tries counts the tries of one operation. It is what Do uses, for operations
// that make progress between failures.
type Tries struct {
	policy   Policy
	what     string
	failures int
	began    time.Time     // Of the first failure.
	asked    time.Duration // The sum of the waits that servers asked for since.
}

// Start returns the Tries of an operation, whose name what is for messages.
func (p Policy) Start(what string) *Tries { return &Tries{policy: p, what: what} }

// Failures returns how many tries have failed since the last Reset.
func (t *Tries) Failures() int { return t.failures }

// Reset forgets all failures. Callers reset after progress, which must itself be
// bounded.
func (t *Tries) Reset() { t.failures, t.asked = 0, 0 }

// Failed counts a failure without waiting, for a caller that tries again at once.
func (t *Tries) Failed() {
	if t.failures++; t.failures == 1 {
		t.began = time.Now()
	}
}

// Wait counts a failure and waits until the next try. It returns nil if there
// should be one, and otherwise the error to give up with: err itself, without the
// mark of Permanent or Transient, or that of a context that ended in the wait.
func (t *Tries) Wait(ctx context.Context, err error) error {
	t.Failed()
	transient := outcome.ReasonOf(err).Transient()
	var m *mark
	if errors.As(err, &m) {
		err, transient = m.error, m.transient
	}
	p, asked := t.policy, outcome.RetryAfterOf(err)
	if !transient || t.failures >= p.Tries || asked > p.MaxRetryAfter || ctx.Err() != nil {
		return err
	}
	wait := Jitter(Backoff(t.failures, p.FirstWait, p.MaxWait))
	if p.MaxElapsed > 0 && time.Since(t.began)-t.asked+wait > p.MaxElapsed {
		return err
	}
	t.asked += asked
	wait += asked
	if p.Logf != nil {
		p.Logf("%s: try %d of %d failed: %v; retrying in %s", t.what, t.failures, p.Tries, err, wait.Round(100*time.Millisecond))
	}
	sleep := p.Sleep
	if sleep == nil {
		sleep = Sleep
	}
	return errors.Wrapf(sleep(ctx, wait), "cannot wait to retry %s", t.what)
}

// Backoff returns how long to wait after a number of failures in a row: first
// after one, twice as long after each further one, and at most longest.
// (wait.Backoff of k8s.io/apimachinery keeps the count itself, and so does not fit
// one that is kept in an Artifact's status or forgotten after progress.)
func Backoff(failures int, first, longest time.Duration) time.Duration {
	wait := min(first, longest)
	for ; failures > 1 && wait < longest; failures-- {
		wait = min(2*wait, longest)
	}
	return wait
}

// Jitter returns a random duration from half of d to d, so that those who failed
// together do not retry together.
func Jitter(d time.Duration) time.Duration {
	return d/2 + rand.N(d/2+1) //nolint:gosec // It is no secret.
}

// Sleep waits, or returns the context's error if that ends earlier.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// A mark on an error decides whether it is retried, whatever its reason.
type mark struct {
	error

	transient bool
}

func (m *mark) Unwrap() error { return m.error }

// Permanent marks an error as one that is not retried, though its reason is
// transient: it was retried already, or no other try soon would help.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &mark{error: err}
}

// Transient marks an error as one that is retried, though its reason is
// permanent: where it is the last one, it is final.
func Transient(err error) error {
	if err == nil {
		return nil
	}
	return &mark{error: err, transient: true}
}
