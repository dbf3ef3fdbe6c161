package pipeline

import (
	"context"
	"log"
	"math/rand/v2"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// A settled error is one that has been tried again as often as makes sense.
type settled struct{ error }

// Unwrap returns the error itself.
func (s settled) Unwrap() error { return s.error }

// A streamRetry tries a file again whole when its stream breaks, a few times,
// with a growing wait.
type streamRetry struct {
	tries   int           // At most, the first one included.
	first   time.Duration // The wait after the first try; doubled after each.
	longest time.Duration // The longest wait of our own making.
	patient time.Duration // The longest wait that a server may ask for.
	sleep   func(ctx context.Context, d time.Duration) error
}

func defaultStreamRetry() streamRetry {
	return streamRetry{tries: 4, first: 2 * time.Second, longest: 30 * time.Second, patient: 2 * time.Minute, sleep: streamSleep}
}

// do calls f until it succeeds, fails for a reason that does not pass, or was
// tried often enough. It returns f's last error.
func (r streamRetry) do(ctx context.Context, l *log.Logger, what string, f func() error) error {
	wait := r.first
	for try := 1; ; try++ {
		err := f()
		var done settled
		if errors.As(err, &done) {
			return done.error
		}
		if err == nil || try == r.tries || ctx.Err() != nil || !outcome.ReasonOf(err).Passes() {
			return err
		}
		// Anything between half of the wait and the whole: files that broke
		// together shall not come back together.
		d := wait/2 + rand.N(wait/2+1) //nolint:gosec // No secret.
		var e *outcome.Error
		if errors.As(err, &e) {
			d += e.RetryAfter
		}
		if d > r.patient+wait {
			return err
		}
		l.Printf("%s: try %d of %d failed: %v; the next one in %s", what, try, r.tries, err, d.Round(100*time.Millisecond))
		if err := r.sleep(ctx, d); err != nil {
			return errors.Wrapf(err, "cannot wait to try %s again", what)
		}
		wait = min(2*wait, r.longest)
	}
}

func streamSleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
