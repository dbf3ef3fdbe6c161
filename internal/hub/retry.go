package hub

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// A retrier tries again what may pass, a few times, with a growing wait.
type retrier struct {
	tries   int           // At most, the first one included.
	first   time.Duration // The wait after the first try; doubled after each.
	longest time.Duration // The longest wait of our own making.
	patient time.Duration // The longest wait that a server may ask for.
	sleep   func(ctx context.Context, d time.Duration) error
}

func defaultRetrier() retrier {
	return retrier{tries: 5, first: time.Second, longest: 20 * time.Second, patient: 2 * time.Minute, sleep: sleep}
}

// do calls f until it succeeds, fails for a reason that does not pass, or was
// tried often enough. It returns f's last error.
func (r retrier) do(ctx context.Context, f func() error) error {
	wait := r.first
	for try := 1; ; try++ {
		err := f()
		if err == nil || try == r.tries || ctx.Err() != nil || !passes(err) {
			return err
		}
		// Anything between half of the wait and the whole: clients that failed
		// together shall not come back together.
		d := wait/2 + rand.N(wait/2+1) //nolint:gosec // No secret.
		if asked := retryAfter(err); asked > 0 {
			d += asked
		}
		if d > r.patient+wait {
			return err
		}
		if err := r.sleep(ctx, d); err != nil {
			return errors.Wrap(err, "cannot wait for the Hub")
		}
		wait = min(2*wait, r.longest)
	}
}

// passes says whether err is one that may pass by itself soon. That a
// certificate is not trusted is Unavailable too, but no wait cures it.
func passes(err error) bool {
	return outcome.ReasonOf(err).Passes() && !errors.Is(err, errLasting)
}

func retryAfter(err error) time.Duration {
	var e *outcome.Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// maxAsked bounds how long a server's wish is believed.
const maxAsked = time.Hour

// waitAsked returns how long an answer asks to wait: Retry-After in seconds or
// as a date (RFC 9110, section 10.2.3), else the t of RateLimit, which is
// there in the form "api";r=0;t=55
// (https://huggingface.co/docs/hub/rate-limits). It is zero where neither
// says.
func waitAsked(h http.Header, now time.Time) time.Duration {
	if v := strings.TrimSpace(h.Get("Retry-After")); v != "" {
		if d, ok := seconds(v); ok {
			return d
		}
		if at, err := http.ParseTime(v); err == nil {
			return min(max(at.Sub(now), 0), maxAsked)
		}
	}
	var longest time.Duration
	for field := range strings.FieldsFuncSeq(h.Get("RateLimit"), func(r rune) bool { return r == ';' || r == ',' }) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(field), "t="); ok {
			d, _ := seconds(v)
			longest = max(longest, d)
		}
	}
	return longest
}

func seconds(v string) (time.Duration, bool) {
	n, err := strconv.ParseUint(v, 10, 31)
	if err != nil {
		return 0, false
	}
	return min(time.Duration(n)*time.Second, maxAsked), true
}
