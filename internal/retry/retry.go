// Package retry retries with backoff what failed with a transient error. All
// requests of a run go by one policy, Default's.
package retry

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// A Policy says how often something is tried, and how long to wait between two
// tries. Waits are between half of a span and the whole of it, and the span
// doubles after each.
type Policy struct {
	// Tries at most, the first one included.
	Tries int

	// MaxElapsed is how long after the first try another may begin, not counting
	// the waits that servers asked for; zero for no limit.
	MaxElapsed time.Duration

	// FirstWait is the span, after the first try.
	FirstWait time.Duration

	// MaxWait is the longest span.
	MaxWait time.Duration

	// MaxRetryAfter is the longest wait that a server may ask for, by an
	// outcome.Error's RetryAfter, which is added to the wait. Where one asks
	// for more, the failure is final: whoever started this may come back.
	MaxRetryAfter time.Duration

	// Logf gets a line for each try that failed and is followed by another;
	// nil for none.
	Logf func(format string, args ...any)

	// Sleep waits, or returns the context's error if that ends earlier. Nil,
	// which only tests should change, waits for real.
	Sleep func(ctx context.Context, d time.Duration) error
}

// Default returns the policy of a run's requests, which outlasts the restart of a
// registry or of a Hub: some 2 minutes, so that a host that never answers is named
// soon, and a wait of up to 6 minutes that a server asks for (a window of the Hub's
// limits has 5: https://huggingface.co/docs/hub/rate-limits).
func Default() Policy {
	return Policy{Tries: 20, MaxElapsed: 2 * time.Minute, FirstWait: time.Second, MaxWait: 30 * time.Second, MaxRetryAfter: 6 * time.Minute}
}

// Do calls f until it succeeds, fails for a reason that does not pass or with
// what is Permanent, or was tried often enough, and returns f's last error. It
// names f as what in its own messages.
func (p Policy) Do(ctx context.Context, what string, f func() error) error {
	span, waited := p.FirstWait, time.Duration(0)
	began := time.Now()
	for try := 1; ; try++ {
		err := f()
		var done permanentError
		if errors.As(err, &done) {
			return done.error
		}
		asked := outcome.RetryAfterOf(err)
		if err == nil || try >= p.Tries || ctx.Err() != nil || !outcome.ReasonOf(err).Passes() || asked > p.MaxRetryAfter {
			return err
		}
		// Those who failed together shall not come back together.
		wait := asked + span/2 + rand.N(span/2+1) //nolint:gosec // No secret.
		if p.MaxElapsed > 0 && time.Since(began)-waited+wait-asked > p.MaxElapsed {
			return err
		}
		waited += asked
		if p.Logf != nil {
			p.Logf("%s: try %d of %d failed: %v; the next one in %s", what, try, p.Tries, err, wait.Round(100*time.Millisecond))
		}
		if err := p.sleep(ctx, wait); err != nil {
			return errors.Wrapf(err, "cannot wait to try %s again", what)
		}
		span = min(2*span, p.MaxWait)
	}
}

func (p Policy) sleep(ctx context.Context, d time.Duration) error {
	if p.Sleep != nil {
		return p.Sleep(ctx, d)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

// Permanent returns err as one that Do returns at once, without the mark, though
// its reason may pass: it was tried as often as makes sense already, or takes
// longer to pass than anybody here waits.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanentError{err}
}
