package identity

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

const (
	// renewBefore is how long before its end a password is renewed, or half of its life if
	// that is shorter. A request that has begun, and a token that the registry issued for
	// the password, need some time.
	renewBefore = 5 * time.Minute

	// againAfter is how soon renewal is tried again after it failed. Until then, callers
	// get the password that still lives, or the error: many Artifacts ask at once.
	againAfter = 15 * time.Second

	// longestLife bounds how long a password is used, whatever a server says. ECR's live
	// for 12 hours.
	longestLife = 12 * time.Hour
)

// cached is a Source that keeps a password until it must be renewed. One caller at a time
// renews it.
type cached struct {
	issuer  issuer
	retries retry.Policy
	now     func() time.Time

	busy chan struct{} // Has a value while one caller renews.

	mu      sync.Mutex
	current token
	renewAt time.Time // When to renew current.
	err     error     // Of the last try to renew, if it failed.
	tryAt   time.Time // When to try again after err.
}

func newCached(c *client, i issuer, retries retry.Policy) *cached {
	return &cached{issuer: i, retries: retries, now: c.now, busy: make(chan struct{}, 1)}
}

// Token implements Source.
func (c *cached) Token(ctx context.Context) (username, password string, expires time.Time, err error) {
	t, err := c.token(ctx)
	return t.username, t.password, t.expires, err
}

// token returns the password as it is now, with what else it came with.
func (c *cached) token(ctx context.Context) (token, error) {
	t, fresh, err := c.known()
	if fresh {
		return t, err
	}
	return c.renewed(ctx, t)
}

// known returns the current password, or no password and the error of getting one, and
// reports whether to use that without a try to renew. A password that has expired is none.
func (c *cached) known() (token, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if c.current.password != "" && now.Before(c.current.expires) {
		return c.current, now.Before(c.renewAt) || now.Before(c.tryAt), nil
	}
	if c.err != nil && now.Before(c.tryAt) {
		return token{}, true, c.err
	}
	return token{}, false, nil
}

// renewed renews the password, or returns the living one if another caller does that or if
// it fails.
func (c *cached) renewed(ctx context.Context, living token) (token, error) {
	select {
	case c.busy <- struct{}{}:
	default:
		// Once that has failed, nobody waits: a cloud that does not answer must not hold
		// up everything.
		if last := c.lastError(); living.password != "" || last != nil {
			return living, onlyIfNone(living, last)
		}
		select {
		case c.busy <- struct{}{}:
		case <-ctx.Done():
			return token{}, ctx.Err()
		}
	}
	defer func() { <-c.busy }()
	// Another caller may have renewed it in the meantime.
	if t, fresh, err := c.known(); fresh {
		return t, err
	}
	var t token
	asked := c.now()
	err := c.retries.Do(ctx, "the workload's identity", func() (err error) {
		t, err = c.issuer.issue(ctx)
		return err
	})
	if ctx.Err() != nil && err != nil {
		// Only this caller has no time left.
		return living, onlyIfNone(living, ctx.Err())
	}
	return c.keep(t, asked, err)
}

// lastError returns the error of the last try to renew; nil if it succeeded.
func (c *cached) lastError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// keep keeps what a renewal that began at a time came to, and returns what to use.
func (c *cached) keep(t token, asked time.Time, err error) (token, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil && !t.expires.After(asked) {
		err = outcome.Errorf(outcome.Unsupported, "the cloud issues a password that has expired already: check this machine's clock")
	}
	if err != nil {
		c.err, c.tryAt = err, c.now().Add(againAfter)
		if c.now().Before(c.current.expires) {
			return c.current, nil
		}
		return token{}, err
	}
	if last := asked.Add(longestLife); t.expires.After(last) {
		t.expires = last
	}
	reserve := min(renewBefore, t.expires.Sub(asked)/2)
	// Replicas and runs that began together do not renew together.
	c.renewAt = t.expires.Add(-reserve - rand.N(reserve/4+1)) //nolint:gosec // It is no secret.
	c.current, c.err, c.tryAt = t, nil, time.Time{}
	return t, nil
}

// onlyIfNone returns the error if there is no living password.
func onlyIfNone(living token, err error) error {
	if living.password != "" {
		return nil
	}
	return err
}
